"""Backgrounds and finders against simulated truth."""

import numpy as np
import pytest

from albireo import Background, Flag, FrameError, image
from albireo.testing import Profile, Scene, simulate_image
from albireo_photutils import Dao, PhotutilsMesh, Segmentation

FINDERS = (Segmentation(), Dao())


def names(stages):
    return [stage.name for stage in stages]


def pair(separation, ratio=1.0, fwhm=4.0, seed=1):
    """Two bright stars on one row."""
    scene = Scene([60.2, 60.2 + separation], [64.4, 64.4], [3e4, 3e4 * ratio])
    return simulate_image(scene, (128, 128), profile=Profile(fwhm), sky=100.0, seed=seed)


@pytest.mark.parametrize("level", ["mean", "median", "mode", "sextractor", "mmm", "biweight"])
def test_every_statistic_gives_the_level_of_a_sloping_sky(level):
    picture = simulate_image(
        Scene.field((256, 256), 20, 3e4, 3e2, seed=3), (256, 256), sky=400.0, gradient=(0.4, -0.3), read_noise=5.0
    )
    found = PhotutilsMesh(box=32, level=level).estimate(picture.image)
    # The statistical error of a smoothed box is below one electron; stars that are not clipped add some.
    off = found.level - picture.sky
    assert abs(np.median(off)) < 2.0
    corners = [off[:16, :16], off[:16, -16:], off[-16:, :16], off[-16:, -16:]]
    assert max(abs(np.mean(corner)) for corner in corners) < 6.0


@pytest.mark.parametrize("noise", ["std", "mad", "biweight"])
def test_every_statistic_gives_the_noise(noise):
    rng = np.random.default_rng(4)
    found = PhotutilsMesh(noise=noise).estimate(image(rng.normal(50.0, 8.0, (256, 256)), "electron"))
    assert found.median_rms == pytest.approx(8.0, rel=0.02)


def test_the_sky_under_masked_pixels_is_that_around_them():
    pixels = np.random.default_rng(5).normal(50.0, 8.0, (256, 256))
    flags = np.zeros(pixels.shape, np.uint16)
    pixels[100:180, 60:150], flags[100:180, 60:150] = 1e6, Flag.BAD
    found = PhotutilsMesh(box=32).estimate(image(pixels, "electron", flags=flags))
    assert found.level[120:160, 80:130] == pytest.approx(50.0, abs=2.0)


def test_a_sky_that_cannot_be_told_is_refused_in_words():
    pixels = np.random.default_rng(5).normal(50.0, 8.0, (256, 256))
    flags = np.zeros(pixels.shape, np.uint16)
    flags[:, ::3] = Flag.BAD
    with pytest.raises(FrameError, match="more than 10 per cent of every box of 64 pixels is masked or clipped"):
        PhotutilsMesh(exclude_percentile=10.0).estimate(image(pixels, "electron", flags=flags))
    with pytest.raises(FrameError, match="the pixels hardly differ"):
        PhotutilsMesh().estimate(image(np.full((128, 128), 7.0), "electron"))
    with pytest.raises(ValueError, match="give an odd number"):
        PhotutilsMesh(filter=4)


@pytest.mark.parametrize("stage", FINDERS, ids=names(FINDERS))
def test_close_stars_are_two_and_lie_where_they_are(stage):
    picture = pair(8.0, ratio=0.5)
    found = stage.find(picture.image, picture.background)
    assert len(found) == 2
    assert found.x == pytest.approx(picture.sources.x, abs=0.1)
    assert found.y == pytest.approx(picture.sources.y, abs=0.1)
    assert found.flux[1] / found.flux[0] == pytest.approx(0.5, abs=0.06)


def test_without_deblending_close_stars_are_one():
    picture = pair(8.0, ratio=0.5)
    assert len(Segmentation(deblend_levels=0).find(picture.image, picture.background)) == 1
    assert len(Segmentation(deblend_contrast=0.5).find(picture.image, picture.background)) == 1


@pytest.mark.parametrize("mode", ["exponential", "linear", "sinh"])
def test_every_spacing_of_levels_takes_stars_apart(mode):
    picture = pair(9.0)
    assert len(Segmentation(deblend_mode=mode).find(picture.image, picture.background)) == 2


@pytest.mark.parametrize("fwhm", [2.0, 4.0, 7.0])
def test_dao_measures_the_width_of_the_stars_itself(fwhm):
    scene = Scene.grid((200, 200), 40.0, 5e4, 2e4, seed=8)
    picture = simulate_image(scene, (200, 200), profile=Profile(fwhm), sky=100.0, seed=2)
    sampled = np.sqrt(fwhm**2 + 8.0 * np.log(2.0) / 12.0)
    found = Dao().find(picture.image, picture.background)
    given = Dao(fwhm=fwhm).find(picture.image, picture.background)
    assert len(found) == len(given) == len(scene)
    assert np.median(found.fwhm) == pytest.approx(sampled, rel=0.02)
    assert np.median(found.flux / picture.sources.flux[np.argsort(-picture.sources.flux)]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("stage", FINDERS, ids=names(FINDERS))
def test_hot_pixels_that_nobody_flagged_are_no_stars(stage):
    picture = pair(40.0)
    pixels = picture.image.data.copy()
    pixels[20, 20] += 3000.0
    found = stage.find(image(pixels, "electron"), picture.background)
    assert len(found) == 2


def test_of_two_peaks_nearer_than_the_separation_the_higher_is_a_star():
    picture = pair(8.0, ratio=0.5)
    found = Dao(separation=2.5).find(picture.image, picture.background)
    assert found.x == pytest.approx(picture.sources.x[:1], abs=0.1)


def test_trails_are_not_round_enough_for_dao():
    picture = pair(40.0)
    pixels = picture.image.data.copy()
    pixels[30, 20:100] += 800.0
    assert len(Dao().find(image(pixels, "electron"), picture.background)) == 2
    assert len(Dao(roundness=(-3, 3), sharpness=(0, 3)).find(image(pixels, "electron"), picture.background)) > 2


@pytest.mark.parametrize("stage", FINDERS, ids=names(FINDERS))
def test_options_hold_for_both_finders(stage):
    scene = Scene([12.0, 60.0, 90.0], [64.0, 30.0, 90.0], [4e4, 3e4, 2e4])
    picture = simulate_image(scene, (128, 128), profile=Profile(4.0), sky=100.0, seed=1)
    inside = stage.model_copy(update={"border": 16}).find(picture.image, picture.background)
    assert inside.x == pytest.approx([60.0, 90.0], abs=0.1)
    brightest = stage.model_copy(update={"max_sources": 1}).find(picture.image, picture.background)
    assert brightest.x == pytest.approx([12.0], abs=0.1)


@pytest.mark.parametrize("stage", FINDERS, ids=names(FINDERS))
def test_flags_say_what_lies_in_a_source(stage):
    scene = Scene([1.0, 60.0], [64.0, 30.0], [4e4, 6e5])
    picture = simulate_image(scene, (128, 128), profile=Profile(4.0), sky=100.0, saturation=2e4, seed=1)
    found = stage.find(picture.image, picture.background)
    assert found.flags.tolist() == [Flag.SATURATED, Flag.EDGE]


@pytest.mark.parametrize("stage", FINDERS, ids=names(FINDERS))
def test_an_empty_sky_gives_an_empty_list(stage):
    flat = Background(np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32), 0.0, 1.0)
    assert len(stage.find(image(np.zeros((64, 64)), "electron"), flat)) == 0


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"roundness \[1, -1\]: the lower limit must be below the upper one"):
        Dao(roundness=(1.0, -1.0))
