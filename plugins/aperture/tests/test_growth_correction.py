"""The light beyond the aperture, from bright isolated stars."""

import numpy as np
import pytest

from albireo import PSF, Flag, FrameError, Sources, flags_of, image, variance_of
from albireo.testing import Profile, Scene, simulate_image
from albireo_aperture import Aperture, Optimal

PROFILE = Profile(4.0, beta=4.0)
LARGE = 14.0
RING = (16.0, 24.0)


def field(seed=3, brightest=3e5, faintest=2e3, n=400):
    scene = Scene.grid((n, n), 50.0, brightest, faintest, seed=seed)
    return simulate_image(scene, (n, n), profile=PROFILE, sky=50.0, read_noise=4.0, seed=seed)


def test_corrected_fluxes_are_those_of_the_large_aperture_at_every_radius():
    picture = field()
    rows = Aperture(radius=(2, 4, 8), correction=LARGE, annulus=RING).measure(
        picture.image, picture.sources, None, picture.psf
    )
    for k in range(3):
        column = {name: values[k::3] for name, values in rows.items()}
        # The wings in the ring count as sky: 0.1 per cent here.
        expected = picture.sources.flux * PROFILE.enclosed(LARGE)
        off = column["flux"] - expected
        allowed = 3.5 * column["flux_err"] + (3 * column["correction_err"] / column["correction"] + 0.003) * expected
        assert (np.abs(off) < allowed).all()
        assert column["correction"][0] > 1
        assert np.ptp(column["correction"]) == 0
    assert (np.diff(rows["correction"][:3]) < 0).all()


@pytest.mark.parametrize(
    "stage",
    [
        Aperture(radius=4.0, correction=LARGE, annulus=RING),
        Optimal(correction=LARGE, annulus=RING),
    ],
    ids=["aperture", "optimal"],
)
def test_the_error_of_the_correction_is_its_scatter_and_not_in_the_error_of_fluxes(stage):
    picture = field(brightest=2e5, faintest=2e4, n=300)
    factor, error, share, share_err = [], [], [], []
    for seed in range(60):
        rows = stage.measure(picture.realise(seed), picture.sources, None, picture.psf)
        factor.append(rows["correction"][0])
        error.append(rows["correction_err"][0])
        # A ratio of stars of one frame does not know the correction.
        flux, noise = rows["flux"], rows["flux_err"] / rows["flux"]
        share.append(flux[:-1] / flux[1:])
        share_err.append(np.hypot(noise[:-1], noise[1:]) * share[-1])
    # 60 values: the width is known to 9 per cent. A chi-square below one is not used to make the error smaller.
    assert np.std(factor) / np.mean(error) == pytest.approx(1.0, abs=0.25)
    share, share_err = np.array(share), np.array(share_err)
    assert np.std((share - share.mean(axis=0)) / share_err) == pytest.approx(1.0, abs=0.06)


def test_apertures_and_weighted_sums_agree_to_half_a_per_cent():
    picture = field(n=500)
    wrong = PSF(3.5)  # a Gaussian, and too narrow
    aperture = Aperture(radius=5.0, correction=LARGE, annulus=RING)
    optimal = Optimal(correction=LARGE, annulus=RING)
    ratios = []
    for seed in range(12):
        shot = picture.realise(seed)
        ours, theirs = (stage.measure(shot, picture.sources, None, wrong) for stage in (aperture, optimal))
        ratios.append(np.average(theirs["flux"] / ours["flux"], weights=picture.sources.flux))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.005)
    raw = Optimal(annulus=RING).measure(picture.image, picture.sources, None, wrong)
    assert np.median(raw["flux"] / theirs["flux"]) < 0.9, "the profile alone misses light"


def test_stars_with_neighbours_do_not_tell():
    # Most of the stars have company in the large aperture, too many to be taken for outliers.
    picture = field(n=400)
    s = picture.sources
    paired = np.argsort(-s.flux)[1:50]
    x, y = np.append(s.x, s.x[paired] + 9.0), np.append(s.y, s.y[paired])
    company = simulate_image(
        Scene(x, y, np.append(s.flux, 0.1 * s.flux[paired])), (400, 400), profile=PROFILE, sky=50.0, read_noise=4.0
    )
    stage = Aperture(radius=4.0, correction=LARGE, annulus=RING)
    clean = stage.measure(picture.image, s, None, None)
    known = stage.measure(company.image, company.sources, None, None)
    unknown = stage.measure(company.image, company.sources[: len(s)], None, None)
    assert known["correction"][0] == pytest.approx(clean["correction"][0], abs=4 * known["correction_err"][0])
    assert unknown["correction"][0] > clean["correction"][0] + 0.03


def test_stars_with_flags_do_not_tell():
    picture = field(n=200)
    x, y, brightest = picture.sources.x, picture.sources.y, int(np.argmax(picture.sources.flux))
    stage = Aperture(radius=4.0, correction=LARGE, annulus=RING)
    clean = stage.measure(picture.image, picture.sources, None, None)
    flags = flags_of(picture.image).copy()
    flags[round(float(y[brightest])), round(float(x[brightest])) + 9] = Flag.SATURATED
    data = picture.image.data.copy()
    data[flags != 0] += 3e5
    spoilt = image(data, "electron", variance=variance_of(picture.image), flags=flags)
    rows = stage.measure(spoilt, picture.sources, None, None)
    assert rows["correction"][0] == pytest.approx(clean["correction"][0], abs=4 * rows["correction_err"][0])


def test_a_star_that_disagrees_is_left_out():
    picture = field(n=400)
    # A hot pixel that nobody knows of, in the large aperture of one bright star.
    third = int(np.argsort(-picture.sources.flux)[2])
    data = picture.image.data.copy()
    data[round(float(picture.sources.y[third])), round(float(picture.sources.x[third])) + 10] += 1e5
    spoilt = image(data, "electron", variance=variance_of(picture.image))
    stage = Aperture(radius=4.0, correction=LARGE, annulus=RING)
    clean = stage.measure(picture.image, picture.sources, None, None)
    rows = stage.measure(spoilt, picture.sources, None, None)
    assert rows["correction"][0] == pytest.approx(clean["correction"][0], abs=2 * clean["correction_err"][0])


def test_no_star_to_tell_the_correction_is_said():
    picture = field(n=200, brightest=300.0, faintest=200.0)
    for stage in (Aperture(correction=LARGE, annulus=RING), Optimal(correction=LARGE, annulus=RING)):
        with pytest.raises(
            FrameError, match=r"none of \d+ stars is alone within 21.0 pixels, free of flags, and 20 times"
        ):
            stage.measure(picture.image, picture.sources, None, picture.psf)
        empty = stage.measure(picture.image, Sources.make([], []), None, picture.psf)
        assert len(empty["flux"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 5, "correction": 5}, "correction = 5 is not larger than the largest radius, 5 pixel"),
        ({"correction": 12}, "the annulus begins at 10 pixel, inside the aperture of radius 12"),
        ({"correction": "large"}, "correction"),
    ],
)
def test_corrections_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Aperture(**options)
    assert Aperture(radius=5, correction=12, sky="background").correction == 12
