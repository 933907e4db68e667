"""Which master sky a frame takes: the nearest in time that does not hold the frame itself."""

from albireo import Frame, Frames
from albireo_calibration import Sky

MINUTE = 1.0 / 1440.0
NIGHT = [Frame(f"s{n:03d}.fits", kind="science", start=60000.0 + n * MINUTE) for n in range(30)]


def windows(width):
    return [Frames(NIGHT[first : first + width]) for first in range(len(NIGHT) - width + 1)]


def test_a_frame_is_never_part_of_its_sky_where_that_can_be_helped():
    groups = windows(5)
    for number, frame in enumerate(NIGHT):
        group, reason = Sky().choose(frame, groups)
        assert frame not in group
        # The mean of five frames lies two minutes from its ends: three minutes is as near as it gets.
        assert abs(2 + NIGHT.index(group[0]) - number) == 3
        assert reason == "nearest in time, 3.0 min away in the mean, of 26 that match, without the frame itself"
        assert Sky().check(frame, group) == ""


def test_order_of_groups_and_of_their_frames_does_not_matter():
    groups = windows(5)
    shuffled = [Frames(reversed(list(group))) for group in reversed(groups)]
    for frame in NIGHT[:5]:
        assert set(Sky().choose(frame, groups)[0]) == set(Sky().choose(frame, shuffled)[0])


def test_groups_on_both_sides_of_a_frame_are_nearer_than_one_side():
    around = Frames([NIGHT[9], NIGHT[11]])
    before = Frames([NIGHT[7], NIGHT[9]])
    assert Sky().choose(NIGHT[10], [before, around])[0] is around


def test_one_sky_for_all_is_taken_and_deserves_a_word():
    group = Frames(NIGHT)
    assert Sky().choose(NIGHT[3], [group]) == (group, "the only one that matches")
    assert "some frames are themselves part of the master sky" in Sky().check(NIGHT[3], group)
    halves = [Frames(NIGHT), Frames(NIGHT[:20])]
    assert Sky().choose(NIGHT[3], halves)[1].endswith("of 2 that match; all hold the frame itself")


def test_skies_beside_the_target_are_taken_by_time_alone():
    early, late = (
        Frames(Frame(f"sky{start}{n}", kind="sky", start=start + n * MINUTE) for n in range(3))
        for start in (60000.0, 60000.1)
    )
    group, reason = Sky().choose(NIGHT[10], [late, early])
    assert group is early
    assert reason == "nearest in time, 9.0 min away in the mean, of 2 that match"
    unknown = Frame("x.fits", kind="science")
    assert Sky().choose(unknown, [late, early])[1] == "nearest in time, times unknown, of 2 that match"
