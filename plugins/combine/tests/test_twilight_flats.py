"""Flats of the sky: stars, gradients, clouds, and pixels that are not linear."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Flag, Frame, FrameError, Frames, flags_of, image, planes_of, variance_of
from albireo.testing.stack import ImageStack
from albireo_combine.objects import find_objects
from albireo_combine.twilight import TwilightFlat

SHAPE = (160, 170)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def response():
    """Vignetting and pixels of unequal response, with median one."""
    pattern = 1.0 - 0.2 * ((X - 80) ** 2 + (Y - 85) ** 2) / 12000.0
    pattern *= 1.0 + 0.01 * np.random.default_rng(2).standard_normal(SHAPE)
    return pattern / np.median(pattern)


def star(y, x, peak, sigma=2.0):
    return peak * np.exp(-0.5 * ((Y - y) ** 2 + (X - x) ** 2) / sigma**2)


def stack_of(rng, levels, light=None, order=None, rows=16, change=None):
    """Poisson frames in electrons at some levels, with what ``light(index)`` adds to the sky before the response."""
    made = []
    for index, level in enumerate(levels):
        sky = level * np.ones(SHAPE) if light is None else level + light(index)
        data = rng.poisson(sky * response()) + 5.0 * rng.standard_normal(SHAPE)
        made.append(image(data if change is None else change(data, index), "electron"))
    order = list(range(len(made))) if order is None else order
    frames = Frames(Frame(f"{i:03d}.fits", kind="flat", filter="r") for i in order)
    return ImageStack([made[i] for i in order], frames, rows)


LEVELS = [22000.0, 20000.0, 18500.0, 16000.0, 14000.0, 12500.0, 11000.0]


@pytest.mark.parametrize("peak", [800.0, 5000.0, 30000.0])
@pytest.mark.parametrize("among", [(0, 2, 4), (1, 3, 5, 6)])
def test_a_star_that_stays_in_half_of_the_frames_leaves_no_trace(rng, peak, among):
    master = TwilightFlat().build(stack_of(rng, LEVELS, lambda i: star(80, 90, peak) if i in among else 0.0))
    near = np.hypot(Y - 80, X - 90) < 12
    pull = (master.data - response()) / np.sqrt(variance_of(master))
    assert abs(pull[near].mean()) < 4 / np.sqrt(near.sum())
    # Fewer frames are left there, and the error says so.
    assert pull[near].std() == pytest.approx(1.05, abs=0.15)
    assert np.median(planes_of(master)["COUNT"][np.hypot(Y - 80, X - 90) < 3]) == len(LEVELS) - len(among)
    assert master.meta["OBJECTS"] >= len(among)


def test_the_error_bars_are_right_without_stars(rng):
    master = TwilightFlat().build(stack_of(rng, LEVELS))
    pull = (master.data - response()) / np.sqrt(variance_of(master))
    assert abs(np.median(master.data) - 1.0) < 1e-4
    assert pull.std() == pytest.approx(1.04, abs=0.03)
    assert np.mean(variance_of(master)) == pytest.approx(np.mean((master.data - response()) ** 2), rel=0.04)
    assert (master.meta["NCOMBINE"], master.meta["CLOUDY"]) == (7, 0)
    assert master.meta["LEVELMAX"] == pytest.approx(22000, rel=0.01)
    assert str(master.unit) == ""
    # Noise is not taken for stars.
    assert master.meta["OBJECTS"] <= 2


def test_many_frames_with_moving_stars_have_their_scatter(rng):
    places = rng.uniform(10, 150, (7, 12, 2))

    def light(index):
        return sum(star(y, x, 3000.0 + 400 * k, 2.5) for k, (y, x) in enumerate(places[index]))

    master = TwilightFlat().build(stack_of(rng, LEVELS, light))
    pull = (master.data - response()) / np.sqrt(variance_of(master))
    assert pull.std() == pytest.approx(1.04, abs=0.04)
    assert abs(pull.mean()) < 0.05


def test_gradients_of_the_sky_do_not_add_noise_with_smooth(rng):
    slopes = [0.0, 0.03, -0.04, 0.05, 0.01, -0.02, -0.03]

    def light(index):
        return LEVELS[index] * slopes[index] * (X - 85) / 85.0

    stack = stack_of(rng, LEVELS, light)
    plain, smooth = TwilightFlat().build(stack), TwilightFlat(smooth=40).build(stack)
    # The large-scale shape is the median one, here that of the frame without a gradient.
    assert np.abs(smooth.data / response() - 1.0)[:, :20].mean() < 0.006
    pull = (smooth.data - response()) / np.sqrt(variance_of(smooth))
    assert pull.std() == pytest.approx(1.04, abs=0.06)
    assert variance_of(plain)[:, :10].mean() > 5 * variance_of(smooth)[:, :10].mean()


def test_cloudy_frames_are_left_out_and_named(rng):
    def light(index):
        return -2500.0 * np.exp(-(((X - 120) / 30.0) ** 2)) if index in (2, 5) else 0.0

    master = TwilightFlat(clouds=0.05, box=32).build(stack_of(rng, LEVELS, light))
    assert master.meta["CLOUDY"] == 2
    assert sorted(master.meta["DROPPED"]) == ["002.fits", "005.fits"]
    assert all("its large-scale shape differs by" in reason for reason in master.meta["DROPPED"].values())
    pull = (master.data - response()) / np.sqrt(variance_of(master))
    assert pull.std() == pytest.approx(1.05, abs=0.04)


def test_lamp_flats_go_through_with_every_option(rng):
    master = TwilightFlat(smooth=40, clouds=0.05).build(stack_of(rng, [20000.0] * 5))
    assert master.meta["CLOUDY"] == 0
    pull = (master.data - response()) / np.sqrt(variance_of(master))
    assert pull.std() == pytest.approx(1.04, abs=0.04)


def test_pixels_that_are_not_linear_are_found_between_bright_and_faint_frames(rng):
    odd = (np.array([10, 60, 99, 140]), np.array([20, 150, 33, 71]))
    levels = [30000.0] * 5 + [3000.0] * 5

    def change(data, index):
        if index < 5:
            data[odd] *= 0.8  # they lose light where there is much of it
        return data

    master = TwilightFlat(high=15000, low=5000).build(stack_of(rng, levels, change=change))
    flagged = (flags_of(master) & Flag.NON_LINEAR) != 0
    assert flagged[odd].all()
    assert flagged.sum() == master.meta["NONLIN"] == 4
    assert master.meta["NCOMBINE"] == 5


def test_order_and_strips_do_not_change_a_bit():
    def light(index):
        return star(80, 90, 4000.0) if index % 2 else star(30, 20 + 9 * index, 3000.0)

    build = TwilightFlat(smooth=40, clouds=0.5).build
    one = build(stack_of(np.random.default_rng(9), LEVELS, light))
    for other in (
        build(stack_of(np.random.default_rng(9), LEVELS, light, order=[3, 1, 6, 0, 2, 5, 4])),
        build(stack_of(np.random.default_rng(9), LEVELS, light, rows=7)),
    ):
        assert np.array_equal(one.data, other.data)
        assert np.array_equal(variance_of(one), variance_of(other))
        assert np.array_equal(planes_of(one)["COUNT"], planes_of(other)["COUNT"])


def test_a_pixel_that_no_frame_has_is_flagged(rng):
    pictures = []
    for picture in stack_of(rng, LEVELS[:4]):
        flags = np.zeros(SHAPE, np.uint16)
        flags[5, 6] = Flag.BAD
        pictures.append(image(picture.data, "electron", flags=flags))
    master = TwilightFlat().build(ImageStack(pictures))
    assert flags_of(master)[5, 6] == Flag.NO_DATA
    assert np.isnan(master.data[5, 6])
    assert (flags_of(master) != 0).sum() == 1


def test_too_few_frames_and_dark_frames_are_refused(rng):
    with pytest.raises(FrameError, match="a stack of 1 is too few"):
        TwilightFlat().build(stack_of(rng, [2e4]))
    with pytest.raises(FrameError, match=r"frame 001\.fits has the level -"):
        TwilightFlat().build(stack_of(rng, [2e4, 0.0, 1e4], change=lambda data, i: data - 20.0))
    with pytest.raises(FrameError, match="the brightest has"):
        TwilightFlat(high=1e6).build(stack_of(rng, LEVELS))
    with pytest.raises(ValidationError, match="give high too, above low"):
        TwilightFlat(low=100.0)


def test_ellipses_cover_a_star_and_little_else(rng):
    noise = 10.0
    long = 3000.0 * np.exp(-0.5 * (((X + Y - 170) / 12.0) ** 2 + ((X - Y) / 3.0) ** 2))
    frame = noise * rng.standard_normal(SHAPE) + long + star(40, 120, 400.0)
    frame[120, 50] = 5000.0  # a cosmic ray
    frame += 0.3 * X
    found = find_objects(frame, 4.0, 1.7, 64)
    covered = found.cover(slice(0, SHAPE[0]), SHAPE[1])
    assert len(found) == 2
    assert (long + star(40, 120, 400.0))[~covered].max() < noise
    assert covered.mean() < 0.1
    assert not covered[120, 50]
    parts = [found.cover(slice(top, min(top + 13, SHAPE[0])), SHAPE[1]) for top in range(0, SHAPE[0], 13)]
    rows = [np.zeros((min(13, SHAPE[0] - 13 * k), SHAPE[1]), bool) if p is None else p for k, p in enumerate(parts)]
    assert np.array_equal(np.concatenate(rows), covered)


def test_objects_are_found_where_most_of_the_image_is_masked(rng):
    frame = 10.0 * rng.standard_normal(SHAPE) + star(80, 90, 2000.0)
    frame[:60] = frame[110:] = np.nan
    found = find_objects(frame, 4.0, 1.7, 64)
    assert len(found) == 1
    assert (found.y[0], found.x[0]) == (pytest.approx(80, abs=0.3), pytest.approx(90, abs=0.3))
