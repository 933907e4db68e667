"""Trim, pedestal, bias, dark, gain, flat: what each does and says."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Amplifier, Flag, Frame, FrameError, Frames, Section, apply_terms, flags_of, image, variance_of
from albireo_calibration import Bias, Dark, Flat, Gain, Pedestal, Trim


def frame_of(shape=(4, 6), **facts):
    facts.setdefault("amplifiers", (Amplifier(Section(0, shape[0], 0, shape[1]), gain=2.0, read_noise=4.0),))
    return Frame("a.fits", shape=shape, **facts)


def constant(value, shape=(4, 6), **planes):
    return image(np.full(shape, value, dtype=np.float32), **planes)


# --- trim


def test_the_trim_section_of_a_header_gives_the_shape_and_first_pixel_of_fits():
    # FITS: x from 27 to 3095, y from 3 to 3078, both inclusive and counted from one.
    section = Section.from_fits("[27:3095,3:3078]")
    frame = frame_of((3080, 3128), amplifiers=(Amplifier(section),))
    rows, columns = np.mgrid[:3080, :3128]
    raw = image((rows * 4000 + columns).astype(np.float32))
    result = Trim().correct(raw, frame, {})
    assert result.shape == (3076, 3069)
    assert result.data[0, 0] == 2 * 4000 + 26
    assert result.data[-1, -1] == 3077 * 4000 + 3094


def test_amplifiers_side_by_side_are_trimmed_together():
    halves = tuple(Amplifier(Section(1, 4, x, x + 2)) for x in (1, 3))
    assert Trim().correct(constant(1.0), frame_of(amplifiers=halves), {}).shape == (3, 4)


@pytest.mark.parametrize("second", [Section(1, 4, 4, 6), Section(1, 4, 2, 5), Section(1, 3, 3, 6)])
def test_amplifiers_with_gaps_or_overlaps_are_refused(second):
    frame = frame_of(amplifiers=(Amplifier(Section(1, 4, 1, 3)), Amplifier(second)))
    with pytest.raises(FrameError, match="do not fill a rectangle"):
        Trim().terms(constant(1.0), frame, {})


def test_a_frame_without_sections_or_with_wrong_ones_says_what_to_do():
    assert "give the sections in the definition of the instrument" in Trim().check(frame_of(amplifiers=()), None)
    beyond = frame_of(amplifiers=(Amplifier(Section(0, 4, 0, 7)),))
    assert "[1:7,1:4] of a.fits reaches beyond its image of 6 x 4 pixels" in Trim().check(beyond, None)
    assert Trim().check(frame_of(), None) == ""


# --- pedestals


def test_a_pedestal_is_subtracted_and_has_no_photon_noise():
    result = apply_terms(constant(600.0), frame_of(), [Pedestal(level=500.0).terms(constant(0.0), frame_of(), {})])
    np.testing.assert_allclose(result.data, 100.0)
    np.testing.assert_allclose(variance_of(result), 100.0 / 2 + (4.0 / 2) ** 2)


def test_a_bias_brings_its_variance_and_flags():
    flags = np.zeros((4, 6), dtype=np.uint16)
    flags[1, 2] = Flag.HOT
    master = constant(300.0, variance=np.full((4, 6), 0.5), flags=flags)
    result = apply_terms(constant(400.0), frame_of(), [Bias().terms(constant(0.0), frame_of(), {"bias": master})])
    np.testing.assert_allclose(result.data, 100.0)
    np.testing.assert_allclose(variance_of(result), 100.0 / 2 + (4.0 / 2) ** 2 + 0.5)
    np.testing.assert_array_equal(flags_of(result), flags)


# --- dark


def dark_of(exptime, level=10.0, variance=0.4):
    return {"dark": constant(level, variance=np.full((4, 6), variance), meta={"EXPTIME": exptime})}


def darks(*exptimes, start=0.0):
    return [Frames([frame_of(kind="dark", exptime=t, start=start)]) for t in exptimes]


@pytest.mark.parametrize(("scale", "exptime", "ratio"), [("exposure", 90.0, 3.0), ("none", 30.0, 1.0)])
def test_a_dark_is_scaled_with_its_variance(scale, exptime, ratio):
    frame = frame_of(exptime=exptime)
    terms = Dark(scale=scale).terms(constant(0.0), frame, dark_of(30.0))
    result = apply_terms(constant(100.0), frame, [terms])
    np.testing.assert_allclose(result.data, 100.0 - 10.0 * ratio, rtol=1e-6)
    np.testing.assert_allclose(variance_of(result), 100.0 / 2 + (4.0 / 2) ** 2 + 0.4 * ratio**2, rtol=1e-6)


@pytest.mark.parametrize(("frame_time", "dark_time"), [(float("nan"), 30.0), (30.0, float("nan")), (30.0, 0.0)])
def test_a_dark_that_cannot_be_scaled_is_an_error(frame_time, dark_time):
    with pytest.raises(FrameError, match="both must be known, and that of the dark above zero"):
        Dark().terms(constant(0.0), frame_of(exptime=frame_time), dark_of(dark_time))


@pytest.mark.parametrize(
    ("offered", "wanted", "taken", "reason"),
    [
        ((10.0, 60.0, 300.0), 60.0, 60.0, "same exposure time (60 s)"),
        ((10.0, 59.8, 300.0), 60.0, 59.8, "same exposure time (60 s)"),
        ((10.0, 120.0, 300.0), 60.0, 120.0, "the nearest longer exposure (120 s for 60 s)"),
        ((10.0, 30.0), 60.0, 30.0, "the longest exposure (30 s for 60 s)"),
    ],
)
def test_the_dark_of_the_best_exposure_time_is_chosen(offered, wanted, taken, reason):
    group, why = Dark().choose(frame_of(exptime=wanted, start=0.1), darks(*offered))
    assert group[0].exptime == taken
    assert why.startswith(reason)


def test_of_equal_exposure_times_the_nearest_in_time_is_chosen():
    groups = [*darks(60.0, start=5.0), *darks(60.0, start=0.2), *darks(10.0, start=0.1)]
    group, why = Dark().choose(frame_of(exptime=60.0, start=0.1), groups)
    assert group is groups[1]
    assert why == "same exposure time (60 s); nearest in time, 2.4 h away, of 2 that match"


def test_without_scaling_only_an_equal_exposure_time_will_do():
    group, why = Dark(scale="none").choose(frame_of(exptime=60.0), darks(120.0, 10.0))
    assert group is None
    assert why == "no dark of 60 s (there is 10 s, 120 s), and scale = 'none' allows no other"


@pytest.mark.parametrize(("exptime", "warns"), [(60.0, False), (15.0, False), (61.0, True), (14.0, True)])
def test_scaling_beyond_a_factor_of_two_deserves_a_word(exptime, warns):
    said = Dark().check(frame_of(exptime=exptime), darks(30.0)[0])
    assert bool(said) is warns
    assert Dark(scale="none").check(frame_of(exptime=exptime), darks(30.0)[0]) == ""
    if exptime == 61.0:
        assert said == (
            "a dark of 30 s is scaled by 2.03 to frames of 61 s; beyond a factor of 2 hot pixels are not corrected "
            "well: take darks of about 61 s"
        )


# --- gain


def test_gains_of_two_amplifiers_follow_the_trim():
    halves = tuple(Amplifier(Section(1, 4, x, x + 2), gain=g, read_noise=2.0) for x, g in ((1, 2.0), (3, 5.0)))
    frame = frame_of(amplifiers=halves)
    terms = [stage.terms(constant(0.0), frame, {}) for stage in (Trim(), Gain())]
    result = apply_terms(constant(10.0), frame, terms)
    np.testing.assert_array_equal(result.data, np.repeat([[20.0, 20.0, 50.0, 50.0]], 3, axis=0))
    assert str(result.unit) == "electron"
    # Photon noise in electrons is the number of electrons.
    np.testing.assert_allclose(variance_of(result), result.data + 2.0**2, rtol=1e-6)


def test_untrimmed_pixels_of_no_amplifier_are_no_data_where_gains_differ():
    halves = tuple(Amplifier(Section(0, 4, x, x + 2), gain=g, read_noise=1.0) for x, g in ((1, 2.0), (3, 5.0)))
    result = Gain().correct(constant(10.0), frame_of(amplifiers=halves), {})
    np.testing.assert_array_equal(np.isnan(result.data[0]), [True, False, False, False, False, True])
    np.testing.assert_array_equal(flags_of(result)[0] == Flag.NO_DATA, np.isnan(result.data[0]))


@pytest.mark.parametrize("gain", [float("nan"), 0.0, -2.0])
def test_an_unknown_gain_is_an_error_that_says_where_to_give_it(gain):
    frame = frame_of(amplifiers=(Amplifier(Section(0, 4, 0, 6), gain=gain),))
    with pytest.raises(FrameError, match=r"give it in electrons per adu as `gain` in the \[instrument\] table"):
        Gain().terms(constant(0.0), frame, {})


# --- flat


def test_pixels_of_low_response_are_flagged_and_masked():
    response = np.ones((4, 6), dtype=np.float32)
    response[0, 0], response[0, 1], response[0, 2], response[0, 3] = 0.05, 0.1, 0.0, -1.0
    flags = np.zeros((4, 6), dtype=np.uint16)
    flags[3, 3] = Flag.BAD
    master = image(response, "", variance=np.full((4, 6), 1e-4), flags=flags)
    result = Flat().correct(constant(10.0), frame_of(), {"flat": master})
    low, none = int(Flag.LOW_RESPONSE), int(Flag.NO_DATA)
    np.testing.assert_array_equal(flags_of(result)[0], [low, 0, low | none, low | none, 0, 0])
    assert flags_of(result)[3, 3] == Flag.BAD
    np.testing.assert_array_equal(result.mask, flags_of(result) != 0)
    assert result.data[0, 0] == pytest.approx(200.0)
    assert not Flat(min_response=0.0).correct(constant(10.0), frame_of(), {"flat": master}).mask[0, 0]


def test_the_error_of_a_flat_is_that_of_the_divided_value():
    """The case that went wrong elsewhere: 10000 adu at a response of 0.5 +- 0.01."""
    frame = frame_of(amplifiers=(Amplifier(Section(0, 4, 0, 6), gain=1.5, read_noise=7.5),))
    master = constant(0.5, unit="", variance=np.full((4, 6), 0.01**2))
    result = apply_terms(constant(10000.0), frame, [Flat().terms(constant(0.0), frame, {"flat": master})])
    before = 10000.0 / 1.5 + (7.5 / 1.5) ** 2
    np.testing.assert_allclose(variance_of(result), (before + (20000.0 * 0.01) ** 2) / 0.5**2, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(variance_of(result)), 432.17, rtol=1e-3)


def test_pixels_of_too_much_response_are_flagged_where_a_limit_is_given():
    response = np.ones((4, 6), dtype=np.float32)
    response[0, :3] = 0.7, 1.2, 1.3
    master = image(response, "")
    result = Flat(min_response=0.8, max_response=1.2).correct(constant(10.0), frame_of(), {"flat": master})
    np.testing.assert_array_equal(flags_of(result)[0], [Flag.LOW_RESPONSE, 0, Flag.BAD, 0, 0, 0])
    assert result.mask.sum() == 2
    assert not Flat().correct(constant(10.0), frame_of(), {"flat": master}).mask.any()


def test_masters_are_left_alone():
    flags = np.zeros((4, 6), dtype=np.uint16)
    flags[1, 1] = Flag.BAD
    master = image(np.full((4, 6), 0.05), "", variance=np.full((4, 6), 1e-4), flags=flags)
    Flat().correct(constant(10.0), frame_of(), {"flat": master})
    assert flags.sum() == Flag.BAD
    assert np.all(master.data == np.float32(0.05))


def test_options_have_bounds():
    with pytest.raises(ValidationError):
        Flat(min_response=1.0)
    with pytest.raises(ValidationError):
        Flat(max_response=1.0)
    with pytest.raises(ValidationError):
        Dark(scale="always")
    with pytest.raises(ValidationError):
        Pedestal()
