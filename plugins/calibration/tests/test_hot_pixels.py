"""Hot pixels: stars keep every pixel, hot ones are found, and sums over replaced pixels have true error bars."""

import os
from pathlib import Path

import numpy as np
import pytest

from albireo import Flag, Frame, flags_of, image, read_pixels, variance_of
from albireo.testing import Profile, Scene, simulate_image
from albireo_calibration import Hot

FRAME = Frame("a.fits", shape=(1, 1))
SHAPE = (400, 400)
NOISE = 10.0


def touched(picture, **options):
    return (flags_of(Hot(**options).correct(picture, FRAME, {})) & (Flag.HOT | Flag.INTERPOLATED)) != 0


def noise(seed=1, shape=SHAPE):
    return (100.0 + NOISE * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def picture_of(data, known=True):
    return image(data, "electron", variance=np.full(data.shape, NOISE**2) if known else None)


@pytest.mark.parametrize("beta", [2.5, float("inf")], ids=["moffat", "gauss"])
@pytest.mark.parametrize("fwhm", [1.8, 2.0, 3.0, 8.0])
def test_no_pixel_of_a_star_is_touched_faint_or_bright(fwhm, beta):
    scene = Scene.field(SHAPE, 100, 3e6, 100.0, seed=int(10 * fwhm))
    for sky, read_noise in ((0.0, 3.0), (20.0, 5.0), (1000.0, 10.0)):
        picture = simulate_image(
            scene, SHAPE, profile=Profile(fwhm, beta), sky=sky, read_noise=read_noise, saturation=6e4
        )
        for seed in range(2):
            assert not touched(picture.realise(seed)).any()
            if fwhm >= 2.0:
                plain = picture.realise(seed)
                plain.uncertainty = None
                assert not touched(plain).any()


@pytest.mark.parametrize(("height", "least"), [(10.0, 0.9), (12.0, 0.97), (20.0, 0.99), (1000.0, 0.995)])
@pytest.mark.parametrize("known", [True, False], ids=["variance", "no variance"])
def test_hot_pixels_are_found_and_others_are_not(height, least, known):
    data, rng = noise(), np.random.default_rng(2)
    hot = np.zeros(SHAPE, dtype=bool)
    hot[1:-1, 1:-1] = rng.random((SHAPE[0] - 2, SHAPE[1] - 2)) < 0.003
    data[hot] += np.float32(height * NOISE)
    found = touched(picture_of(data, known))
    # Where the noise has to come from the 24 pixels around, it is uncertain itself, and the edge is softer.
    assert found[hot].mean() > least - (0.0 if known or height > 15 else 0.2)
    assert not found[~hot].any()


def test_two_hot_neighbours_are_found_and_a_trail_of_three_is_not():
    data = noise()
    data[50, 50:52] += 5000.0
    data[80, 50:52] += (5000.0, 2500.0)
    data[60, 50:53] += 5000.0
    found = touched(picture_of(data))
    assert found[50, 50:52].all()
    assert found[80, 50:52].all()
    assert not found[60, 51]
    assert found.sum() <= 6


def test_a_hot_pixel_in_the_wing_of_a_star_is_found():
    scene = Scene([200.0], [200.0], [2e5])
    picture = simulate_image(scene, SHAPE, profile=Profile(6.0), sky=100.0).image
    picture.data[203, 204] += 3000.0
    found = touched(picture)
    assert found[203, 204]
    assert found.sum() == 1


def test_replaced_pixels_have_the_median_of_good_neighbours_and_are_not_masked():
    data = noise()
    data[20, 30], data[0, 7] = 9000.0, 9000.0
    flags = np.zeros(SHAPE, dtype=np.uint16)
    data[19, 29], flags[19, 29] = 1e6, Flag.BAD
    before = image(data.copy(), "electron", variance=np.full(SHAPE, NOISE**2), flags=flags.copy())
    after = Hot().correct(before, FRAME, {})
    near = np.delete(data[19:22, 29:32].ravel(), [0, 4])
    assert after.data[20, 30] == pytest.approx(np.median(near))
    assert after.data[0, 7] == pytest.approx(100.0, abs=3 * NOISE)
    assert flags_of(after)[20, 30] == flags_of(after)[0, 7] == Flag.INTERPOLATED
    np.testing.assert_array_equal(after.mask, flags == Flag.BAD)
    masked = Hot(replace=False).correct(before, FRAME, {})
    assert flags_of(masked)[20, 30] == Flag.HOT
    assert masked.mask[20, 30]
    assert masked.data[20, 30] == 9000.0
    np.testing.assert_array_equal(before.data, data)


def test_the_error_of_a_sum_over_replaced_pixels_is_right():
    pulls = []
    for seed in range(60):
        data = noise(seed, (90, 90))
        data[4::9, 4::9] = 5000.0  # one in the middle of each box of nine by nine
        after = Hot().correct(picture_of(data), FRAME, {})
        assert (flags_of(after)[4::9, 4::9] == Flag.INTERPOLATED).all()
        boxes = [plane.reshape(10, 9, 10, 9)[:, 3:6, :, 3:6] for plane in (after.data, variance_of(after))]
        total, variance = (box.sum(axis=(1, 3), dtype=float) for box in boxes)
        pulls.append((total - 900.0) / np.sqrt(variance))
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(2 * 6000) + 0.01)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(6000)


def test_masked_and_missing_pixels_are_left_alone():
    data = noise()
    data[40:44, 40:44] = np.nan
    data[100, 100] = 60000.0
    flags = np.zeros(SHAPE, dtype=np.uint16)
    flags[100, 100] = Flag.SATURATED
    after = Hot().correct(image(data, "electron", flags=flags), FRAME, {})
    np.testing.assert_array_equal(np.isnan(after.data), np.isnan(data))
    assert (flags_of(after)[40:44, 40:44] == Flag.NO_DATA).all()
    assert flags_of(after)[100, 100] == Flag.SATURATED
    assert (flags_of(after) & Flag.INTERPOLATED).sum() == 0
    # Beside a masked pixel, which may be the core of a star, it takes more to be hot.
    data[101, 100] = 9000.0
    assert touched(image(data, "electron", flags=flags)).sum() == 1


def test_an_image_without_structure_or_too_small_has_no_hot_pixel():
    for shape in ((50, 50), (1, 1), (2, 3)):
        assert not touched(image(np.full(shape, 5.0))).any()
    assert not touched(image(np.full((5, 5), np.nan))).any()


@pytest.mark.parametrize(("name", "share"), [("c1", 0.43), ("c2", 0.32), ("c3", 0.44)])
def test_a_real_scmos_image_loses_its_noisy_pixels_and_keeps_its_stars(name, share):
    base = Path(os.environ.get("ALBIREO_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
    path = base / "opticam" / f"get_last_{name}.fit.fz"
    if not path.exists():
        pytest.skip(f"no real frames in {base}")
    data = read_pixels(path, hdu=1)
    level = np.median(data)
    sigma = 1.4826 * np.median(np.abs(data - level))
    variance = sigma**2 + np.maximum(data - level, 0.0)
    found = touched(image(data, variance=variance))
    # The share of pixels 8 sigma off the median of 3 x 3, in %, falls steeply with the threshold, and has stars in it.
    assert 0.4 * share < 100 * found.mean() < 1.2 * share
    # The brightest pixels of the field belong to stars of FWHM 7.
    middle = np.median([np.roll(data, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0)
    stars = middle > level + 40 * sigma
    assert stars.sum() > 50
    assert not found[stars].any()
