"""Background and sources on simulated fields with known answers."""

import numpy as np
import pytest
import sep

from albireo import Background, Flag, FrameError, image
from albireo_sep import SepBackground, SepFinder

SIGMA_PER_FWHM = 1.0 / np.sqrt(8.0 * np.log(2.0))


def field(
    fwhm,
    fluxes,
    *,
    shape=(400, 420),
    sky=300.0,
    read_noise=5.0,
    elongation=1.0,
    theta=0.0,
    beta=None,
    seed=1,
    spacing=None,
):
    """Stars on a jittered grid, sampled at pixel centres, with Poisson and read noise; electrons."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    spacing = spacing or int(max(24, 8 * fwhm))
    cells = [(x, y) for y in range(spacing, ny - spacing, spacing) for x in range(spacing, nx - spacing, spacing)]
    assert len(cells) >= len(fluxes)
    chosen = np.array(cells, dtype=float)[rng.permutation(len(cells))[: len(fluxes)]]
    positions = chosen + rng.uniform(-2, 2, chosen.shape)
    yy, xx = np.mgrid[:ny, :nx]
    light = np.full(shape, float(sky))
    s = fwhm * SIGMA_PER_FWHM
    reach = int(np.ceil(5 * fwhm))
    for (x, y), flux in zip(positions, fluxes, strict=True):
        box = np.s_[max(0, int(y) - reach) : int(y) + reach + 1, max(0, int(x) - reach) : int(x) + reach + 1]
        dx, dy = xx[box] - x, yy[box] - y
        u = (dx * np.cos(theta) + dy * np.sin(theta)) / np.sqrt(elongation)
        v = (-dx * np.sin(theta) + dy * np.cos(theta)) * np.sqrt(elongation)
        if beta is None:
            light[box] += flux / (2 * np.pi * s**2) * np.exp(-(u**2 + v**2) / (2 * s**2))
        else:
            alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
            light[box] += flux * (beta - 1) / (np.pi * alpha**2) * (1 + (u**2 + v**2) / alpha**2) ** -beta
    pixels = rng.poisson(light) + rng.normal(0, read_noise, shape)
    return pixels.astype(np.float32), positions


def find(pixels, flags=None, **options):
    picture = image(pixels, "electron", flags=np.zeros(pixels.shape, np.uint16) if flags is None else flags)
    return SepFinder(**options).find(picture, SepBackground().estimate(picture))


def matched(found, positions):
    """Index into ``found`` of the source nearest to each position; all must lie within a pixel."""
    distance = np.hypot(found.x[:, None] - positions[:, 0], found.y[:, None] - positions[:, 1])
    assert distance.min(axis=0).max() < 1.0
    return distance.argmin(axis=0)


@pytest.mark.parametrize("thin", [False, True])
def test_level_and_noise_of_a_flat_sky_are_found_among_stars(thin):
    pixels, _ = field(3.0, np.full(60, 20000.0), sky=100.0, read_noise=0.0)
    background = SepBackground(box=64, thin=thin).estimate(image(pixels, "electron"))
    # 1024 pixels a box at least, 36 boxes: 10 / sqrt(36 * 1024) = 0.05; the stars' wings may add a few tenths.
    assert background.median == pytest.approx(100.0, abs=0.7)
    assert background.median_rms == pytest.approx(10.0, abs=0.5)
    # The mode of 1024 values scatters by 0.7; 42 boxes, and a spline that overshoots a little between them.
    assert np.std(background.level - 100.0) < 1.2
    assert np.abs(background.level - 100.0).max() < 4.5
    assert background.level.dtype == background.rms.dtype == np.float32
    assert background.level.shape == background.rms.shape == pixels.shape


@pytest.mark.parametrize("shape", [(300, 301), (301, 300), (301, 301), (300, 300)])
def test_a_slope_of_the_sky_is_followed_to_every_pixel(shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = 200.0 + 0.1 * x + 0.05 * y
    pixels = truth + np.random.default_rng(2).normal(0, 4.0, shape)
    level = SepBackground(box=48).estimate(image(pixels, "electron")).level
    assert level.shape == shape
    # A box of 24 x 24 samples tells its level to 9 % of the noise of a pixel (0.36), the median of nine to 0.15.
    inner = np.s_[48:-48, 48:-48]
    assert np.mean(level[inner] - truth[inner]) == pytest.approx(0.0, abs=0.3)
    assert np.abs(level[inner] - truth[inner]).max() < 1.2
    # Beyond the centres of the outer boxes the map levels off: half a box of slope is the most it can miss.
    assert np.abs(level - truth).max() < 0.15 * 24 + 2.0


def test_thinned_map_lies_midway_between_its_samples():
    pixels = np.random.default_rng(2).normal(100.0, 10.0, (256, 256)) + np.arange(256)
    level = SepBackground(box=32).estimate(image(pixels, "electron")).level
    assert level[:, 1:-1:2] == pytest.approx((level[:, :-2:2] + level[:, 2::2]) / 2, abs=1e-3)
    assert level[1:-1:2] == pytest.approx((level[:-2:2] + level[2::2]) / 2, abs=1e-3)


def test_masked_and_nan_pixels_do_not_take_part_in_the_background():
    pixels = np.random.default_rng(3).normal(50.0, 3.0, (256, 256)).astype(np.float32)
    flags = np.zeros(pixels.shape, np.uint16)
    pixels[::3, ::2] = 60000.0
    flags[::3, ::2] = Flag.HOT
    pixels[100:120] = np.nan
    background = SepBackground(box=32).estimate(image(pixels, "electron", flags=flags))
    assert background.median == pytest.approx(50.0, abs=0.3)
    assert np.isfinite(background.level).all()
    assert np.isfinite(background.rms).all()


def test_a_box_larger_than_the_image_is_cut_to_it():
    pixels = np.random.default_rng(3).normal(50.0, 3.0, (40, 30)).astype(np.float32)
    assert SepBackground(box=512).estimate(image(pixels, "electron")).median == pytest.approx(50.0, abs=0.5)


def test_a_frame_without_usable_pixels_has_no_background():
    picture = image(np.zeros((64, 64)), flags=np.full((64, 64), Flag.NO_DATA, np.uint16))
    with pytest.raises(FrameError) as caught:
        SepBackground().estimate(picture)
    assert str(caught.value) == (
        "no sky can be estimated: 0 usable pixels of 1024 looked at, at least 100 are needed; "
        "the others are masked or not numbers"
    )


def test_big_endian_pixels_from_a_file_are_understood():
    pixels = np.random.default_rng(3).normal(50.0, 3.0, (64, 64))
    assert SepBackground().estimate(image(pixels.astype(">f4"), "electron")).median == pytest.approx(50.0, abs=0.5)


@pytest.mark.parametrize("fwhm", [2.0, 2.7, 4.0, 6.0])
def test_fwhm_of_gaussian_stars_is_true_to_three_per_cent(fwhm):
    # Signal to noise of about 60: flux over the noise of the sky in an area of 4 pi sigma^2.
    noise = np.sqrt((300 + 25) * 4 * np.pi) * fwhm * SIGMA_PER_FWHM
    pixels, positions = field(fwhm, np.full(30, 60 * noise), shape=(500, 500))
    found = find(pixels)
    index = matched(found, positions)
    assert np.median(found.fwhm[index]) == pytest.approx(fwhm, rel=0.03)
    assert np.std(found.fwhm[index]) < 0.08 * fwhm


@pytest.mark.parametrize("beta", [3.0, 4.765])
def test_fwhm_of_moffat_stars_is_within_eight_per_cent(beta):
    pixels, positions = field(3.5, np.full(30, 50000.0), beta=beta)
    found = find(pixels)
    assert np.median(found.fwhm[matched(found, positions)]) == pytest.approx(3.5, rel=0.08)


def test_fwhm_of_faint_stars_is_not_narrowed_by_the_threshold():
    pixels, positions = field(4.0, np.full(60, 1200.0))  # signal to noise of 11
    found = find(pixels)
    distance = np.hypot(found.x[:, None] - positions[:, 0], found.y[:, None] - positions[:, 1])
    near = distance.min(axis=1) < 2.0
    assert near.sum() > 50
    # Single widths scatter by 25 %, the median of 50 by 4 %.
    assert np.nanmedian(found.fwhm[near]) == pytest.approx(4.0, rel=0.12)


def test_elongation_and_angle_in_radians_from_the_x_axis():
    theta = np.deg2rad(40.0)
    pixels, positions = field(4.0, np.full(30, 50000.0), elongation=1.8, theta=theta)
    found = find(pixels)
    index = matched(found, positions)
    assert np.median(found.theta[index]) == pytest.approx(theta, abs=np.deg2rad(1.0))
    assert np.median(found.a[index] / found.b[index]) == pytest.approx(1.8, rel=0.03)
    geometric = np.sqrt(found.a[index] * found.b[index])
    assert np.median(geometric) == pytest.approx(4.0 * SIGMA_PER_FWHM, rel=0.02)


@pytest.mark.parametrize("elongation", [1.0, 1.6])
def test_positions_scatter_like_a_fit_of_the_profile(elongation):
    fwhm, flux, sky, read_noise = 3.0, 8000.0, 300.0, 5.0
    pixels, positions = field(fwhm, np.full(60, flux), sky=sky, read_noise=read_noise, elongation=elongation)
    found = find(pixels)
    index = matched(found, positions)
    error = np.concatenate([found.x[index] - positions[:, 0], found.y[index] - positions[:, 1]])
    s = fwhm * SIGMA_PER_FWHM
    # Cramer-Rao of a Gaussian on white noise plus its own photons.
    bound = np.sqrt(s**2 / flux + 8 * np.pi * s**4 * (sky + read_noise**2) / flux**2)
    assert np.abs(np.mean(error)) < 4 * bound / np.sqrt(len(error))
    assert np.std(error) < 1.3 * bound * np.sqrt(elongation)


def test_sources_come_brightest_first_and_can_be_limited():
    pixels, positions = field(3.0, np.geomspace(3000, 300000, 20))
    found = find(pixels)
    assert len(found) == 20
    assert (np.diff(found.flux) <= 0).all()
    assert np.array_equal(matched(found, positions), np.arange(20)[::-1])
    assert np.array_equal(find(pixels, max_sources=5).x, found.x[:5])


def test_completeness_and_purity_at_ten_sigma():
    pixels, positions = field(3.0, np.full(100, 2200.0), shape=(600, 600), spacing=40)
    found = find(pixels)
    distance = np.hypot(found.x[:, None] - positions[:, 0], found.y[:, None] - positions[:, 1])
    # 2200 / sqrt(325 * 4 pi * 1.27**2) = 27 sigma; 325 e- a pixel of noise squared.
    assert (distance.min(axis=0) < 0.5).sum() == 100
    assert len(found) == 100


def test_nothing_is_found_in_noise():
    pixels = np.random.default_rng(5).normal(100.0, 10.0, (700, 700)).astype(np.float32)
    assert len(find(pixels)) == 0


def test_single_pixel_spikes_are_not_sources():
    pixels, positions = field(2.0, np.full(20, 20000.0))
    rng = np.random.default_rng(6)
    rows, columns = rng.integers(5, 395, 200), rng.integers(5, 415, 200)
    apart = np.hypot(columns[:, None] - positions[:, 0], rows[:, None] - positions[:, 1]).min(axis=1) > 12
    pixels[rows[apart], columns[apart]] += np.geomspace(200, 50000, apart.sum())
    assert apart.sum() > 100
    assert len(find(pixels)) == 20
    assert len(find(pixels, max_sharpness=2.0)) > 60  # it is this option that tells them


def test_saturated_stars_are_found_whole_and_flagged():
    pixels, positions = field(4.0, np.array([3e6, 20000.0]))
    flags = np.where(pixels > 30000, np.uint16(Flag.SATURATED), np.uint16(0))
    clipped = np.minimum(pixels, 30000)
    assert np.count_nonzero(flags) > 20
    found = find(clipped, flags)
    index = matched(found, positions)
    assert len(found) == 2
    assert found.flags[index].tolist() == [Flag.SATURATED, 0]


def test_bad_pixels_make_no_source_and_flag_their_star():
    pixels, positions = field(3.0, np.full(4, 20000.0))
    flags = np.zeros(pixels.shape, np.uint16)
    pixels[200:204, :] = 50000.0
    flags[200:204, :] = Flag.BAD
    x, y = np.rint(positions[0]).astype(int)
    flags[y, x + 1] |= np.uint16(Flag.HOT)
    pixels[10, 10:14] = np.nan
    found = find(pixels, flags)
    assert found.flags[matched(found, positions)].tolist()[0] & Flag.HOT
    assert not any(198 <= y <= 205 for y in found.y)


def test_a_source_cut_by_the_edge_is_flagged():
    pixels, _ = field(4.0, np.full(3, 20000.0))
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    pixels += 5000 * np.exp(-((x - 0.5) ** 2 + (y - 200) ** 2) / (2 * 1.7**2)).astype(np.float32)
    found = find(pixels)
    assert [bool(flag & Flag.EDGE) for flag in found.flags[np.argsort(found.x)]] == [True, False, False, False]


def test_close_pair_is_parted():
    pixels, _ = field(3.0, np.full(1, 20000.0))
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    for offset in (0.0, 8.0):
        pixels += (3000 * np.exp(-((x - 200.0 - offset) ** 2 + (y - 30.0) ** 2) / (2 * 1.3**2))).astype(np.float32)
    assert len(find(pixels)) == 3
    assert len(find(pixels, deblend_contrast=1.0)) in (2, 3)


@pytest.mark.parametrize(
    ("data", "bits"), [(0.0, 0), (np.nan, 0), (100.0, Flag.BAD)], ids=["constant", "not numbers", "all masked"]
)
def test_an_image_without_information_has_no_sources(data, bits):
    shape = (128, 128)
    picture = image(np.full(shape, data), "electron", flags=np.full(shape, bits, np.uint16))
    level, rms = np.zeros(shape, np.float32), np.full(shape, 0.0 if data == 0 else 3.0, np.float32)
    assert len(SepFinder().find(picture, Background(level, rms, 0.0, 3.0))) == 0


def test_too_small_limits_of_sep_are_raised_and_put_back():
    pixels, _ = field(3.0, np.full(50, 50000.0))
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    sep.set_extract_pixstack(1000)
    try:
        assert len(find(pixels)) == 50
        assert sep.get_extract_pixstack() == 1000
    finally:
        sep.set_extract_pixstack(before[0])


def test_a_frame_that_is_all_above_the_threshold_fails_in_words():
    shape = (400, 400)
    picture = image(np.full(shape, 1000.0), "electron")
    sky = Background(np.zeros(shape, np.float32), np.ones(shape, np.float32), 0.0, 1.0)
    before = sep.get_extract_pixstack()
    sep.set_extract_pixstack(100)
    try:
        with pytest.raises(FrameError, match="too many pixels lie above 5 standard deviations of the background"):
            SepFinder().find(picture, sky)
    finally:
        sep.set_extract_pixstack(before)


def test_two_runs_agree_and_the_image_is_left_alone():
    pixels, _ = field(3.0, np.geomspace(2000, 200000, 40))
    flags = np.zeros(pixels.shape, np.uint16)
    picture = image(pixels, "electron", flags=flags)
    copies = pixels.copy(), flags.copy()
    background = SepBackground().estimate(picture)
    first, second = (SepFinder().find(picture, background) for _ in range(2))
    assert all(
        np.array_equal(column, second.columns()[name], equal_nan=True) for name, column in first.columns().items()
    )
    assert np.array_equal(picture.data, copies[0])
    assert np.array_equal(picture.flags, copies[1])
