"""Selection by level: what is measured, what is dropped, and the words for it."""

import tomllib

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from albireo import Amplifier, Flag, Frame, Frames, Section, Tile, image, raw_image, read_raw
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
    for options in ({"max": 1.5}, {"min": -0.1}, {"max": 0.5, "pedestal": "dark"}, {"max": 0.5, "kind": "lamp"}):
        with pytest.raises(ValidationError):
            Level(**options)


def test_the_pedestal_can_come_from_the_bias_frames_of_the_same_readout():
    stage = Level(min=0.2, max=0.8, pedestal="bias")
    slow, fast = (("mode", "slow"),), (("mode", "fast"),)
    frames = Frames(
        [
            frame_of("flat-slow.fits", setup=slow, saturation=16384.0),
            frame_of("flat-fast.fits", setup=fast, saturation=16384.0),
            *(frame_of(f"bias-{n}.fits", "bias", setup=slow) for n in range(3)),
        ]
    )
    assert all(stage.wants(frame) for frame in frames)
    levels = [0.19 * (16384 - 640) + 640, 8000.0, 638.0, 640.0, 900.0]
    selection = stage.select(frames, {f.name: numbers(level) for f, level in zip(frames, levels, strict=True)})
    assert selection.dropped == {
        "flat-slow.fits": (
            "median level 2991 adu above the pedestal of 640 adu is 19 % of saturation (15744); at least 20 % is "
            "required"
        ),
        "flat-fast.fits": (
            "there is no bias frame of its detector and set-up to take the pedestal from; give it in adu"
        ),
    }


def test_each_half_of_a_split_detector_is_judged_by_itself(tmp_path):
    """Two filters over one array: in the flat of one exposure one half is saturated and the other is not."""
    rng = np.random.default_rng(5)
    raw = np.concatenate([rng.normal(9000.0, 80.0, (60, 40)), np.full((60, 50), 16384.0)], axis=1)
    raw[:, 38:42] = 0.0  # the rim between the halves belongs to neither
    path = tmp_path / "flat.fits"
    fits.PrimaryHDU(raw.astype(np.float32)).writeto(path)
    halves = Frames(
        Frame(
            str(path),
            name=f"flat.fits:{name}",
            detector=name,
            kind="flat",
            filter=name[-1],
            saturation=16384.0,
            shape=(60, x1 - x0),
            tiles=(Tile(0, raw.shape, Section(0, 60, x0, x1), Section(0, 60, 0, x1 - x0)),),
            amplifiers=(Amplifier(Section(0, 60, 0, x1 - x0)),),
        )
        for name, x0, x1 in (("C2Y", 0, 38), ("C2Z", 42, 90))
    )
    stage = Level(min=0.1, max=0.8, max_saturated=0.01)
    measured = {frame.name: stage.measure(raw_image(read_raw(frame), frame.saturation), frame) for frame in halves}
    assert measured["flat.fits:C2Y"]["level"] == pytest.approx(9000.0, abs=5 * 1.25 * 80.0 / np.sqrt(60 * 38))
    assert measured["flat.fits:C2Y"]["saturated"] == 0
    assert measured["flat.fits:C2Z"]["saturated"] == 1  # equal to the level is saturated
    selection = stage.select(halves, measured)
    assert [frame.name for frame in selection.kept] == ["flat.fits:C2Y"]
    assert selection.dropped == {
        "flat.fits:C2Z": "100 % of its pixels are saturated (at or above 16384 adu); at most 1 % is allowed"
    }


def test_only_the_number_of_saturated_pixels_needs_no_pedestal():
    assert reason(Level(max_saturated=0.01, pedestal="overscan"), numbers(30000.0, overscan=float("nan"))) == ""


def test_a_recipe_says_the_same_as_python():
    options = tomllib.loads('kind = ["flat", "sky"]\nfilter = ["g", "r"]\nmax = 0.8\npedestal = 300')
    stage = Level(kind=["flat", "sky"], filter=["g", "r"], max=0.8, pedestal=300.0)
    assert Level(**options) == stage
    told = [(kind, colour) for kind in ("flat", "sky", "science") for colour in "gri"]
    judged = [pair for pair in told if stage.judges(frame_of(kind=pair[0], filter=pair[1]))]
    assert judged == [("flat", "g"), ("flat", "r"), ("sky", "g"), ("sky", "r")]
