"""Selection of the best before the reduction: ranks, groups, and frames without a value."""

import pytest
from pydantic import ValidationError

from albireo import Frame, Frames
from albireo_selection import Best


def frame_of(name, kind="flat", **facts):
    return Frame(name, kind=kind, **{"saturation": 60000.0, "filter": "r", **facts})


def levels(**values):
    return {name: {"level": level, "overscan": float("nan"), "saturated": 0.0} for name, level in values.items()}


def kept(stage, frames, measured=None):
    return {frame.name for frame in stage.select(Frames(frames), measured or {}).kept}


def test_the_flats_nearest_to_the_wanted_level_are_kept_filter_by_filter():
    frames = [*(frame_of(n) for n in "abcd"), *(frame_of(n, filter="g") for n in "efg"), frame_of("s", "science")]
    measured = levels(a=6000, b=24000, c=33000, d=48000, e=59000, f=2000, g=30000)
    stage = Best(number=2)
    assert [stage.wants(frame) for frame in frames] == [True] * 7 + [False]
    selection = stage.select(Frames(frames), measured)
    assert [frame.name for frame in selection.kept] == ["b", "c", "f", "g", "s"]
    assert selection.dropped["d"] == (
        "median level 48000 adu is 80 % of saturation (60000): number 3 of 4 by nearness to 50 %; the best 2 are kept"
    )
    assert kept(Best(number=1, near=0.9), frames, measured) == {"d", "e", "s"}
    assert kept(Best(fraction=0.5, near=0.1), frames, measured) == {"a", "b", "f", "g", "s"}


def test_equal_frames_are_taken_by_name_whatever_their_order():
    frames = [frame_of(n) for n in "cab"]
    measured = levels(a=20000, b=40000, c=40000)
    assert kept(Best(number=2), frames, measured) == {"a", "b"}
    assert kept(Best(number=2), frames[::-1], measured) == {"a", "b"}


def test_facts_of_the_header_rank_too_and_darks_of_each_exposure_time_by_themselves():
    darks = [
        frame_of(f"{exptime:g}{n}", "dark", exptime=exptime, filter=str(n), temperature=-90.0 - n)
        for exptime in (10.0, 60.0)
        for n in range(3)
    ]
    stage = Best(kind="dark", number=1, by="temperature", near=-91.2)
    assert not stage.wants(darks[0])
    assert kept(stage, darks) == {"101", "601"}
    science = [frame_of(str(n), "science", airmass=1.0 + 0.3 * n) for n in range(3)]
    selection = Best(kind="science", number=2, by="airmass").select(Frames([*science, frame_of("lost", "science")]), {})
    assert selection.dropped == {
        "2": "airmass 1.6: number 3 of 3 by nearness to 1; the best 2 are kept",
        "lost": "its airmass is not known",
    }


def test_a_frame_whose_level_is_not_known_is_dropped_with_the_reason():
    selection = Best(number=5).select(Frames([frame_of("a"), frame_of("b", saturation=float("nan"))]), levels(b=9000))
    assert selection.dropped["a"] == "its level could not be measured"
    assert "the saturation level is not known" in selection.dropped["b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either number or fraction"),
        ({"number": 2, "fraction": 0.5}, "give either number or fraction"),
        ({"number": 2, "by": "temperature"}, "give near: which temperature is wanted"),
        ({"number": 2, "near": 30000}, "is no level: it is a fraction of saturation"),
    ],
)
def test_options_must_make_sense(options, message):
    with pytest.raises(ValidationError, match=message):
        Best(**options)
