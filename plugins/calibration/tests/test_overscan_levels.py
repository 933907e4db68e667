"""The overscan: levels, their errors, drifts, glitches, sections on any side."""

import os
from pathlib import Path

import numpy as np
import pytest

from albireo import Amplifier, Flag, Frame, FrameError, Section, apply_terms, image, read_pixels, variance_of
from albireo_calibration import Overscan, Trim

NY, NX, WIDE = 400, 300, 44
DATA, STRIP = Section(0, NY, 0, NX), Section(0, NY, NX + 4, NX + 4 + WIDE)
SHAPE = (NY, NX + 4 + WIDE)
GAIN, READ_NOISE = 3.0, 6.0
SIGMA = READ_NOISE / GAIN


def frame_of(*amplifiers, shape=SHAPE, name="a.fits"):
    return Frame(name, shape=shape, amplifiers=amplifiers or (Amplifier(DATA, STRIP, GAIN, READ_NOISE),))


def raw_bias(rng, level, shape=SHAPE, whole=False):
    pixels = level + SIGMA * rng.standard_normal(shape)
    return np.round(pixels).astype(np.float32) if whole else pixels.astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize(("statistic", "factor"), [("clipped-mean", 1.0), ("median", np.pi / 2)])
def test_levels_of_rows_follow_the_truth_within_their_error(rng, statistic, factor):
    truth = 1600.0 + 5.0 * np.sin(np.arange(NY) / 20.0)
    frame = frame_of()
    terms = Overscan(statistic=statistic).terms(image(raw_bias(rng, truth[:, None])), frame, {})
    assert terms.pedestal
    assert terms.subtract.shape == terms.subtract_variance.shape == (NY, 1)
    np.testing.assert_allclose(terms.subtract_variance, factor * SIGMA**2 / WIDE, rtol=0.1)
    pull = (terms.subtract[:, 0] - truth) / np.sqrt(terms.subtract_variance[:, 0])
    assert abs(pull.mean()) < 4 / np.sqrt(NY)
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * NY))


def test_whole_counts_do_not_tie_the_mean_to_half_counts(rng):
    levels = [
        Overscan().terms(image(raw_bias(rng, 1600.3, whole=True)), frame_of(), {}).subtract.mean() for _ in range(3)
    ]
    np.testing.assert_allclose(levels, 1600.3, atol=4 * SIGMA / np.sqrt(NY * WIDE))


def test_one_level_for_all_has_the_small_error_of_all_pixels(rng):
    terms = Overscan(along="all").terms(image(raw_bias(rng, 1600.0)), frame_of(), {})
    assert terms.subtract.shape == (1, 1)
    assert terms.subtract[0, 0] == pytest.approx(1600.0, abs=4 * SIGMA / np.sqrt(NY * WIDE))
    assert terms.subtract_variance[0, 0] == pytest.approx(SIGMA**2 / (NY * WIDE), rel=0.1)


def test_smoothing_lowers_the_error_and_the_variance_says_so(rng):
    raw = image(raw_bias(rng, 1600.0))
    smooth = Overscan(smooth=9).terms(raw, frame_of(), {})
    np.testing.assert_allclose(smooth.subtract_variance, SIGMA**2 / WIDE / 9, rtol=0.1)
    pull = (smooth.subtract[:, 0] - 1600.0) / np.sqrt(smooth.subtract_variance[:, 0])
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * NY / 9))
    # A symmetric window has no lag on a slope.
    slope = 1600.0 + 0.1 * np.arange(NY)[:, None] + np.zeros(SHAPE)
    level = Overscan(smooth=9).terms(image(slope), frame_of(), {}).subtract[:, 0]
    np.testing.assert_allclose(level[9:-9], slope[9:-9, 0], atol=1e-3)


def test_a_drift_of_two_counts_between_bias_and_science_is_gone(rng):
    medians = []
    for level in (1624.0, 1626.0):
        raw = raw_bias(rng, level, whole=True)
        raw[DATA.slices] += 100.0
        medians.append(np.mean(Overscan().correct(image(raw), frame_of(), {}).data[DATA.slices]))
    assert abs(medians[1] - medians[0]) < 0.1
    assert np.mean(medians) == pytest.approx(100.0, abs=0.1)


def test_glitches_saturated_and_missing_pixels_take_no_part(rng):
    raw = raw_bias(rng, 1626.0)
    raw[-1, -4:] = 0.0
    raw[0, STRIP.slices[1]] = 0.0  # a whole row of zeros takes its level from its neighbour
    raw[5, STRIP.slices[1].start : STRIP.slices[1].start + 30] = np.nan
    raw[7, STRIP.slices[1].start : STRIP.slices[1].start + 30] = 65535.0
    flags = np.where(raw == 65535.0, Flag.SATURATED, 0).astype(np.uint16)
    terms = Overscan().terms(image(raw, flags=flags), frame_of(), {})
    np.testing.assert_allclose(terms.subtract, 1626.0, atol=5 * SIGMA / np.sqrt(14))
    assert terms.subtract[0] == terms.subtract[1]
    assert terms.subtract_variance[5] == pytest.approx(SIGMA**2 / 14, rel=0.1)


def test_the_settling_of_an_amplifier_in_the_first_rows_is_followed(rng):
    truth = 1600.0 - 1300.0 * np.exp(-np.arange(NY) / 4.0)
    level = Overscan().terms(image(raw_bias(rng, truth[:, None])), frame_of(), {}).subtract[:, 0]
    np.testing.assert_allclose(level, truth, atol=5 * SIGMA / np.sqrt(WIDE))


def test_zeros_count_where_the_level_is_about_zero(rng):
    raw = np.maximum(raw_bias(rng, 3.0, whole=True), 0.0)
    terms = Overscan(along="all").terms(image(raw), frame_of(), {})
    assert terms.subtract[0, 0] == pytest.approx(raw[STRIP.slices].mean(), abs=0.02)


def test_a_row_that_light_leaks_into_keeps_the_level_of_its_neighbours(rng):
    raw = raw_bias(rng, 1000.0)
    raw[50, STRIP.slices[1].start : STRIP.slices[1].start + 2] += 30.0  # deferred charge of a bright row
    level = Overscan().terms(image(raw), frame_of(), {}).subtract[50, 0]
    assert level == pytest.approx(1000.0, abs=5 * SIGMA / np.sqrt(WIDE))


def test_rows_beyond_a_short_section_take_the_level_of_its_end(rng):
    amplifier = Amplifier(DATA, Section(2, NY - 3, NX + 4, NX + 30), GAIN, READ_NOISE)
    level = Overscan().terms(image(raw_bias(rng, 1000.0 + np.arange(NY)[:, None])), frame_of(amplifier), {}).subtract
    assert np.all(level[:2] == level[2])
    assert np.all(level[-3:] == level[-4])


def test_an_overscan_below_the_data_gives_levels_of_columns(rng):
    amplifier = Amplifier(Section(20, 220, 0, 100), Section(0, 20, 0, 100), GAIN, READ_NOISE)
    truth = 1000.0 + 3.0 * np.arange(100)
    frame = frame_of(amplifier, shape=(220, 100))
    terms = Overscan().terms(image(raw_bias(rng, truth, (220, 100))), frame, {})
    assert terms.subtract.shape == (1, 100)
    np.testing.assert_allclose(terms.subtract[0], truth, atol=5 * SIGMA / np.sqrt(20))


def test_each_amplifier_has_its_own_overscan(rng):
    left = Amplifier(Section(0, 50, 10, 60), Section(0, 50, 0, 10), GAIN, READ_NOISE, "A")
    right = Amplifier(Section(0, 50, 60, 110), Section(0, 50, 110, 120), GAIN, READ_NOISE, "B")
    raw = raw_bias(rng, np.where(np.arange(120) < 60, 1000.0, 1300.0), (50, 120))
    frame = frame_of(left, right, shape=(50, 120))
    stages = [Overscan(), Trim()]
    result = apply_terms(image(raw), frame, [stage.terms(image(raw), frame, {}) for stage in stages])
    assert result.shape == (50, 100)
    for half in (result.data[:, :50], result.data[:, 50:]):
        assert half.mean() == pytest.approx(0.0, abs=5 * SIGMA / np.sqrt(500))
    np.testing.assert_allclose(np.median(variance_of(result)), SIGMA**2 * (1 + 1 / 10), rtol=0.1)


def test_levels_stay_with_their_rows_when_the_image_is_trimmed_in_the_same_pass():
    amplifier = Amplifier(Section(3, NY, 0, NX), STRIP, GAIN, READ_NOISE)
    frame = frame_of(amplifier)
    raw = image(np.repeat(1000.0 + np.arange(NY, dtype=np.float32)[:, None], SHAPE[1], axis=1))
    result = apply_terms(raw, frame, [Overscan().terms(raw, frame, {}), Trim().terms(raw, frame, {})])
    np.testing.assert_array_equal(result.data, np.zeros((NY - 3, NX)))


def test_a_frame_without_overscan_says_what_to_do():
    frame = frame_of(Amplifier(DATA, None, GAIN, READ_NOISE))
    message = (
        "a.fits has no overscan section; leave the correction `overscan` out and use `bias` or `pedestal`, or give the "
        "section in the definition of the instrument"
    )
    assert Overscan().check(frame, None) == message
    with pytest.raises(FrameError) as caught:
        Overscan().terms(image(np.zeros(SHAPE)), frame, {})
    assert str(caught.value) == message


def test_a_trimmed_image_and_an_empty_overscan_are_refused(rng):
    with pytest.raises(FrameError, match="put `overscan` before `trim`"):
        Overscan().terms(image(np.zeros(DATA.shape)), frame_of(), {})
    raw = raw_bias(rng, 1000.0)
    raw[STRIP.slices] = np.nan
    with pytest.raises(FrameError, match="has no usable pixels: 0 of 17600 are neither saturated nor missing"):
        Overscan().terms(image(raw), frame_of(), {})
    outside = frame_of(Amplifier(DATA, Section(0, NY, NX, SHAPE[1] + 1), GAIN, READ_NOISE))
    assert "reaches beyond its image of 348 x 400 pixels" in Overscan().check(outside, None)


def lowell_frames(folder, pattern):
    """Real frames of an e2v CCD, if the test data are at hand: raw pixels and what the camera says of them."""
    base = Path(os.environ.get("ALBIREO_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
    paths = sorted((base / "lowell42" / folder).glob(pattern))
    if not paths:
        pytest.skip(f"no real frames in {base}")
    amplifier = Amplifier(Section.from_fits("[18:1382,1:1370]"), Section.from_fits("[1388:1432,1:1370]"), 3.66, 4.3)
    for path in paths:
        pixels = read_pixels(path, hdu=1)
        yield Frame(str(path), shape=pixels.shape, amplifiers=(amplifier,)), image(pixels)


def test_real_bias_frames_lose_their_drift_and_keep_their_noise():
    levels, rows = [], []
    for frame, raw in lowell_frames("zero", "*.fits.fz"):
        terms = Overscan().terms(raw, frame, {})
        assert abs(np.median(terms.subtract) - 1625.0) < 3.0
        # Zeros in the last row leave no trace; in the first rows the amplifier settles, from 300 to 1600.
        assert np.abs(terms.subtract[50:] - np.median(terms.subtract)).max() < 3.0
        assert 300.0 < terms.subtract[0] < 360.0
        assert np.sqrt(np.median(terms.subtract_variance)) == pytest.approx(1.17 / np.sqrt(45), rel=0.15)
        result = apply_terms(raw, frame, [terms, Trim().terms(raw, frame, {})])
        assert result.shape == (1370, 1365)
        levels.append(float(np.mean(result.data[100:-100, 100:-100])))
        rows.append(np.mean(result.data[:, 100:-100], axis=1))
    # The camera itself drifts by 0.27 adu between data and overscan while it warms up, half of it in two frames.
    assert np.ptp(levels) < 0.3
    assert np.ptp(levels[2:]) < 0.2
    # Differences between frames show what the overscan of a row leaves: no more than its own error and the data's.
    scatter = np.std(np.array(rows[1:]) - rows[0], axis=1) / np.sqrt(2)
    assert np.median(scatter) < 1.3 * 1.17 / np.sqrt(45)
