"""Elliptical apertures and rings."""

import numpy as np
import pytest

from albireo import PSF, Flag, FrameError, Sources, image
from albireo.testing import Profile, Scene, simulate_image
from albireo_aperture import Aperture

MAJOR, MINOR, ANGLE = 3.6, 2.0, 40.0
"""Standard deviations of an elongated star in pixels, and its position angle in degrees."""

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
SHAPE = PSF(FWHM_PER_SIGMA * np.sqrt(MAJOR * MINOR), MAJOR / MINOR, np.deg2rad(ANGLE))


def elongated(read_noise=0.0):
    profile = Profile(SHAPE.fwhm, elongation=SHAPE.elongation, theta=SHAPE.theta)
    return simulate_image(
        Scene([100.3], [99.8], [20000.0]), (200, 200), profile=profile, sky=100.0, read_noise=read_noise
    )


@pytest.mark.parametrize(("major", "minor", "degrees"), [(5.0, 5.0, 0.0), (6.0, 2.5, 33.0), (7.3, 1.2, -128.0)])
def test_sum_equals_photutils_and_sep(major, minor, degrees):
    aperture = pytest.importorskip("photutils.aperture")
    sep = pytest.importorskip("sep")
    rng = np.random.default_rng(3)
    pixels = rng.normal(100, 30, (200, 210)).astype(np.float32)
    x, y = rng.uniform(25, 175, (2, 50))
    picture = image(pixels, "electron", variance=np.full(pixels.shape, 9.0))
    ours = Aperture(
        radius=np.sqrt(major * minor), shape="ellipse", ellipse=(major / minor, degrees), annulus=(12, 20)
    ).measure(picture, Sources.make(x, y), None, None)
    totals = ours["flux"] + ours["sky"] * np.pi * major * minor
    angle = np.deg2rad(degrees)
    ellipses = aperture.EllipticalAperture(np.stack([x, y], axis=1), major, minor, theta=angle)
    theirs = aperture.aperture_photometry(pixels.astype(float), ellipses, method="exact")
    assert totals == pytest.approx(np.asarray(theirs["aperture_sum"]), rel=1e-9)
    # sep takes angles between -pi / 2 and pi / 2, and adds in single precision.
    half_turn = (angle + np.pi / 2) % np.pi - np.pi / 2
    assert totals == pytest.approx(sep.sum_ellipse(pixels, x, y, major, minor, half_turn, 1.0, subpix=0)[0], rel=1e-6)


def test_an_ellipse_of_one_fwhm_holds_93_75_per_cent_of_an_elongated_star():
    picture = elongated()
    rows = Aperture(radius=1.0, unit="fwhm", shape="ellipse").measure(picture.image, picture.sources, None, SHAPE)
    assert rows["flux"][0] == pytest.approx(18750, rel=0.01, abs=3 * rows["flux_err"][0])
    exact = image(picture.expected, "electron", variance=picture.expected)
    rows = Aperture(radius=1.0, unit="fwhm", shape="ellipse").measure(exact, picture.sources, None, SHAPE)
    # Pixels, and shares of them, widen the star a little.
    assert rows["flux"][0] == pytest.approx(18750, rel=0.01)


def test_the_angle_runs_counter_clockwise_from_x():
    picture = elongated()
    exact = image(picture.expected, "electron", variance=picture.expected)

    def flux(degrees):
        stage = Aperture(radius=1.0, unit="fwhm", shape="ellipse", ellipse=(MAJOR / MINOR, degrees))
        return stage.measure(exact, picture.sources, None, SHAPE)["flux"][0]

    angles = ANGLE + np.array([-20.0, 0.0, 20.0])
    low, middle, high = (flux(angle) for angle in angles)
    # The flux is largest where the ellipse lies along the star: the top of the parabola.
    assert ANGLE + 10.0 * (high - low) / (2.0 * middle - low - high) == pytest.approx(ANGLE, abs=1.0)
    assert flux(-ANGLE) < 0.92 * middle


def test_the_ring_has_the_shape_of_the_aperture():
    y, x = np.mgrid[:121, :121] - 60.0
    c, s = np.cos(np.deg2rad(ANGLE)), np.sin(np.deg2rad(ANGLE))
    radius = np.hypot((x * c + y * s) / np.sqrt(2.0), (y * c - x * s) * np.sqrt(2.0))
    pixels = np.where((radius > 12) & (radius < 18), 100.0, 900.0)
    picture = image(pixels, "electron", variance=np.ones_like(pixels))
    options = {"radius": 4.0, "shape": "ellipse", "annulus": (12.01, 17.99)}
    along = Aperture(ellipse=(2.0, ANGLE), **options).measure(picture, Sources.make(60, 60), None, None)
    assert along["sky"][0] == 100.0
    assert along["sky_err"][0] == 0.0
    across = Aperture(ellipse=(2.0, -ANGLE), **options).measure(picture, Sources.make(60, 60), None, None)
    assert across["sky_err"][0] > 5.0


def test_sources_have_ellipses_of_their_own():
    rng = np.random.default_rng(5)
    pixels = rng.normal(100, 10, (120, 120)).astype(np.float32)
    picture = image(pixels, "electron", variance=np.full(pixels.shape, 100.0))
    a, b, theta = [4.0, 3.0, np.nan, 90.0], [2.0, 3.0, 2.0, 1.0], [0.5, 0.0, 0.0, 1.0]
    sources = Sources.make([40, 80, 40, 80], [40, 40, 80, 80], a=a, b=b, theta=theta, id=[1, 2, 3, 4])
    own = Aperture(shape="ellipse", ellipse="source").measure(picture, sources, None, None)
    given = Aperture(shape="ellipse", ellipse=(2.0, np.rad2deg(0.5))).measure(picture, sources, None, None)
    circle = Aperture().measure(picture, sources, None, None)
    longest = Aperture(shape="ellipse", ellipse=(10.0, np.rad2deg(1.0))).measure(picture, sources, None, None)
    assert own["flux"][0] == pytest.approx(given["flux"][0], rel=1e-9)
    assert own["flux"][1:3] == pytest.approx(circle["flux"][1:3], rel=1e-12)
    assert own["flux"][3] == pytest.approx(longest["flux"][3], rel=1e-9)
    assert own["flux"][0] != circle["flux"][0]


def test_an_ellipse_must_lie_in_the_image():
    pixels = np.full((64, 64), 100.0)
    picture = image(pixels, "electron", variance=pixels)
    # 8 by 2 pixels, along x.
    stage = Aperture(radius=4.0, shape="ellipse", ellipse=(4.0, 0.0))
    sources = Sources.make([7.5, 7.4, 30.0, 30.0], [30.0, 30.0, 1.5, 1.4], id=[1, 2, 3, 4])
    rows = stage.measure(picture, sources, None, None)
    assert rows["flags"].tolist() == [0, Flag.EDGE | Flag.FAILED, 0, Flag.EDGE | Flag.FAILED]


def test_ellipses_of_the_psf_need_one():
    assert "psf" in Aperture(shape="ellipse").needs
    assert "psf" not in Aperture(shape="ellipse", ellipse="source").needs
    picture = elongated()
    with pytest.raises(FrameError, match="no star was good enough to tell the shape"):
        Aperture(shape="ellipse").measure(picture.image, picture.sources, None, None)
    with pytest.raises(ValueError, match="less than or equal to 10"):
        Aperture(shape="ellipse", ellipse=(12.0, 0.0))
