"""The finder on simulated scenes with known answers."""

import numpy as np
import pytest

from albireo import Background, Flag, FrameError, flags_of, image
from albireo.testing import Profile, Scene, simulate_image
from albireo_detection import Constant, Mesh, Segments

PIXEL = 8.0 * np.log(2.0) / 12.0
"""What the width of a pixel adds to the square of a full width at half maximum."""


def flat(shape, level=0.0, rms=1.0):
    return Background(np.full(shape, level, np.float32), np.full(shape, rms, np.float32), level, rms)


def field(fwhm=3.0, stars=40, *, shape=(500, 500), snr=(30.0, 300.0), seed=1, **profile):
    """Isolated stars whose optimal signal to noise lies between two limits, on a sky of 300 with read noise."""
    shown = Profile(fwhm, **profile)
    noise = np.sqrt(shown.noise_pixels * (300.0 + 25.0))
    flux = [s * (0.5 * s + np.sqrt(0.25 * s * s + noise**2)) for s in snr]
    scene = Scene.field(shape, stars, flux[1], flux[0], separation=max(20.0, 7 * fwhm), margin=4 * fwhm + 5, seed=seed)
    return simulate_image(scene, shape, profile=shown, sky=300.0, read_noise=5.0, seed=seed + 1)


def matched(found, truth, reach=1.0):
    """Index into ``found`` of the source nearest to each star; all must lie within reach."""
    distance = np.hypot(found.x[:, None] - truth.x, found.y[:, None] - truth.y)
    assert distance.min(axis=0).max() < reach
    return distance.argmin(axis=0)


@pytest.mark.parametrize("fwhm", [1.5, 2.0, 3.0, 5.0, 10.0])
def test_all_stars_and_nothing_else_at_the_precision_of_a_fit(fwhm):
    picture = field(fwhm, 30, shape=(600, 600))
    found = Segments().find(picture.image, Mesh(box=100).estimate(picture.image))
    assert len(found) == 30
    truth = picture.sources
    index = matched(found, truth, 0.2 * fwhm)
    # Cramer-Rao for a Gaussian on white noise is sqrt(2) sigma over signal to noise, less where photons rule.
    error = np.concatenate([found.x[index] - truth.x, found.y[index] - truth.y])
    bound = np.sqrt(2.0) * np.sqrt(fwhm**2 + PIXEL) / 2.355 / np.tile(picture.snr, 2)
    assert np.sqrt(np.mean((error / np.hypot(bound, 0.01)) ** 2)) < 1.3
    assert np.mean(error / bound**2) / np.mean(bound**-2) == pytest.approx(
        0.0, abs=0.01 + 4 / np.sqrt(np.sum(bound**-2))
    )
    assert np.median(found.fwhm[index]) == pytest.approx(np.hypot(fwhm, np.sqrt(PIXEL)), rel=0.03)


def test_oc_a7_background_and_sources():
    """Six stars on a sky of 100 with a noise of 10: level, noise, and the six stars."""
    scene = Scene.field((512, 512), 6, 2e4, 2e3, separation=60.0, seed=4)
    picture = simulate_image(scene, (512, 512), profile=Profile(2.0 * 2.3548), sky=100.0, read_noise=0.0, seed=5)
    for estimator in (Mesh(), Constant()):
        background = estimator.estimate(picture.image)
        # 512 x 512 pixels tell a clipped mode to 2 * 10 / 512 = 0.04.
        assert background.median == pytest.approx(100.0, abs=0.2)
        assert background.median_rms == pytest.approx(10.0, abs=0.1)
        found = Segments().find(picture.image, background)
        assert len(found) == 6
        matched(found, picture.sources)


@pytest.mark.parametrize("beta", [3.0, 4.765])
def test_fwhm_of_moffat_stars_is_within_eight_per_cent(beta):
    picture = field(3.5, beta=beta, snr=(100.0, 500.0))
    found = Segments().find(picture.image, picture.background)
    width = np.median(found.fwhm[matched(found, picture.sources)])
    assert width == pytest.approx(np.hypot(3.5, np.sqrt(PIXEL)), rel=0.08)


@pytest.mark.parametrize("degrees", [40.0, -70.0])
def test_elongation_and_angle_in_radians_from_the_x_axis(degrees):
    picture = field(4.0, elongation=1.8, theta=np.deg2rad(degrees), snr=(100.0, 500.0))
    found = Segments().find(picture.image, picture.background)
    index = matched(found, picture.sources)
    assert np.median(found.theta[index]) == pytest.approx(np.deg2rad(degrees), abs=np.deg2rad(1.0))
    assert np.median(found.a[index] / found.b[index]) == pytest.approx(1.8, rel=0.04)


def test_flux_and_peak_follow_the_stars_brightest_first():
    picture = field(snr=(30.0, 1000.0))
    found = Segments().find(picture.image, picture.background)
    index = matched(found, picture.sources)
    assert np.array_equal(index, np.arange(40))
    bright = picture.snr > 200
    assert np.median(found.flux[index][bright] / picture.sources.flux[bright]) == pytest.approx(0.97, abs=0.03)
    assert found.peak[0] == pytest.approx(picture.sources.peak[0], rel=0.05)
    assert np.array_equal(Segments(max_sources=5).find(picture.image, picture.background).x, found.x[:5])


@pytest.mark.parametrize("filter_fwhm", [0.0, 1.7, 4.0])
def test_noise_gives_no_sources_and_the_filter_is_accounted_for(filter_fwhm):
    """A star whose filtered peak is the threshold is found about every other time, whatever the filter."""
    rng = np.random.default_rng(5)
    pixels = rng.normal(0.0, 1.0, (1000, 1000)).astype(np.float32)
    assert len(Segments(filter_fwhm=filter_fwhm).find(image(pixels, "electron"), flat(pixels.shape))) == 0
    offset = np.arange(-8, 9)
    star = np.exp(-4.0 * np.log(2.0) * (offset[:, None] ** 2 + offset**2) / 4.0**2)
    half = max(1, round(0.6 * filter_fwhm))  # the documented reach of the filter
    taps = np.exp(-4.0 * np.log(2.0) * (np.arange(-half, half + 1) / max(filter_fwhm, 0.1)) ** 2)
    kernel = np.outer(taps, taps)
    peak = np.sum(kernel * star[8 - half : 9 + half, 8 - half : 9 + half]) / np.sqrt(np.sum(kernel**2))
    share = []
    for strength in (3.0, 5.0, 7.0):
        planted = pixels.copy()
        for y in range(20, 980, 30):
            for x in range(20, 980, 30):
                planted[y - 8 : y + 9, x - 8 : x + 9] += (strength / peak * star).astype(np.float32)
        finder = Segments(filter_fwhm=filter_fwhm, min_area=1, deblend_contrast=1.0, max_sharpness=1e9)
        share.append(len(finder.find(image(planted, "electron"), flat(pixels.shape))) / 32**2)
    # The pixels around the peak have a chance too: without a filter nearly as much as the peak itself.
    assert share[0] < 0.2
    assert 0.5 < share[1] < 1.0
    assert share[2] > 0.97


def test_a_wider_filter_finds_fainter_stars_in_bad_seeing():
    picture = field(8.0, 30, shape=(700, 700), snr=(11.0, 13.0))
    narrow, wide = (len(Segments(filter_fwhm=f).find(picture.image, picture.background)) for f in (1.7, 8.0))
    assert wide == 30
    assert narrow < 25


def test_an_empty_image_gives_an_empty_list():
    shape = (128, 128)
    for data, bits, rms in ((0.0, 0, 0.0), (np.nan, 0, 3.0), (100.0, int(Flag.BAD), 3.0), (0.0, 0, 3.0)):
        picture = image(np.full(shape, data), "electron", flags=np.full(shape, bits, np.uint16))
        assert len(Segments().find(picture, flat(shape, 0.0, rms))) == 0


def test_single_pixel_spikes_are_not_sources():
    picture = field(2.0, 20)
    pixels = picture.image.data.copy()
    rng = np.random.default_rng(6)
    rows, columns = rng.integers(5, 495, (2, 200))
    apart = np.hypot(columns[:, None] - picture.sources.x, rows[:, None] - picture.sources.y).min(axis=1) > 12
    pixels[rows[apart], columns[apart]] += np.geomspace(200, 50000, apart.sum())
    assert apart.sum() > 100
    assert len(Segments().find(image(pixels, "electron"), picture.background)) == 20
    assert len(Segments(max_sharpness=2.0).find(image(pixels, "electron"), picture.background)) > 60


def test_saturated_stars_and_their_trails_are_one_source_and_flagged():
    picture = field(4.0, 2, snr=(100.0, 2500.0))
    data = picture.image.data.copy()
    x, y = (round(float(v[0])) for v in (picture.sources.x, picture.sources.y))
    flags = np.where(data > 30000, np.uint16(Flag.SATURATED), np.uint16(0))
    assert np.count_nonzero(flags) > 20
    rng = np.random.default_rng(3)
    data[y - 60 : y + 60, x - 1 : x + 2] = 30000.0
    flags[y - 60 : y + 60, x - 1 : x + 2] = Flag.BLEED
    full = flags != 0
    data[full] = 30000.0 + rng.normal(0.0, 400.0, full.sum())  # a flat makes them differ
    found = Segments().find(image(data, "electron", flags=flags), picture.background)
    assert len(found) == 2
    assert found.flags[0] & Flag.SATURATED
    assert found.flags[0] & Flag.BLEED
    assert found.flags[1] == 0


def test_bad_pixels_make_no_source_and_flag_their_star():
    picture = field(3.0, 10, snr=(150.0, 300.0))
    data, flags = picture.image.data.copy(), np.zeros(picture.image.shape, np.uint16)
    x, y = (np.rint(v).astype(int) for v in (picture.sources.x, picture.sources.y))
    data[y, x + 1], flags[y, x + 1] = 60000.0, Flag.HOT
    data[:, 3:5], flags[:, 3:5] = 60000.0, Flag.BAD
    data[10:14, 10:14] = np.nan
    found = Segments().find(image(data, "electron", flags=flags), picture.background)
    index = matched(found, picture.sources)
    assert len(found) == 10
    assert (found.flags[index] & Flag.HOT).all()
    # The pixel beside the centre is known from the one opposite, so the star does not seem to lie elsewhere.
    assert np.abs(found.x[index] - picture.sources.x).max() < 0.15


def test_a_source_cut_by_the_edge_is_flagged():
    scene = Scene([0.4, 60.0], [40.0, 40.0], [3e4, 3e4])
    picture = simulate_image(scene, (80, 100), sky=300.0, seed=1)
    found = Segments().find(picture.image, picture.background)
    order = np.argsort(found.x)
    assert [bool(flag & Flag.EDGE) for flag in found.flags[order]] == [True, False]
    assert found.x[order] == pytest.approx([0.4, 60.0], abs=0.15)


@pytest.mark.parametrize(("apart", "ratio"), [(2.0, 1.0), (2.0, 0.2), (3.0, 0.02)])
def test_close_pairs_are_parted_unless_told_not_to(apart, ratio):
    """Distances in FWHM; brightness of the fainter one relative to the other."""
    x, y = (axis.ravel() + 0.3 for axis in np.meshgrid(np.arange(50.0, 560.0, 60.0), np.arange(50.0, 560.0, 60.0)))
    scene = Scene(np.append(x, x + 3.0 * apart), np.append(y, y), np.repeat([2e5, 2e5 * ratio], x.size))
    picture = simulate_image(scene, (610, 610), profile=Profile(3.0), sky=100.0, seed=2)
    found = Segments().find(picture.image, picture.background)
    assert len(found) == 2 * x.size
    matched(found, picture.sources)
    assert x.size <= len(Segments(deblend_contrast=1.0).find(picture.image, picture.background)) <= len(found)


def test_noise_does_not_part_a_broad_star_and_its_wings():
    for seed in range(4):
        picture = field(14.0, 12, shape=(700, 700), snr=(40.0, 1000.0), beta=3.0, seed=seed)
        assert len(Segments().find(picture.image, picture.background)) == 12


def test_trails_of_satellites_are_left_out_and_the_stars_they_cross_are_not():
    picture = field(3.0, 30, snr=(60.0, 300.0))
    data = picture.image.data.copy()
    y, x = np.mgrid[:500, :500]
    star = picture.sources[3]
    across = (x - star.x[0]) * np.sin(0.5) - (y - star.y[0]) * np.cos(0.5)
    data += (400.0 * np.exp(-0.5 * (across / 1.5) ** 2)).astype(np.float32)
    picture_with = image(data, "electron")
    found = Segments().find(picture_with, picture.background)
    kept = Segments(max_elongation=0.0).find(picture_with, picture.background)
    assert len(kept) > len(found)
    near = np.abs((found.x - star.x[0]) * np.sin(0.5) - (found.y - star.y[0]) * np.cos(0.5)) < 4.0
    assert near.sum() <= 3
    index = matched(found, picture.sources, 1.5)
    assert len(set(index)) == 30
    assert len(found) <= 31


def test_trailed_stars_of_an_untracked_frame_are_no_satellites():
    y, x = np.mgrid[:400, :400]
    pixels = np.random.default_rng(2).normal(0.0, 5.0, (400, 400))
    for row in range(40, 400, 60):
        inside = (x > 100) & (x < 130)
        pixels += 200.0 * np.exp(-0.5 * ((y - row) / 1.5) ** 2) * inside
    found = Segments().find(image(pixels, "electron"), flat(pixels.shape, 0.0, 5.0))
    assert len(found) == 6


def test_a_frame_that_is_all_above_the_threshold_fails_in_words():
    with pytest.raises(FrameError) as caught:
        Segments().find(image(np.full((200, 200), 1000.0), "electron"), flat((200, 200)))
    assert str(caught.value) == (
        "more than half of the pixels lie above 5 standard deviations of the background, too many to make sources of "
        "them; look whether the background suits the frame, or raise the threshold"
    )


def test_two_runs_agree_and_the_image_is_left_alone():
    picture = field(stars=60)
    given = picture.image
    before = given.data.copy(), flags_of(given).copy()
    first, second = (Segments().find(given, picture.background) for _ in range(2))
    assert all(np.array_equal(c, second.columns()[n], equal_nan=True) for n, c in first.columns().items())
    assert np.array_equal(given.data, before[0])
    assert np.array_equal(flags_of(given), before[1])
