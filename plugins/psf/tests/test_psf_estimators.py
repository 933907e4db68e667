"""The shape of stars, against stars whose shape is known."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from albireo import PSF, Flag, Sources, image
from albireo.testing import Profile, Scene, simulate_image
from albireo_psf import EmpiricalPSF, GaussianPSF, MoffatPSF


def field(profile, *, shape=(360, 360), brightest=2e5, faintest=5e3, seed=1, spacing=None):
    scene = Scene.grid(shape, spacing or max(40.0, 8.0 * profile.fwhm), brightest, faintest, seed=3)
    picture = simulate_image(scene, shape, profile=profile, sky=200.0, read_noise=5.0, seed=seed)
    return picture, seen(picture.sources)


def seen(sources, seed=4):
    """What a finder makes of the truth: places with errors, widths that are too large."""
    rng = np.random.default_rng(seed)
    order = np.argsort(-sources.flux, kind="stable")
    found = replace(
        sources,
        x=sources.x + rng.normal(0, 0.03, len(sources)),
        y=sources.y + rng.normal(0, 0.03, len(sources)),
        fwhm=sources.fwhm * rng.normal(1.08, 0.02, len(sources)),
    )
    return found[order]


PROFILES = [
    Profile(1.5),
    Profile(1.5, 3.0, 1.2, 0.5),
    Profile(3.0, elongation=1.5, theta=-0.7),
    Profile(3.0, 3.0, 1.3, 1.0),
    Profile(5.0, 2.5, 1.1, 0.3),
    Profile(8.0, 4.0),
]


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_a_moffat_is_found_to_one_per_cent_of_its_width(profile):
    picture, sources = field(profile)
    psf = MoffatPSF().fit(picture.image, sources, picture.background)
    assert psf.fwhm == pytest.approx(profile.fwhm, rel=0.01)
    assert psf.elongation == pytest.approx(profile.elongation, abs=0.012)
    if profile.elongation > 1.05:
        assert psf.theta == pytest.approx(profile.theta, abs=0.05)
    if np.isfinite(profile.beta):
        assert 1 / psf.beta == pytest.approx(1 / profile.beta, abs=0.02)
    else:
        assert psf.beta > 30
    assert psf.stars == min(30, len(sources))


@pytest.mark.parametrize("fwhm", [1.5, 3.0, 8.0])
def test_a_gaussian_is_found_to_one_per_cent_of_its_width(fwhm):
    picture, sources = field(Profile(fwhm, elongation=1.25, theta=0.4))
    psf = GaussianPSF().fit(picture.image, sources, picture.background)
    assert psf.fwhm == pytest.approx(fwhm, rel=0.01)
    assert psf.elongation == pytest.approx(1.25, abs=0.012)
    assert psf.theta == pytest.approx(0.4, abs=0.03)
    assert psf.beta == inf


def test_no_bias_is_left_over_many_realisations_of_faint_stars():
    profile = Profile(2.5, 3.5)
    picture, sources = field(profile, brightest=6000.0, faintest=3000.0)
    fits = [MoffatPSF().fit(picture.realise(k), sources, picture.background) for k in range(20)]
    widths = np.array([psf.fwhm for psf in fits])
    assert widths.mean() == pytest.approx(2.5, abs=0.01 * 2.5 + 2 * widths.std() / np.sqrt(20))
    assert widths.std() < 0.03 * 2.5


def test_a_gaussian_on_seeing_disks_has_the_width_at_half_their_maximum():
    # Its wings are wrong; the width may be, by what a profile without wings does with them.
    picture, sources = field(Profile(3.0, 3.5))
    psf = GaussianPSF().fit(picture.image, sources, picture.background)
    assert 3.0 < psf.fwhm < 3.5


def test_rays_neighbours_and_bad_pixels_do_not_change_the_width():
    profile = Profile(3.0, 3.5)
    picture, sources = field(profile)
    clean = MoffatPSF().fit(picture.image, sources, picture.background)
    data, flags = picture.image.data.copy(), picture.image.flags.copy()
    rng = np.random.default_rng(5)
    for x, y in zip(sources.x[:20], sources.y[:20], strict=True):
        i, j = np.rint([x, y]).astype(int) + rng.integers(-5, 6, 2)
        data[j, i : i + 2] += 30000.0  # rays that nobody flagged
    dead = np.rint(sources.y[3]).astype(int), np.rint(sources.x[3]).astype(int)
    data[dead], flags[dead] = 0.0, Flag.BAD
    spoilt = image(data, "electron", variance=np.maximum(data, 0) + 25, flags=flags)
    psf = MoffatPSF().fit(spoilt, sources, picture.background)
    assert psf.fwhm == pytest.approx(clean.fwhm, rel=0.01)
    assert 1 / psf.beta == pytest.approx(1 / clean.beta, abs=0.03)
    assert psf.stars == clean.stars - 1  # the one with the dead pixel in its core


def test_blends_and_sources_that_are_no_stars_are_left_out():
    profile = Profile(3.0, 3.5)
    scene = Scene.grid((360, 360), 40.0, 2e5, 5e3, seed=3)
    n = len(scene)
    blend = Scene(
        np.r_[scene.x, scene.x[:30] + 4.0], np.r_[scene.y, scene.y[:30] + 2.0], np.r_[scene.flux, scene.flux[:30] / 3]
    )
    picture = simulate_image(blend, (360, 360), profile=profile, sky=200.0, seed=1)
    psf = MoffatPSF().fit(picture.image, seen(picture.sources), picture.background)
    assert psf.fwhm == pytest.approx(3.0, rel=0.01)
    assert psf.stars <= n - 30
    # A ray is narrow, a galaxy wide: the widths that the finder gives tell.
    sources = seen(simulate_image(scene, (360, 360), profile=profile).sources)
    odd = replace(sources, fwhm=np.where(np.arange(n) % 3 == 0, 1.2, sources.fwhm))
    picture, _ = field(profile)
    assert MoffatPSF(stars=1000).fit(picture.image, odd, picture.background).stars == n - len(range(0, n, 3))


def test_as_many_stars_as_asked_for_and_the_brightest():
    picture, sources = field(Profile(3.0))
    assert GaussianPSF(stars=7).fit(picture.image, sources, picture.background).stars == 7


def test_none_where_no_star_is_good():
    picture, sources = field(Profile(3.0))
    stage = MoffatPSF()
    assert stage.fit(picture.image, Sources.make([], []), picture.background) is None
    assert stage.fit(picture.image, replace(sources, x=sources.x * 0 + 1.0), picture.background) is None
    flagged = replace(sources, flags=np.full(len(sources), Flag.SATURATED, np.uint16))
    assert stage.fit(picture.image, flagged, picture.background) is None
    masked = image(
        picture.image.data,
        "electron",
        variance=picture.image.uncertainty.array,
        flags=np.full(picture.image.shape, Flag.BAD, np.uint16),
    )
    assert stage.fit(masked, sources, picture.background) is None


def test_without_a_variance_the_noise_is_that_of_the_background():
    picture, sources = field(Profile(3.0, 3.0))
    plain = image(picture.image.data, "electron")
    psf = MoffatPSF().fit(plain, sources, picture.background)
    assert psf.fwhm == pytest.approx(3.0, rel=0.01)


def uneven(shape=(360, 360), seed=2):
    """Stars with a comatic tail: half of their light lies a pixel and a half to the side."""
    scene = Scene.grid(shape, 45.0, 3e5, 2e4, seed=3)
    head, tail = Profile(2.6, 4.0), Profile(4.0, 4.0)
    core = simulate_image(scene, shape, profile=head, sky=0.0, read_noise=0.0)
    side = simulate_image(Scene(scene.x + 1.5, scene.y - 0.6, scene.flux), shape, profile=tail, sky=0.0, read_noise=0.0)
    light = 0.6 * core.expected + 0.4 * side.expected
    rng = np.random.default_rng(seed)
    data = rng.poisson(light + 150.0) + rng.normal(0, 5.0, shape)
    picture = image(data, "electron", variance=np.maximum(data, 0) + 25.0, flags=np.zeros(shape, np.uint16))
    sky = simulate_image(scene, shape, profile=head, sky=150.0).background
    fwhm = np.full(len(scene), 3.3)
    order = np.argsort(-scene.flux)
    found = Sources.make(
        scene.x + 0.6, scene.y - 0.24, flux=scene.flux, fwhm=fwhm, a=fwhm / 2.2, b=fwhm / 2.5, theta=0 * fwhm
    )
    truth = (0.6 * PSF(2.6, beta=4.0).stamps([-0.6], [0.24], 6) + 0.4 * PSF(4.0, beta=4.0).stamps([0.9], [-0.36], 6))[0]
    return picture, found[order], sky, truth


def test_an_empirical_psf_follows_stars_that_no_formula_describes():
    picture, sources, sky, truth = uneven()
    formula = MoffatPSF().fit(picture, sources, sky)
    sampled = EmpiricalPSF().fit(picture, sources, sky)
    # Truth and PSF are centred where the sources say; how much light is in far wings is another matter.
    off = []
    for psf in (formula, sampled):
        there = psf.stamps([0.0], [0.0], 6)[0]
        assert there.sum() == pytest.approx(truth.sum(), abs=0.025)
        off.append(np.abs(there * truth.sum() / there.sum() - truth).max() / truth.max())
    assert off[0] > 0.08
    assert off[1] < 0.025
    assert sampled.stamps([0.2], [0.1], 40).sum() == pytest.approx(1.0, abs=0.005)
    assert sum(array.nbytes for array in sampled.arrays().values()) <= 1 << 16


@pytest.mark.parametrize("profile", [Profile(1.5, 3.0), Profile(3.0, 3.0, 1.3, 1.0), Profile(6.0)], ids=str)
def test_an_empirical_psf_adds_nothing_to_a_formula_that_is_right(profile):
    picture, sources = field(profile)
    psf = EmpiricalPSF().fit(picture.image, sources, picture.background)
    there, truth = (one.stamps([0.2, -0.4], [-0.3, 0.1], 10) for one in (psf, profile.psf()))
    assert np.abs(there - truth).max() < 0.012 * truth.max()
    assert there.sum(axis=(1, 2)) == pytest.approx(truth.sum(axis=(1, 2)), abs=0.003)
