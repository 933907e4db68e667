"""Darks that still hold their bias: what they leave, what its error is, and which exposure times they suit."""

from dataclasses import replace

import numpy as np
import pytest

from albireo import Amplifier, Frame, FrameError, Frames, Section, apply_terms, image, variance_of
from albireo_calibration import Flat, Gain, RawDark, Trim

SHAPE = (120, 150)
GAIN, READ_NOISE, BIAS = 1.6, 15.0, 1000.0
AMPLIFIER = Amplifier(Section(0, 120, 0, 150), gain=GAIN, read_noise=READ_NOISE)
FRAME = Frame("s.fits", kind="science", shape=SHAPE, amplifiers=(AMPLIFIER,), exptime=30.0)
N = 12


def exposure(rng, bias, electrons):
    """Counts of one frame: fixed bias, read noise and Poisson electrons."""
    return bias + (rng.poisson(electrons, SHAPE) + READ_NOISE * rng.standard_normal(SHAPE)) / GAIN


def mean_dark(rng, bias, rate, exptime=30.0):
    """The mean of N darks, with the variance that their scatter shows."""
    stack = np.array([exposure(rng, bias, rate * exptime) for _ in range(N)])
    return image(stack.mean(axis=0), variance=stack.var(axis=0, ddof=1) / N, meta={"EXPTIME": exptime, "NCOMBINE": N})


def fitted_dark(rng, bias, rate):
    """A line through the means of N darks of 10 and 50 s, with what follows for its errors; at 30 s."""
    early, late = (
        (
            np.mean([exposure(rng, bias, rate * t) for _ in range(N)], axis=0),
            (rate * t + READ_NOISE**2) / GAIN**2 / N,
        )
        for t in (10.0, 50.0)
    )
    ones = np.ones(SHAPE, dtype=np.float32)
    return image(
        0.5 * (early[0] + late[0]),
        variance=0.25 * (early[1] + late[1]) * ones,
        planes={
            "RATE": ((late[0] - early[0]) / 40.0).astype(np.float32),
            "RATEVAR": np.float32((early[1] + late[1]) / 40.0**2) * ones,
            "RATECOV": np.float32(0.5 * (late[1] - early[1]) / 40.0) * ones,
        },
        meta={"EXPTIME": 30.0, "TMIN": 10.0, "TMAX": 50.0},
    )


@pytest.mark.parametrize("light", [0.0, 5000.0])
@pytest.mark.parametrize("dark", [0.0, 100.0, 2000.0])
@pytest.mark.parametrize("make", [mean_dark, fitted_dark])
def test_variance_is_the_scatter(make, dark, light):
    rng = np.random.default_rng(5)
    residuals, variances = [], []
    for _ in range(5):
        bias = BIAS + 20.0 * rng.standard_normal(SHAPE)
        master = make(rng, bias, dark / 30.0)
        raw = image(exposure(rng, bias, dark + light))
        result = apply_terms(raw, FRAME, [RawDark().terms(raw, FRAME, {"dark": master})])
        residuals.append(result.data - light / GAIN)
        variances.append(variance_of(result))
    scatter, claimed = np.mean(np.square(residuals)), np.mean(variances)
    # The photon noise of light follows from the counts, and counts below zero count as zero: where there is no light,
    # the noise of the image is taken for light in half of the pixels.
    excess = np.mean(np.maximum(residuals, 0.0)) / GAIN if light == 0 else 0.0
    # 90000 values: the ratio is good to 0.5 %.
    assert scatter / (claimed - excess) == pytest.approx(1.0, abs=0.015)
    assert scatter / claimed == pytest.approx(1.0, abs=0.035)
    assert abs(np.mean(residuals)) < 5 * np.sqrt(np.mean(variances) / np.size(residuals))
    assert np.min(variances) >= 0


def test_what_follows_in_a_recipe_finds_a_calibrated_image():
    rng = np.random.default_rng(6)
    wide = replace(FRAME, shape=(124, 160), amplifiers=(replace(AMPLIFIER, data=Section(2, 122, 5, 155)),))
    bias = BIAS + rng.standard_normal(SHAPE)
    raw = image(np.full(wide.shape, BIAS))
    raw.data[wide.lit.slices] = exposure(rng, bias, 5100.0)
    masters = {"dark": fitted_dark(rng, bias, 100.0 / 30.0), "flat": image(np.full(SHAPE, 0.5), "")}
    result = apply_terms(raw, wide, [s.terms(raw, wide, masters) for s in (Trim(), RawDark(), Gain(), Flat())])
    assert str(result.unit) == "electron"
    noise = np.sqrt(variance_of(result).mean())
    assert result.data.mean() == pytest.approx(10000.0, abs=5 * noise / np.sqrt(result.data.size))
    assert result.data.std() == pytest.approx(noise, rel=0.03)
    assert result.meta["HISTORY"] == ["raw-dark: of 30 s from a fit to 10 to 50 s"]


def test_amplifiers_of_different_gain_have_their_own_noise():
    halves = tuple(Amplifier(Section(0, 120, x, x + 75), gain=g, read_noise=0.0) for x, g in ((0, 1.0), (75, 4.0)))
    frame = replace(FRAME, amplifiers=halves)
    ones = np.ones(SHAPE, dtype=np.float32)
    master = image(BIAS + 30.0 * ones, planes={"RATE": ones}, meta={"EXPTIME": 30.0})
    raw = image(BIAS + 30.0 * ones)
    result = apply_terms(raw, frame, [RawDark().terms(raw, frame, {"dark": master})])
    rounding = 1.0 / 12.0  # adu squared, where the read noise cannot contain it
    np.testing.assert_allclose(
        variance_of(result)[0], np.where(np.arange(150) < 75, 30.0, 30.0 / 4.0) + rounding, rtol=1e-6
    )


def test_an_exposure_time_must_be_that_of_the_dark():
    master = image(np.full(SHAPE, BIAS), variance=np.ones(SHAPE), meta={"EXPTIME": 30.0, "NCOMBINE": 5})
    raw = image(np.full(SHAPE, BIAS))
    assert RawDark().terms(raw, replace(FRAME, exptime=30.2), {"dark": master}).pedestal
    flat = replace(FRAME, exptime=4.0, name="flat-0003.fits")
    with pytest.raises(FrameError) as error:
        RawDark().terms(raw, flat, {"dark": master})
    assert str(error.value) == (
        "flat-0003.fits has 4 s and its master dark, which holds the bias, 30 s; such a dark cannot be scaled. Take "
        "darks of the same exposure time, or of several and combine them by `dark-fit`, which suits frames of all times"
    )


def test_a_dark_of_unknown_number_or_size_is_refused():
    raw = image(np.full(SHAPE, BIAS))
    lonely = image(np.full(SHAPE, BIAS), variance=np.ones(SHAPE), meta={"EXPTIME": 30.0})
    with pytest.raises(FrameError, match="does not say in NCOMBINE how many frames it was made from"):
        RawDark().terms(raw, FRAME, {"dark": lonely})
    small = image(np.full((10, 10), BIAS), variance=np.ones((10, 10)), meta={"EXPTIME": 30.0, "NCOMBINE": 5})
    with pytest.raises(FrameError, match="has 10 x 10 pixels, neither those of the raw image"):
        RawDark().terms(raw, FRAME, {"dark": small})


def darks(*exptimes, each=3):
    return Frames(replace(FRAME, kind="dark", exptime=t, name=f"{t}-{n}") for t in exptimes for n in range(each))


def test_darks_are_chosen_by_exposure_time_and_not_scaled():
    offered = [darks(10.0), darks(60.0)]
    assert RawDark().choose(replace(FRAME, exptime=60.0), offered)[0] is offered[1]
    chosen, reason = RawDark().choose(replace(FRAME, kind="flat"), offered)
    assert chosen is None
    assert reason == (
        "no dark of 30 s for flat frames (there is 10 s, 60 s), and a dark that holds its bias cannot be scaled; "
        "`dark-fit` makes one that suits other times"
    )
    fitted = [darks(10.0, 60.0)]
    assert RawDark().choose(FRAME, fitted)[0] is fitted[0]
    assert RawDark().check(FRAME, fitted[0]) == ""
    assert RawDark().choose(replace(FRAME, exptime=90.0), fitted)[0] is fitted[0]
    assert "is extrapolated from exposures of 10 to 60 s" in RawDark().check(replace(FRAME, exptime=90.0), fitted[0])


def test_a_single_dark_deserves_a_word():
    assert "is a single frame, whose noise cannot be told from its bias" in RawDark().check(FRAME, darks(30.0, each=1))
    assert RawDark().check(FRAME, darks(30.0)) == ""
