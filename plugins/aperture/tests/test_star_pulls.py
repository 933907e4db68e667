"""(measured - true) / error has mean zero and width one, for both methods, over cameras, fields and shapes of stars."""

import numpy as np
import pytest

from albireo import Background, Sources, image
from albireo.testing import Profile, Scene, simulate_image
from albireo_aperture import Aperture, Optimal

SKY, READ_NOISE = 40.0, 6.0
LEVELS = (40000.0, 4000.0, 400.0, 100.0)
APERTURE = Aperture(radius=1.0, unit="fwhm")
METHODS = {"aperture": APERTURE, "optimal": Optimal(), "full": Optimal(weights="full")}


def observed(expected, *, gain=1.0, dark=0.0, read_noise=READ_NOISE, rebin=1, seed=0):
    """Draw counts, digitise them with a gain (electrons per adu), bring them back, subtract the dark, and bin."""
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(expected + dark) + rng.normal(0.0, read_noise, expected.shape)
    pixels = np.round(electrons / gain) * gain
    variance = np.maximum(pixels, 0.0) + read_noise**2 + gain**2 / 12
    shape = expected.shape[0] // rebin, rebin, expected.shape[1] // rebin, rebin
    data, variance = ((v.reshape(shape).sum(axis=(1, 3))) for v in (pixels - dark, variance))
    return image(data, "electron", variance=variance)


def pulls_of(stage, picture, sources, psf, truth, trials, *, background=None, **camera):
    """Pulls, of shape (trials, stars)."""
    found = []
    for seed in range(trials):
        rows = stage.measure(observed(picture.expected, seed=seed, **camera), sources, background, psf)
        found.append((rows["flux"] - truth) / rows["flux_err"])
    return np.array(found)


def light(stage, picture, background=None):
    """What a method sees of each star where there is no noise: less than all of it in an aperture."""
    exact = image(picture.expected, "electron", variance=picture.expected)
    return stage.measure(exact, picture.sources, background, picture.psf)["flux"]


def hold(pulls):
    """Mean within 0.1 and width within 10 per cent, and what chance adds to that."""
    n = pulls.size
    assert abs(np.mean(pulls)) < 0.1 + 2.0 / np.sqrt(n)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1 + 2.0 / np.sqrt(2 * n))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("profile", [Profile(4.0), Profile(4.0, elongation=1.5, theta=0.7)], ids=["round", "elongated"])
def test_sparse_fields_from_bright_to_faint(profile, gain, method):
    n, space = 36, 44.0
    x, y = (space * (v.ravel() + 0.5) + 0.37 for v in np.meshgrid(np.arange(6), np.arange(6)))
    flux = np.resize(LEVELS, n)
    picture = simulate_image(Scene(x, y, flux), (270, 270), profile=profile, sky=SKY)
    stage = METHODS[method]
    truth = light(stage, picture) if method == "aperture" else flux
    pulls = pulls_of(stage, picture, picture.sources, picture.psf, truth, 20, gain=gain)
    for level in LEVELS:
        hold(pulls[:, flux == level])
    everything = pulls.ravel()
    assert abs(np.mean(everything)) < 0.1
    assert np.std(everything) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_crowded_fields_with_the_sky_of_a_map(method):
    # Stars three and a half widths apart have no room for rings.
    profile, space = Profile(4.0), 14.0
    x, y = (space * (v.ravel() + 1) + 0.37 for v in np.meshgrid(np.arange(12), np.arange(12)))
    flux = np.random.default_rng(5).permutation(np.resize(LEVELS, x.size))
    picture = simulate_image(Scene(x, y, flux), (190, 190), profile=profile, sky=SKY)
    rms = np.sqrt(picture.sky + np.float32(READ_NOISE**2))
    background = Background(picture.sky, rms, SKY, float(rms[0, 0]))
    stage = METHODS[method].model_copy(update={"sky": "background"})
    alone = simulate_image(Scene(x[:1], y[:1], [1.0]), (190, 190), profile=profile, sky=0.0)
    empty = Background(alone.sky, rms, 0.0, 1.0)
    share = light(APERTURE.model_copy(update={"sky": "background"}), alone, empty)[0] if method == "aperture" else 1.0
    pulls = pulls_of(stage, picture, picture.sources, picture.psf, share * flux, 12, background=background)
    for level in LEVELS:
        hold(pulls[:, flux == level])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "camera",
    [
        {"dark": 200.0, "read_noise": 0.0, "gain": 1.0},
        {"dark": 200.0, "read_noise": 0.0, "gain": 4.0},
        {"dark": 200.0, "read_noise": 0.0, "gain": 0.25},
    ],
    ids=["gain 1", "gain 4", "gain 0.25"],
)
def test_dark_counts_once(camera, method):
    picture = simulate_image(
        Scene.grid((300, 300), 44.0, 20000.0, 4000.0, seed=3), (300, 300), profile=Profile(4.71), sky=10.0
    )
    stage = METHODS[method]
    truth = light(stage, picture) if method == "aperture" else picture.sources.flux
    hold(pulls_of(stage, picture, picture.sources, picture.psf, truth, 12, **camera))


@pytest.mark.parametrize("method", ["aperture", "optimal"])
@pytest.mark.parametrize("rebin", [1, 2, 4])
def test_read_noise_counts_once_at_every_binning(rebin, method):
    # A sky of nothing, read noise of 10 electrons; binned after reading, so that each raw pixel brings its own.
    width = 3.0 * rebin
    picture = simulate_image(
        Scene.grid((480, 480), 20.0 * rebin + 20.0, 9000.0, 4000.0, seed=6), (480, 480), profile=Profile(width), sky=0.0
    )
    s = picture.sources
    x, y = ((v + 0.5) / rebin - 0.5 for v in (s.x, s.y))
    binned = Sources.make(x, y, id=s.id)
    # Binning integrates the star over the larger pixels: as wide a star, drawn on these pixels.
    small = simulate_image(Scene(x, y, s.flux), (480 // rebin, 480 // rebin), profile=Profile(width / rebin), sky=0.0)
    stage = (Aperture if method == "aperture" else Optimal)(annulus=(8, 14))
    truth = s.flux if method == "optimal" else light(stage, small)
    pulls = pulls_of(stage, picture, binned, small.psf, truth, 12, read_noise=10.0, rebin=rebin)
    hold(pulls)
    # The noise of the reading alone, over the area that counts, is most of the error.
    shot = observed(picture.expected, read_noise=10.0, rebin=rebin)
    rows = stage.measure(shot, binned, None, small.psf)
    floor = 10.0 * rebin * np.sqrt(rows["area"])
    assert (rows["flux_err"] > floor * 0.95).all()
    assert rows["flux_err"] == pytest.approx(np.sqrt(floor**2 + 1.34 * s.flux), rel=0.15)
