"""Selection by time and by the place in a series."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from albireo import Frame, Frames, iso_to_mjd
from albireo_selection import Sequence, Time

START = iso_to_mjd("2023-11-22T03:00:00")
MINUTE = 1 / 1440


def frame_of(number, minutes, exptime=30.0, **facts):
    """A frame whose middle is so many minutes after three."""
    facts = {"kind": "science", "target": "M 67", "filter": "r", **facts}
    mid = START + minutes * MINUTE
    return Frame(f"{number:03d}.fits", exptime=exptime, start=mid - 0.5 * exptime / 86400, mid=mid, **facts)


NIGHT = Frames(frame_of(n, 2.0 * n) for n in range(10))


def dropped(stage, frames=NIGHT):
    return {int(name[:3]): reason for name, reason in stage.select(frames, {}).dropped.items()}


@pytest.mark.parametrize(
    ("toml", "out"),
    [
        ('after = "2023-11-22T03:04:00"', {0, 1}),
        ("after = 2023-11-22T03:04:00Z", {0, 1}),
        ("after = 2023-11-22T05:04:00+02:00", {0, 1}),
        ('after = "2023-11-22 03:04:00.001"', {0, 1, 2}),
        (f"before = {START + 4.001 * MINUTE}", {3, 4, 5, 6, 7, 8, 9}),
        ('exclude = [["2023-11-22T03:04", "2023-11-22T03:08"], [2023-11-22T03:16:00, 2023-11-23]]', {2, 3, 4, 8, 9}),
        ("skip_start = 3", {0, 1}),
        ("skip_start = 4", {0, 1}),
        ("skip_end = 0.1", {9}),
    ],
)
def test_frames_are_kept_by_the_middle_of_their_exposure(toml, out):
    assert set(dropped(Time(**tomllib.loads(toml)))) == out


def test_the_reasons_have_the_times():
    stage = Time(after="2023-11-22T03:01", before="2023-11-22T03:15", exclude=[(START + 0.002, START + 0.003)])
    found = dropped(stage)
    said = "the middle of its exposure, 2023-11-22T03:"
    assert found[0] == f"{said}00:00.000, is before 2023-11-22T03:01:00.000, the first moment to keep"
    assert found[8] == f"{said}16:00.000, is after 2023-11-22T03:15:00.000, the last moment to keep"
    assert found[2].startswith(f"{said}04:00.000, is between 2023-11-22T03:02:52.800 and 2023-11-22T03:04:19.200")
    assert dropped(Time(skip_start=3.0))[1] == (
        f"{said}02:00.000, is 2 minutes after the first frame of its series; 3 are skipped"
    )


def test_each_target_has_a_beginning_of_its_own_and_an_unknown_time_is_told():
    late = Frames(frame_of(20 + n, 60.0 + 2 * n, target="M 35") for n in range(3))
    lost = Frame("030.fits", kind="science", target="M 35")
    flat = frame_of(31, 0.0, kind="flat")
    frames = Frames([*NIGHT, *late, lost, flat])
    assert set(dropped(Time(skip_start=1), frames)) == {0, 20, 30}
    assert dropped(Time(skip_start=1), frames)[30] == "the time of its exposure is not known"
    assert set(dropped(Time(skip_start=1, unknown="keep"), frames)) == {0, 20}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to select by"),
        ({"after": "yesterday"}, "'yesterday' is not a date of the form"),
        ({"after": 2460270.6}, "is a Julian date; give the modified one"),
        ({"after": "2023-11-22", "before": "2023-11-21"}, "no frame can be after 2023-11-22 and before 2023-11-21"),
        ({"exclude": [("2023-11-22", "2023-11-21")]}, "ends before it begins"),
    ],
)
def test_impossible_times_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        Time(**options)


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ({"skip": 2}, {0, 1}),
        ({"skip_last": 3}, {7, 8, 9}),
        ({"every": 3}, {1, 2, 4, 5, 7, 8}),
        ({"every": 3, "skip": 1}, {0, 2, 3, 5, 6, 8, 9}),
        ({"numbers": (3, 5)}, {0, 1, 5, 6, 7, 8, 9}),
        ({"skip": 99}, set(range(10))),
    ],
)
def test_places_are_counted_from_one_in_order_of_time(options, out):
    assert set(dropped(Sequence(**options), Frames(reversed(tuple(NIGHT))))) == out


def test_a_series_is_of_one_kind_target_filter_and_exposure_time():
    frames = Frames(
        frame_of(n, n, exptime=exptime, filter=colour, kind=kind)
        for n, (kind, colour, exptime) in enumerate(
            [(k, c, t) for k in ("science", "flat") for c in "gr" for t in (10.0, 60.0) for _ in range(2)]
        )
    )
    assert set(dropped(Sequence(skip=1), frames)) == {0, 2, 4, 6}
    assert set(dropped(Sequence(skip=1, kind=["flat", "science"], filter="g"), frames)) == {0, 2, 8, 10}
    assert dropped(Sequence(skip=1), frames)[0] == "it is number 1 of 2 in its series; the first 1 are skipped"


def test_a_pause_begins_a_new_series():
    frames = Frames(frame_of(n, minutes) for n, minutes in enumerate([0, 1, 2, 10, 11, 12.6, 14.1]))
    assert set(dropped(Sequence(skip=1, gap=1.05), frames)) == {0, 3, 5}  # from the end to the start
    assert set(dropped(Sequence(skip=1), frames)) == {0}


def test_impossible_places_are_refused():
    with pytest.raises(ValidationError, match="nothing to select by"):
        Sequence()
    for numbers in ((0, 3), (4, 3)):
        with pytest.raises(ValidationError, match="places run from 1"):
            Sequence(numbers=numbers)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 5), st.permutations(range(10)))
def test_what_is_kept_does_not_depend_on_the_order_of_the_files(skip, last, every, order):
    if skip or last or every > 1:
        stage = Sequence(skip=skip, skip_last=last, every=every)
        shuffled = Frames(NIGHT[row] for row in order)
        assert stage.select(shuffled, {}).dropped == stage.select(NIGHT, {}).dropped
        assert len(stage.select(NIGHT, {}).kept) == max(0, -(-(10 - skip - last) // every))
