"""A master dark fitted to several exposure times, and how darks are chosen by exposure time and temperature."""

from dataclasses import replace

import numpy as np
import pytest

from albireo import Amplifier, Flag, Frame, FrameError, Frames, Section, apply_terms, flags_of, image, variance_of
from albireo_calibration import Dark

SHAPE = (30, 40)
AMPLIFIER = Amplifier(Section(0, 30, 0, 40), gain=2.0, read_noise=4.0)


def frame_of(**facts):
    return Frame("a.fits", shape=SHAPE, amplifiers=(AMPLIFIER,), kind="science", **facts)


def fitted(value, rate, variance, rate_variance, covariance, origin=20.0):
    """A line in exposure time; numbers or planes."""
    data, spread, *planes = (
        np.broadcast_to(np.float32(v), SHAPE).copy() for v in (value, variance, rate, rate_variance, covariance)
    )
    return image(
        data,
        variance=spread,
        planes=dict(zip(("RATE", "RATEVAR", "RATECOV"), planes, strict=True)),
        meta={"EXPTIME": origin, "TMIN": 5.0, "TMAX": 60.0},
    )


def subtracted(master, frame, level=500.0):
    terms = Dark().terms(image(np.zeros(SHAPE)), frame, {"dark": master})
    return apply_terms(image(np.full(SHAPE, level, dtype=np.float32)), frame, [terms])


# --- what is subtracted


def test_two_exposures_give_the_dark_between_them():
    rng = np.random.default_rng(1)
    five, twenty = rng.uniform(1, 50, SHAPE), rng.uniform(60, 500, SHAPE)
    rate = (twenty - five) / 15.0
    terms = Dark().terms(
        image(np.zeros(SHAPE)), frame_of(exptime=10.0), {"dark": fitted(twenty, rate, 0.0, 0.0, 0.0, 20.0)}
    )
    np.testing.assert_allclose(terms.subtract, five + (twenty - five) / 3.0, rtol=1e-6, atol=2e-5)


@pytest.mark.parametrize("exptime", [0.0, 5.0, 20.0, 33.0, 120.0])
def test_variance_is_that_of_the_line_at_the_exposure_time(exptime):
    """A line through values at 5 and 60 s, whose errors are independent: the result is known in closed form."""
    early, late = 0.5, 2.0
    share = (20.0 - 5.0) / 55.0
    master = fitted(
        value=40.0,
        rate=1.5,
        variance=(1 - share) ** 2 * early + share**2 * late,
        rate_variance=(early + late) / 55.0**2,
        covariance=(share * late - (1 - share) * early) / 55.0,
    )
    result = subtracted(master, frame_of(exptime=exptime))
    at = (exptime - 5.0) / 55.0
    wanted = (1 - at) ** 2 * early + at**2 * late
    np.testing.assert_allclose(result.data, 500.0 - 40.0 - 1.5 * (exptime - 20.0), rtol=1e-6)
    np.testing.assert_allclose(variance_of(result), 500.0 / 2 + 4.0 + wanted, rtol=1e-6)


def test_frames_of_one_exposure_time_share_one_plane():
    master = fitted(40.0, 1.5, 0.5, 0.01, 0.0)
    first, second, other = (
        Dark().terms(image(np.zeros(SHAPE)), frame_of(exptime=t), {"dark": master}) for t in (30.0, 30.0, 10.0)
    )
    assert first.subtract is second.subtract
    assert first.subtract_variance is second.subtract_variance
    assert other.subtract is not first.subtract
    equal = Dark().terms(image(np.zeros(SHAPE)), frame_of(exptime=30.0), {"dark": fitted(7.0, 0.0, 0.5, 0.0, 0.0)})
    assert float(equal.subtract[0, 0]) == 7.0


def test_a_line_without_variances_is_exact_and_flags_come_along():
    flags = np.zeros(SHAPE, dtype=np.uint16)
    flags[3, 4] = Flag.HOT
    rate = np.full(SHAPE, 2.0, dtype=np.float32)
    master = image(np.full(SHAPE, 40.0), flags=flags, planes={"RATE": rate}, meta={"EXPTIME": 20.0})
    result = subtracted(master, frame_of(exptime=30.0))
    np.testing.assert_allclose(variance_of(result), 500.0 / 2 + 4.0, rtol=1e-6)
    assert flags_of(result)[3, 4] == Flag.HOT


def test_the_header_says_what_dark_was_taken():
    fit = subtracted(fitted(40.0, 1.5, 0.5, 0.01, 0.0), frame_of(exptime=30.0))
    assert fit.meta["HISTORY"] == ["dark: of 30 s from a fit to 5 to 60 s"]
    scaled = subtracted(image(np.full(SHAPE, 40.0), meta={"EXPTIME": 20.0}), frame_of(exptime=30.0))
    assert scaled.meta["HISTORY"] == ["dark: of 20 s, times 1.5"]


def test_an_unknown_exposure_time_has_no_dark():
    with pytest.raises(FrameError, match=r"the exposure time of a\.fits is not known, so that its dark is not either"):
        subtracted(fitted(40.0, 1.5, 0.5, 0.01, 0.0), frame_of())


def test_a_dark_that_is_not_scaled_must_have_the_exposure_time_of_the_frame():
    master = image(np.full(SHAPE, 40.0), meta={"EXPTIME": 20.0})
    terms = Dark(scale="none").terms(image(np.zeros(SHAPE)), frame_of(exptime=20.1), {"dark": master})
    assert terms.subtract_scale == 1.0
    with pytest.raises(FrameError, match=r"a\.fits has 30 s and its master dark 20 s, and scale = 'none' allows no"):
        Dark(scale="none").terms(image(np.zeros(SHAPE)), frame_of(exptime=30.0), {"dark": master})


# --- what is chosen


def darks(*exptimes, temperature=float("nan"), start=0.0):
    model = frame_of(start=start, temperature=temperature)
    return Frames(replace(model, kind="dark", exptime=t, name=f"{t}-{start}-{temperature}") for t in exptimes)


@pytest.mark.parametrize(("wanted", "said"), [(5.0, ""), (30.0, ""), (60.3, ""), (120.0, "is extrapolated from")])
def test_a_group_of_several_exposure_times_suits_those_between_them(wanted, said):
    group = darks(5.0, 20.0, 60.0)
    chosen, reason = Dark().choose(frame_of(exptime=wanted), [darks(600.0, 900.0), group])
    if not said:
        assert chosen is group
        assert reason == "fitted to 5 to 60 s; the only one that matches"
        assert Dark(scale="none").choose(frame_of(exptime=wanted), [group])[0] is group
    assert said in Dark().check(frame_of(exptime=wanted), group)
    assert bool(Dark().check(frame_of(exptime=wanted), group)) is bool(said)


def test_a_fitted_dark_is_extrapolated_only_where_nothing_else_is_there():
    group = darks(5.0, 20.0, 60.0)
    chosen, reason = Dark().choose(frame_of(exptime=120.0), [group])
    assert chosen is group
    assert reason == "the longest exposure (5 to 60 s for 120 s); the only one that matches"
    chosen, reason = Dark(scale="none").choose(frame_of(exptime=120.0), [group, darks(10.0)])
    assert chosen is None
    assert reason == "no dark of 120 s (there is 5 to 60 s, 10 s), and scale = 'none' allows no other"


def test_of_equal_exposure_times_the_nearest_temperature_is_taken_before_the_nearest_in_time():
    frame = frame_of(exptime=60.0, temperature=-20.0, start=10.0)
    warm, cold, later = (
        darks(60.0, temperature=t, start=start) for t, start in ((-10.0, 10.0), (-20.2, 8.0), (-19.9, 5.0))
    )
    chosen, reason = Dark().choose(frame, [warm, later, cold])
    assert chosen is cold  # its temperature is not worse than that of the later one by anything that counts
    assert reason == (
        "same exposure time (60 s); nearest temperature (-20.2 for -20.0 deg C); nearest in time, 48.0 h away, of 2 "
        "that match"
    )
    assert Dark().choose(frame, [warm])[0] is warm
    assert Dark().choose(replace(frame, temperature=float("nan")), [later, cold, warm])[0] is warm


def test_darks_beyond_the_temperature_tolerance_are_not_used():
    frame = frame_of(exptime=60.0, temperature=-20.0)
    warm, cold = darks(60.0, temperature=-10.0), darks(10.0, temperature=-19.0)
    stage = Dark(temperature_tolerance=2.0)
    assert stage.choose(frame, [warm, cold])[0] is cold
    chosen, reason = stage.choose(frame, [warm])
    assert chosen is None
    assert reason == "no dark within 2 deg C of the -20.0 deg C of the frame (there are darks of -10.0 deg C)"


def test_a_word_is_said_of_temperatures():
    frame = frame_of(exptime=60.0, temperature=-20.0)
    warm, unknown = darks(60.0, temperature=-10.0), darks(60.0)
    assert Dark().check(frame, warm) == (
        "darks of -10 deg C are used for frames of -20 deg C; dark current doubles within 6 to 8 deg C: take darks at "
        "the temperature of the frames"
    )
    assert Dark().check(frame, darks(60.0, temperature=-18.5)) == ""
    assert Dark().check(frame, unknown) == ""
    careful = Dark(temperature_tolerance=2.0)
    assert careful.choose(frame, [unknown])[0] is unknown
    assert careful.check(frame, unknown) == (
        "the detector temperature of the darks is not known, so that temperature_tolerance = 2 was not applied"
    )
    assert "of the frames is not known" in careful.check(frame_of(exptime=60.0), warm)
