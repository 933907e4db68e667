"""Master skies of the infrared: objects leave no trace, windows run with the time."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Flag, Frame, FrameError, Frames, flags_of, image, planes_of, variance_of
from albireo.testing.stack import ImageStack
from albireo_combine.running_sky import RunningSky

SHAPE = (150, 160)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


@pytest.fixture
def rng():
    return np.random.default_rng(33)


def pattern():
    """Structure of the background, with median one."""
    shape = 1.0 + 0.05 * np.cos(X / 20.0) * np.sin(Y / 25.0) + 0.003 * np.random.default_rng(4).standard_normal(SHAPE)
    return shape / np.median(shape)


def star(y, x, peak, sigma=2.0):
    return peak * np.exp(-0.5 * ((Y - y) ** 2 + (X - x) ** 2) / sigma**2)


def stack_of(rng, levels, objects, order=None, rows=16):
    made = [
        image(rng.poisson(level * pattern() + objects(index)) + 10.0 * rng.standard_normal(SHAPE), "electron")
        for index, level in enumerate(levels)
    ]
    order = range(len(made)) if order is None else order
    return ImageStack([made[i] for i in order], Frames(Frame(f"{i:02d}.fits", kind="sky") for i in order), rows)


LEVELS = [9000.0, 9500.0, 10000.0, 10800.0, 11000.0]


@pytest.mark.parametrize("peak", [300.0, 3000.0, 40000.0])
def test_a_source_at_another_place_in_each_frame_leaves_less_than_one_sigma(rng, peak):
    places = [(40 + 15 * i, 50 + 12 * i) for i in range(5)]
    master = RunningSky().build(stack_of(rng, LEVELS, lambda i: star(*places[i], peak)))
    assert master.meta["NCOMBINE"] == 5
    off = master.data - pattern()
    sky_sigma = np.sqrt(np.mean(LEVELS)) / np.mean(LEVELS)
    for y, x in places:
        near = np.hypot(Y - y, X - x) < 6
        assert abs(off[near].mean()) < sky_sigma / 5
        assert np.abs(off[near]).max() < 3 * sky_sigma
        assert np.abs(off[near] / np.sqrt(variance_of(master)[near])).max() < 5


def test_objects_hidden_in_every_frame_leave_a_gap_and_no_guess(rng):
    # It moves by less than its own size: nothing is known of the sky at its middle.
    master = RunningSky(box=64).build(stack_of(rng, LEVELS, lambda i: star(70 + 14 * (i % 2), 80, 8000.0, 6.0)))
    assert 0.95 < np.isfinite(master.data).mean() < 1.0
    count = planes_of(master)["COUNT"]
    assert np.array_equal(count == 0, (flags_of(master) & Flag.NO_DATA) != 0)


def test_error_bars_are_right_and_noise_is_not_masked(rng):
    master = RunningSky().build(stack_of(rng, LEVELS, lambda i: 0.0))
    pull = (master.data - pattern()) / np.sqrt(variance_of(master))
    assert pull.std() == pytest.approx(1.045, abs=0.03)
    assert np.mean(variance_of(master)) == pytest.approx(np.mean((master.data - pattern()) ** 2), rel=0.04)
    assert (planes_of(master)["COUNT"] == 5).mean() > 0.97


def test_order_and_strips_do_not_change_a_bit():
    def objects(index):
        return star(30 + 20 * index, 60, 4000.0)

    one = RunningSky().build(stack_of(np.random.default_rng(1), LEVELS, objects))
    for other in (
        RunningSky().build(stack_of(np.random.default_rng(1), LEVELS, objects, order=[3, 0, 4, 1, 2])),
        RunningSky().build(stack_of(np.random.default_rng(1), LEVELS, objects, rows=11)),
    ):
        assert np.array_equal(one.data, other.data, equal_nan=True)
        assert np.array_equal(variance_of(one), variance_of(other), equal_nan=True)


def frames_at(times, kind):
    return Frames(Frame(f"{i:03d}.fits", kind=kind, start=t) for i, t in enumerate(times))


def test_every_science_frame_has_a_window_of_the_nearest_others():
    times = [0.0, 0.1, 0.2, 0.3, 5.0, 5.1, 5.2]
    frames = frames_at(times, "science")
    groups = list(RunningSky(frames="science", window=3).split(frames))
    assert len(groups) == len(frames)
    for frame, group in zip(frames, groups, strict=True):
        assert len(group) == 3
        assert frame not in list(group)
        farthest = max(abs(f.start - frame.start) for f in group)
        others = sorted(abs(f.start - frame.start) for f in frames if f is not frame)
        assert farthest == others[2]


def test_windows_of_the_sky_run_through_the_night():
    frames = frames_at(np.arange(6.0), "sky")
    groups = list(RunningSky(window=4).split(frames))
    assert [[f.start for f in group] for group in groups] == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]
    assert [len(group) for group in RunningSky(window=9).split(frames)] == [6]
    assert [len(group) for group in RunningSky(window=0, frames="science").split(frames)] == [6]


def test_it_takes_the_frames_it_is_told_to():
    science, sky = Frame("a.fits", kind="science"), Frame("b.fits", kind="sky")
    assert (RunningSky().wants(science), RunningSky().wants(sky)) == (False, True)
    assert (RunningSky(frames="science").wants(science), RunningSky(frames="science").wants(sky)) == (True, False)
    with pytest.raises(ValidationError, match="shows its stars"):
        RunningSky(window=1)
    with pytest.raises(ValidationError, match="it makes the kind sky"):
        RunningSky(kind="flat")


def test_one_frame_is_refused(rng):
    with pytest.raises(FrameError, match="a stack of 1 is too few"):
        RunningSky().build(stack_of(rng, [1e4], lambda i: 0.0))
