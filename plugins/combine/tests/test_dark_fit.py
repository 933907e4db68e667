"""Darks of any exposure time from a line in exposure time: values, error bars, rejection, what does not scale."""

import numpy as np
import pytest

from albireo import Flag, Frame, FrameError, Frames, flags_of, image, planes_of, variance_of
from albireo.testing.stack import ImageStack
from albireo_combine.dark_fit import DarkFit

SHAPE = (64, 70)
READ_NOISE = 3.0
"""Electrons."""


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def truth(hot=0.02):
    """Bias level and dark rate of each pixel, in electrons (per second); some pixels are hot."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rate = 0.3 + 0.2 * np.sin(x / 9.0)
    rate[np.random.default_rng(3).random(SHAPE) < hot] = 30.0
    return 300.0 + 0.2 * y, rate


def darks(rng, times, rows=16, order=None, variance=True, change=None):
    """Poisson darks with their bias."""
    bias, rate = truth()
    made = []
    for index, time in enumerate(times):
        data = bias + rng.poisson(rate * time) + READ_NOISE * rng.standard_normal(SHAPE)
        if change is not None:
            change(data, index)
        known = rate * time + READ_NOISE**2
        made.append(image(data, "electron", variance=known if variance else None))
    order = range(len(made)) if order is None else order
    frames = Frames(Frame(f"{i:03d}.fits", kind="dark", exptime=times[i]) for i in order)
    return ImageStack([made[i] for i in order], frames, rows)


def at(master, time):
    """Dark and variance at any exposure time, as its correction computes them."""
    planes, dt = planes_of(master), time - master.meta["EXPTIME"]
    variance = variance_of(master) + 2 * dt * planes["RATECOV"] + dt**2 * planes["RATEVAR"]
    return master.data + dt * planes["RATE"], variance


def test_two_exposure_times_give_the_line_between_them(rng):
    two = darks(rng, [5.0, 20.0])
    master = DarkFit().build(two)
    between, _ = at(master, 10.0)
    expected = two[0].data + (two[1].data - two[0].data) / 3.0
    assert np.allclose(between, expected, rtol=1e-6, atol=0)
    assert (master.meta["TMIN"], master.meta["TMAX"], master.meta["NTIMES"]) == (5.0, 20.0, 2)
    assert 5.0 < master.meta["EXPTIME"] < 20.0
    assert "NONLIN" not in master.meta  # two points always lie on a line
    assert (planes_of(master)["COUNT"] == 2).all()


def test_equal_weights_give_the_closed_form_of_the_unweighted_line(rng):
    times = np.array([5.0, 20.0, 60.0])
    stack = darks(rng, list(times), variance=False)
    master = DarkFit().build(stack)
    data = np.array([picture.data.astype(float) for picture in stack])
    slope = ((times[:, None, None] * data).mean(axis=0) - times.mean() * data.mean(axis=0)) / times.var()
    offset = data.mean(axis=0) - slope * times.mean()
    for time in (0.0, 10.0, 60.0):
        assert np.allclose(at(master, time)[0], offset + slope * time, rtol=2e-6)
    assert np.isnan(variance_of(master)).all()  # nothing tells the noise of single frames of an unknown camera


@pytest.mark.parametrize("counts", [(10, 10, 10), (15, 6, 9), (1, 1, 1)])
def test_error_bars_hold_at_any_exposure_time(rng, counts):
    times = [time for time, count in zip((5.0, 20.0, 60.0), counts, strict=True) for _ in range(count)]
    master = DarkFit().build(darks(rng, times))
    bias, rate = truth()
    freedom = sum(counts) - 3
    # The error of a pixel pools its own scatter with 5 degrees of freedom of a noise that is known well.
    width = np.sqrt(1.0 + 2.0 * freedom / (freedom + 5) ** 2)
    # A pixel of single frames knows its photon noise from its own few counts alone, to 20 %.
    tolerance = 0.03 if freedom else 0.12
    for time in (0.0, 5.0, 30.0, 60.0, 100.0):
        value, variance = at(master, time)
        off = value - bias - rate * time
        assert abs(off.mean()) < 4 * np.sqrt(variance.mean() / off.size)
        pull = off / np.sqrt(variance)
        assert pull.std() == pytest.approx(width, abs=tolerance)
    pull = (planes_of(master)["RATE"] - rate) / np.sqrt(planes_of(master)["RATEVAR"])
    assert pull.std() == pytest.approx(width, abs=tolerance)
    assert master.meta["CHI2"] == pytest.approx(1.0, abs=0.1)
    assert master.meta["NONLIN"] == 0
    assert "COMMENT" not in master.meta


def test_the_variance_is_the_scatter_over_realisations(rng):
    times = [5.0] * 5 + [20.0] * 3 + [60.0] * 4
    masters = [DarkFit().build(darks(rng, times)) for _ in range(40)]
    for time in (10.0, 60.0):
        values, variances = zip(*(at(master, time) for master in masters), strict=True)
        scatter = np.var(np.array(values, dtype=float), axis=0, ddof=1).mean()
        assert np.mean(variances) == pytest.approx(scatter, rel=0.03)


def test_frames_weigh_by_their_number_and_noise(rng):
    times = np.array([10.0] * 20 + [20.0] + [60.0] * 20)
    errors = {"weighted": [], "equal": []}
    bias, rate = truth()
    for _ in range(8):
        stack = darks(rng, list(times))
        data = np.array([picture.data.astype(float) for picture in stack])
        means = [data[times == time].mean(axis=0).ravel() for time in (10.0, 20.0, 60.0)]
        slope, offset = np.polyfit((10.0, 20.0, 60.0), means, 1)
        errors["equal"].append((offset + 15.0 * slope).reshape(SHAPE) - bias - 15.0 * rate)
        errors["weighted"].append(at(DarkFit().build(stack), 15.0)[0] - bias - 15.0 * rate)
    assert np.var(errors["weighted"]) < 0.8 * np.var(errors["equal"])


@pytest.mark.parametrize("counts", [(5, 5, 5), (3, 2, 1), (2, 2, 2)])
def test_cosmic_rays_are_rejected(rng, counts):
    times = [time for time, count in zip((5.0, 20.0, 60.0), counts, strict=True) for _ in range(count)]
    hit = rng.integers(0, len(times), SHAPE)
    struck = rng.random(SHAPE) < 0.05

    def strike(data, index):
        data[struck & (hit == index)] += 2000.0

    master = DarkFit().build(darks(rng, times, change=strike))
    bias, rate = truth()
    value, variance = at(master, 40.0)
    pull = ((value - bias - 40.0 * rate) / np.sqrt(variance))[struck]
    assert np.abs(pull).max() < 7
    assert pull.std() < 1.4
    assert planes_of(master)["REJECTED"][struck].min() >= 1
    # A normal value lies beyond four standard deviations with a chance of 6e-5, or less in units of a few.
    assert planes_of(master)["REJECTED"][~struck].mean() < 1e-3 * len(times)
    total = planes_of(master)["COUNT"].astype(int) + planes_of(master)["REJECTED"]
    assert (total == len(times)).all()


def test_a_glow_that_does_not_grow_with_time_is_reported(rng):
    times = [5.0] * 4 + [20.0] * 4 + [60.0] * 4

    def glow(data, index):
        data[:, :10] += 100.0 * (1.0 - np.exp(-times[index] / 8.0))

    master = DarkFit().build(darks(rng, times, change=glow))
    assert master.meta["NONLIN"] == pytest.approx(10 / SHAPE[1], rel=0.05)
    assert "do not follow a line in exposure time" in master.meta["COMMENT"][0]
    assert master.meta["COMMENT"][0].startswith("14 %")
    # One pixel in seven moves the median of chi square from 0.455 to that of the lower 0.58 of the others, 0.66.
    assert master.meta["CHI2"] == pytest.approx(0.66 / 0.455, abs=0.12)


def test_a_noisy_pixel_gets_a_larger_error(rng):
    times = [5.0] * 10 + [20.0] * 10 + [60.0] * 10

    def flicker(data, index):
        data[:5] += 8.0 * READ_NOISE * rng.standard_normal((5, SHAPE[1]))

    master = DarkFit().build(darks(rng, times, change=flicker))
    bias, rate = truth()
    value, variance = at(master, 20.0)
    pull = (value - bias - 20.0 * rate) / np.sqrt(variance)
    assert pull[:5].std() == pytest.approx(1.08, abs=0.15)
    assert pull[5:].std() == pytest.approx(1.02, abs=0.05)


def test_masked_values_take_no_part_and_pixels_without_two_times_are_flagged(rng):
    times = [5.0, 5.0, 20.0, 20.0]
    pictures = []
    for index, picture in enumerate(darks(rng, times)):
        flags = np.zeros(SHAPE, np.uint16)
        flags[3, 4] = Flag.BAD if index < 2 else 0  # no value at 5 s
        flags[6, 7] = Flag.BAD if index == 0 else 0
        flags[8, 9] = Flag.BAD
        data = np.where(flags != 0, 1e6, picture.data)
        pictures.append(image(data, "electron", variance=variance_of(picture), flags=flags))
    master = DarkFit().build(ImageStack(pictures, Frames(Frame(f"{i}.fits", exptime=t) for i, t in enumerate(times))))
    assert [int(flags_of(master)[pixel]) for pixel in ((3, 4), (6, 7), (8, 9))] == [Flag.NO_DATA, 0, Flag.NO_DATA]
    assert np.isnan(master.data[3, 4])
    assert abs(master.data[6, 7] - master.data[6, 8]) < 30
    assert [int(planes_of(master)["COUNT"][pixel]) for pixel in ((3, 4), (6, 7), (8, 9))] == [2, 3, 0]
    assert master.meta["MISSING"] == 2 + 1 + 4


def test_the_order_of_the_frames_and_the_height_of_strips_do_not_change_a_bit():
    times = [5.0] * 4 + [20.0] * 2 + [60.0] * 3
    one = DarkFit().build(darks(np.random.default_rng(4), times))
    order = [8, 3, 1, 0, 5, 7, 2, 4, 6]
    for other in (
        DarkFit().build(darks(np.random.default_rng(4), times, order=order)),
        DarkFit().build(darks(np.random.default_rng(4), times, rows=5)),
    ):
        assert np.array_equal(one.data, other.data)
        assert np.array_equal(variance_of(one), variance_of(other))
        assert all(np.array_equal(plane, planes_of(other)[name]) for name, plane in planes_of(one).items())
        assert {k: v for k, v in one.meta.items() if k != "PLANES"} == {
            k: v for k, v in other.meta.items() if k != "PLANES"
        }


def test_one_exposure_time_is_refused_with_what_to_use_instead(rng):
    with pytest.raises(FrameError, match=r"all 3 have 20 s.*use = \"combine\""):
        DarkFit().build(darks(rng, [20.0, 20.0, 20.1]))


def test_an_unknown_exposure_time_is_refused_by_name(rng):
    with pytest.raises(FrameError, match=r"exposure time of dark 001\.fits is not known"):
        DarkFit().build(_unknown(rng))


def _unknown(rng):
    stack = darks(rng, [20.0, 5.0])
    stack.frames = Frames([stack.frames[0], stack.frames[1].replace(exptime=float("nan"))])
    return stack


def test_darks_of_all_exposure_times_make_one_master():
    frames = Frames(Frame(f"{i}.fits", kind="dark", exptime=t, variant="") for i, t in enumerate((5.0, 20.0, 60.0)))
    assert [len(group) for group in DarkFit().split(frames)] == [3]
