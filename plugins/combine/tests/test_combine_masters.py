"""Masters from simulated stacks with known answers: values, error bars, rejection, levels."""

import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Flag, Frame, FrameError, Frames, Stack, Strip, flags_of, image, planes_of, read_pixels, variance_of
from albireo_combine import Combine, combining
from albireo_combine.rules import Rule


class MemoryStack(Stack):
    """Corrected frames in memory, given in strips of so many rows."""

    def __init__(self, data, variance=None, mask=None, rows=7, unit="adu", order=None, exptime=np.nan):
        order = list(range(len(data))) if order is None else order
        self.frames = Frames(Frame(f"{index:03d}.fits", exptime=exptime) for index in order)
        self.data = np.asarray(data, dtype=np.float32)[order]
        self.variance = None if variance is None else np.asarray(variance, dtype=np.float32)[order]
        self.mask = None if mask is None else np.asarray(mask)[order]
        self.shape, self.unit, self.rows = self.data.shape[1:], unit, rows

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        flags = None if self.mask is None else np.where(self.mask[index], Flag.BAD, 0).astype(np.uint16)
        variance = None if self.variance is None else self.variance[index]
        return image(self.data[index], self.unit, variance=variance, flags=flags)

    def strips(self, scale=None):
        buffer = np.empty((len(self), self.rows, self.shape[1]), dtype=np.float32)
        for start in range(0, self.shape[0], self.rows):
            rows = slice(start, min(start + self.rows, self.shape[0]))
            part = buffer[:, : rows.stop - rows.start]
            for index in range(len(self)):
                part[index] = self.pixels(index)[rows]
                if scale is not None:
                    part[index] *= np.float32(scale[index])
            yield Strip(rows, part)


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def plain(meta):
    return {key: value for key, value in meta.items() if not isinstance(value, dict)}


SHAPE = (120, 130)
READ_NOISE = 2.5


def biases(rng, n, shape=SHAPE):
    pattern = 300.0 + 10.0 * np.sin(np.arange(shape[1]) / 9.0) + np.zeros(shape)
    return pattern, pattern + READ_NOISE * rng.standard_normal((n, *shape))


def flats(rng, electrons, shape=SHAPE, gain=2.0):
    """Poisson flats at levels in electrons; a response with a gradient, in adu without pedestal."""
    response = np.linspace(0.6, 1.4, shape[1]) * np.ones(shape)
    response /= np.median(response)
    return response, np.array([rng.poisson(e * response) / gain for e in electrons])


def pull_width(n):
    """Pulls are a little wider than one, because the variance of a pixel has a scatter of its own.

    It pools n - 1 degrees of freedom of the pixel with 5 of a noise that is known well.
    """
    return np.sqrt(1.0 + 2.0 * (n - 1) / (n + 4) ** 2)


REJECTIONS = {
    "none": {"rejection": "none"},
    "sigma": {},
    "sigma by deviation": {"scale": "deviation"},
    "narrow sigma": {"low": 2.0, "high": 2.5},
    "winsorised": {"rejection": "winsorised"},
    "minmax": {"rejection": "minmax"},
    "highest": {"rejection": "minmax", "lowest": 0, "highest": 1},
    "percentile": {"rejection": "percentile", "low_fraction": 0.15, "high_fraction": 0.15},
}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 9, 20, 50])
def test_the_claimed_variance_is_the_scatter_for_every_method_and_rejection(n, whole):
    rng = np.random.default_rng([8, n, whole])
    data = 1000.3 + 13.0 * rng.standard_normal((n, 200, 300), dtype=np.float32)
    stack = MemoryStack(np.round(data) if whole else data, rows=50)
    for method in ("mean", "median"):
        for name, options in REJECTIONS.items():
            if name == "minmax" and n == 2:
                continue
            master = Combine(kind="bias", method=method, **options).build(stack)
            # The scatter of 60000 pixels is known to 0.6 percent.
            scatter, claimed = master.data.var(dtype=float), variance_of(master).mean(dtype=float)
            assert scatter == pytest.approx(claimed, rel=0.03), (method, name)


@pytest.mark.parametrize("name", ["none", "sigma", "winsorised", "minmax", "percentile"])
@pytest.mark.parametrize("n", [3, 5, 9, 50])
def test_the_claimed_variance_is_right_for_whole_counts_of_a_quiet_camera(rng, n, name):
    data = np.round(1000.3 + 1.3 * rng.standard_normal((n, 200, 300), dtype=np.float32))
    master = Combine(kind="bias", **REJECTIONS[name]).build(MemoryStack(data, rows=50))
    # Limits fall between whole counts, so that rejection works a little differently than on normal values.
    assert master.data.var(dtype=float) == pytest.approx(variance_of(master).mean(dtype=float), rel=0.07)


@pytest.mark.parametrize("method", ["mean", "median"])
@pytest.mark.parametrize("n", [2, 3, 5, 9, 20])
def test_the_error_bars_of_a_bias_are_right_for_any_number_of_frames(rng, n, method):
    pattern, data = biases(rng, n)
    master = Combine(kind="bias", method=method).build(MemoryStack(data))
    pull = (master.data - pattern) / np.sqrt(variance_of(master))
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    # Where a median is far off, its column scatters more: the pulls of medians are a little narrower.
    assert pull.std() == pytest.approx(pull_width(n), rel=0.03 if method == "mean" else 0.05)
    assert master.meta["RDNOISE"] == pytest.approx(READ_NOISE, rel=4 / np.sqrt(2 * pattern.size))
    assert master.meta["LEVEL"] == pytest.approx(np.median(pattern), abs=0.5)
    assert (master.meta["NCOMBINE"], master.meta["MISSING"]) == (n, 0)
    assert master.meta["METHOD"] == f"{method}, rejection sigma"
    assert str(master.unit) == "adu"
    assert master.data.dtype == variance_of(master).dtype == np.float32


def test_a_pixel_that_is_noisier_than_the_others_gets_a_larger_error(rng):
    pattern, data = biases(rng, 30)
    data[:, 60:80] = pattern[60:80] + 8.0 * READ_NOISE * rng.standard_normal((30, 20, SHAPE[1]))
    master = Combine(kind="bias", rejection="none").build(MemoryStack(data))
    # The noise of the others counts for 5 of 34 degrees of freedom.
    expected = (29 * 64 + 5) / 34 * READ_NOISE**2
    assert np.mean(variance_of(master)[60:80]) * 30 == pytest.approx(expected, rel=0.03)
    clipped = Combine(kind="bias").build(MemoryStack(data))
    pull = (clipped.data - pattern)[60:80] / np.sqrt(variance_of(clipped)[60:80])
    assert pull.std() == pytest.approx(1.2, abs=0.1)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_cosmic_rays_are_rejected_even_in_few_frames(rng, n):
    pattern, data = biases(rng, n)
    hits = rng.random(data.shape) < 0.01
    hits &= hits.sum(axis=0) == 1
    data[hits] += 500.0
    master = Combine(kind="dark").build(MemoryStack(data))
    struck = hits.any(axis=0)
    assert np.abs(master.data - pattern)[struck].max() < 6 * READ_NOISE / np.sqrt(n - 1)
    pull = ((master.data - pattern) / np.sqrt(variance_of(master)))[struck]
    assert pull.std() == pytest.approx(1.1, abs=0.15)
    good = master.meta["REJECTED"] - hits.sum()
    # A normal value lies beyond three standard deviations with a chance of 0.27 %, or less in units of a few.
    assert 0 <= good < 0.004 * data.size


def test_whole_counts_of_a_quiet_camera_are_not_rejected(rng):
    # Half of the columns hold one value five times or more, so that their median absolute deviation is zero.
    data = np.round(1600.2 + 0.7 * rng.standard_normal((9, *SHAPE)))
    master = Combine(kind="bias").build(MemoryStack(data))
    assert master.meta["REJECTED"] < 0.01 * data.size
    assert master.data.mean() == pytest.approx(1600.2, abs=0.01)
    assert master.meta["RDNOISE"] == pytest.approx(np.hypot(0.7, 1 / np.sqrt(12)), rel=0.03)


@pytest.mark.parametrize("levels", [(40000.0,) * 7, (15000.0, 20000.0, 26000.0, 33000.0, 40000.0, 50000.0)])
@pytest.mark.parametrize("method", ["mean", "median"])
def test_flats_of_any_levels_make_one_flat_around_one_with_right_errors(rng, levels, method):
    response, data = flats(rng, levels, shape=(200, 300))
    master = Combine(kind="flat", method=method).build(MemoryStack(data))
    assert str(master.unit) == ""
    assert np.median(master.data) == pytest.approx(1.0, abs=1e-6)
    # A median of so few pixels has an error of its own; it is common to all of them.
    common = np.mean(master.data / response)
    assert common == pytest.approx(1.0, abs=1e-3)
    pull = (master.data - response * common) / np.sqrt(variance_of(master))
    # Where a median is far off, its column scatters more: the pulls of medians are a little narrower.
    assert pull.std() == pytest.approx(pull_width(len(levels)), rel=0.05 if method == "mean" else 0.09)
    ratio = np.mean((master.data / common - response) ** 2) / np.mean(variance_of(master))
    # The factor of a median holds for values of one noise; for those of several it is a little too careful.
    assert 0.85 < ratio < 1.03 if method == "median" and len(set(levels)) > 1 else abs(ratio - 1) < 0.03
    dim, bright = pull[:, :90], pull[:, -90:]
    assert dim.std() == pytest.approx(bright.std(), rel=0.06)
    assert master.meta["LEVELMIN"] == pytest.approx(min(levels) / 2.0, rel=0.002)
    assert master.meta["LEVELMAX"] == pytest.approx(max(levels) / 2.0, rel=0.002)


def test_stars_in_sky_flats_vanish(rng):
    response, data = flats(rng, (30000.0,) * 7)
    for index in range(7):
        data[index, 10 * index + 3 : 10 * index + 9, 40:60] *= 1.3
    master = Combine(kind="flat").build(MemoryStack(data))
    error = np.sqrt(1 / (30000.0 * response[:, 40:60] * 6))
    assert np.abs(master.data - response)[:, 40:60].max() < 6 * error.max()


def test_masked_pixels_take_no_part_and_a_pixel_without_value_is_no_data(rng):
    _, data = biases(rng, 6)
    mask = np.zeros(data.shape, dtype=bool)
    mask[2, 5, 7], data[2, 5, 7] = True, 1e6
    mask[:, 9, 9] = True
    mask[1:, 11, 3] = True
    master = Combine(kind="bias", method="mean").build(MemoryStack(data, mask=mask))
    np.testing.assert_allclose(master.data[5, 7], np.delete(data[:, 5, 7], 2).mean(), rtol=1e-6)
    lost = np.zeros(SHAPE, dtype=bool)
    lost[9, 9] = True
    np.testing.assert_array_equal(np.isnan(master.data), lost)
    np.testing.assert_array_equal(flags_of(master) == Flag.NO_DATA, lost)
    np.testing.assert_array_equal(master.mask, lost)
    assert master.data[11, 3] == pytest.approx(data[0, 11, 3], rel=1e-6)
    assert variance_of(master)[11, 3] == pytest.approx(READ_NOISE**2, rel=0.05)
    assert master.meta["MISSING"] == 6 + 1 + 5


CHOICES = [
    *(
        {"kind": "bias", "method": method, **options}
        for method in ("mean", "median")
        for options in REJECTIONS.values()
    ),
    {"kind": "flat"},
    {"kind": "flat", "method": "median"},
    *({"kind": "flat", "weights": "inverse-variance", "rejection": name} for name in ("none", "sigma", "winsorised")),
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(map(str, choice.values())))
def test_order_strips_and_threads_do_not_change_a_bit(rng, choice, monkeypatch):
    data = biases(rng, 8)[1] if choice["kind"] == "bias" else flats(rng, np.linspace(2e4, 5e4, 8))[1]
    data[rng.random(data.shape) < 0.01] += 500.0
    data[rng.random(data.shape) < 0.01] = np.nan
    first = Combine(**choice).build(MemoryStack(data))
    for rows, order, threads in ((1, None, 8), (200, None, 1), (7, [3, 1, 7, 0, 6, 2, 5, 4], 3)):
        monkeypatch.setattr(combining, "available_cores", lambda threads=threads: threads)
        monkeypatch.setattr(combining, "BLOCK", 512)
        other = Combine(**choice).build(MemoryStack(data, rows=rows, order=order))
        assert np.array_equal(first.data, other.data)
        assert np.array_equal(variance_of(first), variance_of(other))
        assert plain(first.meta) == plain(other.meta)
        for name, plane in planes_of(first).items():
            assert np.array_equal(plane, planes_of(other)[name])


def test_one_frame_is_taken_as_it_is_with_its_own_variance(rng):
    _, data = biases(rng, 1)
    variance = np.full(data.shape, 6.25)
    master = Combine(kind="bias").build(MemoryStack(data, variance))
    np.testing.assert_array_equal(master.data, data[0].astype(np.float32))
    np.testing.assert_array_equal(variance_of(master), variance[0].astype(np.float32))
    assert master.meta["METHOD"] == "single frame"
    response, data = flats(rng, (20000.0,))
    master = Combine(kind="flat").build(MemoryStack(data, data / 2.0))
    pull = (master.data - response) / np.sqrt(variance_of(master))
    assert pull.std() == pytest.approx(1.0, abs=0.03)
    assert np.isnan(variance_of(Combine(kind="flat").build(MemoryStack(data)))).all()


def test_frames_that_make_no_master_are_refused(rng):
    _, data = flats(rng, (20000.0, 20000.0))
    data[1] = 0.0
    with pytest.raises(FrameError, match=r"flat frame 001.fits has the level 0 adu after correction"):
        Combine(kind="flat").build(MemoryStack(data))
    with pytest.raises(FrameError, match="all pixels of all frames are masked"):
        Combine(kind="dark").build(MemoryStack(np.full((3, 4, 4), np.nan)))
    with pytest.raises(FrameError, match="there is no bias frame"):
        Combine(kind="bias").build(MemoryStack(np.empty((0, 4, 4))))


@pytest.mark.parametrize(("weights", "tolerance"), [("equal", 0.06), ("inverse-variance", 0.08)])
def test_the_error_of_frames_of_different_noise_is_right(rng, weights, tolerance):
    # Noises differ by a factor of nine, and the factors of the rejection are those of equal noise.
    response, data, _ = uneven_flats(rng)
    for options, within in (({"rejection": "none"}, 0.03), ({}, tolerance)):
        master = Combine(kind="flat", weights=weights, **options).build(MemoryStack(data))
        residual = master.data / np.mean(master.data / response) - response
        assert residual.var() == pytest.approx(variance_of(master).mean(dtype=float), rel=within)


def test_weights_reach_the_smallest_error_that_the_frames_allow_even_among_cosmic_rays(rng):
    response, data, best = uneven_flats(rng)
    data[rng.random(data.shape) < 0.002] += 3000.0
    error = {}
    for weights in ("equal", "inverse-variance"):
        master = Combine(kind="flat", weights=weights).build(MemoryStack(data))
        error[weights] = np.std(master.data / np.mean(master.data / response) - response)
    assert error["inverse-variance"] == pytest.approx(best, rel=0.06)
    assert error["inverse-variance"] < 0.4 * error["equal"]


def uneven_flats(rng):
    """Flats of very different levels with a read noise of 20 adu, and the best error at a response of one."""
    levels = (1500.0, 2000.0, 3000.0, 60000.0, 50000.0, 2500.0)
    response, data = flats(rng, levels, shape=(200, 300))
    data += rng.normal(0.0, 20.0, data.shape)
    signal = np.array(levels) / 2.0
    return response, data, 1.0 / np.sqrt(np.sum(signal**2 / (signal / 2.0 + 20.0**2)))


def test_one_frame_that_outweighs_all_others_is_refused(rng):
    _, data = flats(rng, (400.0, 500.0, 60000.0))
    with pytest.raises(FrameError, match=r"flat frame 002\.fits has so much less noise than the others"):
        Combine(kind="flat", weights="inverse-variance").build(MemoryStack(data))
    Combine(kind="flat", weights="inverse-variance", rejection="none").build(MemoryStack(data))
    Combine(kind="flat", weights="inverse-variance").build(MemoryStack(data[1:]))


def test_the_planes_say_how_many_values_made_a_pixel(rng):
    _, data = biases(rng, 9)
    data[4, 10, 20] += 1000.0
    data[:3, 10, 30] = np.nan
    data[:, 10, 40] = np.nan
    counts = planes_of(Combine(kind="dark").build(MemoryStack(data)))
    assert {plane.dtype for plane in counts.values()} == {np.dtype(np.uint16)}
    assert counts["REJECTED"][10, 20] >= 1
    np.testing.assert_array_equal(counts["COUNT"] + counts["REJECTED"], np.isfinite(data).sum(axis=0))
    by_rank = planes_of(Combine(kind="dark", rejection="minmax", highest=2).build(MemoryStack(data)))
    assert [by_rank["COUNT"][10, x] for x in (0, 20, 30, 40)] == [6, 6, 3, 0]
    assert [by_rank["REJECTED"][10, x] for x in (0, 20, 30, 40)] == [3, 3, 3, 0]
    alone = planes_of(Combine(kind="dark").build(MemoryStack(data[:1])))
    assert [alone["COUNT"][10, x] for x in (0, 30)] == [1, 0]


def test_hot_pixels_of_a_dark_are_flagged_from_the_scatter_and_the_rate(rng):
    _, data = biases(rng, 5)
    data -= data.mean()
    hot = rng.random(data.shape[1:]) < 0.003
    data[:, hot] += 300.0
    data[:, 3, 4] += 120.0
    stack = MemoryStack(data, exptime=30.0)
    flags = flags_of(Combine(kind="dark", hot=8.0).build(stack))
    wanted = hot.copy()
    wanted[3, 4] = True
    np.testing.assert_array_equal(flags == Flag.HOT, wanted)
    master = Combine(kind="dark", hot=8.0, hot_rate=5.0).build(stack)
    wanted[3, 4] = hot[3, 4]
    np.testing.assert_array_equal(flags_of(master) == Flag.HOT, wanted)
    assert master.meta["NHOT"] == wanted.sum()
    assert not flags_of(Combine(kind="dark").build(stack)).any()
    with pytest.raises(FrameError, match=r"dark 000\.fits has the exposure time nan s; hot_rate needs it"):
        Combine(kind="dark", hot=8.0, hot_rate=5.0).build(MemoryStack(data))


def test_pixels_of_a_flat_beyond_the_limits_of_response_are_flagged(rng):
    _, data = flats(rng, (40000.0,) * 4)
    data[:, 5, 5] *= 0.3
    data[:, 6, 66] *= 2.5
    master = Combine(kind="flat", dead_below=0.5, dead_above=1.8).build(MemoryStack(data))
    assert {tuple(place) for place in np.argwhere(flags_of(master) == Flag.BAD)} == {(5, 5), (6, 66)}
    assert master.meta["NDEAD"] == 2
    assert not flags_of(Combine(kind="flat").build(MemoryStack(data))).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "science"}, "kind 'science' cannot be combined; it must be one of bias, dark, flat, sky"),
        ({}, "Field required"),
        ({"kind": "flat", "low": 0.5}, "greater than or equal to 1"),
        ({"kind": "flat", "method": "sum"}, "'mean' or 'median'"),
        (
            {"kind": "flat", "rejection": "minmax", "low": 2.0},
            "low belongs to rejection = 'sigma' or 'winsorised', not to 'minmax'; leave it out",
        ),
        ({"kind": "flat", "lowest": 3}, "lowest belongs to rejection = 'minmax', not to 'sigma'; leave it out"),
        ({"kind": "flat", "hot": 8.0}, "hot belongs to kind = 'dark', not to 'flat'; leave it out"),
        (
            {"kind": "flat", "rejection": "percentile", "low_fraction": 0.5, "high_fraction": 0.5},
            "low_fraction 0.5 and high_fraction 0.5 leave no value",
        ),
        ({"kind": "dark", "hot_rate": 1.0}, "hot_rate is a second condition beside hot"),
        ({"kind": "dark", "weights": "inverse-variance"}, "is for frames of different levels, 'flat' or 'sky'"),
        ({"kind": "flat", "weights": "inverse-variance", "method": "median"}, "a median has no weights"),
        ({"kind": "flat", "weights": "inverse-variance", "rejection": "minmax"}, "'minmax' drops by order"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValidationError) as refused:
        Combine(**options)
    assert message in str(refused.value)


def test_a_rejection_that_would_leave_nothing_is_refused(rng):
    with pytest.raises(FrameError, match="drops the 2 lowest and 1 highest values, and there are 3 bias frames"):
        Combine(kind="bias", rejection="minmax", lowest=2).build(MemoryStack(biases(rng, 3)[1]))


def test_identical_frames_have_no_noise():
    master = Combine(kind="dark").build(MemoryStack(np.full((4, 6, 6), 3.0)))
    assert np.all(master.data == 3.0)
    assert np.all(variance_of(master) == 0.0)
    assert master.meta["REJECTED"] == 0


def test_real_bias_frames_have_the_noise_of_their_differences():
    base = Path(os.environ.get("ALBIREO_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
    paths = sorted((base / "lowell42" / "zero").glob("*.fits.fz"))
    if not paths:
        pytest.skip(f"no real frames in {base}")
    data = np.array([read_pixels(path, hdu=1)[400:1000, 100:1300] for path in paths])
    master = Combine(kind="bias").build(MemoryStack(data, rows=100))
    # Whole counts of 1.2 adu noise: a rule by the median absolute deviation alone rejects 12 % of them.
    assert master.meta["RDNOISE"] == pytest.approx(1.185, abs=0.06)
    assert master.meta["REJECTED"] < 0.01 * data.size
    even, odd = (Combine(kind="bias").build(MemoryStack(data[start::2], rows=100)) for start in (0, 1))
    # Two masters of different frames agree within their error bars, but for the drift between frames.
    difference = even.data - odd.data
    pull = (difference - np.median(difference)) / np.sqrt(variance_of(even) + variance_of(odd))
    assert np.percentile(np.abs(pull), 68.3) == pytest.approx(1.0, abs=0.1)


def test_sky_frames_are_scaled_like_flats_and_frames_without_a_pixel_leave_it_to_the_others(rng):
    response, data = flats(rng, (4000.0, 5000.0, 6000.0, 5500.0, 4500.0))
    data[1, 30:40] = np.nan
    data[3, 35:50, 20:60] = np.nan
    master = Combine(kind="sky").build(MemoryStack(data))
    assert str(master.unit) == ""
    assert np.median(master.data) == pytest.approx(1.0, abs=1e-6)
    assert np.isfinite(master.data).all()
    pull = (master.data / response / np.mean(master.data / response) - 1) / (np.sqrt(variance_of(master)) / response)
    for part in (pull, pull[30:40], pull[35:40, 20:60]):
        assert part.std() == pytest.approx(pull_width(5), rel=max(0.05, 4 / np.sqrt(2 * part.size)))
    assert master.meta["MISSING"] == 10 * SHAPE[1] + 15 * 40
    assert (master.meta["LEVELMIN"], master.meta["LEVELMAX"]) == pytest.approx((2000.0, 3000.0), rel=0.01)
    with pytest.raises(FrameError, match=r"sky frame 000\.fits has the level"):
        Combine(kind="sky").build(MemoryStack(-data))


def test_pixels_that_a_frame_hides_take_no_part_in_it(rng):
    _, data = biases(rng, 6)
    data[2, 40:60, 30:50] += 400.0

    def hidden(index, rows):
        mask = np.zeros(SHAPE, dtype=bool)
        mask[40:60, 30:50] = True
        return mask[rows] if index == 2 else None

    stack, rule = MemoryStack(data), Rule(rejection="none", noise_floor=READ_NOISE**2)
    combined = combining.combine_strips(stack, None, rule, hidden)
    without = combining.combine_strips(MemoryStack(np.delete(data, 2, axis=0)), None, rule)
    np.testing.assert_allclose(combined.data[40:60, 30:50], without.data[40:60, 30:50], rtol=1e-6)
    assert (combined.count[40:60, 30:50] == 5).all()
    assert combined.count.sum() == data.size - 400
    assert (combined.total_rejected, combined.total_missing) == (0, 400)
