"""Selection by partners: which exposures are complete, and the words for the others."""

import pytest
from pydantic import ValidationError

from albireo import Frame, Frames
from albireo.testing import conformance
from albireo_selection import Simultaneous


def frame_of(detector, colour, exposure, kind="science", **facts):
    return Frame(
        f"{kind}-{detector}-{exposure}.fits",
        instrument=facts.pop("instrument", "opti"),
        detector=detector,
        filter=colour,
        kind=kind,
        exposure=exposure,
    )


NIGHT = Frames(
    [
        *(frame_of(d, c, "one") for d, c in (("C1", "g"), ("C2", "r"), ("C3", "i"))),
        *(frame_of(d, c, "two") for d, c in (("C1", "g"), ("C3", "i"))),
        *(frame_of(d, c, "three") for d, c in (("C1", "u"), ("C2", "r"), ("C3", "i"))),
    ]
)


def kept(stage, frames=NIGHT):
    return {frame.exposure for frame in stage.select(frames, {}).kept}


def test_exposures_with_every_filter_are_kept_and_the_missing_one_is_named():
    selection = Simultaneous(filters=["g", "r", "i"]).select(NIGHT, {})
    assert {frame.exposure for frame in selection.kept} == {"one"}
    assert selection.dropped == {
        **dict.fromkeys(
            ("science-C1-two.fits", "science-C3-two.fits"),
            "its exposure two has no frame in filter r; there is g of C1, i of C3",
        ),
        **dict.fromkeys(
            ("science-C1-three.fits", "science-C2-three.fits", "science-C3-three.fits"),
            "its exposure three has no frame in filter g; there is u of C1, r of C2, i of C3",
        ),
    }


def test_what_is_not_asked_for_does_not_matter():
    assert kept(Simultaneous(filters=["i"])) == {"one", "two", "three"}
    assert kept(Simultaneous(detectors=["C1", "C2"])) == {"one", "three"}
    assert kept(Simultaneous(filters=["g"], detectors=["C2"])) == {"one"}


def test_several_missing_partners_are_named_together():
    selection = Simultaneous(filters=["z"], detectors=["C4"]).select(NIGHT[:1], {})
    assert selection.dropped == {
        "science-C1-one.fits": "its exposure one has no frame in filter z and detector C4; there is g of C1"
    }


def test_frames_of_other_kinds_are_kept_and_are_no_partners():
    flat = frame_of("C2", "r", "two", kind="flat")
    selection = Simultaneous(filters=["g", "r"]).select(Frames([*NIGHT, flat]), {})
    assert flat in selection.kept
    assert "science-C1-two.fits" in selection.dropped


def test_cameras_are_looked_at_one_by_one():
    other = frame_of("C2", "r", "two", instrument="another")
    assert "science-C1-two.fits" in Simultaneous(filters=["g", "r"]).select(Frames([*NIGHT, other]), {}).dropped


def test_a_frame_without_an_exposure_is_dropped_in_words():
    selection = Simultaneous(filters=["g"]).select(Frames([frame_of("C1", "g", "")]), {})
    assert selection.dropped == {"science-C1-.fits": "the camera does not say which frames were exposed with it"}


def test_something_must_be_asked_for():
    with pytest.raises(ValidationError, match="nothing to select by: give filters or detectors"):
        Simultaneous()


@pytest.mark.parametrize("case", conformance.cases(Simultaneous(filters=["g", "r"])), ids=str)
def test_conforms(case):
    case()
