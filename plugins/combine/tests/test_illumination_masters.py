"""Illumination corrections: a smooth surface through the sky, with its error."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Flag, Frame, FrameError, Frames, flags_of, image, planes_of, variance_of
from albireo.testing.stack import ImageStack
from albireo_combine.illumination import Illumination

SHAPE = (160, 180)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
LEVELS = [900.0, 1100.0, 1000.0, 1250.0, 800.0]


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def response():
    """What a flat leaves: a bowl and a slope of some percent."""
    u, v = X / 90.0 - 1.0, Y / 80.0 - 1.0
    shape = 1.0 + 0.03 * u - 0.02 * v + 0.02 * u * v - 0.04 * (u**2 + v**2)
    return shape / np.median(shape)


def star(y, x, peak, sigma=2.0):
    return peak * np.exp(-0.5 * ((Y - y) ** 2 + (X - x) ** 2) / sigma**2)


def stack_of(rng, order=None, rows=16, shape=None, mask=None):
    made = []
    for index, level in enumerate(LEVELS):
        sky = level * (response() if shape is None else shape)
        sky = sky + star(30 + 20 * index, 25 + 30 * index, 5000.0) + star(130 - 20 * index, 50, 300.0)
        flags = np.zeros(SHAPE, np.uint16)
        if mask is not None:
            flags[mask] = Flag.BAD
        made.append(image(rng.poisson(sky) + 5.0 * rng.standard_normal(SHAPE), "electron", flags=flags))
    order = range(len(made)) if order is None else order
    return ImageStack([made[i] for i in order], Frames(Frame(f"{i}.fits", kind="science") for i in order), rows)


def test_the_polynomial_is_the_response_within_its_errors(rng):
    pulls = []
    for _ in range(6):
        master = Illumination(cell=16).build(stack_of(rng))
        assert np.abs(master.data / response() - 1.0).max() < 0.002
        pulls.append((master.data - response()) / np.sqrt(variance_of(master)))
    # The few coefficients of one master move all its pixels together.
    assert np.std(pulls) == pytest.approx(1.05, abs=0.35)
    assert np.sqrt(variance_of(master)).mean() < 0.001
    assert abs(np.median(master.data) - 1.0) < 1e-6
    assert master.meta["PEAK"] == pytest.approx(np.abs(response() - 1.0).max(), abs=0.002)
    assert planes_of(master)["COUNT"].max() == len(LEVELS)
    assert str(master.unit) == ""


def test_the_spline_follows_what_a_low_polynomial_cannot(rng):
    shape = response() * (1.0 + 0.02 * np.sin(X / 25.0))
    shape /= np.median(shape)
    spline = Illumination(surface="spline", knots=5, cell=10).build(stack_of(rng, shape=shape))
    plain = Illumination(degree=2, cell=10).build(stack_of(rng, shape=shape))
    error = (spline.data / shape).std()
    assert error < 0.0025
    assert (plain.data / shape).std() > 3 * error
    pull = (spline.data - shape) / np.sqrt(variance_of(spline))
    assert pull.std() == pytest.approx(1.1, abs=0.3)


def test_masked_parts_are_bridged(rng):
    mask = np.hypot(Y - 80, X - 90) < 25
    master = Illumination(cell=16).build(stack_of(rng, mask=mask))
    assert np.abs(master.data / response() - 1.0).max() < 0.003
    assert not flags_of(master).any()
    assert (planes_of(master)["COUNT"][mask] == 0).all()


def test_order_and_strips_do_not_change_a_bit():
    one = Illumination().build(stack_of(np.random.default_rng(1)))
    for other in (
        Illumination().build(stack_of(np.random.default_rng(1), order=[4, 0, 2, 1, 3])),
        Illumination().build(stack_of(np.random.default_rng(1), rows=9)),
    ):
        assert np.array_equal(one.data, other.data)
        assert np.array_equal(variance_of(one), variance_of(other))


def test_it_takes_the_frames_it_is_told_to():
    sky, dome = (Frame(f"{v}.fits", kind="flat", variant=v) for v in ("sky", "dome"))
    chosen = Illumination(frames="flat", variant="sky")
    assert (chosen.wants(sky), chosen.wants(dome), Illumination(frames="flat").wants(dome)) == (True, False, True)
    assert Illumination().wants(Frame("a.fits", kind="science"))
    with pytest.raises(ValidationError, match="it makes the kind illumination"):
        Illumination(kind="flat")


def test_too_few_boxes_for_the_surface_are_refused(rng):
    with pytest.raises(FrameError, match=r"4 boxes of 90 pixels are too few .* 6 coefficients"):
        Illumination(cell=90).build(stack_of(rng))
