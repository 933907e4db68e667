"""Scintillation, clipping and detrending of simulated nights, against what was put in."""

import numpy as np
import pytest
from pydantic import ValidationError

from albireo import Ensemble, Flag, FrameError, scintillation_noise
from albireo_differential import Clip, Detrend, Differential, Scintillation

DIAMETER, HEIGHT = 0.6, 940.0
START = 2460000.6


def night(n=300, m=20, *, seed=1, low=5.0, high=6.5, twinkling=0.0, exptime=10.0, **facts):
    """Constant stars; ``twinkling`` times the scintillation of the telescope, each star for itself."""
    rng = np.random.default_rng(seed)
    time = START + np.arange(n) / 1440
    airmass = 1.1 + 0.8 * np.linspace(-0.4, 1, n) ** 2
    mean = np.sort(10 ** rng.uniform(low, high, m))[::-1] * np.ones((n, 1))
    cloud = 1 - 0.3 * np.exp(-(((np.arange(n) - 0.4 * n) / 9) ** 2))
    share = twinkling * scintillation_noise(DIAMETER, HEIGHT, exptime, airmass)
    light = mean * cloud[:, None] * (1 + share[:, None] * rng.normal(size=mean.shape))
    error = np.sqrt(light + 4000.0)
    values = {
        "target": "field",
        "detector": "",
        "filter": "r",
        "method": "aperture",
        "aperture": 4.0,
        "frames": np.array([f"{k:04d}.fits" for k in range(n)]),
        "time": time,
        "time_scale": "BJD_TDB",
        "exptime": np.full(n, exptime),
        "airmass": airmass,
        "fwhm": 4.0 + 0.3 * np.sin(np.arange(n) / 17),
        "sources": np.arange(1, m + 1),
        "flux": light + rng.normal(size=light.shape) * error,
        "flux_err": error,
        "x": 100.0 + np.cumsum(rng.normal(0, 0.1, (n, 1)), axis=0) + np.arange(m),
        "y": 100.0 + np.cumsum(rng.normal(0, 0.1, (n, 1)), axis=0) + np.arange(m),
        "sky": np.full((n, m), 200.0),
        "flags": np.zeros((n, m), np.uint16),
        "diameter": DIAMETER,
        "height": HEIGHT,
    }
    return Ensemble(**{**values, **facts})


def pulls(curves):
    return (curves.flux - 1) / curves.flux_err


# --- scintillation ----------------------------------------------------------------------------------------------------


def test_errors_with_scintillation_are_the_scatter_of_bright_and_faint_stars():
    given = night(twinkling=1.0, low=4.0)
    curves = Differential().apply(Scintillation().apply(given))
    # 300 points know a width to 4 per cent.
    assert np.std(pulls(curves), axis=0) == pytest.approx(1.0, abs=0.15)
    assert np.std(pulls(curves)) == pytest.approx(1.0, abs=0.03)
    without = Differential().apply(given)
    assert np.std(pulls(without)[:, :5]) > 2.0


def test_scintillation_follows_airmass_and_exposure_and_is_noted():
    given = night()
    made = Scintillation(coefficient=1.67).apply(given)
    expected = scintillation_noise(DIAMETER, HEIGHT, given.exptime, given.airmass, 1.67)
    np.testing.assert_allclose(made.flux_err, np.hypot(given.flux_err, given.flux * expected[:, None]))
    np.testing.assert_array_equal(made.flux, given.flux)
    note = made.meta["scintillation"]
    assert (note["coefficient"], note["diameter"], note["height"]) == (1.67, DIAMETER, HEIGHT)
    np.testing.assert_allclose(note["relative"], expected)
    assert "warnings" not in made.meta


def test_without_telescope_or_site_errors_stay_and_the_observer_is_told():
    given = night(diameter=np.nan, height=np.nan)
    made = Scintillation().apply(given)
    np.testing.assert_array_equal(made.flux_err, given.flux_err)
    assert made.meta["warnings"] == [
        "errors do not contain scintillation: the diameter of the telescope ([instrument] diameter) and the height of "
        "the site ([instrument] site) must be known"
    ]


def test_frames_without_an_airmass_keep_their_errors_and_are_counted():
    airmass = night().airmass.copy()
    airmass[3:5] = np.nan
    given = night(airmass=airmass)
    made = Scintillation().apply(given)
    np.testing.assert_array_equal(made.flux_err[3:5], given.flux_err[3:5])
    assert (made.flux_err[5:] > given.flux_err[5:]).all()
    (text,) = made.meta["warnings"]
    assert text.startswith("errors of 2 of 300 frames do not contain scintillation")


def test_scintillation_after_differential_is_refused():
    with pytest.raises(FrameError, match='before use = "differential"'):
        Scintillation().apply(Differential().apply(night()))


# --- differential -----------------------------------------------------------------------------------------------------


def test_a_comparison_star_that_leaves_half_way_makes_no_step():
    given = night(low=5.0, high=5.5)
    flux, error = given.flux.copy(), given.flux_err.copy()
    flux[:, 0] *= 6
    error[:, 0] = np.sqrt(flux[:, 0] + 4000)
    flux[150:, 0] = error[150:, 0] = np.nan
    flux[:150, 1] = error[:150, 1] = np.nan  # and another enters
    curves = Differential(min_present=0.4).apply(given.replace(flux=flux, flux_err=error))
    assert {1, 2} <= set(curves.comparisons)
    rest = curves.flux[:, 2:]
    step = rest[:150].mean(axis=0) - rest[150:].mean(axis=0)
    claimed = np.sqrt(np.mean(curves.flux_err[:, 2:] ** 2, axis=0) * 4 / 300)
    assert np.abs(step / claimed).max() < 4
    assert abs(np.mean(step)) < np.median(claimed)
    assert np.std(pulls(curves)[:, 2:]) == pytest.approx(1.0, abs=0.05)


# --- clip -------------------------------------------------------------------------------------------------------------


def relative(**options):
    return Differential().apply(night(**options))


def test_outliers_are_flagged_left_out_and_listed():
    given = relative()
    flux = given.flux.copy()
    flux[40, 3] += 12 * given.flux_err[40, 3]
    flux[[100, 101], 7] -= 15 * given.flux_err[[100, 101], 7]
    flux[200, :6] *= 1.2
    made = Clip().apply(given.replace(flux=flux))
    outlier = (made.flags & Flag.OUTLIER) != 0
    planted = np.zeros_like(outlier)
    planted[40, 3] = planted[100:102, 7] = planted[200, :6] = True
    np.testing.assert_array_equal(outlier, planted)
    assert np.isnan(made.flux[planted]).all()
    assert np.isnan(made.flux_err[planted]).all()
    np.testing.assert_array_equal(made.flux[~planted], flux[~planted])
    note = made.meta["clip"]
    assert note["points"] == 9
    assert note["stars"][4] == ["0040.fits", "0200.fits"]
    assert note["stars"][8] == ["0100.fits", "0101.fits"]
    assert note["frames"] == {"0040.fits": 1, "0100.fits": 1, "0101.fits": 1, "0200.fits": 6}
    kept = Clip(keep=True).apply(given.replace(flux=flux))
    np.testing.assert_array_equal(kept.flux, flux)
    np.testing.assert_array_equal(kept.flags, made.flags)


def test_constant_stars_lose_hardly_a_point():
    clipped = sum(Clip().apply(relative(seed=seed)).meta["clip"]["points"] for seed in range(3))
    assert clipped <= 2  # of 18000


def test_a_transit_stays():
    given = relative()
    flux = given.flux.copy()
    inside = (np.arange(300) > 120) & (np.arange(300) < 170)
    flux[inside, 4] *= 0.985
    assert 5 not in Clip().apply(given.replace(flux=flux)).meta["clip"]["stars"]


def test_points_with_large_errors_may_lie_further_off():
    given = relative()
    flux, error = given.flux.copy(), given.flux_err.copy()
    flux[60, 2] += 10 * error[60, 2]
    error[60, 2] *= 10
    assert Clip().apply(given.replace(flux=flux, flux_err=error)).meta["clip"]["points"] == 0


def test_a_cloud_is_no_outlier_before_the_stars_are_compared():
    given = night()
    flux = given.flux.copy()
    flux[50] *= 0.4
    flux[80, 0] *= 0.5
    note = Clip().apply(given.replace(flux=flux)).meta["clip"]
    assert note["stars"] == {1: ["0080.fits"]}


def test_an_even_window_is_refused():
    with pytest.raises(ValidationError, match="give an odd number, such as 11"):
        Clip(window=10)


# --- detrend ----------------------------------------------------------------------------------------------------------


def test_planted_trends_are_found_with_honest_errors():
    deviations = []
    for seed in range(12):
        given = relative(seed=seed, m=12)
        z = (given.airmass - np.median(given.airmass)) / np.std(given.airmass)
        flux = given.flux * (1 + 0.01 * z[:, None])
        made = Detrend(terms=("airmass",)).apply(given.replace(flux=flux))
        stars = made.meta["detrend"]["stars"]
        slope, error = (np.array([stars[s][key][1] for s in range(1, 13)]) for key in ("coefficients", "errors"))
        # The term has its mean taken off, so that slopes are relative to the level at the mean airmass.
        level = 1 + 0.01 * np.mean(z)
        deviations.append((slope - 0.01 / level) / error)
        assert min(stars[s]["bic_gain"] for s in range(1, 13)) > 10
        assert np.std(pulls(made)) == pytest.approx(1.0, abs=0.05)
        assert made.flux.mean(axis=0) == pytest.approx(1.0, abs=1e-3)
    deviations = np.array(deviations)
    # Zero points are common to the stars of a night, so that their slopes go together.
    assert np.mean(deviations) == pytest.approx(0.0, abs=0.35)
    assert np.std(deviations) == pytest.approx(1.0, abs=0.25)


def test_a_transit_that_is_excluded_keeps_its_depth_and_leaves_its_level():
    given = relative(m=8)
    begin, end = given.time[120], given.time[180]
    inside = (given.time >= begin) & (given.time <= end)
    trend = 1 + 0.02 * (given.time - given.time[0]) * 24 / 5
    flux = given.flux * trend[:, None]
    flux[inside, 0] *= 0.98
    blind = Detrend(terms=("time", "time^2")).apply(given.replace(flux=flux))
    aware = Detrend(terms=("time", "time^2"), exclude=((begin, end),)).apply(given.replace(flux=flux))
    depth = [c.flux[~inside, 0].mean() - c.flux[inside, 0].mean() for c in (blind, aware)]
    assert depth[1] == pytest.approx(0.02, abs=6e-4)
    assert depth[0] < 0.017
    assert aware.flux[~inside, 0].mean() == pytest.approx(1.0, abs=2e-4)
    assert aware.meta["detrend"]["stars"][1]["points"] == np.count_nonzero(~inside)


def test_a_model_that_explains_nothing_is_told_by_its_bic():
    made = Detrend(terms=("fwhm", "y", "sky")).apply(relative(seed=5))
    gains = [star["bic_gain"] for star in made.meta["detrend"]["stars"].values()]
    assert np.median(gains) < -8  # about -3 ln(300) + 3
    assert max(gains) < 10


def test_the_error_of_the_model_is_part_of_the_errors():
    # A fit far from its points knows little there.
    given = relative(m=5)
    window = (given.time[60] - 1e-6, given.time[299])
    made = Detrend(terms=("time",), exclude=(window,)).apply(given)
    growth = made.flux_err / given.flux_err
    assert growth[30].max() < 1.05
    assert growth[299].min() > 1.5


def test_flagged_points_take_no_part_but_are_corrected():
    given = relative(m=6)
    flux, flags = given.flux.copy(), given.flags.copy()
    flux[10:20, 2] = 3.0
    flags[10:20, 2] = Flag.OUTLIER
    made = Detrend().apply(given.replace(flux=flux, flags=flags))
    assert made.meta["detrend"]["stars"][3]["points"] == 290
    assert made.flux[10:20, 2] == pytest.approx(3.0, rel=0.01)
    assert made.flux[30:, 2].mean() == pytest.approx(1.0, abs=1e-3)


def test_fluxes_with_a_unit_keep_their_level():
    given = Differential(normalise=False).apply(night())
    made = Detrend(terms=("time",)).apply(given)
    assert np.mean(made.flux, axis=0) == pytest.approx(np.mean(given.flux, axis=0), rel=1e-3)


def test_stars_with_too_few_points_are_left_and_listed():
    given = relative()
    flux = given.flux.copy()
    flux[2:, 5] = np.nan
    made = Detrend(terms=("time", "airmass")).apply(given.replace(flux=flux))
    assert made.meta["detrend"]["left"] == [6]
    np.testing.assert_array_equal(made.flux[:, 5], flux[:, 5])


def test_a_column_that_nobody_knows_is_refused_and_single_gaps_cost_their_points():
    given = relative()
    with pytest.raises(FrameError, match="detrend needs airmass, and it is known for no frame"):
        Detrend().apply(given.replace(airmass=np.full(300, np.nan)))
    fwhm = given.fwhm.copy()
    fwhm[9] = np.nan
    made = Detrend(terms=("fwhm",)).apply(given.replace(fwhm=fwhm))
    assert np.isnan(made.flux[9]).all()
    assert np.isfinite(np.delete(made.flux, 9, axis=0)).all()


def test_windows_must_leave_something():
    given = relative()
    with pytest.raises(FrameError, match="no frame lies outside the windows of detrend"):
        Detrend(exclude=((START - 1, START + 1),)).apply(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": ("colour",)}, "'colour' is no term: write one of time, airmass, fwhm, x, y, sky"),
        ({"terms": ("x", "x^1")}, "a term stands there twice"),
        ({"exclude": ((2.0, 1.0),)}, "a window ends after it begins"),
    ],
)
def test_options_of_detrend_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        Detrend(**options)
