"""Propagated variances against the scatter of simulated nights: every frame of the chain is drawn anew each time."""

import numpy as np
import pytest

from albireo import Amplifier, Frame, Section, apply_terms, image, variance_of
from albireo_calibration import Bias, Dark, Flat, Gain, Overscan, Trim

ROWS, COLUMNS, WIDE = 60, 400, 30
DATA, STRIP = Section(2, ROWS + 2, 5, COLUMNS + 5), Section(0, ROWS + 4, COLUMNS + 6, COLUMNS + 6 + WIDE)
SHAPE = (ROWS + 4, COLUMNS + 6 + WIDE)
LEVEL = 1000.0


def exposure(rng, gain, read_noise, electrons):
    """One raw frame in adu: pedestal, read noise everywhere, Poisson electrons in the data section."""
    pixels = LEVEL + read_noise / gain * rng.standard_normal(SHAPE)
    pixels[DATA.slices] += rng.poisson(electrons, DATA.shape) / gain
    return image(pixels)


def mean_of(images):
    """The plain mean of corrected frames with the variance of the mean, which is all a chain asks of a master."""
    data = np.mean([picture.data for picture in images], axis=0, dtype=float)
    variance = np.sum([variance_of(picture) for picture in images], axis=0, dtype=float) / len(images) ** 2
    return data, variance


@pytest.mark.parametrize(
    ("gain", "read_noise", "sky", "dark_rate", "exptime", "dark_time", "flat_electrons", "n"),
    [
        pytest.param(2.0, 6.0, 3000.0, 0.1, 100.0, 100.0, 40000.0, 20, id="many good calibrations"),
        pytest.param(2.0, 6.0, 20000.0, 0.1, 100.0, 100.0, 3000.0, 4, id="a shallow flat"),
        pytest.param(1.0, 12.0, 100.0, 0.5, 300.0, 100.0, 30000.0, 4, id="a dark scaled up by three"),
        pytest.param(4.0, 9.0, 300.0, 0.0, 10.0, 60.0, 30000.0, 3, id="read noise and three bias frames"),
        pytest.param(0.5, 3.0, 50000.0, 2.0, 60.0, 120.0, 60000.0, 10, id="bright sky, small gain"),
    ],
)
def test_propagated_variance_is_the_scatter(gain, read_noise, sky, dark_rate, exptime, dark_time, flat_electrons, n):
    rng = np.random.default_rng(11)
    amplifier = Amplifier(DATA, STRIP, gain, read_noise)
    response = np.linspace(0.5, 1.5, COLUMNS)
    science = Frame("s.fits", kind="science", shape=SHAPE, amplifiers=(amplifier,), exptime=exptime)
    start, bias, dark, rest = [Overscan(), Trim()], [Bias()], [Dark()], [Gain(), Flat()]

    def corrected(raw, frame, stages, masters):
        return apply_terms(raw, frame, [stage.terms(raw, frame, masters) for stage in stages])

    def master(kind, stages, masters, electrons, time, unit="adu"):
        frame = science.replace(kind=kind, exptime=time)
        stack = [corrected(exposure(rng, gain, read_noise, electrons), frame, stages, masters) for _ in range(n)]
        return (*mean_of(stack), {"EXPTIME": time})

    residuals, variances = [], []
    for _ in range(12):
        masters = {}
        data, variance, meta = master("bias", start, masters, 0.0, 0.0)
        masters["bias"] = image(data, variance=variance, meta=meta)
        data, variance, meta = master("dark", start + bias, masters, dark_rate * dark_time, dark_time)
        masters["dark"] = image(data, variance=variance, meta=meta)
        data, variance, meta = master("flat", start + bias, masters, flat_electrons * response, 1.0)
        level = flat_electrons / gain
        masters["flat"] = image(data / level, "", variance=variance / level**2, meta=meta)
        raw = exposure(rng, gain, read_noise, sky * response + dark_rate * exptime)
        result = corrected(raw, science, start + bias + dark + rest, masters)
        residuals.append(result.data - sky)
        variances.append(variance_of(result))
    # Rows of one column have the same truth; with 720 values a column, and 400 columns, the ratio is good to 0.5 %.
    empirical = np.mean(np.square(residuals), axis=(0, 1))
    propagated = np.mean(variances, axis=(0, 1))
    assert np.mean(empirical / propagated) == pytest.approx(1.0, abs=0.03)
    thirds = [np.mean(part) for part in np.array_split(empirical / propagated, 3)]
    np.testing.assert_allclose(thirds, 1.0, atol=0.04)
