"""Infrared flats: lamp on less lamp off."""

import numpy as np
import pytest

from albireo import Flag, Frame, FrameError, Frames, flags_of, image, planes_of, variance_of
from albireo.testing.stack import ImageStack
from albireo_combine.dome import DomeFlat

SHAPE = (100, 110)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


@pytest.fixture
def rng():
    return np.random.default_rng(21)


def response():
    pattern = 1.0 + 0.2 * np.sin(X / 15.0) + 0.02 * np.random.default_rng(2).standard_normal(SHAPE)
    return pattern / np.median(pattern)


def stack_of(rng, lamps, order=None, rows=16, lost=None):
    """Frames in electrons; the dome glows by itself, with a shape of its own."""
    glow = 3000.0 + 1000.0 * Y / SHAPE[0]
    made = []
    for index, lamp in enumerate(lamps):
        data = rng.poisson(glow + lamp * response()) + 8.0 * rng.standard_normal(SHAPE)
        flags = np.zeros(SHAPE, np.uint16)
        if lost is not None:
            flags[lost(index)] = Flag.BAD
        made.append(image(data, "electron", flags=flags))
    order = range(len(made)) if order is None else order
    return ImageStack([made[i] for i in order], Frames(Frame(f"{i:02d}.fits", kind="flat") for i in order), rows)


def test_the_difference_has_no_glow_and_right_error_bars(rng):
    lamps = [0.0] * 6 + [20000.0, 20400.0, 19500.0, 20100.0, 19800.0, 20000.0]
    master = DomeFlat().build(stack_of(rng, lamps))
    pull = (master.data - response()) / np.sqrt(variance_of(master))
    assert abs(pull.mean()) < 0.2  # only the pixels around the median tell its value
    assert pull.std() == pytest.approx(1.04, abs=0.03)
    assert np.mean(variance_of(master)) == pytest.approx(np.mean((master.data - response()) ** 2), rel=0.05)
    assert (master.meta["NON"], master.meta["NOFF"]) == (6, 6)
    assert master.meta["LEVELOFF"] == pytest.approx(3500, rel=0.01)
    assert str(master.unit) == ""
    assert planes_of(master)["COUNT"].max() == 12


def test_a_pixel_that_one_kind_lacks_is_flagged(rng):
    master = DomeFlat().build(stack_of(rng, [0.0] * 3 + [2e4] * 3, lost=lambda i: (4, 5) if i < 3 else (7, 8)))
    assert flags_of(master)[4, 5] == flags_of(master)[7, 8] == Flag.NO_DATA
    assert (flags_of(master) != 0).sum() == 2


def test_order_and_strips_do_not_change_a_bit():
    lamps = [0.0, 2e4, 0.0, 2.1e4, 0.0, 1.9e4]
    one = DomeFlat().build(stack_of(np.random.default_rng(1), lamps))
    for other in (
        DomeFlat().build(stack_of(np.random.default_rng(1), lamps, order=[5, 2, 0, 4, 1, 3])),
        DomeFlat().build(stack_of(np.random.default_rng(1), lamps, rows=9)),
    ):
        assert np.array_equal(one.data, other.data)
        assert np.array_equal(variance_of(one), variance_of(other))


@pytest.mark.parametrize("lamps", [[2e4] * 6, [0.0, 2e4, 2e4, 2e4], [2e4], [1e4, 1.5e4, 2e4, 2.5e4]])
def test_frames_of_one_kind_are_refused(rng, lamps):
    with pytest.raises(FrameError, match="do not fall into two kinds, lamp off and lamp on"):
        DomeFlat().build(stack_of(rng, lamps))
