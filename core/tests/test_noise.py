"""The terms of the noise of a flux, against pixels with that noise and against figures worked out by hand."""

import numpy as np
import pytest

from albireo.noise import digitisation_noise, noise_terms, scintillation_noise

SIGMA = 2.0
RADIUS = 4.71
SIDE = 41


def discs(x, y, radius, fine=20):
    """Share of each pixel of a stamp in a circle, by counting points."""
    place = (np.arange(SIDE * fine) + 0.5) / fine - 0.5
    inside = (place[:, None] - y) ** 2 + (place[None, :] - x) ** 2 <= radius**2
    return inside.reshape(SIDE, fine, SIDE, fine).mean(axis=(1, 3))


def star(x, y, sigma=SIGMA):
    grid = np.arange(SIDE)
    return np.exp(-((grid[:, None] - y) ** 2 + (grid[None, :] - x) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def one(value):
    return np.array([[float(value)]])


@pytest.mark.parametrize("flux", [0.0, 300.0, 3e4, 3e6])
@pytest.mark.parametrize("pixel", [(100.0, 0.0, 0.0, 0.0), (0.0, 10.0, 0.0, 0.0), (10.0, 3.0, 200.0, 1.2)])
@pytest.mark.parametrize("radius", [2.5, RADIUS, 9.0])
def test_the_terms_of_an_aperture_are_the_variance_of_its_pixels(flux, pixel, radius):
    sky, read, dark, rounding = pixel
    sky_err = 0.2
    light = flux * star(20.3, 19.8)
    share = discs(20.3, 19.8, radius)
    variance = np.sum(share**2 * (light + sky + dark + read**2 + rounding**2)) + (np.pi * radius**2 * sky_err) ** 2
    terms = noise_terms(
        one(np.sum(share * light)),
        one(np.sqrt(variance)),
        one(np.pi * radius**2),
        one(sky),
        one(sky_err),
        dark=np.array([dark]),
        read_noise=np.array([read]),
        digitisation=np.array([rounding]),
    )
    assert terms.total.item() == pytest.approx(variance, rel=1e-9 if flux else 0.02)
    # The light of a star in pixels at the edge counts with the squares of their shares.
    assert terms.source.item() == pytest.approx(np.sum(share**2 * light), abs=0.02 * variance)
    assert terms.masters.item() == pytest.approx(0.0, abs=0.02 * variance)
    pixels = np.sum(share**2)
    expected = (pixels * sky, pixels * read**2, pixels * dark, pixels * rounding**2, (np.pi * radius**2 * sky_err) ** 2)
    found = (terms.sky, terms.read, terms.dark, terms.digitisation, terms.annulus)
    assert [term.item() for term in found] == pytest.approx(expected, rel=0.03)


def test_the_terms_of_a_weighted_sum_are_the_variance_of_its_pixels():
    flux, sky, read, sky_err = 5000.0, 80.0, 6.0, 0.15
    profile = star(20.3, 19.8)
    weight = profile / np.sum(profile**2)
    noise = flux * profile + sky + read**2
    variance = np.sum(weight**2 * noise) + (weight.sum() * sky_err) ** 2
    terms = noise_terms(
        one(flux),
        one(np.sqrt(variance)),
        one(np.sum(weight**2)),
        one(sky),
        one(sky_err),
        dark=np.array([0.0]),
        read_noise=np.array([read]),
        digitisation=np.array([0.0]),
        weighted=True,
    )
    assert terms.masters.item() == 0.0
    assert terms.total.item() == pytest.approx(variance)
    # The light of a Gaussian star counts 4 / 3 of its number: sum(P**3) / sum(P**2)**2.
    assert terms.source.item() == pytest.approx(flux * 4.0 / 3.0, rel=0.02)


def test_a_dark_current_that_is_not_known_is_found_among_the_masters():
    known, unknown = (
        noise_terms(
            one(1000.0),
            one(60.0),
            one(50.0),
            one(10.0),
            one(0.0),
            dark=np.array([dark]),
            read_noise=np.array([5.0]),
            digitisation=np.array([0.0]),
        )
        for dark in (7.0, np.nan)
    )
    assert unknown.dark.item() == 0.0
    assert unknown.masters.item() == pytest.approx(known.masters.item() + known.dark.item())


def test_scintillation_of_a_small_telescope_by_hand():
    # Half a metre at sea level, zenith, one second: sigma**2 = 1e-5 * 1.5**2 * 0.5**(-4/3) = 5.67e-5.
    assert scintillation_noise(0.5, 0.0, 1.0, 1.0) == pytest.approx(7.530e-3, rel=1e-3)
    # A site of 2790 m takes exp(-2 * 2790 / 8000) = 0.4978 of the variance; 2 air masses make it eight times as large.
    assert scintillation_noise(0.5, 2790.0, 1.0, 1.0) == pytest.approx(7.530e-3 * 0.4978**0.5, rel=1e-3)
    assert scintillation_noise(0.5, 0.0, 1.0, 2.0) == pytest.approx(7.530e-3 * 8**0.5, rel=1e-3)
    # Exposures of a hundred seconds average it down by ten; the coefficient is a factor.
    assert scintillation_noise(0.5, 0.0, [1.0, 100.0], 1.0)[1] == pytest.approx(7.530e-4, rel=1e-3)
    assert scintillation_noise(0.5, 0.0, 1.0, 1.0, 3.0) == pytest.approx(2 * 7.530e-3, rel=1e-3)


@pytest.mark.parametrize("facts", [(np.nan, 0.0, 1.0, 1.0), (2.0, np.nan, 1.0, 1.0), (2.0, 0.0, 0.0, 1.0)])
def test_scintillation_is_not_known_without_telescope_site_or_exposure(facts):
    assert np.isnan(scintillation_noise(*facts))


def test_rounding_counts_where_the_read_noise_cannot_contain_it():
    rng = np.random.default_rng(1)
    for gain, electronics in ((4.0, 0.5), (4.0, 1.1), (1.0, 0.2)):
        level = rng.uniform(1000.0, 1100.0, 200_000)
        counts = np.rint(rng.normal(level, electronics) / gain)
        measured = float(np.std(gain * counts - level))
        assert np.hypot(electronics, digitisation_noise(gain, electronics)) == pytest.approx(measured, rel=0.01)
        assert digitisation_noise(gain, measured if measured > gain / 12**0.5 else gain) == 0.0
    assert digitisation_noise(1.0, 5.0) == 0.0
    assert np.isnan(digitisation_noise(np.nan, 5.0))
    assert np.isnan(digitisation_noise(1.0, np.nan))
