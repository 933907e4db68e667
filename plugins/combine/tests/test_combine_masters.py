"""Masters from simulated stacks with known answers: values, error bars, rejection, levels."""

import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Flag, Frame, FrameError, Frames, Stack, Strip, flags_of, image, read_pixels, variance_of
from albireo_combine import Combine


class MemoryStack(Stack):
    """Corrected frames in memory, given in strips of so many rows."""

    def __init__(self, data, variance=None, mask=None, rows=7, unit="adu", order=None):
        order = list(range(len(data))) if order is None else order
        self.frames = Frames(Frame(f"{index:03d}.fits") for index in order)
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


@pytest.mark.parametrize("method", ["clipped-mean", "median", "mean"])
@pytest.mark.parametrize("n", [2, 3, 5, 9, 20])
def test_the_error_bars_of_a_bias_are_right_for_any_number_of_frames(rng, n, method):
    pattern, data = biases(rng, n)
    master = Combine(kind="bias", method=method).build(MemoryStack(data))
    pull = (master.data - pattern) / np.sqrt(variance_of(master))
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert pull.std() == pytest.approx(pull_width(n), rel=0.03)
    # The mean variance is the truth; clipping few values about their median takes 5 % too much from it.
    assert np.mean(variance_of(master)) == pytest.approx(np.mean((master.data - pattern) ** 2), rel=0.06)
    assert master.meta["RDNOISE"] == pytest.approx(READ_NOISE, rel=4 / np.sqrt(2 * pattern.size))
    assert master.meta["LEVEL"] == pytest.approx(np.median(pattern), abs=0.5)
    assert (master.meta["NCOMBINE"], master.meta["METHOD"], master.meta["MISSING"]) == (n, method, 0)
    assert str(master.unit) == "adu"
    assert master.data.dtype == variance_of(master).dtype == np.float32


def test_a_pixel_that_is_noisier_than_the_others_gets_a_larger_error(rng):
    pattern, data = biases(rng, 30)
    data[:, 60:80] = pattern[60:80] + 8.0 * READ_NOISE * rng.standard_normal((30, 20, SHAPE[1]))
    master = Combine(kind="bias", method="mean").build(MemoryStack(data))
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
@pytest.mark.parametrize("method", ["clipped-mean", "median"])
def test_flats_of_any_levels_make_one_flat_around_one_with_right_errors(rng, levels, method):
    response, data = flats(rng, levels)
    master = Combine(kind="flat", method=method).build(MemoryStack(data))
    assert str(master.unit) == ""
    assert np.median(master.data) == pytest.approx(1.0, abs=1e-6)
    # A median of so few pixels has an error of its own; it is common to all of them.
    common = np.mean(master.data / response)
    assert common == pytest.approx(1.0, abs=1e-3)
    pull = (master.data - response * common) / np.sqrt(variance_of(master))
    # Where a median is far off, its column scatters more: the pulls of medians are a little narrower.
    assert pull.std() == pytest.approx(pull_width(len(levels)), rel=0.03 if method == "clipped-mean" else 0.09)
    dim, bright = pull[:, :40], pull[:, -40:]
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


@pytest.mark.parametrize("kind", ["bias", "flat"])
@pytest.mark.parametrize("method", ["clipped-mean", "median"])
def test_order_and_strips_do_not_change_a_bit(rng, kind, method):
    data = biases(rng, 8)[1] if kind == "bias" else flats(rng, np.linspace(2e4, 5e4, 8))[1]
    first = Combine(kind=kind, method=method).build(MemoryStack(data))
    for rows, order in ((1, None), (200, None), (7, [3, 1, 7, 0, 6, 2, 5, 4])):
        other = Combine(kind=kind, method=method).build(MemoryStack(data, rows=rows, order=order))
        assert np.array_equal(first.data, other.data)
        assert np.array_equal(variance_of(first), variance_of(other))
        assert first.meta == other.meta


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


def test_options_are_checked():
    for options in ({"kind": "science"}, {"kind": "flat", "low": 0.5}, {"kind": "flat", "method": "sum"}, {}):
        with pytest.raises(ValidationError):
            Combine(**options)


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
