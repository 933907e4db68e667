"""Frames of several detectors that were exposed at once get one exposure."""

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albireo import Frame, Frames, group_by_overlap

DAY = 86400.0
MIDNIGHT = 60000.0
NAME = "2023-02-25T00:00:{:06.3f}"


def frame(detector, start, exptime=10.0, **facts):
    """A frame of a detector that opens some seconds after midnight."""
    name = f"{detector}-{start:g}-{exptime:g}.fits"
    return Frame(name, instrument="opti", detector=detector, start=MIDNIGHT + start / DAY, exptime=exptime, **facts)


def grouped(*frames):
    """Detectors and starts of the frames of each exposure, in order."""
    groups = group_by_overlap(Frames(frames)).by("exposure")
    return {key[0]: [f.name for f in group] for key, group in groups.items()}


def test_frames_that_open_together_share_an_exposure_called_by_the_earliest_start():
    frames = [frame("C1", 0.4), frame("C2", 0.0), frame("C3", 1.25), frame("C1", 15.0), frame("C3", 14.9)]
    found = group_by_overlap(Frames(frames))
    assert found.values("exposure") == [NAME.format(0), NAME.format(0), NAME.format(0)] + [NAME.format(14.9)] * 2
    assert found.values("name") == [f.name for f in frames]


@pytest.mark.parametrize(("lag", "shared"), [(0.0, True), (4.9, True), (5.1, False), (-4.9, True), (-5.1, False)])
def test_more_than_half_of_the_shorter_exposure_must_overlap(lag, shared):
    assert len(grouped(frame("C1", 20.0, 10.0), frame("C2", 20.0 + lag, 10.0))) == (1 if shared else 2)


def test_a_short_exposure_inside_a_long_one_is_simultaneous_with_it():
    assert len(grouped(frame("C1", 0.0, 60.0), frame("C2", 40.0, 5.0))) == 1


def test_of_many_short_exposures_the_one_nearest_to_the_start_goes_with_the_long_one():
    short = [frame("C1", 10.0 * k, 9.0) for k in range(6)]
    found = grouped(frame("C3", 0.2, 60.0), *short, *(f.replace(detector="C2", name=f"{f.name}-2") for f in short))
    assert [len(group) for group in found.values()] == [3, 2, 2, 2, 2, 2]
    assert next(iter(found.values()))[0] == "C3-0.2-60.fits"


def test_all_frames_of_an_exposure_overlap_with_each_other():
    # The one in the middle overlaps with both others, which do not overlap with each other.
    found = grouped(frame("C1", 0.0), frame("C2", 4.0), frame("C3", 8.0))
    assert list(found.values()) == [["C1-0-10.fits", "C2-4-10.fits"], ["C3-8-10.fits"]]


def test_bias_frames_go_together_within_a_second():
    assert len(grouped(frame("C1", 0.0, 0.0), frame("C2", 0.9, 0.0))) == 1
    assert len(grouped(frame("C1", 0.0, 0.0), frame("C2", 1.1, 0.0))) == 2
    assert len(grouped(frame("C1", 0.0, 0.0), frame("C2", 0.0, 10.0))) == 2


def test_cameras_do_not_mix():
    pair = [frame("C1", 0.0), frame("C2", 0.0).replace(instrument="other")]
    assert len({f.exposure for f in group_by_overlap(Frames(pair))}) == 2


def test_a_frame_that_knows_its_exposure_keeps_it_and_takes_no_part():
    told = frame("C1", 0.0, exposure=NAME.format(0))
    found = group_by_overlap(Frames([told, frame("C2", 0.0), frame("C3", 0.1)]))
    assert found.values("exposure") == [NAME.format(0), f"{NAME.format(0)}-2", f"{NAME.format(0)}-2"]


def test_frames_without_known_times_get_none():
    nan = float("nan")
    found = group_by_overlap(Frames([frame("C1", nan), frame("C2", 0.0, nan), frame("C3", 0.0)]))
    assert found.values("exposure") == ["", "", NAME.format(0)]


def test_two_frames_of_one_detector_at_one_time_are_two_exposures():
    assert list(grouped(frame("C1", 0.0), frame("C1", 0.0, 9.0))) == [NAME.format(0), f"{NAME.format(0)}-2"]


exposures = st.lists(
    st.tuples(
        st.sampled_from(["C1", "C2", "C3"]), st.integers(0, 120), st.sampled_from([0.0, 1.0, 7.0, 30.0]), st.booleans()
    ),
    max_size=30,
    unique=True,
)


@settings(max_examples=200, deadline=None)
@given(exposures, st.randoms(use_true_random=False))
def test_groups_hold_whatever_the_times_are(entries, shuffle: random.Random):
    frames = [
        frame(detector, 0.5 * start, exptime, exposure=f"told {start}" if told and start % 5 == 0 else "")
        for detector, start, exptime, told in entries
    ]
    frames = list({f.name: f for f in frames}.values())
    found = group_by_overlap(Frames(frames))
    assert [f.replace(exposure="") for f in found] == [f.replace(exposure="") for f in frames]
    for before, after in zip(frames, found, strict=True):
        assert after.exposure == before.exposure if before.exposure else after.exposure
    for (name,), group in found.by("exposure").items():
        if name.startswith("told"):
            continue
        detectors = group.values("detector")
        assert len(set(detectors)) == len(detectors)
        for one, other in combinations(group, 2):
            begin, end = max(one.start, other.start), min(f.start + f.exptime / DAY for f in (one, other))
            assert end - begin > (min(one.exptime, other.exptime) / 2) / DAY - 1e-9 or one.exptime == other.exptime == 0
    shuffled = list(frames)
    shuffle.shuffle(shuffled)
    by_name = {f.name: f.exposure for f in group_by_overlap(Frames(shuffled))}
    assert [by_name[f.name] for f in found] == found.values("exposure")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.sampled_from("ABCD"), min_size=1), min_size=1, max_size=12), st.integers(0, 1000))
def test_a_camera_that_opens_its_eyes_together_is_understood(nights, seed):
    rng = random.Random(seed)
    frames = [
        frame(eye, 60.0 * number + rng.uniform(0, 8), rng.choice([20.0, 30.0]))
        for number, eyes in enumerate(nights)
        for eye in eyes
    ]
    found = grouped(*frames)
    assert [{name[0] for name in group} for group in found.values()] == nights
