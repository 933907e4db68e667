"""Selection by measured quality: limits, outliers, the best, and frames without a value."""

import re

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Frame, Frames, Section, Transform
from albireo_selection import Quality

USUAL = {
    "sources": 200,
    "fwhm": 3.0,
    "elongation": 1.1,
    "sky": 400.0,
    "sky_rms": 21.0,
    "sky_gradient": 12.0,
    "star_flux": 0.97,
    "saturated": 12,
    "dx": 0.0,
    "dy": 0.0,
    "rotation": 0.0,
    "scale": 1.0,
    "align_rms": 0.1,
    "matched": 80,
    "rebin": 1,
    "field": 0,
}
REFERENCE = {"star_flux": 1.0, "matched": 0, "align_rms": 0.0}


def night(*changes, **facts):
    """Frames a minute apart with what differs in each from the usual numbers."""
    shape = Section(0, 200, 0, 300)
    frames = Frames(
        Frame(
            f"{n:03d}",
            **{"kind": "science", "filter": "r", "exptime": 30.0, "start": 60000.0 + n / 1440, "scale": 0.5} | facts,
            shape=shape.shape,
        )
        for n in range(len(changes))
    )
    return frames, {frame.name: USUAL | change for frame, change in zip(frames, changes, strict=True)}


def dropped(stage, night):
    selection = stage.select(*night)
    assert len(selection.kept) + len(selection.dropped) == len(night[0])
    return {int(name): reason for name, reason in selection.dropped.items()}


@pytest.mark.parametrize(
    ("option", "limit", "change", "reason"),
    [
        ("max_fwhm", 3.5, {"fwhm": 3.6}, "FWHM 3.6 pixel is above max_fwhm = 3.5"),
        ("max_seeing", 1.75, {"fwhm": 3.6}, "seeing 1.8 arcsec is above max_seeing = 1.75"),
        ("max_seeing", 3.5, {"fwhm": 3.6, "rebin": 2}, "seeing 3.6 arcsec is above max_seeing = 3.5"),
        ("max_elongation", 1.2, {"elongation": 1.25}, "elongation 1.25 is above max_elongation = 1.2"),
        ("max_sky", 500, {"sky": 26000.4}, "sky 26000 electron/pixel is above max_sky = 500"),
        (
            "max_sky_gradient",
            20,
            {"sky_gradient": 40.0},
            "sky gradient 40 electron/pixel is above max_sky_gradient = 20",
        ),
        ("min_sources", 100, {"sources": 99}, "number of sources 99 is below min_sources = 100"),
        ("min_transparency", 0.7, {"star_flux": 0.6}, "transparency 0.619 is below min_transparency = 0.7"),
        ("max_residual", 0.3, {"align_rms": 0.4}, "alignment residual 0.4 pixel is above max_residual = 0.3"),
        ("max_saturated", 12, {"saturated": 13}, "number of saturated pixels 13 is above max_saturated = 12"),
    ],
)
def test_a_frame_beyond_a_limit_is_dropped_with_its_number(option, limit, change, reason):
    given = night(*[{}] * 11, change, REFERENCE | {"star_flux": 1.0})
    assert dropped(Quality(**{option: limit}), given) == {11: reason}


def test_all_limits_that_a_frame_breaks_are_told():
    found = dropped(Quality(max_fwhm=2, max_sky=100), night({}))
    assert found == {0: "FWHM 3 pixel is above max_fwhm = 2; sky 400 electron/pixel is above max_sky = 100"}


def test_frames_of_other_kinds_and_filters_are_kept():
    frames, measured = night({"fwhm": 9.0}, {"fwhm": 9.0}, {"fwhm": 9.0})
    frames = Frames([frames[0].replace(kind="sky"), frames[1].replace(filter="g"), frames[2]])
    assert set(Quality(max_fwhm=5, filter="r").select(frames, measured).dropped) == {"002"}


def test_transparency_is_light_per_second_within_one_field_and_filter():
    """A frame of half the time has half the light; another filter and another reference have a scale of their own."""
    frames, measured = night(*[{}] * 8, {"star_flux": 0.485}, {"star_flux": 0.05}, {"star_flux": 0.3, "field": 1})
    frames = Frames([*frames[:8], frames[8].replace(exptime=15.0), frames[9].replace(filter="u"), frames[10]])
    assert not Quality(min_transparency=0.9).select(frames, measured).dropped
    measured["008"]["star_flux"] = 0.4
    assert set(Quality(min_transparency=0.9).select(frames, measured).dropped) == {"008"}


def test_the_clear_sky_is_full_transparency_and_not_one_lucky_frame():
    clouds = night(*[{"star_flux": 0.9 if n % 3 else 0.45} for n in range(18)])  # of eighteen frames six are clouded
    assert dropped(Quality(min_transparency=0.9), clouds).keys() == set(range(0, 18, 3))
    lucky = night(*[{"star_flux": 1.8 if n == 5 else 0.9} for n in range(18)])
    assert dropped(Quality(min_transparency=0.9), lucky) == {}
    overcast = night(*[{"star_flux": 0.9 if n % 5 == 0 else 0.45} for n in range(20)])
    assert len(dropped(Quality(min_transparency=0.9), overcast)) == 16


def test_a_frame_that_lies_off_both_its_neighbours_jumped_and_a_lasting_step_is_none():
    changes = [{"dx": 0.2 * n, "dy": -0.1 * n} for n in range(10)]
    changes[3] |= REFERENCE
    changes[5]["dx"] += 6.0
    changes[5]["dy"] += 8.0
    for n in (8, 9):
        changes[n]["dx"] += 50.0
    (reason,) = dropped(Quality(max_jump=5), night(*changes)).values()
    assert reason == "jump 9.96 pixel is above max_jump = 5"  # from frame 6: (-5.8, -8.1)
    assert dropped(Quality(max_jump=5), night(*changes)).keys() == {5}
    assert dropped(Quality(max_jump_arcsec=4.9), night(*changes)).keys() == {5}  # half an arcsecond to a pixel
    assert dropped(Quality(max_jump_arcsec=5.0), night(*changes)) == {}
    assert dropped(Quality(max_jump=5), night({}, {"dx": 9.0})).keys() == {0, 1}  # which of two is off cannot be said
    # A field that turns about the middle of the image moves pixel (0, 0), and no star at the middle.
    ny, nx = 200, 300
    turned = []
    for angle in (0.0, 2.0):
        at = Transform.similarity(rotation=angle)(0.5 * nx, 0.5 * ny)
        turned.append({"dx": 0.5 * nx - float(at[0]), "dy": 0.5 * ny - float(at[1]), "rotation": angle})
    assert np.hypot(turned[1]["dx"], turned[1]["dy"]) > 5
    assert dropped(Quality(max_jump=0.01), night(*turned)) == {}


def test_frames_that_were_not_aligned_do_not_hide_a_jump():
    lost = {"matched": 0, "star_flux": float("nan")}
    found = dropped(Quality(max_jump=5, unknown="keep"), night({}, lost, {"dx": 9.0}, lost, {}))
    assert found.keys() == {2}


def test_fields_and_detectors_do_not_jump_against_each_other():
    changes = [{"dx": 100.0 * (n % 2), "field": n % 2} for n in range(6)]
    assert dropped(Quality(max_jump=1), night(*changes)) == {}
    frames, measured = night(*[{"dx": 100.0 * (n % 2)} for n in range(6)])
    halves = Frames(frame.replace(detector="AB"[row % 2]) for row, frame in enumerate(frames))
    assert not Quality(max_jump=1).select(halves, measured).dropped


@pytest.mark.parametrize(
    ("option", "change", "facts", "reason"),
    [
        ("max_fwhm", {"fwhm": float("nan")}, {}, "its FWHM is not known (no star could be measured), so that max_fwhm"),
        ("max_seeing", {}, {"scale": float("nan")}, "or the camera states no pixel scale), so that max_seeing cannot"),
        ("max_jump", {"matched": 0, "star_flux": float("nan")}, {}, "(it was not aligned), so that max_jump cannot"),
        ("max_residual", {"matched": 0, "star_flux": float("nan")}, {}, "(it was not aligned), so that max_residual"),
    ],
)
def test_a_frame_without_a_value_is_dropped_or_kept_as_asked(option, change, facts, reason):
    given = night(change, **facts)
    (said,) = dropped(Quality(**{option: 5.0}), given).values()
    assert reason in said
    assert dropped(Quality(**{option: 5.0}, unknown="keep"), given) == {}


def test_a_reference_has_no_residual_and_a_single_frame_no_jump():
    assert dropped(Quality(max_jump=1e-9, max_residual=1e-9), night(REFERENCE)) == {}


SIGMA = 0.05


def scattered(seed, count=40, **trends):
    """A night with noise on what is measured, and with trends in it, per night."""
    rng = np.random.default_rng(seed)
    hours = np.linspace(0, 1, count)
    return [
        {
            "fwhm": 3.0 + SIGMA * rng.standard_normal() + trends.get("fwhm", 0.0) * hour,
            "sky": 400.0 + 5.0 * rng.standard_normal() + trends.get("sky", 0.0) * hour,
            "star_flux": 0.97 + 0.01 * rng.standard_normal() + trends.get("star_flux", 0.0) * hour,
            "sources": int(200 + 3 * rng.standard_normal()),
            "elongation": 1.1 + 0.01 * rng.standard_normal(),
        }
        for hour in hours
    ]


@pytest.mark.parametrize("seed", range(5))
def test_outliers_are_found_on_their_bad_side_only(seed):
    changes = scattered(seed)
    planted = {
        7: ("fwhm", 5.0),
        15: ("sky", 600.0),
        22: ("star_flux", 0.5),
        30: ("sources", 90),
        37: ("elongation", 1.6),
    }
    harmless = {3: ("fwhm", 1.5), 11: ("sky", 200.0), 26: ("star_flux", 1.4), 33: ("sources", 400)}
    for row, (name, value) in {**planted, **harmless}.items():
        changes[row][name] = value
    # Of two hundred normal deviates none lies beyond six sigma; the tolerance is off, so that only the noise decides.
    for neighbours in (6, 0):
        assert (
            dropped(Quality(outliers=8, tolerance=0, neighbours=neighbours), night(*changes)).keys() == planted.keys()
        )
    found = dropped(Quality(outliers=8, neighbours=0), night(*changes))
    assert found[7].startswith("FWHM 5 pixel is ")
    assert re.search(r"[34]\d\.\d sigma above the [23]\.?\d* that is the median of its group", found[7])
    assert found[7].endswith(", beyond outliers = 8")
    assert found[22].startswith("transparency 0.5")
    assert "sigma below the" in found[22]


@pytest.mark.parametrize("seed", range(5))
def test_what_changes_slowly_is_no_outlier_against_its_neighbours(seed):
    trends = {"fwhm": 1.5, "sky": 4000.0, "star_flux": -0.3}
    changes = scattered(seed, **trends)
    assert dropped(Quality(outliers=6, tolerance=0), night(*changes)) == {}
    changes[20]["fwhm"] += 20 * SIGMA
    assert dropped(Quality(outliers=6, tolerance=0), night(*changes)).keys() == {20}


def test_small_deviations_of_a_very_steady_night_are_tolerated():
    changes = [{"fwhm": 3.0 + 0.001 * (n % 3)} for n in range(20)]
    changes[9]["fwhm"] = 3.2
    changes[14]["fwhm"] = 3.4
    assert dropped(Quality(outliers=5), night(*changes)).keys() == {14}
    assert dropped(Quality(outliers=5, tolerance=0), night(*changes)).keys() == {9, 14}


def test_frames_of_another_exposure_time_or_filter_are_not_compared_and_few_frames_not_at_all():
    frames, measured = night(*scattered(1, 20))
    others = Frames(frame.replace(exptime=300.0) if row in (4, 9) else frame for row, frame in enumerate(frames))
    for name in ("004", "009"):
        measured[name] |= {"sky": 4000.0, "sources": 90}
    assert not Quality(outliers=6, outliers_of=["sky", "sources"]).select(others, measured).dropped
    assert set(Quality(outliers=6, outliers_of=["sky"]).select(frames, measured).dropped) == {"004", "009"}
    assert not Quality(outliers=1).select(*night({}, {}, {}, {"fwhm": 30.0})).dropped


def test_the_best_of_each_group_are_kept_by_what_is_asked():
    changes = [{"fwhm": 2.0 + 0.1 * n, "sky_rms": 40.0 - 3.0 * n} for n in range(10)]
    assert dropped(Quality(best=3, by="fwhm"), night(*changes)).keys() == set(range(3, 10))
    assert dropped(Quality(best_fraction=0.25, by="fwhm"), night(*changes)).keys() == set(range(3, 10))
    depth = [c["fwhm"] * c["sky_rms"] for c in changes]  # the smaller the deeper
    kept = set(range(10)) - dropped(Quality(best=3), night(*changes)).keys()
    assert kept == set(np.argsort(depth)[:3].tolist())
    assert dropped(Quality(best=8, by="fwhm"), night(*changes))[9] == (
        "FWHM 2.9 pixel makes it number 10 of 10 in its group; the best 8 are kept"
    )
    assert dropped(Quality(best=1, by="sources"), night({"sources": 10}, {"sources": 11})).keys() == {0}
    frames, measured = night(*changes)
    bands = Frames(frame.replace(filter="gr"[row % 2]) for row, frame in enumerate(frames))
    assert {f.name for f in Quality(best=1, by="fwhm").select(bands, measured).kept} == {"000", "001"}


def test_a_frame_that_cannot_be_ranked_is_dropped_or_kept_beside_the_best():
    given = night({}, {"fwhm": float("nan")}, {"fwhm": 2.9})
    assert dropped(Quality(best=1, by="fwhm"), given) == {
        0: "FWHM 3 pixel makes it number 2 of 2 in its group; the best 1 are kept",
        1: "its FWHM is not known (no star could be measured), so that it cannot be ranked",
    }
    assert dropped(Quality(best=1, by="fwhm", unknown="keep"), given).keys() == {0}


def test_limits_come_before_outliers_and_those_before_the_best():
    changes = scattered(3, 20)
    changes[5]["fwhm"], changes[8]["sky"] = 1.0, 5000.0
    stage = Quality(max_sky=1000, outliers=8, best=19, by="fwhm")
    assert dropped(stage, night(*changes)).keys() == {8}
    assert dropped(Quality(max_sky=1000, best=18, by="fwhm"), night(*changes)).keys() > {8}


def test_the_order_of_the_frames_does_not_matter():
    frames, measured = night(*scattered(4, 30))
    measured["012"]["fwhm"] = 6.0
    stage = Quality(outliers=4, best=20, max_jump=3)
    shuffled = Frames(frames[row] for row in np.random.default_rng(0).permutation(30))
    assert stage.select(shuffled, measured).dropped == stage.select(frames, measured).dropped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to select by: give a limit such as max_fwhm"),
        ({"best": 3, "best_fraction": 0.5}, "give either best or best_fraction"),
        ({"outliers": 5, "neighbours": 2}, "neighbours = 2: a line needs 4 or more, or zero for the median"),
        ({"outliers": 5, "outliers_of": []}, "at least 1 item"),
        ({"outliers": 5, "outliers_of": ["seing"]}, "Input should be"),
        ({"max_fhwm": 3}, "Extra inputs are not permitted"),
    ],
)
def test_options_must_make_sense(options, message):
    with pytest.raises(ValidationError, match=message):
        Quality(**options)
