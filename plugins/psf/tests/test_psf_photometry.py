"""Fluxes, places and their errors against simulated truth."""

import numpy as np
import pytest

from albireo import PSF, Background, Flag, FrameError, Sources, image
from albireo.testing import Profile, Scene, simulate_image
from albireo_psf import PSFPhotometer

SHAPE = (320, 320)
ROUND, LONG = Profile(3.0, 4.0), Profile(3.5, 3.5, 1.4, 0.7)


def crowd(separation, *, seed=1):
    """Triples of stars, a given number of widths apart, with fluxes that differ by up to a factor of thirty."""
    rng = np.random.default_rng(seed)
    middle = Scene.grid(SHAPE, 45.0, 1.0, 1.0, seed=seed)
    x, y = [middle.x], [middle.y]
    angle = rng.uniform(0, 2 * np.pi, len(middle))
    for turn in (0.0, 2.0):
        x.append(middle.x + separation * np.cos(angle + turn))
        y.append(middle.y + separation * np.sin(angle + turn))
    n = 3 * len(middle)
    return Scene(np.concatenate(x), np.concatenate(y), rng.permutation(np.geomspace(1000, 30000, n)))


def pulls(scene, profile, stage, *, gain=1.0, sky=100.0, read_noise=5.0, seeds=range(8)):
    """Differences from the truth in units of the errors, on images digitised with a gain; shapes (seeds, stars)."""
    picture = simulate_image(scene, SHAPE, profile=profile, sky=sky, read_noise=read_noise)
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        electrons = rng.poisson(picture.expected) + rng.normal(0, read_noise, SHAPE)
        data = np.round(electrons / gain) * gain
        # Rounding adds a twelfth of a count squared.
        variance = np.maximum(data, 0) + read_noise**2 + gain**2 / 12
        shot = image(data, "electron", variance=variance, flags=np.zeros(SHAPE, np.uint16))
        rows = stage.measure(shot, picture.sources, picture.background, picture.psf)
        errors = {
            "flux": (rows["flux"] - scene.flux) / rows["flux_err"],
            "x": (rows["x"] - scene.x) / rows["x_err"],
            "y": (rows["y"] - scene.y) / rows["y_err"],
        }
        found.append(errors)
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def is_standard(values):
    """Mean within 0.1 and width within 10 %, beside two errors of their own."""
    values = values[np.isfinite(values)]
    assert values.size > 150
    assert abs(values.mean()) < 0.1 + 2.0 / np.sqrt(values.size)
    assert abs(values.std() - 1.0) < 0.1 + 2.0 / np.sqrt(2 * values.size)


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("flux", [150.0, 2000.0, 2e5], ids=["faint", "middling", "bright"])
def test_pulls_of_stars_alone_are_standard(gain, flux):
    scene = Scene.grid(SHAPE, 38.0, 1.5 * flux, flux, seed=2)
    is_standard(pulls(scene, ROUND, PSFPhotometer(), gain=gain, seeds=range(6))["flux"])


@pytest.mark.parametrize("profile", [Profile(1.5), LONG, Profile(6.0, 4.0)], ids=str)
@pytest.mark.parametrize("options", [{}, {"sky": "fit"}, {"recenter": True}], ids=str)
def test_pulls_are_standard_for_stars_of_every_shape(profile, options):
    scene = Scene.grid(SHAPE, 45.0, 30000.0, 1500.0, seed=2)
    found = pulls(scene, profile, PSFPhotometer(**options))
    is_standard(found["flux"])
    if "recenter" in options:
        is_standard(found["x"])
        is_standard(found["y"])


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("separation", [1.0, 2.0])
@pytest.mark.parametrize("profile", [ROUND, LONG], ids=["round", "long"])
def test_pulls_of_stars_that_overlap_are_standard(separation, profile, gain):
    scene = crowd(separation * profile.fwhm)
    is_standard(pulls(scene, profile, PSFPhotometer(), gain=gain, seeds=range(3))["flux"])


@pytest.mark.parametrize("options", [{"sky": "fit"}, {"recenter": True}], ids=str)
def test_pulls_of_overlapping_stars_are_standard_with_places_or_sky_fitted(options):
    found = pulls(crowd(1.5 * ROUND.fwhm), ROUND, PSFPhotometer(**options), seeds=range(3))
    is_standard(found["flux"])
    if "recenter" in options:
        is_standard(found["x"])


def test_a_large_crowd_is_solved_like_a_small_one():
    # 400 stars, each 1.2 widths from the next: one group, larger than what is inverted as a whole.
    rng = np.random.default_rng(5)
    profile = Profile(2.5)
    steps = np.arange(20) * 1.2 * profile.fwhm + 40.0
    x, y = (axis.ravel() + rng.uniform(-0.5, 0.5, 400) for axis in np.meshgrid(steps, steps))
    scene = Scene(x, y, rng.permutation(np.geomspace(500, 50000, 400)))
    for options in ({}, {"sky": "fit"}):
        is_standard(pulls(scene, profile, PSFPhotometer(**options), seeds=range(3))["flux"])


def test_weights_of_the_data_would_make_stars_too_faint_and_these_do_not():
    # Sixty counts of sky in a pixel and none of read noise: weights that follow the noise lose 20 electrons and more.
    scene = Scene.grid(SHAPE, 30.0, 300.0, 300.0, seed=2)
    found = pulls(scene, ROUND, PSFPhotometer(), sky=60.0, read_noise=0.0, seeds=range(6))["flux"]
    assert found.mean() == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("fwhm", [1.5, 2.0, 4.0])
def test_fluxes_are_the_whole_light_wherever_a_star_lies_in_a_pixel(fwhm):
    profile = Profile(fwhm, 4.0)
    scene = Scene.grid(SHAPE, 45.0, 1e5, 1e5, seed=3)
    picture = simulate_image(scene, SHAPE, profile=profile, sky=100.0)
    exact = image(picture.expected, "electron", variance=picture.expected + 25.0)
    rows = PSFPhotometer().measure(exact, picture.sources, picture.background, picture.psf)
    assert rows["flux"] / 1e5 == pytest.approx(np.ones(len(scene)), abs=1e-3)


def one(data, flags=None, x=30.0, y=30.0, *, profile=ROUND, **options):
    flags = np.zeros(data.shape, np.uint16) if flags is None else flags
    picture = image(data, "electron", variance=np.full(data.shape, 125.0), flags=flags)
    sky = Background(np.full(data.shape, 100.0, np.float32), np.full(data.shape, 11.0, np.float32), 100.0, 11.0)
    rows = PSFPhotometer(**options).measure(
        picture, Sources.make(x, y, id=np.arange(1, 1 + np.size(x))), sky, profile.psf()
    )
    return {name: column[0] if np.size(x) == 1 else column for name, column in rows.items()}


def star(*stars, shape=(64, 64), profile=ROUND):
    x, y, flux = np.array(stars).T
    return simulate_image(Scene(x, y, flux), shape, profile=profile, sky=100.0).expected.copy()


def test_masked_pixels_have_no_weight_and_make_the_error_larger():
    data = star((30.0, 30.0, 5e4))
    clean = one(data)
    flags = np.zeros(data.shape, np.uint16)
    data[30, 31], flags[30, 31] = 1e7, Flag.COSMIC_RAY
    data[29, 30] = np.nan
    row = one(data, flags)
    assert row["flux"] == pytest.approx(5e4, rel=1e-3)
    assert row["flux_err"] > 1.05 * clean["flux_err"]
    assert row["flags"] == Flag.COSMIC_RAY
    assert clean["flags"] == 0


def test_half_of_the_light_must_be_seen():
    data, flags = star((30.0, 30.0, 5e4)), np.zeros((64, 64), np.uint16)
    flags[:, 32:] = Flag.BAD
    assert one(data, flags)["flux"] == pytest.approx(5e4, rel=2e-3)
    flags[:, 30:] = Flag.BAD
    row = one(data, flags)
    assert np.isnan([row[name] for name in ("flux", "flux_err", "area", "x", "y")]).all()
    assert row["flags"] == Flag.BAD | Flag.FAILED


@pytest.mark.parametrize("y", [60.0, 60.1, 60.4, 60.5])
@pytest.mark.parametrize("options", [{"recenter": True}, {"recenter": True, "sky": "fit"}], ids=str)
def test_a_star_with_fewer_pixels_than_unknowns_fails_and_stops_no_other(options, y):
    """A star that stands so far beyond the edge that a single pixel of it is on the image."""
    sharp = Profile(1.5)
    data = star((40.0, 40.0, 5e4), shape=(128, 128), profile=sharp)
    rows = one(data, x=[-2.95, 40.0], y=[y, 40.0], profile=sharp, **options)
    assert rows["flags"][0] & Flag.FAILED
    assert rows["flux"][1] == pytest.approx(5e4, rel=2e-3)


def test_a_star_at_the_edge_is_right_and_flagged_and_one_outside_fails():
    data = star((1.2, 30.0, 5e4))
    row = one(data, x=1.2)
    assert row["flux"] == pytest.approx(5e4, rel=2e-3)
    assert row["flags"] == Flag.EDGE
    for x in (-9.0, 1e9, np.nan, np.inf):
        row = one(data, x=x)
        assert np.isnan(row["flux"])
        assert row["flags"] & Flag.FAILED


def test_the_area_is_the_noise_equivalent_one():
    # One over the sum of the squared shares, where the noise is that of the sky: 4 pi sigma squared, and pixels.
    gaussian = Profile(5.0)
    row = one(star((30.0, 30.0, 10.0), profile=gaussian), profile=gaussian, radius=2.5)
    shares = gaussian.psf().stamps([0.0], [0.0], 20)
    assert row["area"] == pytest.approx(1 / (shares**2).sum(), rel=2e-3)
    assert row["flux_err"] == pytest.approx(np.sqrt(125.0 * row["area"]), rel=2e-3)


def test_two_stars_in_one_place_cannot_be_told_apart():
    data = star((30.0, 30.0, 5e4), (12.0, 12.0, 2e4))
    rows = one(data, x=[30.0, 30.0, 12.0], y=[30.0, 30.0, 12.0])
    assert np.isnan(rows["flux"][:2]).all()
    assert (rows["flags"][:2] & Flag.FAILED).all()
    assert rows["flux"][2] == pytest.approx(2e4, rel=1e-3)


def test_a_constant_under_the_stars_is_found_where_asked():
    data = star((30.0, 30.0, 5e4), (38.0, 33.0, 1e4)) + 7.0
    rows = one(data, x=[30.0, 38.0], y=[30.0, 33.0], sky="fit")
    assert rows["flux"] == pytest.approx([5e4, 1e4], rel=2e-3)
    assert rows["sky"] == pytest.approx([107.0, 107.0], abs=0.3)
    assert (rows["sky_err"] > 0).all()
    assert (one(data, x=[30.0, 38.0], y=[30.0, 33.0])["sky_err"] == 0).all()


def test_places_are_found_and_given_up_beyond_the_tolerance():
    data = star((30.0, 30.0, 5e4))
    row = one(data, x=30.6, y=29.5, recenter=True)
    assert (row["x"], row["y"]) == pytest.approx((30.0, 30.0), abs=1e-3)
    assert row["flux"] == pytest.approx(5e4, rel=1e-3)
    assert 0 < row["x_err"] < 0.05
    row = one(data, x=32.5, y=30.0, recenter=True, tolerance=0.3)
    assert (row["x"], row["y"]) == (32.5, 30.0)
    assert np.isnan(row["x_err"])
    assert np.isfinite(row["flux"])
    faint = one(star((30.0, 30.0, 30.0)), x=30.4, recenter=True)
    assert faint["x"] == 30.4
    assert np.isnan(faint["x_err"])


def test_what_is_missing_is_said():
    picture = simulate_image(Scene([30.0], [30.0], [1e4]), (64, 64))
    bare = image(picture.image.data, "electron")
    with pytest.raises(FrameError, match="the image has no variance"):
        PSFPhotometer().measure(bare, picture.sources, picture.background, picture.psf)
    with pytest.raises(FrameError, match=r"needs the map of a \[background\] stage"):
        PSFPhotometer().measure(picture.image, picture.sources, None, picture.psf)
    with pytest.raises(FrameError, match="no star was good enough"):
        PSFPhotometer().measure(picture.image, picture.sources, picture.background, None)
    assert len(PSFPhotometer().measure(picture.image, picture.sources[:0], picture.background, PSF(3.0))["id"]) == 0
