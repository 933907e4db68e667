"""Selection by headers: conditions, unknown values, and what is said when a recipe is read."""

import pytest
from pydantic import ValidationError

from albireo import Frame, Frames
from albireo_selection import Header

NIGHT = Frames(
    [
        Frame(
            "/d/m67-1.fits.fz", name="m67-1.fits.fz", kind="science", target="M 67", filter="r", exptime=30, airmass=1.2
        ),
        Frame(
            "/d/m67-2.fits.fz", name="m67-2.fits.fz", kind="science", target="M 67", filter="g", exptime=10, airmass=2.3
        ),
        Frame("/d/test.fits", name="test.fits", kind="science", target="", filter="[OIII]", exptime=60.0000001),
        Frame("/d/flat.fits", name="flat.fits", kind="flat", filter="r", exptime=2, setup=(("binning", "2"),)),
    ]
)


def dropped(**options):
    """Reasons by the row of the frame."""
    selection = Header(**options).select(NIGHT, {})
    assert len(selection.kept) + len(selection.dropped) == len(NIGHT)
    rows = {frame.name: row for row, frame in enumerate(NIGHT)}
    return {rows[name]: reason for name, reason in selection.dropped.items()}


@pytest.mark.parametrize(
    ("keep", "out"),
    [
        ({"exptime": "10 to 30"}, {2}),
        ({"exptime": "> 10"}, {1}),
        ({"exptime": ">= 10"}, set()),
        ({"exptime": "< 30"}, {0, 2}),
        ({"exptime": "<=30"}, {2}),
        ({"exptime": 60}, {0, 1}),
        ({"exptime": [10, "40 to 1e2"]}, {0}),
        ({"filter": ["r", "g"]}, {2}),
        ({"filter": "[OIII]"}, {0, 1}),
        ({"filter": "R"}, {0, 1, 2}),
        ({"target": "M*"}, {2}),
        ({"name": "m67-?.fits"}, {2}),
        ({"name": ["test.fits", "m67-1.fits.fz"]}, {1}),
        ({"exptime": "> 20", "filter": "r"}, {1, 2}),
    ],
)
def test_a_frame_stays_if_it_meets_every_condition(keep, out):
    assert set(dropped(keep=keep)) == out


def test_a_frame_goes_if_it_meets_all_conditions_to_drop():
    assert dropped(drop={"target": "M*", "airmass": "> 2"}) == {1: "target 'M 67' is M*; airmass 2.3 is > 2"}
    assert dropped(drop={"airmass": "> 0"}).keys() == {0, 1}  # of the others the airmass is not known


def test_only_the_kinds_and_filters_to_judge_are_looked_at():
    assert dropped(kind="flat", keep={"setup.binning": 1}) == {3: "setup.binning '2' is not 1"}
    assert dropped(kind="flat", keep={"setup.binning": 2.0}) == {}
    assert dropped(kind="flat", keep={"setup.binning": "2"}) == {}
    assert dropped(kind=["flat", "science"], filter="r", drop={"exptime": "> 0"}).keys() == {0, 3}


def test_an_unknown_value_is_told_and_can_be_let_pass():
    assert dropped(keep={"airmass": "<= 2"}) == {
        1: "airmass 2.3 is not <= 2",
        2: "its header does not say airmass, which has to be <= 2",
    }
    assert dropped(keep={"airmass": "<= 2"}, unknown="keep").keys() == {1}
    assert dropped(keep={"setup.gain": ["low", 2]}) == dict.fromkeys(
        (0, 1, 2), "its header does not say setup.gain, which has to be low or 2"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to select by"),
        ({"keep": {"airmas": 2}}, "frames have no 'airmas'; did you mean 'airmass'?"),
        (
            {"keep": {"moon": 2, "exptme": 1}},
            "frames have no 'moon'; there are .*; frames have no 'exptme'; did you mean",
        ),
        ({"drop": {"airmass": "2 < x"}}, "'2 < x' is no condition for the number airmass; write 2.5, '<= 2.5' or"),
        ({"drop": {"exptime": "60 to 10"}}, "is empty; write the smaller number first"),
        ({"drop": {"kind": "flat"}}, "'kind' takes no condition: set the option kind"),
        ({"drop": {"setup": "flat"}}, "name one setting, such as 'setup.binning'"),
        ({"drop": {"start": 60310.0}}, "'start' is a time: choose by it with use = \"time\""),
    ],
)
def test_a_condition_that_cannot_be_is_refused_when_the_recipe_is_read(options, message):
    with pytest.raises(ValidationError, match=message):
        Header(**options)
