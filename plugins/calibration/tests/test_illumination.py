"""Illumination: what a flat leaves of the large-scale response is divided out, with its error."""

import numpy as np
import pytest

from albireo import Amplifier, Flag, Frame, Section, apply_terms, flags_of, image, variance_of
from albireo_calibration import Flat, Illumination

SHAPE = (80, 100)
FRAME = Frame("s.fits", shape=SHAPE, amplifiers=(Amplifier(Section(0, 80, 0, 100), gain=2.0, read_noise=5.0),))


def test_flat_and_illumination_together_make_the_sky_even_with_true_errors():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    dome = 1.0 + 0.02 * rng.standard_normal(SHAPE)
    slope = 1.0 + 0.06 * (x / 100 - 0.5) + 0.04 * (y / 80 - 0.5) ** 2
    residuals, variances = [], []
    for _ in range(12):
        flat = image(dome + 0.01 * rng.standard_normal(SHAPE), "", variance=np.full(SHAPE, 0.01**2))
        made = image(slope + 0.004 * rng.standard_normal(SHAPE), "", variance=np.full(SHAPE, 0.004**2))
        counts = (rng.poisson(20000.0 * dome * slope) + 5.0 * rng.standard_normal(SHAPE)) / 2.0
        masters = {"flat": flat, "illumination": made}
        terms = [stage.terms(image(counts), FRAME, masters) for stage in (Flat(), Illumination())]
        result = apply_terms(image(counts), FRAME, terms)
        residuals.append(result.data - 10000.0)
        variances.append(variance_of(result))
    means = np.mean(residuals, axis=(0, 1))
    noise = np.sqrt(np.mean(variances))
    # Dividing by a noisy value is 0.01**2 too large in the mean.
    assert np.abs(means - 1.16).max() < 5 * noise / np.sqrt(12 * 80)
    assert np.mean(np.square(residuals)) / np.mean(variances) == pytest.approx(1.0, abs=0.02)


def test_flags_of_the_master_come_along_and_pixels_without_one_are_lost():
    plane, flags = np.ones(SHAPE, dtype=np.float32), np.zeros(SHAPE, np.uint16)
    plane[0, :2] = 0.0, np.nan
    flags[2, 2] = Flag.BAD
    result = Illumination().correct(image(np.full(SHAPE, 10.0)), FRAME, {"illumination": image(plane, "", flags=flags)})
    assert flags_of(result)[2, 2] == Flag.BAD
    np.testing.assert_array_equal(flags_of(result)[0, :3], [Flag.NO_DATA, Flag.NO_DATA, 0])
