"""Curves through the overscan: they follow drifts, know their error, and do not see what stands off them."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Amplifier, Flag, Frame, FrameError, Section, apply_terms, image, variance_of
from albireo_calibration import Overscan, Trim

NY, NX, WIDE = 240, 60, 20
DATA, STRIP = Section(0, NY, 0, NX), Section(0, NY, NX, NX + WIDE)
SHAPE = (NY, NX + WIDE)
GAIN, READ_NOISE = 3.0, 6.0
SIGMA = READ_NOISE / GAIN
FRAME = Frame("a.fits", shape=SHAPE, amplifiers=(Amplifier(DATA, STRIP, GAIN, READ_NOISE),))
LINES = np.arange(NY)
CURVES = {"polynomial": {"fit": "polynomial", "degree": 3}, "spline": {"fit": "spline", "knots": 6}}


def raw_of(rng, level, shape=SHAPE):
    return (np.broadcast_to(level, shape) + SIGMA * rng.standard_normal(shape)).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("curve", CURVES)
def test_a_drift_of_two_counts_along_the_columns_is_gone_to_a_tenth(rng, curve):
    rows, shape = np.arange(1370), (1370, 140)
    amplifier = Amplifier(Section(0, 1370, 0, 95), Section(0, 1370, 95, 140), GAIN, READ_NOISE)
    frame = Frame("a.fits", shape=shape, amplifiers=(amplifier,))
    truth = 1624.0 + 2.0 * (rows / 1370) ** 2
    raw = np.round(raw_of(rng, truth[:, None], shape))
    raw[:, :95] += 100.0
    terms = Overscan(**CURVES[curve]).terms(image(raw), frame, {})
    assert np.abs(terms.subtract[:, 0] - truth).max() < 0.1
    parts = apply_terms(image(raw), frame, [terms]).data[:, :95].reshape(10, 137, 95).mean(axis=(1, 2))
    np.testing.assert_allclose(parts, 100.0, atol=0.1 + 4 * SIGMA / np.sqrt(137 * 95))


@pytest.mark.parametrize("statistic", ["clipped-mean", "median"])
@pytest.mark.parametrize("curve", CURVES)
def test_the_error_of_a_curve_is_right_at_every_row(rng, curve, statistic):
    truth = 1600.0 + 3.0 * (LINES / NY - 0.4) ** 3
    stage = Overscan(**CURVES[curve], statistic=statistic)
    pulls = []
    for _ in range(300):
        terms = stage.terms(image(raw_of(rng, truth[:, None])), FRAME, {})
        pulls.append((terms.subtract[:, 0] - truth) / np.sqrt(terms.subtract_variance[:, 0]))
    pulls = np.array(pulls)[:, [0, 30, 120, 200, NY - 1]]
    np.testing.assert_allclose(pulls.mean(axis=0), 0.0, atol=4 / np.sqrt(300))
    np.testing.assert_allclose(pulls.std(axis=0), 1.0, atol=4 / np.sqrt(600))


def test_a_curve_of_few_parameters_has_a_smaller_error_than_single_rows(rng):
    raw = image(raw_of(rng, 1600.0))
    rows, curve = (Overscan(**options).terms(raw, FRAME, {}) for options in ({}, CURVES["polynomial"]))
    # The mean variance of a linear fit is its parameters over its points (Press et al., section 15.4).
    expected = rows.subtract_variance.mean() * 4 / NY
    assert curve.subtract_variance.mean() == pytest.approx(expected, rel=0.15)


def test_rows_that_scatter_more_than_their_pixels_make_the_error_larger(rng):
    common = 3.0 * rng.standard_normal(NY)
    plain = Overscan(fit="polynomial", degree=1).terms(image(raw_of(rng, 1600.0)), FRAME, {})
    noisy = Overscan(fit="polynomial", degree=1).terms(image(raw_of(rng, 1600.0 + common[:, None])), FRAME, {})
    ratio = noisy.subtract_variance.mean() / plain.subtract_variance.mean()
    assert ratio == pytest.approx(1.0 + 9.0 / (SIGMA**2 / WIDE), rel=0.4)


@pytest.mark.parametrize("known", [True, False], ids=["flagged", "not flagged"])
@pytest.mark.parametrize("curve", CURVES)
def test_charge_that_bleeds_into_an_overscan_above_the_data_does_not_matter(rng, curve, known):
    shape = (NX + WIDE, NY)
    amplifier = Amplifier(Section(0, NX, 0, NY), Section(NX, NX + WIDE, 0, NY), GAIN, READ_NOISE)
    frame = Frame("a.fits", shape=shape, amplifiers=(amplifier,))
    truth = 1000.0 + LINES / 100.0
    raw = raw_of(rng, truth, shape)
    bright = [60, 61, 62, 150]
    raw[:, bright] += np.array([9e3, 6e4, 2e4, 300.0], dtype=np.float32)
    flags = np.where(known & (raw > 5000.0), Flag.SATURATED, 0).astype(np.uint16)
    terms = Overscan(**CURVES[curve]).terms(image(raw, flags=flags), frame, {})
    assert terms.subtract.shape == (1, NY)
    np.testing.assert_allclose(terms.subtract[0], truth, atol=0.5)
    pull = (terms.subtract[0] - truth)[bright] / np.sqrt(terms.subtract_variance[0])[bright]
    assert np.abs(pull).max() < 4.0


def test_lines_with_more_pixels_count_more(rng):
    raw = raw_of(rng, 1000.0 + np.where(LINES % 2, 1.0, 0.0)[:, None])
    raw[1::2, NX + WIDE // 4 :] = np.nan  # every other row keeps a quarter of its pixels
    level = Overscan(fit="polynomial", degree=0).terms(image(raw), FRAME, {}).subtract
    assert level[0, 0] == pytest.approx(1000.2, abs=4 * SIGMA / np.sqrt(NY * WIDE * 0.625))


def test_rows_beyond_a_short_section_keep_the_end_of_the_curve(rng):
    amplifier = Amplifier(DATA, Section(20, NY - 30, NX, NX + WIDE), GAIN, READ_NOISE)
    frame = FRAME.replace(amplifiers=(amplifier,))
    level = Overscan(fit="polynomial", degree=2).terms(image(raw_of(rng, 5.0 * LINES[:, None])), frame, {}).subtract
    assert np.all(level[:20] == level[20])
    assert np.all(level[-30:] == level[-31])
    assert level[20, 0] == pytest.approx(100.0, abs=0.5)


def test_each_amplifier_has_a_curve_of_its_own_and_a_note(rng):
    left = Amplifier(Section(0, NY, 20, 50), Section(0, NY, 0, 20), GAIN, READ_NOISE, "A")
    right = Amplifier(Section(0, NY, 50, 80), Section(0, NY, 80, 100), GAIN, READ_NOISE, "B")
    frame = Frame("a.fits", shape=(NY, 100), amplifiers=(left, right))
    slope = np.where(np.arange(100) < 50, 0.01, -0.02)
    raw = image(raw_of(rng, np.where(np.arange(100) < 50, 1000.0, 1300.0) + slope * LINES[:, None], (NY, 100)))
    terms = [stage.terms(raw, frame, {}) for stage in (Overscan(**CURVES["polynomial"]), Trim())]
    result = apply_terms(raw, frame, terms)
    np.testing.assert_allclose(result.data.reshape(4, 60, 2, 30).mean(axis=(1, 3)), 0.0, atol=0.3)
    assert np.median(variance_of(result)) == pytest.approx(SIGMA**2 * (1 + 4 / NY / 20), rel=0.05)
    (note,) = result.meta["HISTORY"]
    first, second = note.removeprefix("overscan of A: ").split(", of B: ")
    for text, level in ((first, 1000.0 + 0.01 * 119.5), (second, 1300.0 - 0.02 * 119.5)):
        mean, rms = (float(part.split()[0]) for part in text.split(", "))
        assert mean == pytest.approx(level, abs=4 * SIGMA / np.sqrt(NY * 20) + 0.005)
        assert rms == pytest.approx(SIGMA, rel=4 / np.sqrt(2 * NY * 20))


def test_too_few_rows_for_a_curve_are_refused_with_advice(rng):
    raw = raw_of(rng, 1000.0)
    raw[6:, NX:] = np.nan
    with pytest.raises(FrameError) as caught:
        Overscan(fit="spline", knots=8).terms(image(raw), FRAME, {})
    assert str(caught.value) == (
        "no spline can be laid through the overscan of a.fits: 6 lines have a level, at least 13 are needed; lower the "
        "number of knots (8), or leave `fit` out"
    )


@pytest.mark.parametrize("other", [{"along": "all"}, {"smooth": 5}])
def test_two_ways_of_smoothing_exclude_each_other(other):
    with pytest.raises(ValidationError, match="exclude each other; leave one of them out"):
        Overscan(fit="polynomial", **other)
