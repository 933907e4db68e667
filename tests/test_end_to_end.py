"""A raw night becomes tables that agree with the truth and that anybody can read."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

from albireo import Recipe, Registry, Results, read_image
from albireo.testing import Camera, Night, Scene, simulate_night

CAMERA = """
name = "backyard"
kinds = [
    {{ kind = "bias", when = {{ IMAGETYP = "Bias Frame" }} }},
    {{ kind = "dark", when = {{ IMAGETYP = "Dark Frame" }} }},
    {{ kind = "flat", when = {{ IMAGETYP = "Flat Field" }} }},
    {{ kind = "science", when = {{ IMAGETYP = "Light Frame" }} }},
]
[identity]
INSTRUME = "Backyard"
[frame]
filter = "FILTER"
target = "OBJECT"
exptime = "EXPTIME"
start = "DATE-OBS"
gain = "EGAIN"
read_noise = {{ value = 7.0, source = "measured" }}
saturation = {{ value = 60000, source = "measured" }}
scale = {{ value = 0.8, source = "measured" }}
[setup]
binning = "XBINNING"
[example]
NAXIS1 = 320
NAXIS2 = 300
INSTRUME = "Backyard"
IMAGETYP = "Light Frame"
FILTER = "R"
OBJECT = "{target}"
EXPTIME = 60.0
DATE-OBS = "2024-03-01T20:00:00.000"
EGAIN = {gain}
XBINNING = 1
"""

TWO_FILTERS = """
[instrument]
use = "fits"
definition = "camera.toml"
[[masters]]
use = "combine"
kind = "bias"
[[masters]]
use = "combine"
kind = "dark"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "bias"
[[corrections]]
use = "dark"
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[background]
use = "mesh"
[finding]
use = "sep"
[alignment]
use = "astroalign"
[[photometry]]
use = "aperture"
radius = 5
annulus = [12, 20]
[[curves]]
use = "differential"
[output]
reduced = true
[executor]
use = "serial"
"""


@pytest.fixture(scope="module")
def results(undisturbed: Path) -> Results:
    return Results(undisturbed)


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_table_of_frames_names_every_file_and_what_became_of_it(results: Results, night) -> None:
    table = Table.read(results.folder / "frames.ecsv", format="ascii.ecsv")
    wanted = "path hdu detector kind filter target exptime mid fate stage reason masters"
    assert set(wanted.split()) <= set(table.colnames)
    assert sorted(table["name"]) == sorted(path.name for path in night.raw.iterdir())
    assert set(table["fate"]) == {"used"}
    assert table["exptime"].unit == u.s
    written = {frame.name: frame for frame in night.truth.frames}
    for row in table:
        frame = written[row["name"]]
        assert (row["kind"], row["exptime"]) == (frame.kind, frame.exptime)
        assert Time(row["mid"], scale="utc").mjd == pytest.approx(frame.mid, abs=1e-3 / 86400)


def test_the_table_of_measurements_has_units_everywhere(results: Results, night) -> None:
    path = results.folder / "photometry.fits"
    with fits.open(path) as hdus:
        hdus.verify("exception")
    table = Table.read(path, unit_parse_strict="silent")
    units = {
        "mjd": "d",
        "bjd_tdb": "d",
        "exptime": "s",
        "x": "pix",
        "y": "pix",
        "flux": "electron",
        "flux_err": "electron",
        "sky": "electron / pix",
        "sky_err": "electron / pix",
        "aperture": "pix",
        "fwhm": "pix",
    }
    for name, unit in units.items():
        assert str(table[name].unit) in (unit, unit.replace(" ", "")), f"{name} is in {table[name].unit}"
    assert {"frame", "target", "source", "detector", "filter", "method", "flags", "airmass"} <= set(table.colnames)
    sources = len(set(table["source"]))
    assert len(table) == len(night.truth.exposures) * sources * 2  # two apertures
    assert set(table["filter"]) == {"SDSS-R"}
    mids = {Path(e.frame.path).name: e.frame.mid for e in night.truth}
    for name in mids:
        assert table["mjd"][table["frame"] == name] == pytest.approx(mids[name], abs=1e-9)


def test_light_curves_can_be_read_by_astropy_alone(results: Results) -> None:
    (path,) = (results.folder / name for name in results.summary["curves"])
    curve = Table.read(path, format="ascii.ecsv")
    assert {"time", "flux", "flux_err"} <= set(curve.colnames)
    assert curve["time"].unit == u.d
    assert curve.meta["OBJECT"] == "variable"
    assert curve.meta["TIMESYS"] == "BJD_TDB"
    assert np.all(np.diff(curve["time"]) > 0)
    # Within the travel time of light from the Sun, and 69 s between UTC and TDB.
    start = Results(results.folder).photometry["mjd"].min() + 2400000.5
    assert 0 < abs(curve["time"][0] - start) < 0.0058 + 0.0008


def test_the_record_of_a_run_says_how_to_repeat_it(results: Results, reduce, night, tmp_path: Path, tables) -> None:
    summary = json.loads((results.folder / "run.json").read_text())
    assert {"albireo-core", "albireo-lmi", "albireo-aperture", "numpy", "astropy", "python"} <= set(summary["versions"])
    assert summary["counts"] == {"used": 14}
    assert any("Howell" in text for text in summary["citations"])
    resolved = tomllib.loads((results.folder / "run.toml").read_text())
    assert resolved["photometry"][0]["radius"] == [4.0, 6.0]
    assert resolved["photometry"][0]["sky"] == "annulus"  # a default, written out
    recipe = tmp_path / "again.toml"
    recipe.write_text((results.folder / "run.toml").read_text())
    assert reduce(recipe, night.raw, tmp_path / "run").code == 0
    assert tables(tmp_path / "run") == tables(results.folder)


# --- what is true -----------------------------------------------------------------------------------------------------


def test_frames_are_aligned_to_the_truth(results: Results, night) -> None:
    frames = results.frames
    reference = night.truth[results.fields[0].reference]
    table = results.photometry
    for exposure in night.truth:
        row = frames[frames["name"] == Path(exposure.frame.path).name][0]
        true = exposure.transform @ reference.transform.inverse()
        assert row["rotation"] == pytest.approx(true.rotation, abs=0.01)
        assert row["dx"] == pytest.approx(true.shift[0], abs=0.3)  # at the corner; in the field it is much better
        stars = table[table["frame"] == row["name"]]
        distance = np.hypot(stars["x"][:, None] - exposure.x, stars["y"][:, None] - exposure.y).min(axis=1)
        assert np.sqrt(np.mean(distance**2)) < 0.06


def test_masters_are_those_of_the_detector(results: Results, night) -> None:
    detector = night.truth.detector
    bias, flat = (read_image(next(m.path for m in results.masters if m.kind == kind)) for kind in ("bias", "flat"))
    inside = detector.window.slices
    # Without the level of each row, which the overscan takes.
    residual = bias.data - detector.bias[inside]
    residual -= residual.mean(axis=1, keepdims=True)
    noise = np.sqrt(np.median(bias.uncertainty.array))
    assert residual.std() == pytest.approx(noise, rel=0.15)
    response = detector.flat("SDSS-R")
    alive = response > 0
    ratio = (flat.data / np.where(alive, response, 1.0))[alive]
    error = (np.sqrt(flat.uncertainty.array) / np.where(alive, response, 1.0))[alive]
    pull = (ratio - np.median(ratio)) / error
    assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(1.0, abs=0.1)


def test_a_master_says_what_it_was_made_from(results: Results, night) -> None:
    for master in results.masters:
        cards = master.read().meta
        made = [line.removeprefix("made from ") for line in map(str, cards["HISTORY"]) if line.startswith("made from ")]
        frames = [f for f in night.truth.frames if f.kind == master.kind]
        assert sorted(made) == sorted(f.name for f in frames)
        assert cards["NFRAMES"] == len(frames)
        assert cards["EXPTIME"] == pytest.approx(frames[0].exptime)
        assert cards["INSTRUME"] == "lmi"
        assert cards.get("FILTER", "") == ("SDSS-R" if master.kind == "flat" else "")
        assert cards["TEMPMIN"] <= cards["CCD-TEMP"] <= cards["TEMPMAX"]


def test_the_variable_is_found_among_constant_stars(results: Results, night) -> None:
    stars = results.stars
    aperture = results.curves[0].meta["APERTURE"]
    stars = stars[stars["aperture"] == aperture]
    (variable,) = stars[stars["name"] == "variable"]
    assert variable["comparison"] == 0
    constant = stars[stars["comparison"] > 0]
    assert len(constant) >= 8
    assert np.median(constant["scatter"] / constant["expected"]) == pytest.approx(1.0, abs=0.35)
    curve = results.curves[0]
    true = np.array([night.truth[name].relative[6] for name in curve["frame"]])
    ratio = curve["flux"] / true
    pull = (ratio / np.mean(ratio) - 1.0) / (curve["flux_err"] / curve["flux"])
    assert np.sqrt(np.mean(pull**2)) < 1.7  # eight points
    assert np.std(curve["flux"]) / np.mean(curve["flux"]) > 0.02


# --- from nothing to a report, as a newcomer does it ------------------------------------------------------------------


def test_from_init_to_a_report(albireo, night, tmp_path: Path) -> None:
    def say(*arguments: object) -> str:
        done = albireo(*arguments, cwd=tmp_path)
        assert done.code == 0, done.text
        return str(done.out)

    assert "science" in say("inspect", night.raw)
    say("init", "--instrument", "lmi", "--out", "mine.toml")
    assert "good" in say("check", "mine.toml")
    plan = say("plan", "mine.toml", night.raw)
    assert "science-0001.fits" in plan
    assert "flat-SDSS-R" in plan
    assert not (tmp_path / "mine-run").exists()
    dry = say("run", "mine.toml", night.raw, "--dry-run")
    assert "flat-SDSS-R" in dry
    assert not (tmp_path / "mine-run").exists()
    assert "14 used" in say("run", "mine.toml", night.raw, "--jobs", 1)
    page = (tmp_path / "mine-run" / "report" / "index.html").read_text(encoding="utf-8")
    for text in ("science-0001.fits", "flat-SDSS-R", "LMI time series", "Howell"):
        assert text in page, f"the report does not mention {text}"
    log = (tmp_path / "mine-run" / "run.log").read_text()
    assert "master bias from 3 frames" in log


# --- two filters, darks, one camera in a file -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_filters(command, tmp_path_factory) -> tuple[Results, dict[str, object]]:
    """A camera described in a file, exposures in turn through two filters, darks, and a flat nobody needs."""
    folder = tmp_path_factory.mktemp("two-filters")
    (folder / "camera.toml").write_text(CAMERA.format(target="M 67", gain=1.3))
    (folder / "night.toml").write_text(TWO_FILTERS)
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(folder / "camera.toml"))
    scene = Scene.field((300, 320), 25, 5e3, 3e2, separation=36.0, margin=34.0, seed=4)
    warm = Camera(dark=0.5, hot=2e-3, hot_current=30.0, cosmic_rays=0.0)
    night = Night(science=8, bias=7, dark=7, flat=5, exptime=60.0, filters=("R", "B"), jitter=2.0)
    truth = simulate_night(camera, folder / "raw", scene, night, warm, seed=4)
    odd = Night(science=0, bias=0, flat=2, filters=("V",))
    simulate_night(camera, folder / "raw" / "spare", scene, odd, warm, seed=4)
    done = command("run", folder / "night.toml", folder / "raw", "--out", folder / "run")
    assert done.code == 0, done.text
    return Results(folder / "run"), {Path(e.frame.path).name: e for e in truth}


def test_each_filter_has_its_own_flat_and_curves(two_filters) -> None:
    results, _ = two_filters
    assert sorted(master.name for master in results.masters) == ["bias", "dark-60s", "flat-B", "flat-R"]
    frames = results.frames
    science = frames[frames["kind"] == "science"]
    for row in science:
        assert f"flat-{row['filter']}" in row["masters"]
    spare = frames[frames["filter"] == "V"]
    assert set(spare["fate"]) == {"unused"}
    assert all("filter V" in reason for reason in spare["reason"])
    assert {curve.meta["FILTER"] for curve in results.curves} == {"B", "R"}
    assert all(len(curve) == 4 for curve in results.curves)


def test_without_a_pointing_times_are_not_called_barycentric(two_filters) -> None:
    results, _ = two_filters
    assert {curve.meta["TIMESYS"] for curve in results.curves} == {"JD_UTC"}
    assert not np.isfinite(np.ma.filled(results.photometry["bjd_tdb"], np.nan)).any()
    assert any("not barycentric" in text for text in results.summary["warnings"])


def test_darks_take_hot_pixels_out(two_filters) -> None:
    results, truth = two_filters
    paths = results.reduced()
    assert len(paths) == 8
    table = results.photometry
    table.convert_bytestring_to_unicode()
    pulls = []
    for name, exposure in truth.items():
        rows = table[(table["frame"] == name) & (table["flags"] == 0)]
        distance = np.hypot(rows["x"][:, None] - exposure.x, rows["y"][:, None] - exposure.y)
        star = distance.argmin(axis=1)
        inside = exposure.profile.enclosed(5.0)
        pulls.append((rows["flux"] - exposure.electrons[star] * inside) / rows["flux_err"])
    pull = np.concatenate(pulls)
    # The level of the flat and the width of pixels are left in: a few standard deviations of the brightest.
    assert np.median(np.abs(pull)) < 2.0
    assert np.abs(pull).max() < 15.0


def test_reduced_images_are_flat_and_in_electrons(two_filters) -> None:
    results, truth = two_filters
    for path in results.reduced():
        picture = read_image(path)
        assert str(picture.unit) == "electron"
        assert picture.shape == (300, 320)
        exposure = next(e for name, e in truth.items() if path.name.startswith(name.removesuffix(".fits")))
        assert float(np.nanmedian(picture.data)) == pytest.approx(exposure.sky, rel=0.03)


def test_the_recipe_in_the_run_folder_is_valid(two_filters) -> None:
    results, _ = two_filters
    assert Recipe.parse(results.recipe, results.folder / "run.toml").instrument.name == "fits"
