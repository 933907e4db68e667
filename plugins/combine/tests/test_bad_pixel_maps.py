"""Maps of bad pixels: planted ones are found, good ones are not."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Flag, Frame, FrameError, Frames, flags_of, image, planes_of, variance_of
from albireo.testing.stack import ImageStack
from albireo_combine.bad_pixels import BadPixels

SHAPE = (150, 160)
NUMBER = 40
"""Pixels planted of each fault."""
FAULTS = ("hot", "noisy", "dead", "high", "bent")


@pytest.fixture
def rng():
    return np.random.default_rng(77)


def planted():
    """Places of each fault, all different."""
    places = np.random.default_rng(6).permutation(SHAPE[0] * SHAPE[1])[: 5 * NUMBER].reshape(5, NUMBER)
    return {name: np.unravel_index(p, SHAPE) for name, p in zip(FAULTS, places, strict=True)}


def frames_of(rng, darks=(5.0,) * 5 + (60.0,) * 6, flats=(30000.0,) * 5 + (4000.0,) * 5, faults=True):
    """Darks (bias subtracted, with a smooth glow) and flats in electrons with cosmic rays."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    response = 1.0 - 0.2 * ((x - 80) ** 2 + (y - 75) ** 2) / 11000.0
    response *= 1.0 + 0.01 * np.random.default_rng(1).standard_normal(SHAPE)
    rate = 0.05 + 0.2 * np.exp(-x / 20.0)
    bad = planted() if faults else {}
    made = []
    for time in darks:
        current = rate.copy()
        if faults:
            current[bad["hot"]] += 3.0
        data = rng.poisson(current * time) + 5.0 * rng.standard_normal(SHAPE)
        data[rng.random(SHAPE) < 1e-3] += 3000.0
        if faults:
            data[bad["noisy"]] += 60.0 * rng.standard_normal(NUMBER)
        made.append((data, Frame("", kind="dark", exptime=time)))
    for level in flats:
        light = level * response
        if faults:
            light[bad["dead"]] *= 0.2
            light[bad["high"]] *= 2.0
            light[bad["bent"]] *= 0.85 if level > 10000 else 1.0
        data = rng.poisson(light) + 5.0 * rng.standard_normal(SHAPE)
        made.append((data, Frame("", kind="flat", filter="r", exptime=2.0)))
    return [(data, f.replace(name=f"{i:02d}.fits")) for i, (data, f) in enumerate(made)]


def stack_of(made, order=None, rows=16):
    order = range(len(made)) if order is None else order
    frames = Frames(made[i][1] for i in order)
    return ImageStack([image(made[i][0], "electron") for i in order], frames, rows)


def test_every_planted_pixel_is_found_for_what_it_is_and_hardly_any_other(rng):
    master = BadPixels().build(stack_of(frames_of(rng)))
    flags, bad = flags_of(master), planted()
    for name, bit in (("hot", Flag.HOT), ("noisy", Flag.BAD), ("dead", Flag.BAD), ("high", Flag.BAD)):
        assert ((flags[bad[name]] & bit) != 0).mean() >= 0.95, name
    assert ((flags[bad["bent"]] & Flag.NON_LINEAR) != 0).all()
    assert np.array_equal(master.data, (flags != 0).astype(np.float32))
    good = np.ones(SHAPE, bool)
    for places in bad.values():
        good[places] = False
    # Of 24000 good pixels none should be lost to noise, glow, vignetting or single cosmic rays.
    assert (flags[good] != 0).sum() <= 1
    assert NUMBER <= master.meta["NHOT"] <= NUMBER + 5  # a noisy one may look hot too
    assert master.meta["NNONLIN"] == NUMBER
    assert (master.meta["NDARK"], master.meta["NFLAT"], master.meta["NCOMBINE"]) == (11, 10, 21)
    assert (variance_of(master) == 0).all()
    assert str(master.unit) == ""


def test_a_good_detector_has_a_clean_map(rng):
    master = BadPixels().build(stack_of(frames_of(rng, faults=False)))
    assert master.meta["NBAD"] <= 1
    assert planes_of(master)["COUNT"].max() == 21


@pytest.mark.parametrize(
    ("darks", "flats", "found"),
    [
        ((), (30000.0,) * 5, {"dead", "high"}),
        ((60.0,) * 6, (), {"hot", "noisy"}),
        ((60.0,) * 2, (30000.0,) * 3, {"hot", "dead", "high"}),
    ],
)
def test_darks_or_flats_alone_find_what_they_can(rng, darks, flats, found):
    flags = flags_of(BadPixels().build(stack_of(frames_of(rng, darks, flats))))
    for name, places in planted().items():
        share = (flags[places] != 0).mean()
        if name == "noisy" and len(darks) == 2:
            continue  # two darks cannot tell noisy pixels from hot ones
        assert (share >= 0.95) if name in found else (share < 0.1), name


def test_the_least_rate_of_a_hot_pixel_can_be_set(rng):
    made = frames_of(rng)
    assert BadPixels(hot_rate=10.0).build(stack_of(made)).meta["NHOT"] == 0


def test_a_pixel_without_any_value_is_bad(rng):
    made = frames_of(rng)
    pictures = []
    for data, frame in made:
        flags = np.zeros(SHAPE, np.uint16)
        flags[5, 6] = Flag.SATURATED if frame.kind == "flat" else 0
        pictures.append(image(data, "electron", flags=flags))
    master = BadPixels().build(ImageStack(pictures, Frames(frame for _, frame in made)))
    assert master.data[5, 6] == 1
    assert flags_of(master)[5, 6] & Flag.NO_DATA


def test_order_and_strips_do_not_change_a_bit(rng):
    made = frames_of(rng)
    one = BadPixels().build(stack_of(made))
    for other in (
        BadPixels().build(stack_of(made, order=np.random.default_rng(3).permutation(len(made)))),
        BadPixels().build(stack_of(made, rows=7)),
    ):
        assert np.array_equal(flags_of(one), flags_of(other))
        assert np.array_equal(planes_of(one)["COUNT"], planes_of(other)["COUNT"])


def test_darks_and_flats_are_wanted_and_single_frames_are_not_enough(rng):
    assert [BadPixels().wants(Frame("a", kind=kind)) for kind in ("dark", "flat", "bias")] == [True, True, False]
    with pytest.raises(ValidationError, match="it makes the kind bad"):
        BadPixels(kind="dark")
    with pytest.raises(FrameError, match="at least two darks of one exposure time or two flats of one filter"):
        BadPixels().build(stack_of(frames_of(rng, (60.0,), (2000.0,))))
