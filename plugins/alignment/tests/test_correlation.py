"""Cross-correlation of images with known shifts: sub-pixel, whatever the sky, nothing wrapped, chance refused."""

import numpy as np
import pytest

from albireo import Flag, FrameError, Transform, flags_of, image, variance_of
from albireo.testing import Profile, Scene, simulate_image
from albireo_alignment import Correlation

SHAPE = 180, 220


def view(shift=(0.0, 0.0), seed=1, field=1, stars=30, shape=SHAPE, fwhm=2.8, sky=200.0, **more):
    """An exposure of a field of stars."""
    scene = Scene.field(shape, stars, 5e4, 1e3, separation=6.0, margin=2.0, seed=field)
    return simulate_image(
        scene,
        shape,
        profile=Profile(fwhm, 3.5),
        sky=sky,
        transform=Transform.similarity(*shift),
        seed=seed,
        **more,
    ).image


def error(found, shift):
    return float(np.hypot(*np.subtract(found.shift, shift)))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, -0.5), (12.3, -7.75), (-40.1, 33.4), (71.2, 10.6)])
def test_a_shift_is_found_to_a_few_hundredths_of_a_pixel(shift):
    found = Correlation().align_images(view(shift, seed=2), view())
    assert error(found, shift) < 0.05
    assert np.array_equal(found.matrix[:2, :2], np.eye(2))
    assert np.isnan(found.rms)


@pytest.mark.parametrize("sky", [0.0, 100.0, 1000.0, 20000.0])
def test_the_level_of_the_sky_does_not_matter(sky):
    """A pedestal under both images adds a peak at no shift; the bright stars bear the noise of the brightest sky."""
    found = Correlation().align_images(view((14.4, -9.2), seed=2, sky=sky), view(sky=sky))
    assert error(found, (14.4, -9.2)) < (0.05 if sky < 2000 else 0.15)


def test_a_gradient_that_stays_on_the_detector_does_not_hold_the_shift():
    there = {"gradient": (2.0, -1.0), "sky": 500.0}
    found = Correlation().align_images(view((20.6, 11.3), seed=2, **there), view(**there))
    assert error(found, (20.6, 11.3)) < 0.05


def test_what_leaves_on_one_side_does_not_come_back_on_the_other():
    """By a shift of 130 pixels of 220 a periodic correlation would see one of 90 the other way."""
    shift = (130.0, 4.0)
    found = Correlation().align_images(view(shift, seed=2, stars=80), view(stars=80))
    assert error(found, shift) < 0.1


@pytest.mark.parametrize("shape", [(127, 129), (128, 127), (90, 240), (600, 140)])
def test_images_that_are_not_square_are_aligned(shape):
    shift = (17.3, -12.6)
    found = Correlation().align_images(view(shift, seed=2, shape=shape), view(shape=shape))
    assert error(found, shift) < 0.05


def test_a_large_frame_is_aligned_through_its_binned_image():
    shape, shift = (1100, 1300), (-203.35, 88.7)
    found = Correlation().align_images(view(shift, 2, shape=shape, stars=120), view(shape=shape, stars=120))
    assert error(found, shift) < 0.03


def test_seeing_may_change():
    assert error(Correlation().align_images(view((8.25, 3.5), 2, fwhm=4.5), view()), (8.25, 3.5)) < 0.08


def test_masked_and_saturated_pixels_do_not_hold_the_shift():
    """Hot columns and full pixels that stay on the detector outshine the stars; masked, they are not there."""

    def spoilt(picture):
        flags, data = flags_of(picture).copy(), picture.data.copy()
        flags[:, 40:43] |= np.uint16(Flag.HOT)
        flags[20:60, 150:160] |= np.uint16(Flag.SATURATED)
        data[flags != 0] = 60000.0
        return image(data, "electron", variance=variance_of(picture), flags=flags)

    shift = (9.4, -6.6)
    assert error(Correlation().align_images(spoilt(view(shift, 2)), spoilt(view())), shift) < 0.05


def test_a_comet_is_aligned_where_there_are_no_stars():
    ny, nx = SHAPE
    y, x = np.mgrid[:ny, :nx]

    def comet(column, row, seed):
        radius = np.hypot(x - column, y - row)
        rng = np.random.default_rng(seed)
        return image((4000.0 / (1.0 + radius) + 300.0 + rng.normal(0, 17.0, SHAPE)).astype(np.float32), "electron")

    found = Correlation().align_images(comet(128.4, 80.3, 1), comet(101.0, 95.0, 2))
    assert error(found, (27.4, -14.7)) < 0.1


def test_unrelated_fields_are_refused_with_the_reason():
    reference = view(stars=20)
    for field in range(2, 14):
        with pytest.raises(FrameError, match=r"^the shift is ambiguous: .* a rival of \d+ % of its height"):
            Correlation().align_images(view(seed=field, field=field, stars=20), reference)


def test_noise_is_refused_with_the_reason():
    nothing = Scene([-500.0], [-500.0], [1.0])
    for seed in range(10, 15):
        with pytest.raises(FrameError, match=r"^no shift brings this image .* times its scatter, 15 are needed"):
            Correlation().align_images(simulate_image(nothing, SHAPE, seed=seed).image, view())


def test_half_a_turn_is_refused():
    scene = Scene.field(SHAPE, 30, 5e4, 1e3, separation=6.0, margin=2.0, seed=1)
    turned = Transform.similarity(SHAPE[1] - 1.0, SHAPE[0] - 1.0, rotation=180.0)
    with pytest.raises(FrameError, match="use 'patterns'"):
        Correlation().align_images(simulate_image(scene, SHAPE, transform=turned, seed=2).image, view())


def test_a_shift_beyond_the_limit_is_refused_by_its_size():
    image_, reference = view((30.0, -20.0), 2), view()
    assert error(Correlation(max_shift=40.0).align_images(image_, reference), (30.0, -20.0)) < 0.05
    assert error(Correlation(max_shift=(31.0, 21.0)).align_images(image_, reference), (30.0, -20.0)) < 0.05
    for limit, said in ((15.0, "15"), ((31.0, 10.0), "31 and 10")):
        with pytest.raises(FrameError) as caught:
            Correlation(max_shift=limit).align_images(image_, reference)
        assert str(caught.value) == (
            f"the images agree best at a shift of about 30 and -20 pixels, which is more than the {said} pixels allowed"
        )


def test_a_limit_decides_between_rivals():
    """Two stars nearly of one brightness, of which the image has one: it may be either of them."""
    pair, one = Scene([60.0, 130.0], [80.0, 85.0], [3e4, 2e4]), Scene([60.0], [80.0], [3e4])
    reference = simulate_image(pair, SHAPE, seed=1).image
    image_ = simulate_image(one, SHAPE, transform=Transform.similarity(4.0, 3.0), seed=2).image
    with pytest.raises(FrameError, match="ambiguous"):
        Correlation().align_images(image_, reference)
    assert error(Correlation(max_shift=10.0).align_images(image_, reference), (4.0, 3.0)) < 0.05


def test_an_image_without_good_pixels_is_named():
    blank = image(np.zeros(SHAPE), "electron", flags=np.full(SHAPE, Flag.NO_DATA, np.uint16))
    for pair, where in (((blank, view()), "this image"), ((view(), blank), "the reference")):
        with pytest.raises(FrameError, match=f"^{where} has too few good pixels"):
            Correlation().align_images(*pair)
    flat = image(np.full(SHAPE, 7.0), "electron")
    with pytest.raises(FrameError, match="or no noise"):
        Correlation().align_images(flat, view())
