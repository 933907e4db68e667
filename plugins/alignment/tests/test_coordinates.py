"""Maps by the celestial coordinates of two images."""

import numpy as np
import pytest
from astropy.wcs import WCS, Sip

from albireo import FrameError, Transform, image, tangent_wcs
from albireo_alignment import Coordinates

SHAPE = 300, 400
SCALE = 0.4


def seen(truth=None, ra=150.0, dec=30.0, angle=20.0, shape=SHAPE):
    """An image whose coordinates are those of the reference, carried over by a map."""
    wcs = tangent_wcs(ra, dec, 200.0, 150.0, SCALE, angle)
    if truth is not None:
        x, y = truth(*(wcs.wcs.crpix - 1.0))
        wcs.wcs.crpix = float(x) + 1.0, float(y) + 1.0
        wcs.wcs.cd = wcs.wcs.cd @ np.linalg.inv(truth.matrix[:2, :2])
        wcs.wcs.set()
    picture = image(np.zeros(shape), "electron")
    picture.wcs = wcs
    return picture


def worst(found, truth):
    x, y = (side.ravel() for side in np.meshgrid([0, SHAPE[1] - 1], [0, SHAPE[0] - 1]))
    return float(np.hypot(*np.subtract(found(x, y), truth(x, y))).max())


@pytest.mark.parametrize(
    "truth",
    [
        Transform.identity(),
        Transform.similarity(123.4, -56.7),
        Transform.similarity(398.0, 301.0, rotation=179.2),
        Transform.similarity(-20.0, 15.0, rotation=30.0, scale=1.05),
        Transform.similarity(400.0, 3.0, rotation=1.0, mirrored=True),
        Transform(np.array([[1.002, 0.003, 12.0], [0.0, 0.998, -4.0], [0.0, 0.0, 1.0]])),
    ],
)
def test_any_affine_map_follows_from_the_coordinates(truth):
    found = Coordinates().align_images(seen(truth), seen())
    assert worst(found, truth) < 1e-6
    assert found.rms < 1e-6
    assert found.matched == 0


def test_a_pointing_beside_the_reference_is_a_shift():
    """A tenth of a degree to the north, angle zero: 900 pixels of 0.4 arcsec less 800 by the reference pixel."""
    found = Coordinates().align_images(seen(dec=30.0 + 40.0 / 3600.0, angle=0.0), seen(angle=0.0))
    assert found.shift == pytest.approx((0.0, -100.0), abs=0.2)
    assert found.rms < 0.05  # two tangential planes that touch the sky 40 arcsec apart


def test_images_may_have_different_shapes():
    truth = Transform.similarity(-50.0, -30.0)
    assert worst(Coordinates().align_images(seen(truth, shape=(200, 250)), seen()), truth) < 1e-6


@pytest.mark.parametrize(("lacking", "where"), [(0, "this image"), (1, "the reference")])
def test_missing_coordinates_are_named(lacking, where):
    pair = [seen(), seen()]
    pair[lacking].wcs = None
    with pytest.raises(FrameError) as caught:
        Coordinates().align_images(*pair)
    assert str(caught.value) == (
        f"{where} has no celestial coordinates that the camera vouches for; use another aligner, such as 'patterns'"
    )


def test_axes_that_are_not_of_the_sky_are_no_coordinates():
    picture = seen()
    picture.wcs = WCS(naxis=2)
    with pytest.raises(FrameError, match="no celestial coordinates"):
        Coordinates().align_images(picture, seen())


def test_another_field_is_refused():
    with pytest.raises(FrameError, match="does not overlap the reference"):
        Coordinates().align_images(seen(dec=30.2), seen())
    with pytest.raises(FrameError, match="do not reach the field of the reference"):
        Coordinates().align_images(seen(ra=330.0, dec=-30.0), seen())


def test_a_distortion_of_one_image_alone_is_refused_beyond_the_tolerance():
    bent = seen()
    a = np.zeros((3, 3))
    a[2, 0] = 1e-4
    wcs = bent.wcs
    wcs.sip = Sip(a, np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3)), wcs.wcs.crpix)
    wcs.wcs.ctype = "RA---TAN-SIP", "DEC--TAN-SIP"
    wcs.wcs.set()
    with pytest.raises(
        FrameError, match=r"^no affine map fits the coordinates: they differ from it by \d\.\d\d pixels rms"
    ):
        Coordinates().align_images(bent, seen())
    assert 0.5 < Coordinates(tolerance=5.0).align_images(bent, seen()).rms < 5.0
    # Shared by both, it leaves nothing over.
    assert Coordinates().align_images(bent, bent).rms < 1e-3
