"""Fluxes, errors and flags against simulated truth, and against sep and photutils."""

import numpy as np
import pytest

from albireo import PSF, Background, Flag, FrameError, Sources, image
from albireo_aperture import Aperture


def scene(fluxes, *, sigma=2.0, sky=100.0, read_noise=0.0, gain=1.0, dark=0.0, spacing=50, seed=1, drift=(0.0, 0.0)):
    """Isolated Gaussian stars, sampled at pixel centres, as a gain-calibrated image in electrons, with its variance.

    Counts are drawn in electrons, digitised with the gain, and brought back; the mean dark is subtracted.
    """
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(len(fluxes))))
    size = spacing * side + 10
    cells = np.array([(spacing * (k % side + 0.5), spacing * (k // side + 0.5)) for k in range(len(fluxes))])
    positions = cells + np.random.default_rng(99).uniform(-0.5, 0.5, cells.shape) + drift
    light = np.full((size, size), float(sky + dark))
    reach = int(6 * sigma) + 2
    grid = np.arange(-reach, reach + 1)
    for (x, y), flux in zip(positions, fluxes, strict=True):
        column, row = round(x), round(y)
        px, py = (
            np.exp(-0.5 * ((grid - offset) / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
            for offset in (x - column, y - row)
        )
        light[row - reach : row + reach + 1, column - reach : column + reach + 1] += flux * np.outer(py, px)
    electrons = rng.poisson(light) + rng.normal(0, read_noise, light.shape)
    adu = np.round(electrons / gain) if gain < 1 else electrons / gain
    pixels = adu * gain
    variance = np.maximum(pixels, 0) + read_noise**2
    picture = image(pixels - dark, "electron", variance=variance, flags=np.zeros(light.shape, np.uint16))
    return picture, Sources.make(*positions.T, id=np.arange(1, len(fluxes) + 1))


def enclosed(radius, sigma):
    return 1.0 - np.exp(-(radius**2) / (2 * sigma**2))


def flat(level=100.0, size=64):
    pixels = np.full((size, size), level, np.float32)
    return pixels, np.zeros(pixels.shape, np.uint16)


def measure_one(pixels, flags, x=32.0, y=32.0, **options):
    picture = image(pixels, "electron", variance=np.full(pixels.shape, 4.0, np.float32), flags=flags)
    options = {"radius": 5.0, **options}
    rows = Aperture(**options).measure(picture, Sources.make(x, y, id=7), None, None)
    return {name: column[0] for name, column in rows.items()}


def test_aperture_of_one_fwhm_holds_93_75_per_cent_of_a_gaussian():
    # Shares of pixels take the light as spread over each: that widens the star by the variance of a unit square.
    sigma = 2.0
    picture, sources = scene([1e7], sigma=sigma)
    radius = sigma * np.sqrt(8 * np.log(2))
    rows = Aperture(radius=radius).measure(picture, sources, None, None)
    assert enclosed(radius, sigma) == pytest.approx(0.9375)
    assert rows["flux"][0] / 1e7 == pytest.approx(enclosed(radius, np.sqrt(sigma**2 + 1 / 12)), abs=0.001)


@pytest.mark.parametrize("radius", [0.4, 1.0, 2.5, 4.71, 9.3])
def test_sum_equals_photutils_and_sep(radius):
    aperture = pytest.importorskip("photutils.aperture")
    sep = pytest.importorskip("sep")
    rng = np.random.default_rng(3)
    pixels = rng.normal(100, 30, (200, 210)).astype(np.float32)
    x, y = rng.uniform(25, 175, (2, 50))
    picture = image(pixels, "electron", variance=np.full(pixels.shape, 9.0))
    rows = Aperture(radius=radius).measure(picture, Sources.make(x, y), None, None)
    area = np.pi * radius**2
    totals = rows["flux"] + rows["sky"] * area
    theirs = aperture.aperture_photometry(
        pixels.astype(float), aperture.CircularAperture(np.stack([x, y], axis=1), radius), method="exact"
    )
    assert totals == pytest.approx(np.asarray(theirs["aperture_sum"]), rel=1e-5)
    assert totals == pytest.approx(sep.sum_circle(pixels, x, y, radius, subpix=0)[0], rel=1e-5)
    assert rows["area"] == pytest.approx(area)


def test_error_is_that_of_the_shares_squared():
    # One pixel of variance 4 shared by half: the noise of half of it is 1, not sqrt(2).
    pixels, flags = flat()
    variance = np.zeros(pixels.shape, np.float32)
    variance[32, 37] = 4.0
    picture = image(pixels, "electron", variance=variance, flags=flags)
    rows = Aperture(radius=5.0).measure(picture, Sources.make(32.0, 32.0), None, None)
    assert rows["sky_err"][0] == 0.0
    # The circle ends in the middle of pixel 37 but for its curvature: 1/24 of a pixel over 2 r.
    assert rows["flux_err"][0] == pytest.approx(2.0 * (0.5 - 1 / (24 * 5)), rel=1e-3)


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
def test_pulls_are_standard_from_bright_to_faint(gain):
    levels = [40000.0, 4000.0, 400.0, 100.0]
    radius, sigma = 4.71, 2.0
    pulls = {level: [] for level in levels}
    for seed in range(6):
        picture, sources = scene(np.repeat(levels, 64), sky=40.0, read_noise=6.0, gain=gain, seed=seed)
        rows = Aperture(radius=radius, annulus=(10, 20)).measure(picture, sources, None, None)
        expected = np.repeat(levels, 64) * enclosed(radius, np.sqrt(sigma**2 + 1 / 12))
        pull = (rows["flux"] - expected) / rows["flux_err"]
        for k, level in enumerate(levels):
            pulls[level].extend(pull[64 * k : 64 * (k + 1)])
    for values in pulls.values():
        # 384 pulls: mean to 0.05, width to 0.036; two of these and the house's limits of 0.1.
        assert abs(np.mean(values)) < 0.1 + 2 * 0.05
        assert np.std(values) == pytest.approx(1.0, abs=0.1)
    everything = np.concatenate(list(pulls.values()))
    assert abs(np.mean(everything)) < 0.1
    assert np.std(everything) == pytest.approx(1.0, abs=0.06)


def test_dark_counts_once_in_the_error():
    # 20000 e- on a sky of 10 e- and a subtracted dark of 200 e- in 69.68 pixels.
    radius = 4.710
    fluxes = np.full(225, 20000.0)
    picture, sources = scene(fluxes, sky=10.0, dark=200.0, seed=4)
    rows = Aperture(radius=radius).measure(picture, sources, None, None)
    assert np.std(rows["flux"]) / np.median(rows["flux_err"]) == pytest.approx(1.0, abs=0.12)
    assert np.median(rows["flux"]) == pytest.approx(18750, rel=0.005)
    # Shares squared take a little off, the ring adds a little.
    assert np.median(rows["flux_err"]) == pytest.approx(np.sqrt(18750 + 69.68 * 210), rel=0.03)


def test_drifting_stars_are_followed():
    fluxes = np.array([20000.0, 15000.0, 12000.0, 10000.0])
    values = []
    for k in range(24):
        picture, sources = scene(fluxes, spacing=100, seed=k, drift=(0.5 * k, 0.25 * k))
        values.append(Aperture(radius=4.710).measure(picture, sources, None, None)["flux"][0])
    assert np.mean(values) == pytest.approx(18750, rel=0.005)
    assert np.abs(np.array(values) - 18750).max() < 4 * 165


def test_sky_and_its_error_are_true():
    picture, sources = scene(np.full(400, 2000.0), sky=100.0, read_noise=5.0)
    rows = Aperture(radius=4.0, annulus=(12, 20)).measure(picture, sources, None, None)
    pixels = np.pi * (20**2 - 12**2)
    assert np.mean(rows["sky"]) == pytest.approx(100.0, abs=0.1)
    assert np.median(rows["sky_err"]) == pytest.approx(np.sqrt(125 / pixels), rel=0.03)
    assert np.std(rows["sky"]) / np.median(rows["sky_err"]) == pytest.approx(1.0, abs=0.1)
    median = Aperture(radius=4.0, annulus=(12, 20), statistic="median").measure(picture, sources, None, None)
    assert np.std(median["sky"]) / np.median(median["sky_err"]) == pytest.approx(1.0, abs=0.12)
    assert np.std(median["sky"]) > 1.1 * np.std(rows["sky"])


def test_the_mode_is_made_of_mean_and_median():
    # One pixel in eight is brighter by a standard deviation: skewed, and nothing is clipped.
    rng = np.random.default_rng(8)
    pixels = rng.normal(100, 10, (64, 64)) + 10.0 * (rng.random((64, 64)) < 0.125)
    picture = image(pixels, "electron", variance=np.full(pixels.shape, 100.0))
    y, x = np.mgrid[:64, :64] - 32.0
    ring = picture.data[(np.hypot(x, y) >= 12) & (np.hypot(x, y) <= 20)].astype(float)

    def sky(statistic):
        rows = Aperture(statistic=statistic, annulus=(12, 20), clip=50.0).measure(
            picture, Sources.make(32, 32), None, None
        )
        return rows["sky"][0]

    assert sky("mean") == pytest.approx(ring.mean())
    assert sky("median") == pytest.approx(np.median(ring))
    assert sky("mode") == pytest.approx(2.5 * np.median(ring) - 1.5 * ring.mean())
    assert sky("mode") != pytest.approx(sky("median"), abs=1e-3)


def test_the_error_of_the_mode_is_its_scatter():
    picture, sources = scene(np.full(900, 500.0), sky=100.0, read_noise=5.0, spacing=45)
    rows = Aperture(radius=4.0, annulus=(12, 20), statistic="mode").measure(picture, sources, None, None)
    # 900 values: the width to 2.4 per cent. Clipping takes a little off.
    assert np.std(rows["sky"]) / np.median(rows["sky_err"]) == pytest.approx(1.0, abs=0.09)


def test_error_contains_that_of_a_small_ring():
    # As many pixels in the ring as in the circle: half of the variance comes from the level of the sky.
    picture, sources = scene(np.full(400, 1000.0), sky=100.0, seed=7)
    rows = Aperture(radius=9.0, annulus=(12, 15)).measure(picture, sources, None, None)
    pull = (rows["flux"] - 1000.0) / rows["flux_err"]
    assert np.std(pull) == pytest.approx(1.0, abs=0.11)


def test_a_neighbour_in_the_ring_is_clipped():
    picture, sources = scene([5000.0], sky=100.0)
    pixels = picture.data.copy()
    x = int(sources.x[0])
    pixels[:, x + 9 : x + 25] += 3000.0  # a quarter of the ring
    crowded = image(pixels, "electron", variance=picture.uncertainty.array)
    alone = Aperture(radius=4.0).measure(picture, sources, None, None)
    rows = Aperture(radius=4.0).measure(crowded, sources, None, None)
    assert rows["sky"][0] == pytest.approx(alone["sky"][0], abs=3 * alone["sky_err"][0])


def test_background_map_in_place_of_the_ring():
    pixels, flags = flat(100.0)
    pixels[32, 32] += 500.0
    level = np.full(pixels.shape, 90.0, np.float32)
    picture = image(pixels, "electron", variance=np.full(pixels.shape, 4.0), flags=flags)
    background = Background(level, level, 90.0, 1.0)
    rows = Aperture(radius=3.0, sky="background").measure(picture, Sources.make(32, 32), background, None)
    assert rows["flux"][0] == pytest.approx(500 + 10 * 9 * np.pi, rel=1e-6)
    assert rows["sky"][0] == 90.0
    assert rows["sky_err"][0] == 0.0
    with pytest.raises(FrameError, match=r'sky = "background" needs the map of a \[background\] stage'):
        Aperture(sky="background").measure(picture, Sources.make(32, 32), None, None)


def test_a_masked_pixel_is_replaced_by_the_mean_of_the_others():
    pixels, flags = flat()
    pixels[30:35, 30:35] += 10.0
    clean = measure_one(pixels, flags)
    pixels[32, 33], flags[32, 33] = 1e6, Flag.COSMIC_RAY
    pixels[31, 31] = np.nan
    masked = measure_one(pixels, flags)
    area = np.pi * 25
    assert masked["flux"] == pytest.approx((clean["flux"] - 20.0) * area / (area - 2))
    assert masked["flux_err"] == pytest.approx(clean["flux_err"], rel=0.03)
    assert masked["flux_err"] > clean["flux_err"]
    assert masked["area"] == pytest.approx(area - 2)
    assert masked["flags"] == Flag.COSMIC_RAY | Flag.NO_DATA
    assert clean["flags"] == 0


def test_more_than_half_masked_is_no_measurement():
    pixels, flags = flat()
    flags[:, 33:] = Flag.BAD
    assert np.isfinite(measure_one(pixels, flags)["flux"])
    flags[:, 32:] = Flag.BAD
    row = measure_one(pixels, flags)
    assert np.isnan(row["flux"])
    assert np.isnan(row["flux_err"])
    assert row["flags"] == Flag.BAD | Flag.FAILED


def test_saturated_pixels_are_summed_and_flagged():
    pixels, flags = flat()
    clean = measure_one(pixels, flags)
    pixels[32, 32] += 60000.0
    flags[32, 32] = Flag.SATURATED
    flags[33, 32] = Flag.BLEED
    row = measure_one(pixels, flags)
    assert row["flux"] - clean["flux"] == pytest.approx(60000.0)
    assert row["flags"] == Flag.SATURATED | Flag.BLEED
    assert row["area"] == pytest.approx(clean["area"])


def test_flags_are_those_the_circle_touches():
    pixels, flags = flat()
    flags[32, 37] = Flag.INTERPOLATED  # shared by half
    flags[32, 38] = Flag.HOT  # outside
    assert measure_one(pixels, flags)["flags"] == Flag.INTERPOLATED
    assert measure_one(pixels, flags, radius=4.4)["flags"] == 0


def test_masked_pixels_in_the_ring_are_ignored():
    pixels, flags = flat()
    pixels[:, 45:50] = 30000.0
    flags[:, 45:50] = Flag.SATURATED
    pixels[20] = np.nan
    row = measure_one(pixels, flags)
    assert row["sky"] == pytest.approx(100.0)
    assert row["flags"] == 0


def test_a_ring_without_pixels_is_no_measurement():
    pixels, flags = flat()
    flags[:] = Flag.BAD
    flags[26:39, 26:39] = 0
    row = measure_one(pixels, flags)
    assert np.isnan(row["flux"])
    assert row["flags"] == Flag.FAILED
    assert row["area"] == pytest.approx(np.pi * 25)


@pytest.mark.parametrize("size", [64, 65])
def test_the_circle_must_lie_in_the_image(size):
    pixels, flags = flat(size=size)
    last = size - 1
    for x, y in ((4.5, 30), (30, 4.5), (last - 4.5, 30), (30, last - 4.5)):
        row = measure_one(pixels, flags, x=x, y=y)
        assert row["flux"] == pytest.approx(0.0, abs=1e-6)
        assert row["flags"] == 0
    for x, y in ((4.4, 30), (30, 4.4), (last - 4.4, 30), (30, last - 4.4), (-1e9, 30), (np.nan, 30), (30, np.inf)):
        row = measure_one(pixels, flags, x=x, y=y)
        assert np.isnan(row["flux"])
        assert row["flags"] & Flag.EDGE
        assert row["flags"] & Flag.FAILED


def test_one_row_for_each_source_and_radius():
    picture, sources = scene([1e4, 2e4, 3e4])
    rows = Aperture(radius=[2, 4]).measure(picture, sources, None, None)
    assert rows["id"].tolist() == [1, 1, 2, 2, 3, 3]
    assert rows["aperture"].tolist() == [2.0, 4.0] * 3
    single = Aperture(radius=4).measure(picture, sources, None, None)
    assert rows["flux"][1::2] == pytest.approx(single["flux"], rel=1e-12)
    assert rows["flux_err"][1::2] == pytest.approx(single["flux_err"], rel=1e-12)
    assert {name: column.shape for name, column in rows.items()} == dict.fromkeys(rows, (6,))


def test_radii_in_units_of_the_fwhm():
    picture, sources = scene([1e5])
    psf = PSF(fwhm=4.71)
    rows = Aperture(radius=(0.5, 1.0), unit="fwhm", annulus=(3, 4)).measure(picture, sources, None, psf)
    assert rows["aperture"] == pytest.approx([2.355, 4.71])
    pixels = Aperture(radius=(2.355, 4.71), annulus=(14.13, 18.84)).measure(picture, sources, None, None)
    assert rows["flux"] == pytest.approx(pixels["flux"])
    with pytest.raises(FrameError, match="no star was good enough to tell the FWHM"):
        Aperture(radius=1.0, unit="fwhm").measure(picture, sources, None, None)


def test_no_sources_make_no_rows():
    picture, _ = scene([1e4])
    rows = Aperture(radius=[2, 4]).measure(picture, Sources.make([], []), None, None)
    assert {len(column) for column in rows.values()} == {0}


def test_many_sources_are_measured_like_few():
    picture, sources = scene(np.full(600, 3000.0), spacing=30)
    rows = Aperture(radius=3, annulus=(6, 9)).measure(picture, sources, None, None)
    last = Aperture(radius=3, annulus=(6, 9)).measure(picture, sources[550:], None, None)
    assert np.array_equal(rows["flux"][550:], last["flux"])


def test_an_image_without_variance_fails_in_words():
    with pytest.raises(FrameError, match=r"gain and read noise must be known: give them under \[instrument\]"):
        Aperture().measure(image(np.ones((64, 64))), Sources.make(32, 32), None, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 12}, "the annulus begins at 10 pixel, inside the aperture of radius 12"),
        ({"annulus": (15, 12)}, "the inner radius must be below the outer one"),
        ({"radius": -1}, "greater than 0"),
        ({"radius": []}, "at least 1 item"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Aperture(**options)


def test_needs_follow_from_the_options():
    assert Aperture.needs == Aperture().needs == {"pedestal", "electron"}
    assert Aperture(sky="background").needs == {"pedestal", "electron", "background"}
    assert Aperture(unit="fwhm", radius=1.0).needs == {"pedestal", "electron", "psf"}


def test_what_a_masked_pixel_holds_does_not_matter():
    rows = []
    for value in (0.0, 1e6, np.nan):
        pixels, flags = flat()
        pixels[32, 33], flags[32, 33] = value, Flag.HOT
        rows.append(measure_one(pixels, flags))
    assert rows[0] == rows[1] == rows[2]
    assert rows[0]["flags"] == Flag.HOT


def test_the_image_is_left_alone():
    picture, sources = scene(np.full(9, 1e4))
    picture.flags[20, 20] = Flag.HOT
    before = picture.data.copy(), picture.uncertainty.array.copy(), picture.flags.copy()
    Aperture().measure(picture, sources, None, None)
    for plane, copy in zip((picture.data, picture.uncertainty.array, picture.flags), before, strict=True):
        assert np.array_equal(plane, copy)
