"""Darks that share a master, and masters held against each other: good ones pass, others are described."""

import numpy as np
import pytest

from albireo import Frame, Frames, image
from albireo.testing.stack import ImageStack
from albireo_combine import Combine

SHAPE = (150, 160)
READ_NOISE = 4.0
RATE = 0.2
"""Electrons per second."""


def darks(*facts):
    return Frames(
        Frame(f"dark-{n}.fits", kind="dark", exptime=exptime, temperature=degrees)
        for n, (exptime, degrees) in enumerate(facts)
    )


def names(groups):
    return [[frame.name for frame in group] for group in groups]


def test_darks_of_different_exposure_times_do_not_mix():
    frames = darks((10.0, -20.0), (60.0, -20.0), (10.0, -5.0))
    assert names(Combine(kind="dark").split(frames)) == [["dark-0.fits", "dark-2.fits"], ["dark-1.fits"]]


def test_darks_of_different_temperatures_do_not_mix_where_that_is_asked_for():
    degrees = [-20.1, -10.2, -19.7, -9.9, float("nan"), -19.9]
    frames = darks(*((10.0, t) for t in degrees))
    groups = Combine(kind="dark", temperature_step=1.0).split(frames)
    assert names(groups) == [
        ["dark-0.fits", "dark-2.fits", "dark-5.fits"],
        ["dark-1.fits", "dark-3.fits"],
        ["dark-4.fits"],
    ]


def test_no_group_spans_more_than_the_step_even_if_the_temperature_drifts():
    frames = darks(*((10.0, -20.0 + 0.4 * n) for n in range(9)))
    for group in Combine(kind="dark", temperature_step=1.0).split(frames):
        degrees = [frame.temperature for frame in group]
        assert max(degrees) - min(degrees) <= 1.0
        assert len(group) >= 2


def test_darks_are_compared_across_exposure_times_at_one_temperature():
    short, long, warm = darks((10.0, -20.0)), darks((80.0, -20.3)), darks((80.0, -10.0))
    assert Combine(kind="dark").comparable(short, warm)
    careful = Combine(kind="dark", temperature_step=1.0)
    assert careful.comparable(short, long)
    assert not careful.comparable(short, warm)
    assert not careful.comparable(short, short)
    assert not Combine(kind="flat").comparable(short, long)


def master(seed, exptime, glow=lambda t: 0.0, hot=lambda t: 50.0 * t, count=7, kind="dark", offset=0.0, rate=RATE):
    """A master in electrons without bias, as a file would give it: a corner that glows, and one pixel in 200 hot."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    corner = np.exp(-(x + y) / 40.0)
    is_hot = np.random.default_rng(0).random(SHAPE) < 0.005
    level = rate * exptime + glow(exptime) * corner + is_hot * hot(exptime)
    frames = [rng.poisson(level) + rng.normal(0.0, READ_NOISE, SHAPE) + offset for _ in range(count)]
    stack = ImageStack(
        [image(pixels, "electron") for pixels in frames],
        Frames(Frame(f"{kind}-{n}.fits", kind=kind, exptime=exptime) for n in range(count)),
    )
    built = Combine(kind=kind).build(stack)
    built.meta["EXPTIME"] = exptime
    return built


@pytest.mark.parametrize("glow", [lambda t: 0.0, lambda t: 3.0 * t])
@pytest.mark.parametrize("count", [3, 9])
def test_darks_that_scale_with_time_need_no_word(glow, count):
    short, long = (master(seed, t, glow, count=count) for seed, t in ((1, 10.0), (2, 80.0)))
    assert Combine(kind="dark").compare(long, short) == ""
    assert Combine(kind="dark").compare(short, long) == ""


def test_a_glow_that_saturates_in_time_is_reported():
    def glow(t):
        return 600.0 * (1.0 - np.exp(-t / 8.0))

    said = Combine(kind="dark").compare(*(master(seed, t, glow) for seed, t in ((1, 80.0), (2, 10.0))))
    assert said.startswith("darks of 10 s and of 80 s do not scale with time: medians")
    assert "use dark-fit, or darks of the exposure time of the science frames" in said


def test_hot_pixels_that_do_not_scale_are_reported():
    said = Combine(kind="dark").compare(
        *(master(seed, t, hot=lambda t: 4000.0 * (1.0 - np.exp(-t / 10.0))) for seed, t in ((1, 80.0), (2, 10.0)))
    )
    hot = int((np.random.default_rng(0).random(SHAPE) < 0.005).sum())
    assert f"100% of {hot} hot pixels" in said
    assert ", 0% of all pixels differ" in said


def test_a_bias_left_in_the_darks_is_seen():
    short, long = (master(seed, t, offset=300.0) for seed, t in ((1, 10.0), (2, 80.0)))
    said = Combine(kind="dark").compare(long, short)
    assert "100% of all pixels differ" in said
    assert "subtract the bias from darks before they are scaled" in said


def test_a_master_like_the_one_before_it_needs_no_word():
    for kind in ("dark", "bias"):
        assert Combine(kind=kind).compare(master(1, 10.0, kind=kind), master(2, 10.0, kind=kind)) == ""


def test_a_changed_level_and_a_changed_pattern_are_reported():
    combine = Combine(kind="dark")
    said = combine.compare(master(1, 10.0, rate=2.0), master(2, 10.0))
    assert said.startswith("the level of the dark changed by +1")
    assert said.endswith(" electron")
    said = combine.compare(master(1, 10.0, glow=lambda t: 100.0), master(2, 10.0))
    assert said.endswith("% of the pixels differ by more than 6 of their errors")
    other = image(np.ones((10, 10)), "electron", variance=np.ones((10, 10)), meta={"EXPTIME": 10.0})
    assert combine.compare(master(1, 10.0), other) == "it has 160 x 150 pixels, the one before 10 x 10"
