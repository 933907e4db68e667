"""The sky that is subtracted from an image, against the truth."""

import numpy as np
import pytest

from albireo import Flag, Frame, FrameError, apply_terms, flags_of, image, variance_of
from albireo.testing import Profile, Scene, simulate_image
from albireo_calibration import Background

SHAPE = (512, 640)
SKY, READ_NOISE = 1000.0, 5.0
FRAME = Frame("s.fits", kind="science", shape=SHAPE)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
SLOPE = SKY * (1.0 + 0.2 * (X / SHAPE[1] - 0.5) - 0.1 * (Y / SHAPE[0] - 0.5))


def exposure(rng, light):
    data = rng.poisson(light) + READ_NOISE * rng.standard_normal(SHAPE)
    return image(data, "electron", variance=np.maximum(data, 0.0) + READ_NOISE**2, flags=np.zeros(SHAPE, np.uint16))


def stars(number, brightest=2e5, fwhm=4.0, seed=1):
    scene = Scene.field(SHAPE, number, brightest, 1e3, separation=4.0, seed=seed)
    return simulate_image(scene, SHAPE, profile=Profile(fwhm, 3.0), sky=0.0).expected


def subtracted(picture, **options):
    return apply_terms(picture, FRAME, [Background(**options).terms(picture, FRAME, {})])


def test_a_gradient_is_followed_to_the_edges_within_the_error():
    rng = np.random.default_rng(1)
    pulls, offsets = [], []
    for _ in range(5):
        terms = Background(box=64).terms(exposure(rng, SLOPE), FRAME, {})
        pulls.append((terms.subtract - SLOPE) / np.sqrt(terms.subtract_variance))
        offsets.append(terms.subtract - SLOPE)
    # The median over 3 x 3 boxes makes the level better than the boxes by themselves, of which the error is told.
    assert 0.3 < np.std(pulls) < 1.0
    boxes = 5 * 80 / 9
    assert abs(np.mean(offsets)) < 4 * np.mean(np.abs(offsets)) / np.sqrt(boxes)
    edge = np.array(offsets)[:, :10]
    assert np.abs(edge).max() < 8.0  # of a sky of 1000 that changes by 40 over the half box beyond the last centre


@pytest.mark.parametrize("options", [{"box": 64}, {"method": "global"}])
def test_stars_and_masked_pixels_hardly_raise_the_sky(options):
    rng = np.random.default_rng(2)
    light = np.full(SHAPE, SKY)
    data, flags = exposure(rng, light + stars(150)), np.zeros(SHAPE, np.uint16)
    data.data[100:140, 100:300], flags[100:140, 100:300] = 50000.0, Flag.BAD
    data.data[300:310] = np.nan
    picture = image(data.data, "electron", variance=variance_of(data), flags=flags)
    result = subtracted(picture, **options)
    noise = np.sqrt(SKY + READ_NOISE**2)
    off = SKY - (picture.data - result.data)[np.isfinite(picture.data)]
    assert abs(off.mean()) < 0.05 * noise
    assert (flags_of(result)[100:140, 100:300] == Flag.BAD).all()
    assert (flags_of(result)[300:310] == Flag.NO_DATA).all()


def test_the_photon_noise_of_the_sky_stays_in_the_variance():
    rng = np.random.default_rng(3)
    picture = exposure(rng, SLOPE)
    for options in ({"box": 64}, {"method": "global"}):
        result = subtracted(picture, **options)
        added = variance_of(result) - variance_of(picture)
        assert (added > 0).all()
        assert added.max() < 0.02 * SKY
    assert np.square(subtracted(picture, box=64).data).mean() == pytest.approx(variance_of(result).mean(), rel=0.01)


@pytest.mark.parametrize("flux", [1e5, 1e6])
def test_a_bright_star_keeps_its_light(flux):
    """What a star of 4 pixels FWHM loses within 16 pixels is small against the photon noise there."""
    rng = np.random.default_rng(4)
    losses = []
    for _ in range(8):
        x, y = rng.uniform(100, 400, 2)
        light = simulate_image(Scene([x], [y], [flux]), SHAPE, profile=Profile(4.0, 3.0), sky=0.0).expected
        empty = exposure(rng, SLOPE)
        with_star = image(empty.data + light, "electron", variance=variance_of(empty))
        near = np.hypot(X - x, Y - y) < 16
        rise = Background().terms(with_star, FRAME, {}).subtract - Background().terms(empty, FRAME, {}).subtract
        losses.append(rise[near].sum())
    noise = np.sqrt(flux + np.pi * 16**2 * SKY)
    assert abs(np.mean(losses)) < 0.25 * noise
    assert np.abs(losses).max() < 0.6 * noise


def test_the_header_says_the_level():
    rng = np.random.default_rng(5)
    picture = exposure(rng, np.full(SHAPE, SKY))
    (line,) = subtracted(picture, method="global").meta["HISTORY"]
    words = line.split()
    assert (words[0], words[2], words[4]) == ("background:", "+-", "electron")
    assert float(words[1]) == pytest.approx(SKY, abs=5 * float(words[3]))
    (line,) = subtracted(picture).meta["HISTORY"]
    assert line.endswith("in 4 x 5 boxes")
    assert float(line.split()[2]) == pytest.approx(SKY, abs=2.0)


def test_small_and_narrow_images_have_a_sky_too():
    rng = np.random.default_rng(6)
    for shape in ((40, 60), (20, 400), (400, 150)):
        light = rng.poisson(np.full(shape, SKY)).astype(np.float32)
        picture = image(light, "electron", variance=light.copy())
        terms = Background().terms(picture, FRAME.replace(shape=shape), {})
        assert np.abs(np.broadcast_to(terms.subtract, shape) - SKY).max() < 20.0


def test_an_image_without_sky_says_so():
    picture = image(np.full(SHAPE, np.nan), "electron")
    with pytest.raises(FrameError, match=r"the sky of s\.fits cannot be measured: no box of 128 pixels has enough"):
        Background().terms(picture, FRAME, {})
    with pytest.raises(FrameError, match=r"the sky of s\.fits cannot be measured: 0 usable pixels of"):
        Background(method="global").terms(picture, FRAME, {})
