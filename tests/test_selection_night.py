"""Selection on a small simulated night: what was planted is dropped with its reason, and hand decisions replay."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
from astropy.io import fits

from albireo import Override, Recipe, Registry, Results, Selection, Selector, mjd_to_iso, write_override
from albireo.run import run
from albireo.testing import Night, Scene, Truth, simulate_night

COUNT, STEP = 12, 30.0 / 3600.0
"""Science exposures, and hours from one to the next."""

CLOUD, BLUR, BRIGHT, LOST = 3, 5, 8, 10
"""Which exposure has clouds, poor seeing, a bright sky, and lies off the place of the others."""

OFFSET = 24.0
"""Pixels by which one lies off."""

SELECT = """
[[select]]
use = "overrides"
[[select]]
use = "quality"
outliers = 6
min_transparency = 0.7
max_jump = 12
"""

HEADERS = """
[[select]]
use = "header"
keep = {{ exptime = "15 to 25", airmass = "<= 2.5", name = "*.fits" }}
unknown = "keep"
[[select]]
use = "sequence"
kind = ["science", "bias"]
skip = 1
[[select]]
use = "time"
before = "{before}"
[[select]]
use = "best"
number = 2
near = 0.4
"""


class Simulated(NamedTuple):
    raw: Path
    truth: Truth
    recipe: str

    def names(self, *rows: int) -> set[str]:
        """Names of science frames by their place in the night."""
        return {self.truth.exposures[row].frame.name for row in rows}


def at(row: int, planted: float, usual: float):
    """A curve that has one value at an exposure and another at all others."""
    return lambda hours: planted if round((hours - 10.0 / 3600.0) / STEP) == row else usual


@pytest.fixture(scope="module")
def simulated(night, tmp_path_factory) -> Simulated:
    """Twelve exposures of which four are bad, each in its own way; the recipe is that of the shared night."""
    camera = Registry.discover().get("instrument", "lmi").cls()
    shape = camera.example().amplifiers[0].data.shape
    scene = Scene.field(shape, 40, 8e3, 2e2, separation=50.0, margin=60.0, seed=21)
    plan = Night(
        science=COUNT,
        bias=3,
        flat=3,
        exptime=20.0,
        overhead=10.0,
        jitter=0.3,
        fwhm=at(BLUR, 6.5, 3.5),
        sky=at(BRIGHT, 120.0, 8.0),
        transparency=at(CLOUD, 0.45, 1.0),
        dithers=tuple((OFFSET, 0.0) if row == LOST else (0.0, 0.0) for row in range(COUNT)),
    )
    raw = tmp_path_factory.mktemp("selection") / "raw"
    truth = simulate_night(camera, raw, scene, plan, seed=21)
    recipe, _, _ = night.recipe.partition("[[targets]]")
    return Simulated(raw, truth, recipe)


@pytest.fixture(scope="module")
def folder(simulated: Simulated, reduce, tmp_path_factory) -> Path:
    """A recipe and a finished run of it; only to be read, and to be run again."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "night.toml").write_text(simulated.recipe + SELECT, encoding="utf-8")
    done = reduce(folder / "night.toml", simulated.raw, folder / "run")
    assert done.code == 0, done.text
    return folder


def fates(results: Results) -> dict[str, tuple[str, str]]:
    """What became of each science frame: stage and reason of those that were dropped."""
    frames = results.frames
    science = frames[frames["kind"] == "science"]
    return {str(row["name"]): (str(row["stage"]), str(row["reason"])) for row in science if row["fate"] != "used"}


def test_frames_that_are_bad_each_in_its_way_are_dropped_with_the_reason(folder: Path, simulated: Simulated) -> None:
    results = Results(folder / "run")
    dropped = fates(results)
    assert set(dropped) == simulated.names(CLOUD, BLUR, BRIGHT, LOST)
    assert {stage for stage, _ in dropped.values()} == {"select quality"}
    reasons = {row: dropped[name][1] for row in (CLOUD, BLUR, BRIGHT, LOST) for name in simulated.names(row)}
    assert "is below min_transparency = 0.7" in reasons[CLOUD]
    transparency = float(reasons[CLOUD].partition("transparency ")[2].split()[0])
    assert transparency == pytest.approx(0.45, rel=0.06)  # of fainter stars less lies above the threshold
    assert reasons[BLUR].startswith("FWHM ")
    assert "sky " in reasons[BRIGHT]
    assert "sigma above the" in reasons[BRIGHT]
    jump = float(reasons[LOST].partition("jump ")[2].split()[0])
    assert jump == pytest.approx(OFFSET, abs=3.0)


def test_what_is_dropped_makes_no_light_curve_and_stays_in_the_table(folder: Path, simulated: Simulated) -> None:
    results = Results(folder / "run")
    bad = simulated.names(CLOUD, BLUR, BRIGHT, LOST)
    good = simulated.names(*range(COUNT)) - bad
    assert set(results.photometry["frame"]) == good
    assert all(set(curve["frame"]) == good for curve in results.curves)
    frames = results.frames
    assert np.isfinite(frames["fwhm"][[name in bad for name in frames["name"]]]).all()


def test_a_decision_by_hand_counts_in_the_next_run_and_replays(folder: Path, simulated: Simulated, reduce) -> None:
    (cloudy,), (fine,) = simulated.names(CLOUD), simulated.names(0)
    before = sorted((folder / "run" / "products").rglob("*.product"))
    states = {path: path.stat().st_mtime_ns for path in before}
    path = folder / "overrides.toml"
    try:
        write_override(path, Override(cloudy, "keep", "the dip is there", "C. Herschel"))
        write_override(path, Override(fine, "drop", "satellite", "C. Herschel"))
        for _ in range(2):
            done = reduce(folder / "night.toml", simulated.raw, folder / "run")
            assert done.code == 0, done.text
            results = Results(folder / "run")
            dropped = fates(results)
            assert set(dropped) == simulated.names(0, BLUR, BRIGHT, LOST)
            assert dropped[fine] == ("select overrides", "dropped by hand (C. Herschel): satellite")
            (kept,) = [row for row in results.frames if row["name"] == cloudy]
            assert kept["fate"] == "used"
            assert kept["reason"].startswith("kept by hand (C. Herschel): the dip is there, although quality says: ")
            assert cloudy in set(results.photometry["frame"])
    finally:
        path.unlink(missing_ok=True)
    assert all(path.stat().st_mtime_ns == state for path, state in states.items()), "frames were reduced again"


def test_headers_times_and_places_are_known_before_any_pixel_is_read(
    simulated: Simulated, command, reduce, tmp_path: Path
) -> None:
    frames = simulated.truth.frames
    last = sorted(f.mid for f in frames if f.kind == "science")[-3]
    calibration, _, _ = simulated.recipe.partition("[background]")
    text = calibration + HEADERS.format(before=mjd_to_iso(last + 1e-6))
    (tmp_path / "night.toml").write_text(text, encoding="utf-8")
    planned = command("plan", tmp_path / "night.toml", simulated.raw)
    assert planned.code == 0, planned.text
    assert "it is number 1 of 12 in its series; the first 1 are skipped" in planned.text
    assert "2 masters, 9 science frames" in planned.text
    done = reduce(tmp_path / "night.toml", simulated.raw, tmp_path / "run")
    assert done.code == 0, done.text
    table = Results(tmp_path / "run").frames
    dropped = [(str(r["kind"]), str(r["stage"])) for r in table if r["fate"] == "dropped"]
    assert sorted(dropped) == [
        ("bias", "select sequence"),
        ("flat", "select best"),
        ("science", "select sequence"),
        ("science", "select time"),
        ("science", "select time"),
    ]


def test_a_recipe_with_conditions_that_cannot_be_is_refused_with_the_line(
    simulated: Simulated, command, tmp_path: Path
):
    wrong = '[[select]]\nuse = "header"\nkeep = { airmas = "<= 2" }\n[[select]]\nuse = "overrides"\n'
    (tmp_path / "night.toml").write_text(wrong + simulated.recipe, encoding="utf-8")
    (tmp_path / "overrides.toml").write_text('[[override]]\nframe = "x"\n')
    done = command("check", tmp_path / "night.toml")
    assert done.code == 2
    said = " ".join(done.text.split())
    assert "night.toml:3" in said
    assert "frames have no 'airmas'; did you mean 'airmass'?" in said
    assert "entry 1 (line 1): decision is missing: 'drop' or 'keep'" in said


class Probe(Selector, name="probe"):
    """Keep all frames, and remember what was told of them."""

    judges_results = True
    told: ClassVar[dict[str, dict[str, float]]] = {}

    def select(self, frames, measured):
        """Keep all frames."""
        self.told.update({name: dict(numbers) for name, numbers in measured.items()})
        return Selection(frames)


def test_a_selector_is_told_which_frames_share_a_reference(simulated: Simulated, tmp_path: Path) -> None:
    """Two pointings of one target are two fields; shifts and fluxes of one mean nothing in the other."""
    raw = tmp_path / "raw"
    shutil.copytree(simulated.raw, raw)
    for row, exposure in enumerate(simulated.truth.exposures):
        path = raw / Path(exposure.frame.path).name
        if row >= 4:
            path.unlink()
        elif row >= 2:
            fits.setval(path, "RA", value="01:00:00.0")
            fits.setval(path, "TELRA", value="01:00:00.0")
    recipe = Recipe.parse(simulated.recipe.replace('"processes"', '"serial"'), tmp_path / "night.toml")
    outcome = run(replace(recipe, selectors=[Probe()]), raw, tmp_path / "run")
    assert outcome.counts == {"used": 10}
    names = [exposure.frame.name for exposure in simulated.truth.exposures[:4]]
    assert [Probe.told[name]["field"] for name in names] == [0, 0, 1, 1]
    assert {"fwhm", "star_flux", "dx", "align_rms", "matched", "sky", "sky_rms", "sources"} <= Probe.told[
        names[0]
    ].keys()
