"""A transit of HAT-P-32 b with a 6-inch telescope, by the worked example of the documentation.

The figures to agree with stand in the README of the frames; they are not part of this repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord, get_body_barycentric_posvel
from astropy.table import Table
from astropy.time import Time
from scipy.optimize import least_squares

from albireo import Results

MID, MID_ERR = 2458107.7125, 0.004
DEPTH = (0.022, 0.030)
SCATTER = 0.007
"""Largest standard deviation out of transit that any method may have."""
BEST_SCATTER = 0.005
"""Of the best method; a quick look by hand came to 0.0049, other software to 0.0054."""
METHODS = ("aperture-r3", "aperture-r4", "aperture-r5", "optimal", "psf")
QUICK_MID, QUICK_MID_ERR = 2458107.7115, 0.0007
"""Of the quick light curve."""
FIRST = "2017-12-20T01:34:13.317"
"""Middle of the first exposure: it began at 01:33:43.317 UTC and took 60 s."""

TARGET = SkyCoord("02:04:10.278", "+46:41:16.21", unit=("hourangle", "deg"))
SITE = EarthLocation.from_geodetic(-110.88 * u.deg, 31.68 * u.deg, 1270 * u.m)


@pytest.fixture(scope="module")
def results(data: Path, examples: Path, albireo, tmp_path_factory) -> Results:
    raw = data / "hatp32"
    if not raw.is_dir():
        pytest.skip(f"there is no set hatp32 in {data}")
    before = {path.name: path.stat().st_mtime_ns for path in raw.iterdir()}
    out = tmp_path_factory.mktemp("hatp32") / "run"
    done = albireo("run", examples / "hatp32.toml", raw, "--out", out)
    assert done.code == 0, done.text
    assert {path.name: path.stat().st_mtime_ns for path in raw.iterdir()} == before
    return Results(out)


@pytest.fixture(scope="module")
def curve(results: Results) -> Table:
    """The light curve, read as anybody would."""
    (path,) = (results.folder / name for name in results.summary["curves"])
    return Table.read(path, format="ascii.ecsv")


@pytest.fixture(scope="module")
def fits(results: Results) -> dict[str, dict[str, float]]:
    """The transit as each method shows it."""
    curves = results.folder / "curves"
    return {
        method: fit_of(Table.read(curves / f"HAT-P-32_Clear_{method}.ecsv", format="ascii.ecsv")) for method in METHODS
    }


@pytest.fixture(scope="module")
def fit(curve: Table) -> dict[str, float]:
    """The transit as the curve that the run prefers shows it."""
    return fit_of(curve)


def fit_of(curve: Table) -> dict[str, float]:
    """A trapezoid on a straight line in time, by least squares, points far off left out once."""
    good = np.isfinite(curve["flux"])
    time, flux, error = (np.asarray(curve[name])[good] for name in ("time", "flux", "flux_err"))
    hours = (time - MID) * 24.0

    def model(p: np.ndarray) -> np.ndarray:
        mid, duration, ingress, depth, level, slope = p
        inside = np.clip((0.5 * duration - np.abs(hours - mid)) / ingress, 0.0, 1.0)
        return (level + slope * hours) * (1.0 - depth * inside)

    bounds = ([-1, 2.0, 0.1, 0.0, 0.5, -0.1], [1, 4.0, 1.2, 0.1, 1.5, 0.1])
    start = [0, 3, 0.4, 0.025, 1, 0]
    keep = np.ones(len(hours), dtype=bool)
    for _ in range(2):
        weight = keep / error
        found = least_squares(lambda p, w: (flux - model(p)) * w, start, bounds=bounds, args=(weight,))
        residual = flux - model(found.x)
        keep = np.abs(residual) < 4.0 * 1.4826 * np.median(np.abs(residual))
    mid, duration, _, depth, level, _ = found.x
    outside = keep & (np.abs(hours - mid) > 0.5 * duration)
    return {
        "mid": MID + mid / 24.0,
        "depth": depth,
        "duration": duration,
        "scatter": float(residual[outside].std(ddof=6) / level),
        "kept": float(keep.mean()),
        "points": float(outside.sum()),
    }


def test_all_frames_are_aligned_over_the_drift(results: Results) -> None:
    frames = results.frames
    assert len(frames) == 142
    assert set(frames["fate"]) == {"used"}
    reference = results.fields[0].reference
    aligned = frames[frames["name"] != reference]
    assert aligned["matched"].min() >= 20
    assert aligned["align_rms"].max() < 0.5
    assert 200 < np.hypot(np.ptp(frames["dx"]), np.ptp(frames["dy"])) < 320


def test_the_target_is_followed_from_its_pixel_in_the_first_frame(results: Results) -> None:
    table = results.photometry
    source = results.curves[0].meta["SOURCE"]
    rows = table[(table["source"] == source) & np.char.startswith(table["frame"].astype(str), "HATP-32171220013343")]
    assert set(rows["aperture"][rows["method"] == "aperture"]) == {3.0, 4.0, 5.0}
    assert set(rows["method"]) == {"aperture", "optimal", "psf"}
    # The pixel of the recipe is a whole number, and the trim is none.
    assert np.hypot(rows["x"] - 424, rows["y"] - 286).max() < 1.5


def test_times_come_from_universal_time(results: Results) -> None:
    frames = results.frames
    first = frames[np.argmin(frames["mjd_mid"])]
    assert first["mid"] == FIRST
    assert first["mjd_mid"] == pytest.approx(Time(FIRST, scale="utc").mjd, abs=1e-3 / 86400)


def test_times_at_the_barycentre_are_those_of_another_way(curve: Table) -> None:
    """The projection of the Earth's and the observer's position on the target, by hand: good to a millisecond."""
    assert curve.meta["TIMESYS"] == "BJD_TDB"
    stamps = [name.removeprefix("HATP-32").split(".")[0] for name in curve["frame"]]
    assert stamps == sorted(stamps), "not in order of time"
    utc = Time(FIRST, scale="utc", location=SITE)
    earth, _ = get_body_barycentric_posvel("earth", utc)
    place = SITE.get_gcrs(utc).cartesian.without_differentials()
    travel = (earth + place).dot(TARGET.icrs.cartesian).to_value(u.au) * 499.004783836 / 86400
    assert curve["time"][0] == pytest.approx(utc.tdb.jd + travel, abs=0.01 / 86400)


def test_the_transit_is_found_when_and_as_deep_as_it_was(fit: dict[str, float]) -> None:
    print(fit)
    assert abs(fit["mid"] - MID) < MID_ERR, fit
    assert DEPTH[0] < fit["depth"] < DEPTH[1], fit
    assert fit["scatter"] < SCATTER, fit
    assert fit["kept"] > 0.95, fit
    assert fit["points"] > 50, fit


@pytest.mark.parametrize("method", METHODS)
def test_every_method_shows_the_same_transit(fits: dict[str, dict[str, float]], method: str) -> None:
    fit = fits[method]
    print(method, fit)
    assert abs(fit["mid"] - MID) < MID_ERR
    assert DEPTH[0] < fit["depth"] < DEPTH[1]
    assert fit["scatter"] < SCATTER
    assert fit["kept"] > 0.95


def test_the_best_method_is_as_good_as_the_best_before(fits: dict[str, dict[str, float]]) -> None:
    best = min(fits.values(), key=lambda fit: fit["scatter"])
    assert best["scatter"] < BEST_SCATTER
    assert abs(best["mid"] - QUICK_MID) < 2.0 * QUICK_MID_ERR


def test_the_bakeoff_names_a_winner_for_the_target_and_for_nearly_every_star(
    results: Results, fits: dict[str, dict[str, float]]
) -> None:
    table = results.bakeoff
    assert {f"scatter_{method}" for method in METHODS} <= set(table.colnames)
    assert np.mean([winner in METHODS for winner in table["winner"]]) > 0.95
    (winner,) = table["winner"][table["name"] == "HAT-P-32"]
    assert table.meta["TARGETS"] == {"HAT-P-32": {"Clear": winner}}
    # It goes by the scatter from point to point, with which the fit of a transit does not quite have to agree.
    assert fits[winner]["scatter"] < 1.25 * min(fit["scatter"] for fit in fits.values())
    assert sum(table.meta["WINS"]["Clear"].values()) == np.count_nonzero(table["winner"] != "")
    text = (results.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "bakeoff.ecsv" in text


def test_error_bars_are_no_larger_than_the_scatter(curve: Table, fit: dict[str, float]) -> None:
    """Gain and read noise were estimated from these frames to ten per cent; scintillation adds, nothing takes away."""
    median = float(np.nanmedian(curve["flux_err"] / curve["flux"]))
    assert 0.4 * fit["scatter"] < median < 1.15 * fit["scatter"], (median, fit)
