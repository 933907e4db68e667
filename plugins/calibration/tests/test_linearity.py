"""Linearity: counts in proportion to light, error bars that hold, and its place before dark, gain and flat."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Amplifier, Flag, Frame, FrameError, Section, apply_terms, flags_of, image, variance_of
from albireo_calibration import Flat, Gain, Linearity, Pedestal

LMI = (1.00305, -1.20752e-6, 1.267053e-11)
"""Linear counts from counts above the bias, as measured for the Large Monolithic Imager in 2014."""

GAIN, READ_NOISE, BIAS = 2.9, 6.0, 1100.0


def frame_of(shape=(4, 5), **facts):
    whole = Amplifier(Section(0, shape[0], 0, shape[1]), gain=GAIN, read_noise=READ_NOISE)
    facts = {"linearity": LMI, "saturation": 62000.0, **facts}
    return Frame("a.fits", instrument="lmi", shape=shape, amplifiers=(whole,), **facts)


def measured(linear, coefficients=LMI):
    """The counts a camera writes for linear counts: the inverse of the polynomial, by Newton's method."""
    x = np.asarray(linear, dtype=float).copy()
    for _ in range(20):
        value = sum(c * x**power for power, c in enumerate(coefficients, 1))
        slope = sum(power * c * x ** (power - 1) for power, c in enumerate(coefficients, 1))
        x -= (value - linear) / slope
    return x


def run(raw, frame, *stages, masters=None):
    return apply_terms(raw, frame, [stage.terms(raw, frame, masters or {}) for stage in stages])


def test_counts_become_proportional_to_light():
    linear = np.linspace(-20.0, 55000.0, 20).reshape(4, 5)
    result = run(image(measured(linear) + BIAS), frame_of(), Pedestal(level=BIAS), Linearity())
    # float32 resolves 0.004 adu at 65000.
    np.testing.assert_allclose(result.data, linear, atol=0.02)
    # Without it the counts at 40000 adu would be 3 % off.
    assert measured(40000.0) / 40000.0 == pytest.approx(1.03, abs=0.005)


def test_coefficients_of_the_recipe_win_over_those_of_the_camera():
    result = run(image(np.full((4, 5), 1000.0)), frame_of(), Linearity(coefficients=(1.0, 1e-5)))
    np.testing.assert_allclose(result.data, 1010.0, rtol=1e-6)


@pytest.mark.parametrize("level", [0.0, 30.0, 3000.0, 20000.0, 45000.0])
def test_the_error_bar_is_the_scatter_at_every_level(level):
    rng = np.random.default_rng(int(level))
    shape = (300, 300)
    electrons = rng.poisson(level * GAIN, shape)
    raw = measured(electrons / GAIN) + BIAS + READ_NOISE / GAIN * rng.standard_normal(shape)
    result = run(image(raw), frame_of(shape), Pedestal(level=BIAS), Linearity(), Gain())
    pull = (result.data - level * GAIN) / np.sqrt(np.mean(variance_of(result), dtype=float))
    assert abs(pull.mean()) < 4 / 300 + 0.01
    # The variance of a pixel without light leans on counts above zero only: 20 % of the read noise's variance here.
    assert pull.std() == pytest.approx(1.0, abs=0.1 if level == 0 else 0.01)


def test_a_variance_that_the_image_has_goes_with_the_square_of_the_slope():
    raw = image(np.full((4, 5), 40000.0), variance=np.full((4, 5), 9.0))
    slope = LMI[0] + 2 * LMI[1] * 4e4 + 3 * LMI[2] * 1.6e9
    np.testing.assert_allclose(variance_of(run(raw, frame_of(), Linearity())), 9.0 * slope**2, rtol=1e-5)


def test_pixels_above_the_limit_are_flagged_and_stay_usable():
    raw = image(np.array([[39999.0, 40001.0, np.nan]]))
    result = run(raw, frame_of((1, 3)), Linearity(limit=40000.0))
    np.testing.assert_array_equal(flags_of(result), [[0, Flag.NON_LINEAR, Flag.NO_DATA]])
    np.testing.assert_array_equal(result.mask, [[False, False, True]])


def test_a_frame_without_coefficients_is_left_as_it_is_and_the_plan_says_so_once():
    frames = [frame_of(linearity=(), detector="A").replace(name=name) for name in ("one", "two")]
    raw = image(np.full((4, 5), 40000.0))
    np.testing.assert_array_equal(run(raw, frames[0], Linearity()).data, raw.data)
    assert {Linearity().check(frame, None) for frame in frames} == {
        "the correction `linearity` does nothing for frames of lmi A: no coefficients are known; give them as "
        "`coefficients`, or leave the correction out"
    }
    assert Linearity().check(frame_of(), None) == ""


def test_a_polynomial_that_falls_before_saturation_is_refused():
    wrong = Linearity(coefficients=(1.0, -1e-5))
    assert wrong.check(frame_of(), None) == (
        "the linearity polynomial of frames of lmi (coefficients 1, -1e-05) stops to rise at 50375 adu, below "
        "saturation at 62000 adu: counts x become x (c0 + c1 x + c2 x^2 + ...), with c0 near 1; correct the "
        "coefficients"
    )
    with pytest.raises(FrameError, match="stops to rise"):
        wrong.terms(image(np.zeros((4, 5))), frame_of(), {})
    with pytest.raises(ValidationError):
        Linearity(coefficients=(float("nan"),))


def test_linearised_flats_are_the_response_at_any_level():
    response = np.linspace(0.7, 1.3, 20).reshape(4, 5)
    flat = {"flat": image(response, "")}
    for level in (2000.0, 40000.0):
        result = run(image(measured(level * response)), frame_of(), Linearity(), Flat(), masters=flat)
        np.testing.assert_allclose(result.data, level, rtol=1e-5)
