"""Selection by level: what is measured, what is dropped, and the words for it."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Amplifier, Flag, Frame, Frames, Section, image
from albireo_selection import Level

NY, NX = 101, 140
DATA, STRIP = Section(0, NY, 0, 120), Section(0, NY, 124, NX)


def frame_of(name="a.fits", kind="flat", saturation=65535.0, **facts):
    facts.setdefault("amplifiers", (Amplifier(DATA, STRIP),))
    return Frame(name, kind=kind, saturation=saturation, shape=(NY, NX), **facts)


def numbers(level, overscan=1600.0, saturated=0.0):
    return {"level": level, "overscan": overscan, "saturated": saturated}


def reason(stage, measured, **facts):
    """The reason for dropping one frame; empty if it is kept."""
    frame = frame_of(**facts)
    selection = stage.select(Frames([frame]), {frame.name: measured})
    assert len(selection.kept) + len(selection.dropped) == 1
    return selection.dropped.get(frame.name, "")


def test_the_level_is_the_median_of_lit_pixels():
    rng = np.random.default_rng(1)
    raw = rng.normal(30000.0, 200.0, (NY, NX)).astype(np.float32)
    raw[:, 120:] = rng.normal(1600.0, 2.0, (NY, NX - 120))
    raw[:20, :30] = np.nan
    flags = np.where(np.isnan(raw), Flag.NO_DATA, 0).astype(np.uint16)
    flags[50:, 7] = Flag.NO_DATA
    raw[50:, 7] = 0.0
    flags[3, 40:100] = Flag.SATURATED
    raw[3, 40:100] = 65535.0
    measured = Level(max=0.8).measure(image(raw, flags=flags), frame_of())
    pixels = NY * 120
    assert measured["level"] == pytest.approx(30000.0, abs=5 * 1.25 * 200.0 / np.sqrt(pixels))
    assert measured["overscan"] == pytest.approx(1600.0, abs=5 * 1.25 * 2.0 / np.sqrt(NY * 16))
    assert measured["saturated"] == 60 / pixels


def test_a_large_image_is_sampled_and_a_small_fraction_of_saturation_still_counted():
    frame = Frame("big.fits", kind="flat", shape=(1500, 1500), saturation=65535.0)
    raw = np.repeat(np.arange(1500, dtype=np.float32)[:, None], 1500, axis=1)
    flags = np.zeros(raw.shape, dtype=np.uint16)
    flags[1, 1] = Flag.SATURATED
    measured = Level(max=0.8).measure(image(raw, flags=flags), frame)
    assert measured["level"] == pytest.approx(749.5, abs=2.0)
    assert measured["saturated"] == pytest.approx(1 / 1500**2)
    assert np.isnan(measured["overscan"])


def test_only_frames_of_the_kind_and_filter_are_judged():
    stage = Level(kind="flat", filter="VR", max=0.8)
    frames = Frames(
        [frame_of("flat-V.fits", filter="V"), frame_of("flat-VR.fits", filter="VR"), frame_of("s", "science")]
    )
    assert [stage.wants(frame) for frame in frames] == [False, True, False]
    selection = stage.select(frames, {"flat-VR.fits": numbers(65000.0)})
    assert [frame.name for frame in selection.kept] == ["flat-V.fits", "s"]
    assert list(selection.dropped) == ["flat-VR.fits"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (60100.0, "median level 60100 adu is 91.7 % of saturation (65535); at most 80 % is allowed"),
        (5000.0, "median level 5000 adu is 7.63 % of saturation (65535); at least 20 % is required"),
        (65535.0 * 0.8, ""),
        (65535.0 * 0.2, ""),
        (30000.0, ""),
    ],
)
def test_reasons_have_their_numbers(level, expected):
    assert reason(Level(min=0.2, max=0.8), numbers(level)) == expected


@pytest.mark.parametrize("pedestal", [1600.0, "overscan"])
def test_a_pedestal_is_subtracted_from_both(pedestal):
    stage = Level(min=0.2, max=0.8, pedestal=pedestal)
    assert reason(stage, numbers(1600.0 + 0.79 * 63935.0)) == ""
    assert reason(stage, numbers(14000.0)) == (
        "median level 12400 adu above the pedestal of 1600 adu is 19.4 % of saturation (63935); at least 20 % is "
        "required"
    )


def test_saturated_pixels_are_counted_apart():
    stage = Level(max_saturated=0.01)
    assert reason(stage, numbers(30000.0, saturated=0.01)) == ""
    assert reason(stage, numbers(30000.0, saturated=0.032)) == (
        "3.2 % of its pixels are saturated (at or above 65535 adu); at most 1 % is allowed"
    )


def test_a_frame_that_cannot_be_judged_is_dropped_with_advice():
    stage = Level(max=0.8, pedestal="overscan")
    assert reason(stage, numbers(30000.0), saturation=float("nan")) == (
        "its level of 30000 adu cannot be judged, because the saturation level is not known; give `saturation` in the "
        "[instrument] table of the recipe, or leave the selection out"
    )
    assert reason(stage, numbers(float("nan"))) == "it has no valid pixel to measure a level from"
    assert reason(stage, numbers(30000.0, overscan=float("nan"))) == (
        "it has no overscan to take the pedestal from; give the pedestal in adu"
    )
    assert stage.select(Frames([frame_of()]), {}).dropped == {"a.fits": "its level could not be measured"}
    assert reason(Level(max=0.8, pedestal=70000.0), numbers(30000.0)) == (
        "the pedestal of 70000 adu is not below the saturation level of 65535 adu"
    )


def test_options_must_make_sense():
    with pytest.raises(ValidationError, match="nothing to select by: give min, max or max_saturated"):
        Level()
    with pytest.raises(ValidationError, match=r"min = 0.8 must be below max = 0.2"):
        Level(min=0.8, max=0.2)
    for options in ({"max": 1.5}, {"min": -0.1}, {"max": 0.5, "pedestal": "bias"}, {"max": 0.5, "kind": "lamp"}):
        with pytest.raises(ValidationError):
            Level(**options)
