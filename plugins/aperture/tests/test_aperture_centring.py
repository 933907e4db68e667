"""Stars that are not quite where they should be: places, errors, and what is done when there is no star."""

import numpy as np
import pytest

from albireo import PSF, Flag, FrameError, Sources, image, variance_of
from albireo.testing import Profile, Scene, simulate_image
from albireo_aperture import Aperture, Optimal

ROUND = Profile(4.0)
LONG = Profile(4.0, beta=3.5, elongation=1.4, theta=0.6)


def field(profile, brightest=40000.0, faintest=600.0):
    scene = Scene.grid((400, 400), 40.0, brightest, faintest, seed=11)
    return simulate_image(scene, (400, 400), profile=profile, sky=100.0, read_noise=5.0, seed=1)


def displaced(sources, dx, dy):
    return Sources.make(sources.x + dx, sources.y + dy, id=sources.id)


@pytest.mark.parametrize("recenter", ["windowed", "moments"])
@pytest.mark.parametrize("profile", [ROUND, LONG], ids=["round", "elongated"])
def test_errors_of_places_are_their_scatter(profile, recenter):
    picture, rng = field(profile), np.random.default_rng(4)
    stage = Aperture(recenter=recenter, annulus=(10, 15))
    pulls = []
    for seed in range(16):
        n = len(picture.sources)
        started = displaced(picture.sources, *rng.uniform(-1.5, 1.5, (2, n)))
        rows = stage.measure(picture.realise(seed), started, None, picture.psf)
        pulls.append(
            [(rows[v] - getattr(picture.sources, v)) / rows[f"{v}_err"] for v in ("x", "y")],
        )
    pulls = np.array(pulls)
    for third in np.array_split(np.argsort(picture.snr), 3):
        values = pulls[:, :, third]
        assert np.isfinite(values).mean() > 0.97
        # Some 400 pulls a coordinate.
        assert np.abs(np.nanmean(values, axis=(0, 2))).max() < 0.1 + 2 * 0.05
        assert np.nanstd(values) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("method", [Aperture, Optimal])
def test_a_star_is_measured_where_it_is_found(method):
    picture = field(ROUND, faintest=20000.0)
    true = method().measure(picture.image, picture.sources, None, picture.psf)
    off = displaced(picture.sources, 1.8, -1.2)
    forced = method().measure(picture.image, off, None, picture.psf)
    found = method(recenter="windowed").measure(picture.image, off, None, picture.psf)
    assert found["flux"] == pytest.approx(true["flux"], rel=0.01)
    assert found["flags"].max() == 0
    assert (forced["flux"] < 0.9 * true["flux"]).all()
    assert not {"x", "y", "x_err", "y_err"} & forced.keys()


@pytest.mark.parametrize("recenter", ["windowed", "moments"])
def test_a_star_beyond_the_tolerance_keeps_its_place_and_is_flagged(recenter):
    picture = field(ROUND, faintest=20000.0)
    off = displaced(picture.sources, 1.8, -1.2)  # 2.16 pixels
    for options in ({"tolerance": 2.0}, {"tolerance": 0.5, "unit": "fwhm", "radius": 1.0}):
        near, far = Aperture(recenter=recenter, **options), Aperture(**{**options, "tolerance": None})
        rows = near.measure(picture.image, off, None, picture.psf)
        forced = far.measure(picture.image, off, None, picture.psf)
        assert (rows["flags"] == Flag.NOT_CENTRED).all()
        assert np.array_equal(rows["flux"], forced["flux"])
        assert np.array_equal(rows["x"], off.x)
        assert np.isnan(rows["x_err"]).all()
    wider = Aperture(recenter=recenter, tolerance=2.4).measure(picture.image, off, None, picture.psf)
    assert wider["flags"].max() == 0


def test_nothing_is_found_where_there_is_no_star_or_a_pixel_is_missing():
    picture = field(ROUND, faintest=20000.0)
    data, flags = picture.expected.copy(), np.zeros(picture.expected.shape, np.uint16)
    star = picture.sources[0]
    column, row = round(float(star.x[0])), round(float(star.y[0]))
    flags[row, column + 1] = Flag.HOT
    masked = image(data, "electron", variance=variance_of(picture.image), flags=flags)
    sources = Sources.make([star.x[0], 2.0, np.nan, -50.0], [star.y[0], 200.0, 30.0, 1e9], id=[1, 2, 3, 4])
    rows = Aperture(recenter="windowed").measure(masked, sources, None, picture.psf)
    assert ((rows["flags"] & Flag.NOT_CENTRED) != 0).all()
    assert np.isfinite(rows["flux"]).tolist() == [True, False, False, False]
    dark = image(np.full((64, 64), 5.0), "electron", variance=np.ones((64, 64)))
    rows = Aperture(recenter="moments").measure(dark, Sources.make(30, 30), None, PSF(3.0))
    assert rows["flags"].tolist() == [Flag.NOT_CENTRED]


def test_rows_of_all_radii_have_the_same_place():
    picture = field(ROUND)
    rows = Aperture(radius=(3, 5), recenter="windowed").measure(
        picture.image, displaced(picture.sources, 0.5, 0.5), None, picture.psf
    )
    assert np.array_equal(rows["x"][::2], rows["x"][1::2])
    assert rows["x"].shape == rows["flux"].shape


def test_centring_needs_the_width_of_a_star():
    assert Aperture(recenter="windowed").needs >= {"psf"}
    picture = field(ROUND)
    with pytest.raises(FrameError, match="no star was good enough to tell the FWHM that stars are centred with"):
        Aperture(recenter="windowed").measure(picture.image, picture.sources, None, None)
