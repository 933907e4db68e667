"""Backgrounds on simulated skies with known level and noise."""

import os
import subprocess
import sys

import numpy as np
import pytest

from albireo import Flag, FrameError, image
from albireo.testing import Profile, Scene, simulate_image
from albireo_detection import Constant, Mesh, NoBackground

EFFICIENCY = 2.0
"""Error of 2.5 median - 1.5 mean over that of a mean, of normal values: sqrt(6.25 pi/2 - 7.5 + 2.25) = 2.14, less what
clipping at three standard deviations takes from it."""


def noise(shape, level=100.0, sigma=10.0, seed=1):
    return np.random.default_rng(seed).normal(level, sigma, shape).astype(np.float32)


def by_hand(values):
    """Clip at three standard deviations around the median until nothing changes, by sorting."""
    values = np.sort(values.astype(np.float64))
    kept, sigma = values, 1.4826 * np.median(np.abs(values - np.median(values)))
    for _ in range(100):
        centre = np.median(kept)
        kept = values[np.abs(values - centre) <= 3.0 * sigma]
        # The standard deviation of a normal distribution cut at three is 0.98658.
        before, sigma = sigma, kept.std() / 0.98658
        if abs(sigma / before - 1.0) < 1e-6:
            break
    mean, median = kept.mean(), np.median(kept)
    return (2.5 * median - 1.5 * mean if abs(mean - median) < 0.3 * sigma else median), sigma


@pytest.mark.parametrize("estimator", [Mesh(), Mesh(thin=True), Mesh(box=32), Constant()], ids=str)
def test_level_and_noise_of_a_flat_sky_are_unbiased(estimator):
    found = [estimator.estimate(image(noise((320, 320), seed=seed), "electron")) for seed in range(10)]
    pixels = 10 * 320**2 / (2 if getattr(estimator, "thin", False) else 1)
    assert np.mean([f.median for f in found]) == pytest.approx(100.0, abs=4 * EFFICIENCY * 10 / np.sqrt(pixels) * 1.3)
    assert np.mean([f.level for f in found]) == pytest.approx(100.0, abs=4 * EFFICIENCY * 10 / np.sqrt(pixels) * 1.3)
    assert np.mean([f.median_rms for f in found]) == pytest.approx(10.0, rel=0.004)
    assert found[0].level.dtype == found[0].rms.dtype == np.float32
    assert found[0].level.shape == found[0].rms.shape == (320, 320)


def test_a_box_agrees_with_clipping_by_hand_to_a_tenth_of_its_error():
    off = []
    for seed in range(40):
        pixels = noise((64, 64), seed=seed)
        pixels[np.random.default_rng(seed).random(pixels.shape) < 0.03] += 400.0
        background = Mesh(box=64, filter=1).estimate(image(pixels, "electron"))
        level, sigma = by_hand(pixels.ravel())
        off.append((background.median - level) / 10.0 * 64.0)
        assert background.median_rms == pytest.approx(sigma, rel=3e-3)
    assert np.sqrt(np.mean(np.square(off))) < 0.1


def test_every_second_row_costs_the_statistical_error_it_should():
    boxes = {}
    for thin in (False, True):
        background = Mesh(box=32, filter=1, thin=thin).estimate(image(noise((1024, 512)), "electron"))
        boxes[thin] = np.std(background.level[16::32, 16::32] - 100.0)
    assert boxes[False] == pytest.approx(EFFICIENCY * 10.0 / 32.0, rel=0.12)
    assert boxes[True] / boxes[False] == pytest.approx(np.sqrt(2.0), rel=0.12)


@pytest.mark.parametrize("level", [100.0, 100.1, 100.3, 100.5])
def test_counts_as_coarse_as_the_noise_do_not_move_the_level(level):
    pixels = np.rint(noise((256, 256), level, 0.8))
    background = Constant().estimate(image(pixels, "adu"))
    # A plain median of these is 100 or 101, and 2.5 times its error would come out.
    assert background.median == pytest.approx(level, abs=0.1)
    assert background.median_rms == pytest.approx(np.hypot(0.8, 1 / np.sqrt(12)), rel=0.03)


@pytest.mark.parametrize("estimator", [Constant(), Mesh(box=128)])
@pytest.mark.parametrize(("photons", "read_noise", "frames"), [(400, 0, 1), (400, 20, 1), (25, 4, 1), (400, 0, 16)])
def test_the_skewness_of_photons_does_not_move_the_level(estimator, photons, read_noise, frames):
    """Taken for crowding it would move it by up to 0.42 electrons."""
    rng = np.random.default_rng(4)
    shape = (1024, 1024)
    pixels = rng.poisson(photons * frames, shape) / frames + rng.normal(0.0, read_noise / np.sqrt(frames), shape)
    variance = np.full(shape, (photons + read_noise**2) / frames)
    found = estimator.estimate(image(pixels, "electron", variance=variance)).median
    # 0.02: of the estimate, whose clip and third moment are those of a nearly normal distribution.
    assert found == pytest.approx(photons, abs=4 * EFFICIENCY * np.sqrt(variance[0, 0]) / 1024 + 0.02)


def test_noise_that_is_not_said_to_be_of_photons_is_not_taken_for_it():
    pixels = noise((1024, 1024), 400.0, 20.0)
    for picture in (image(pixels, "electron"), image(pixels, "adu", variance=np.full(pixels.shape, 400.0))):
        assert Constant().estimate(picture).median == pytest.approx(400.0, abs=4 * EFFICIENCY * 20 / 1024)


@pytest.mark.parametrize(("stars", "high"), [(60, 0.05), (400, 0.1), (1000, 0.25)])
def test_bias_of_crowded_fields_is_as_stated(stars, high):
    """In units of the noise of a pixel; `docs/guide/finding.md` states these."""
    rng = np.random.default_rng(7)
    scene = Scene(rng.uniform(0, 400, stars), rng.uniform(0, 400, stars), 1000.0 * rng.uniform(0, 1, stars) ** -1.0)
    picture = simulate_image(scene, (400, 400), profile=Profile(3.0, 3.5), sky=100.0, read_noise=0.0, seed=3)
    once = Mesh().estimate(picture.image)
    twice = Mesh(mask_sources=4).estimate(picture.image)
    bias, better = (once.median - 100.0) / 10.0, (twice.median - 100.0) / 10.0
    assert -0.1 < bias < high
    assert abs(better) < 0.06
    assert twice.median_rms == pytest.approx(10.0, rel=0.02)


@pytest.mark.parametrize("shape", [(300, 301), (301, 300), (256, 100), (100, 320)])
def test_a_slope_of_the_sky_is_followed_to_the_border(shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = 200.0 + 0.2 * x - 0.1 * y
    level = Mesh(box=48).estimate(image(truth + noise(shape, 0.0, 4.0), "electron")).level
    # A box knows its level to 2 * 4 / 48 = 0.17, the median of nine to half of that; a corner continues two slopes.
    assert np.abs(level - truth).max() < 1.2
    assert np.mean(level - truth) == pytest.approx(0.0, abs=0.1)


def test_the_map_is_smooth_and_the_noise_never_below_that_of_the_quietest_box():
    pixels = noise((512, 512), 100.0, 5.0)
    pixels[:, 256:] *= 3.0
    background = Mesh(box=32, filter=1).estimate(image(pixels, "electron"))
    bends = np.abs(np.diff(background.level[200].astype(float), 2))
    assert bends.max() < 0.02 * np.ptp(background.level[200])
    assert background.rms.min() > 4.0
    assert background.rms[:, 280:].mean() == pytest.approx(15.0, rel=0.02)


def test_masked_and_nan_pixels_do_not_take_part():
    pixels = noise((256, 256), 50.0, 3.0)
    flags = np.zeros(pixels.shape, np.uint16)
    pixels[::3, ::2], flags[::3, ::2] = 60000.0, Flag.HOT
    pixels[100:120] = np.nan
    pixels[130:132] = np.inf
    background = Mesh(box=32).estimate(image(pixels, "electron", flags=flags))
    assert background.median == pytest.approx(50.0, abs=4 * EFFICIENCY * 3 / 256 * 1.3)
    assert background.median_rms == pytest.approx(3.0, rel=0.03)
    assert np.isfinite(background.level).all()
    assert (background.rms > 0).all()


def test_a_box_with_too_few_pixels_takes_the_level_around_it():
    x = np.arange(256)
    pixels = noise((256, 256), 0.0, 2.0) + 0.1 * x
    flags = np.zeros(pixels.shape, np.uint16)
    flags[60:200, 60:200] = Flag.BAD
    flags[70:72, 60:200] = 0
    pixels[60:200, 60:200] = 1e4
    level = Mesh(box=32, filter=1).estimate(image(pixels, "electron", flags=flags)).level
    assert np.abs(level - 0.1 * x).max() < 6.0  # less than the 14 that the sky changes over the hole


def test_filter_threshold_leaves_small_deviations():
    pixels = noise((320, 448))
    pixels[128:192, 128:192] += 40.0
    pixels[128:192, 320:384] += 5.0
    whole, large, none = (
        Mesh(box=64, filter=f, filter_threshold=t).estimate(image(pixels, "electron")).level
        for f, t in ((3, 0.0), (3, 20.0), (1, 0.0))
    )
    assert whole[160, 160] == pytest.approx(100.0, abs=1.5)
    assert large[160, 160] == pytest.approx(100.0, abs=1.5)
    assert whole[160, 352] == pytest.approx(100.0, abs=1.5)
    assert large[160, 352] == pytest.approx(none[160, 352], abs=0.5)


def test_a_box_larger_than_the_image_is_cut_to_it():
    background = Mesh(box=512).estimate(image(noise((40, 30), 50.0, 3.0), "electron"))
    assert background.median == pytest.approx(50.0, abs=4 * EFFICIENCY * 3 / np.sqrt(1200))
    assert np.ptp(background.level) == 0


@pytest.mark.parametrize("estimator", [Mesh(), Constant(), NoBackground()], ids=str)
def test_a_frame_without_usable_pixels_has_no_background(estimator):
    picture = image(np.zeros((64, 64)), flags=np.full((64, 64), Flag.NO_DATA, np.uint16))
    with pytest.raises(FrameError) as caught:
        estimator.estimate(picture)
    assert str(caught.value) == (
        "no sky can be estimated: 0 usable pixels of 4096 looked at, at least 100 are needed; "
        "the others are masked or not numbers"
    )


@pytest.mark.parametrize("estimator", [Mesh(), Constant(), NoBackground()], ids=str)
def test_a_constant_image_has_its_level_and_no_noise(estimator):
    background = estimator.estimate(image(np.full((128, 128), 7.0), "electron"))
    assert background.median == (0.0 if isinstance(estimator, NoBackground) else 7.0)
    assert background.median_rms == 0.0


def test_big_endian_and_strided_pixels_are_understood():
    pixels = noise((128, 256), 50.0, 3.0)
    plain = Mesh().estimate(image(pixels[:, ::2].copy(), "electron"))
    for other in (pixels[:, ::2].astype(">f4"), pixels[:, ::2]):
        assert np.array_equal(Mesh().estimate(image(other, "electron")).level, plain.level)


def test_no_background_takes_the_noise_of_the_sky_from_the_variance_without_the_stars():
    scene = Scene.field((300, 300), 60, 2e5, 2e3, seed=2)
    picture = simulate_image(scene, (300, 300), sky=400.0, read_noise=0.0, seed=3)
    left = image(picture.image.data - 400.0, "electron", variance=picture.image.uncertainty.array)
    background = NoBackground().estimate(left)
    assert background.median == 0.0
    assert not background.level.any()
    assert background.median_rms == pytest.approx(20.0, rel=0.01)
    assert background.rms.max() < 21.0
    without = NoBackground().estimate(image(left.data, "electron"))
    assert without.median_rms == pytest.approx(20.0, rel=0.02)
    assert np.ptp(without.rms) == 0


def test_two_estimates_agree_and_the_image_is_left_alone():
    pixels = noise((200, 200))
    before = pixels.copy()
    one, two = (Mesh(mask_sources=3).estimate(image(pixels, "electron")) for _ in range(2))
    assert np.array_equal(one.level, two.level)
    assert np.array_equal(one.rms, two.rms)
    assert np.array_equal(pixels, before)


MEASURE = """
import numpy as np
from albireo_detection.boxes import measure
pixels = np.random.default_rng(1).normal(100.0, 10.0, (512, 500)).astype(np.float32)
boxes = measure(pixels, np.empty((512, 0), dtype=bool), 64)
print(boxes.level.tobytes().hex(), boxes.sigma.tobytes().hex())
"""


def test_code_just_compiled_and_code_from_the_cache_give_the_same_bits(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", MEASURE]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert first == second
