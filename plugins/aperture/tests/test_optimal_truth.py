"""Weighted sums against simulated truth."""

import numpy as np
import pytest

from albireo import PSF, Background, Flag, FrameError, Sources, image
from albireo.testing import Profile, Scene, simulate_image
from albireo_aperture import Aperture, Optimal

SIGMA = 2.0
FWHM = SIGMA * 2.0 * np.sqrt(2.0 * np.log(2.0))
FLUXES = np.array([20000, 15000, 12000, 10000, 8000, 6000, 5000, 4000], dtype=float)


def eight_stars():
    """Eight isolated stars on a sky of 100 electrons, without read noise."""
    x, y = 60.3 + 100.0 * (np.arange(8) % 4), 69.8 + 120.0 * (np.arange(8) // 4)
    return simulate_image(Scene(x, y, FLUXES), (260, 420), profile=Profile(FWHM), sky=100.0, read_noise=0.0)


def noiseless(picture):
    return image(picture.expected, "electron", variance=picture.expected)


def one_star(flux=1000.0, at=(32.3, 31.8), sky=50.0, size=64):
    """Pixels of one star without noise, and flags."""
    column, row = (round(v) for v in at)
    pixels = np.full((size + 60, size + 60), sky, np.float32)
    stamp = PSF(FWHM).stamps([at[0] - column], [at[1] - row], 25)[0]
    pixels[30 + row - 25 : 30 + row + 26, 30 + column - 25 : 30 + column + 26] += np.float32(flux) * stamp
    pixels = pixels[30 : 30 + size, 30 : 30 + size].copy()
    return pixels, np.zeros(pixels.shape, np.uint16)


def measure_one(pixels, flags, at=(32.3, 31.8), **options):
    picture = image(pixels, "electron", variance=np.full(pixels.shape, 4.0), flags=flags)
    rows = Optimal(annulus=(16, 24), **options).measure(picture, Sources.make(*at, id=7), None, PSF(FWHM))
    return {name: column[0] for name, column in rows.items()}


def test_the_flux_is_that_of_the_whole_star():
    # With the same variance everywhere, 1000 electrons and a width of 2 pixels, the peak is 39.8.
    pixels, flags = one_star()
    for weights in ("sky", "full"):
        assert measure_one(pixels, flags, weights=weights)["flux"] == pytest.approx(1000.0, rel=0.001)


@pytest.mark.parametrize("weights", ["sky", "full"])
@pytest.mark.parametrize("fwhm", [1.5, 2.0, 3.0, 6.0])
@pytest.mark.parametrize("elongation", [1.0, 1.3])
def test_fluxes_are_right_to_a_thousandth_at_every_place_in_a_pixel(fwhm, elongation, weights):
    profile = Profile(fwhm * elongation**0.5, elongation=elongation, theta=0.5)
    picture = simulate_image(Scene.grid((420, 420), 60.0, 1e5, 1e3, seed=3), (420, 420), profile=profile, sky=100.0)
    ring = {"annulus": (20, 28)}
    rows = Optimal(weights=weights, **ring).measure(noiseless(picture), picture.sources, None, picture.psf)
    assert rows["flux"] == pytest.approx(picture.sources.flux, rel=0.001)


@pytest.mark.parametrize(("weights", "expected"), [("full", (166.2, 99.8)), ("sky", (178.0, 101.8))])
def test_errors_are_those_of_theory_and_the_scatter(weights, expected):
    # For weights that know of the star: 1 / sum(P**2 / (sky + F P)) for a Gaussian. Others: (sky + 2 F / 3 of the
    # density of the peak) times the noise-equivalent area.
    picture = eight_stars()
    stage = Optimal(weights=weights, sky="background")
    flux, error = [], []
    for seed in range(250):
        rows = stage.measure(picture.realise(seed), picture.sources, picture.background, picture.psf)
        flux.append(rows["flux"])
        error.append(rows["flux_err"])
    flux, error = np.array(flux), np.mean(error, axis=0)
    assert error[[0, -1]] == pytest.approx(expected, rel=0.012)  # pixels make the star wider than the formula has it
    # 250 values: a width to 4.5 per cent, a mean to 0.06 of the error.
    assert np.std(flux, axis=0) / error == pytest.approx(1.0, abs=0.14)
    assert np.std((flux - FLUXES) / error) == pytest.approx(1.0, abs=0.05)
    assert np.abs(flux.mean(axis=0) / FLUXES - 1.0).max() < max(0.003, 3.5 * (error / FLUXES).max() / np.sqrt(250))
    assert np.mean(flux.sum(axis=1)) == pytest.approx(FLUXES.sum(), rel=0.003)


def test_weights_of_the_noisy_pixels_are_not_used():
    # Weights from the pixels' own counts would favour those that came out low: 1 per cent at 2000 electrons.
    picture = simulate_image(
        Scene.grid((600, 600), 30.0, 2000.0, 2000.0, seed=1),
        (600, 600),
        profile=Profile(FWHM),
        sky=20.0,
        read_noise=0.0,
    )
    flux = []
    for seed in range(8):
        flux.append(
            Optimal(weights="full", sky="background").measure(
                picture.realise(seed), picture.sources, picture.background, picture.psf
            )["flux"]
        )
    # 3200 stars with an error of 3 per cent.
    assert np.nanmean(flux) / 2000 == pytest.approx(1.0, abs=4 * 0.03 / np.sqrt(3200))


def test_area_is_the_noise_equivalent_one_and_the_ring_adds_its_error():
    picture = eight_stars()
    stage = Optimal(annulus=(12, 14))
    rows = stage.measure(noiseless(picture), picture.sources, None, picture.psf)
    variance = SIGMA**2 + 1 / 12  # of the star in pixels
    assert rows["area"] == pytest.approx(4.0 * np.pi * variance, rel=0.01)
    rows = stage.measure(picture.image, picture.sources, None, picture.psf)
    mapped = Optimal(sky="background").measure(picture.image, picture.sources, picture.background, picture.psf)
    # The weights add up to the same area.
    with_ring = np.sqrt(mapped["flux_err"] ** 2 + (rows["area"] * rows["sky_err"]) ** 2)
    assert rows["flux_err"] == pytest.approx(with_ring, rel=1e-3)
    assert (rows["flux_err"] > 1.01 * mapped["flux_err"]).all()


def test_a_wrong_profile_changes_all_fluxes_by_one_factor():
    picture = simulate_image(
        Scene.grid((400, 400), 50.0, 1e6, 1e3, seed=2), (400, 400), profile=Profile(4.0, beta=3.0), sky=100.0
    )
    narrow = PSF(3.4)
    shares = {
        weights: Optimal(weights=weights, sky="background").measure(
            noiseless(picture), picture.sources, picture.background, narrow
        )["flux"]
        / picture.sources.flux
        for weights in ("sky", "full")
    }
    # What is left is the place in the pixel.
    assert np.ptp(shares["sky"]) < 0.01
    assert np.ptp(shares["full"]) > 0.05
    assert shares["sky"].mean() < 0.85


def test_the_profile_of_the_reference_is_that_of_the_catalogue():
    picture = eight_stars()
    stage = Optimal(psf="reference")
    given = Optimal().measure(picture.image, picture.sources, None, picture.psf)
    for psf in (None, PSF(9.0)):
        rows = stage.measure(picture.image, picture.sources, None, psf)
        assert rows["flux"] == pytest.approx(given["flux"], rel=1e-6)
    with pytest.raises(FrameError, match="no star of the catalogue was good enough to tell the profile"):
        stage.measure(picture.image, Sources.make([60], [60]), None, picture.psf)
    with pytest.raises(FrameError, match="no star in this image was good enough to tell the profile"):
        Optimal().measure(picture.image, picture.sources, None, None)


def test_masked_pixels_have_no_weight():
    pixels, flags = one_star()
    clean = measure_one(pixels, flags)
    for value in (0.0, 1e6, np.nan):
        pixels[32, 33], flags[32, 33] = value, Flag.COSMIC_RAY
        row = measure_one(pixels, flags)
        assert row["flux"] == pytest.approx(1000.0, rel=0.001)
        assert row["flags"] == Flag.COSMIC_RAY
        assert row["area"] > clean["area"]
        assert row["flux_err"] > clean["flux_err"]
    pixels[31, 32] = np.nan  # that nobody flagged
    row = measure_one(pixels, flags)
    assert row["flux"] == pytest.approx(1000.0, rel=0.001)
    assert row["flags"] == Flag.COSMIC_RAY | Flag.NO_DATA
    flags[32, 45] = Flag.HOT  # in the wings there is nothing to flag
    assert measure_one(pixels, flags)["flags"] == row["flags"]


def test_saturated_pixels_are_left_out_and_flagged():
    pixels, flags = one_star(flux=1e6)
    full = pixels > 3e4
    pixels[full], flags[full] = 3e4, Flag.SATURATED
    row = measure_one(pixels, flags)
    assert 0 < full.sum() < 10
    assert row["flux"] == pytest.approx(1e6, rel=0.001)
    assert row["flags"] == Flag.SATURATED


def test_more_than_half_of_the_light_lost_is_no_measurement():
    pixels, flags = one_star()
    flags[:, 33:] = Flag.BAD
    assert np.isfinite(measure_one(pixels, flags)["flux"])
    flags[:, 32:] = Flag.BAD
    row = measure_one(pixels, flags)
    assert np.isnan(row["flux"])
    assert np.isnan(row["flux_err"])
    assert row["flags"] == Flag.BAD | Flag.FAILED


def test_a_star_at_the_edge_is_measured_by_what_is_seen_of_it():
    for at in ((1.2, 30.0), (30.0, 62.1)):
        pixels, flags = one_star(at=at)
        row = measure_one(pixels, flags, at=at)
        assert row["flux"] == pytest.approx(1000.0, rel=0.001)
        assert row["flags"] == Flag.EDGE
    for at in ((-1.0, 30.0), (30.0, -1e9), (1e9, 5.0), (np.nan, 30.0), (30.0, np.inf)):
        row = measure_one(*one_star(), at=at)
        assert np.isnan(row["flux"])
        assert row["flags"] == Flag.EDGE | Flag.FAILED


def test_a_ring_without_pixels_is_no_measurement():
    pixels, flags = one_star()
    flags[:] = Flag.BAD
    flags[20:44, 20:44] = 0
    row = measure_one(pixels, flags)
    assert np.isnan(row["flux"])
    assert row["flags"] & Flag.FAILED


def test_background_map_in_place_of_the_ring():
    pixels, flags = one_star(sky=0.0)
    x = np.arange(64)
    level = np.tile(50.0 + 0.5 * x, (64, 1)).astype(np.float32)
    picture = image(pixels + level, "electron", variance=np.full(pixels.shape, 4.0), flags=flags)
    background = Background(level, np.full_like(level, 2.0), 66.0, 2.0)
    rows = Optimal(sky="background").measure(picture, Sources.make(32.3, 31.8), background, PSF(FWHM))
    assert rows["flux"][0] == pytest.approx(1000.0, rel=1e-4)
    assert rows["sky"][0] == 66.0
    assert rows["sky_err"][0] == 0.0
    with pytest.raises(FrameError, match=r'sky = "background" needs the map of a \[background\] stage'):
        Optimal(sky="background").measure(picture, Sources.make(32, 32), None, PSF(FWHM))


def test_many_sources_are_measured_like_few():
    picture = simulate_image(Scene.grid((900, 900), 20.0, 1e4, 1e3, seed=4), (900, 900), sky=100.0)
    wide = PSF(9.0)  # in several parts
    rows = Optimal(annulus=(6, 9)).measure(picture.image, picture.sources, None, wide)
    last = Optimal(annulus=(6, 9)).measure(picture.image, picture.sources[-30:], None, wide)
    assert len(picture.sources) > 1500
    assert np.array_equal(rows["flux"][-30:], last["flux"])


def test_an_absent_star_has_no_flux_within_its_error():
    """Forced measurements where nothing is: a mean of zero, and a limit of three errors that holds."""
    picture = simulate_image(Scene([10.0], [10.0], [1.0]), (700, 700), sky=100.0, read_noise=5.0)
    x, y = (v.ravel() + 0.37 for v in np.meshgrid(np.arange(30, 670, 25), np.arange(30, 670, 25)))
    nothing = Sources.make(x, y, id=np.arange(x.size))
    for stage in (Optimal(), Optimal(weights="full"), Aperture(radius=3)):
        rows = stage.measure(picture.image, nothing, None, PSF(3.0))
        pulls = rows["flux"] / rows["flux_err"]
        assert np.mean(pulls) == pytest.approx(0.0, abs=3.5 / np.sqrt(x.size))
        assert np.std(pulls) == pytest.approx(1.0, abs=3.5 / np.sqrt(2 * x.size))
        assert np.mean(pulls > 3.0) < 0.006


def test_needs_follow_from_the_options():
    assert Optimal.needs == Optimal().needs == {"pedestal", "electron", "psf"}
    assert Optimal(sky="background").needs == {"pedestal", "electron", "psf", "background"}
