"""Rebinning: counts, noise and flags of sums of pixels."""

import numpy as np
import pytest

from albireo import Amplifier, Flag, Frame, FrameError, Section, apply_terms, flags_of, image, variance_of
from albireo_calibration import Gain, Pedestal, Rebin

GAIN, READ_NOISE, SKY = 1.6, 9.0, 30.0
SHAPE = (120, 168)
FRAME = Frame(
    "a.fits", shape=SHAPE, amplifiers=(Amplifier(Section(0, *SHAPE[:1], 0, SHAPE[1]), None, GAIN, READ_NOISE),)
)


def electrons(rng, sky=SKY, shape=SHAPE):
    """Counts turned into electrons by the corrections, with their variance."""
    counts = (rng.poisson(sky, shape) + READ_NOISE * rng.standard_normal(shape)) / GAIN + 500.0
    raw = image(counts)
    return apply_terms(raw, FRAME, [stage.terms(raw, FRAME, {}) for stage in (Pedestal(level=500.0), Gain())])


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("sky", [0.0, 30.0, 3000.0])
def test_counts_and_noise_are_right_at_every_factor(factor, sky):
    pictures = [electrons(np.random.default_rng(seed), sky) for seed in range(20)]
    binned = [Rebin(factor=factor).correct(picture, FRAME, {}) for picture in pictures]
    data = np.array([picture.data for picture in binned])
    assert binned[0].shape == (SHAPE[0] // factor, SHAPE[1] // factor)
    assert data.sum(dtype=float) == pytest.approx(sum(p.data.sum(dtype=float) for p in pictures), rel=1e-5, abs=1.0)
    true = factor**2 * (sky + READ_NOISE**2)
    assert data.var() == pytest.approx(true, rel=4 * np.sqrt(2 / data.size))
    told = np.mean([variance_of(picture) for picture in binned])
    # Without light, half of the pixels fall below zero, and the others lend their noise to the estimate.
    clipped = factor**2 * READ_NOISE / np.sqrt(2 * np.pi) if sky == 0 else 0.0
    assert told == pytest.approx(true + clipped, rel=0.02)
    assert binned[0].meta["REBIN"] == factor


def test_squares_are_those_of_neighbours_and_the_far_edge_is_cut():
    rows, columns = np.mgrid[:7, :11]
    plane = (100.0 * rows + columns).astype(np.float32)
    result = Rebin(factor=3).correct(image(plane, "electron", variance=2.0 * plane), FRAME, {})
    expected = plane[:6, :9].reshape(2, 3, 3, 3).sum(axis=(1, 3))
    np.testing.assert_array_equal(result.data, expected)
    np.testing.assert_array_equal(variance_of(result), 2.0 * expected)
    assert result.meta["HISTORY"] == [
        "rebin: squares of 3 x 3 pixels summed; 1 rows and 2 columns at the far edge fill none and are left out"
    ]
    even = Rebin(factor=3).correct(image(plane[:6, :9], "electron"), FRAME, {})
    assert even.meta["HISTORY"] == ["rebin: squares of 3 x 3 pixels summed"]
    assert even.uncertainty is None


def test_flags_of_members_are_joined_and_a_masked_one_masks_the_sum():
    data, flags = np.full((8, 8), 10.0, dtype=np.float32), np.zeros((8, 8), np.uint16)
    flags[0, 0], flags[1, 1] = Flag.SATURATED, Flag.INTERPOLATED
    flags[2, 0] = Flag.NON_LINEAR
    data[5, 5] = np.nan
    result = Rebin(factor=2).correct(image(data, "electron", flags=flags), FRAME, {})
    expected = np.zeros((4, 4), np.uint16)
    expected[0, 0], expected[1, 0], expected[2, 2] = Flag.SATURATED | Flag.INTERPOLATED, Flag.NON_LINEAR, Flag.NO_DATA
    np.testing.assert_array_equal(flags_of(result), expected)
    np.testing.assert_array_equal(np.isnan(result.data), expected == Flag.NO_DATA)
    assert (result.data[expected == 0] == 40.0).all()


def test_sums_with_enough_good_members_are_scaled_up_with_their_error():
    flags = np.zeros(SHAPE, np.uint16)
    for row, column in ((0, 0), (0, 2), (1, 1), (1, 3), (2, 0), (3, 1), (3, 2)):
        flags[row::4, column::4] = Flag.BAD  # seven of sixteen
    flags[:4, :4] = Flag.BAD | Flag.HOT  # all of them
    flags[2, 5:8] = Flag.BAD  # ten
    pulls = []
    for seed in range(20):
        picture = electrons(np.random.default_rng(seed))
        picture.data[flags != 0] = np.nan
        spoilt = image(picture.data, "electron", variance=variance_of(picture), flags=flags)
        result = Rebin(factor=4, min_fraction=0.5).correct(spoilt, FRAME, {})
        assert flags_of(result)[0, 0] == Flag.BAD | Flag.HOT | Flag.NO_DATA
        assert flags_of(result)[0, 1] == Flag.BAD | Flag.NO_DATA
        assert (flags_of(result).ravel()[2:] == Flag.INTERPOLATED).all()
        pulls.append(((result.data - 16 * SKY) / np.sqrt(variance_of(result))).ravel()[2:])
    number = np.size(pulls)
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(2 * number) + 0.02)
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.05)  # the brighter a pixel, the larger its own error


def test_an_image_smaller_than_a_square_is_refused():
    with pytest.raises(FrameError, match=r"a.fits has 7 x 3 pixels, too few to sum squares of 4 x 4"):
        Rebin(factor=4).correct(image(np.ones((3, 7)), "electron"), FRAME, {})
