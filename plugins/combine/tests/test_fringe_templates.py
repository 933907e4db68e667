"""Templates of fringes from frames with stars, gradients and fringes of different strength."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Flag, Frame, FrameError, Frames, flags_of, image, planes_of, variance_of
from albireo.testing.stack import ImageStack
from albireo_combine.fringe import Fringe

SHAPE = (160, 150)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
LEVELS = np.array([3000.0, 3600.0, 2500.0, 4000.0, 3300.0, 2800.0, 3900.0, 3100.0, 2700.0])
STRENGTH = np.array([1.0, 1.5, 0.7, 1.2, 0.6, 1.3, 0.8, 1.0, 0.9])
STRENGTH = STRENGTH / STRENGTH.mean()


@pytest.fixture
def rng():
    return np.random.default_rng(17)


def fringes():
    """Bent stripes with a contrast of some percent."""
    return 0.03 * np.sin((X + 0.3 * Y + 20.0 * np.sin(Y / 40.0)) / 3.0)


def star(y, x, peak, sigma=2.0):
    return peak * np.exp(-0.5 * ((Y - y) ** 2 + (X - x) ** 2) / sigma**2)


def stack_of(rng, strength=STRENGTH, stars=True, order=None, rows=16, contrast=1.0):
    made = []
    for index, level in enumerate(LEVELS):
        sky = level * (1.0 + contrast * strength[index] * fringes() + 0.02 * (index % 3 - 1) * (X - 75) / 75.0)
        if stars:
            sky = sky + star(30 + 11 * index, 20 + 12 * index, 4000.0) + star(140 - 9 * index, 75, 1000.0)
        made.append(image(rng.poisson(sky) + 6.0 * rng.standard_normal(SHAPE), "electron"))
    order = range(len(made)) if order is None else order
    return ImageStack([made[i] for i in order], Frames(Frame(f"{i}.fits", kind="science") for i in order), rows)


def test_the_template_is_the_fringes_within_its_errors(rng):
    master = Fringe(background=50).build(stack_of(rng))
    off = master.data - fringes()
    # Medians of boxes also take a little of the fringes.
    assert np.median(off) == pytest.approx(0.0, abs=1e-3)
    pull = off / np.sqrt(variance_of(master))
    assert pull.std() == pytest.approx(1.05, abs=0.08)
    assert master.meta["AMPMIN"] == pytest.approx(STRENGTH.min(), rel=0.03)
    assert master.meta["AMPMAX"] == pytest.approx(STRENGTH.max(), rel=0.03)
    slope = (master.data * fringes()).sum() / (fringes() ** 2).sum()
    assert slope == pytest.approx(1.0, abs=0.015)
    assert str(master.unit) == ""
    assert master.meta["NCOMBINE"] == len(LEVELS)


def test_stars_leave_no_trace(rng):
    master = Fringe(background=50).build(stack_of(rng))
    for y, x in [(30 + 11 * i, 20 + 12 * i) for i in range(len(LEVELS))]:
        near = np.hypot(Y - y, X - x) < 6
        off = (master.data - fringes())[near]
        assert abs(off.mean()) < 5 * np.sqrt(variance_of(master)[near].mean() / near.sum()) + 1e-3
    assert planes_of(master)["COUNT"].max() == len(LEVELS)


def test_scaling_by_the_fringes_is_better_than_by_the_sky(rng):
    stack = stack_of(rng, stars=False)
    both = [Fringe(background=50, scale=scale).build(stack) for scale in ("fringe", "sky")]
    error = [np.var(master.data - fringes()) for master in both]
    claimed = [variance_of(master).mean() for master in both]
    assert error[0] < 0.95 * error[1]
    assert claimed[0] < claimed[1]


def test_frames_without_fringes_are_left_out_and_named(rng):
    strength = STRENGTH.copy()
    strength[4] = 0.0
    master = Fringe(background=50).build(stack_of(rng, strength))
    assert master.meta["NCOMBINE"] == len(LEVELS) - 1
    assert master.meta["DROPPED"] == {"4.fits": "it has hardly any fringes"}


def test_frames_without_any_fringes_are_refused(rng):
    with pytest.raises(FrameError, match="share no fringes that stand out of their noise"):
        Fringe(background=50).build(stack_of(rng, contrast=0.0, stars=False))


def test_order_and_strips_do_not_change_a_bit():
    one = Fringe(background=50).build(stack_of(np.random.default_rng(1)))
    for other in (
        Fringe(background=50).build(stack_of(np.random.default_rng(1), order=[4, 0, 8, 2, 6, 1, 7, 3, 5])),
        Fringe(background=50).build(stack_of(np.random.default_rng(1), rows=9)),
    ):
        assert np.array_equal(one.data, other.data, equal_nan=True)
        assert np.array_equal(variance_of(one), variance_of(other), equal_nan=True)


def test_pixels_that_no_frame_has_are_flagged(rng):
    pictures = []
    for picture in stack_of(rng):
        flags = np.zeros(SHAPE, np.uint16)
        flags[5, 6] = Flag.BAD
        pictures.append(image(picture.data, "electron", flags=flags))
    master = Fringe(background=50).build(ImageStack(pictures))
    assert flags_of(master)[5, 6] == Flag.NO_DATA
    assert (flags_of(master) != 0).sum() == 1


def test_it_takes_the_frames_it_is_told_to_and_refuses_one():
    assert Fringe().wants(Frame("a.fits", kind="science"))
    assert not Fringe(frames="sky").wants(Frame("a.fits", kind="science"))
    with pytest.raises(ValidationError, match="it makes the kind fringe"):
        Fringe(kind="sky")
    with pytest.raises(FrameError, match="a stack of 1 is too few"):
        Fringe().build(ImageStack([image(np.ones(SHAPE), "electron")]))
