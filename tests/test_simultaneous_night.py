"""OPTICAM's three cameras at once: one command, one report, a star that changes later in red light than in blue."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from albireo import Registry, Results, Section, Transform
from albireo.testing import Eye, Night, Observation, Sine, simulate_observation

pytest.importorskip("albireo_opticam")
timing = pytest.importorskip("albireo_timing")

BANDS = {"g": "C1", "r": "C2", "i": "C3"}
EXPOSURES, EXPTIME, OVERHEAD = 40, 20.0, 5.0
CADENCE = EXPTIME + OVERHEAD
LAG = {"g": 0.0, "r": CADENCE, "i": 2.0 * CADENCE}
"""How much later than in g the target changes, in s."""

TARGET = 3
BINNING = 4
"""Pixels of a side that are read as one: frames have 512 x 512."""

RECIPE = """
[recipe]
title = "Three eyes, one night"
[instrument]
use = "opticam"
gain = { C1 = 0.30, C2 = 0.30, C3 = 0.30 }
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "pedestal"
level = 100
[[corrections]]
use = "gain"
[[corrections]]
use = "dark-current"
[[corrections]]
use = "flat"
[[corrections]]
use = "hot"
[background]
use = "mesh"
[finding]
use = "segments"
[alignment]
use = "patterns"
[[photometry]]
use = "aperture"
radius = [3.5, 5]
annulus = [9, 14]
[[photometry]]
use = "optimal"
annulus = [9, 14]
[[curves]]
use = "differential"
[[reports]]
use = "html"
[[reports]]
use = "timing"
max_lag = 150
[executor]
use = "processes"
"""


def flicker(hours: float) -> float:
    """Brightness of the target: two waves whose periods have no common measure."""
    return Sine(0.12, 0.137)(hours) * Sine(0.06, 0.061, 0.3)(hours)


def binned(eye: Eye) -> Eye:
    """Read twice as many pixels of a side as one as the example does, which has 2 x 2."""
    rows, columns = (size // 2 for size in eye.example.shape)
    (amplifier,) = eye.example.amplifiers
    (band,) = (band for band, detector in BANDS.items() if detector == eye.example.detector)
    example = eye.example.replace(
        filter=band,
        shape=(rows, columns),
        scale=2.0 * eye.example.scale,
        dark_current=4.0 * eye.example.dark_current,
        amplifiers=(replace(amplifier, data=Section(0, rows, 0, columns), read_noise=2.0 * amplifier.read_noise),),
        setup=tuple((key, f"{BINNING}x{BINNING}" if key == "binning" else text) for key, text in eye.example.setup),
    )
    # Pixel (0, 0) holds the old pixels 0 and 1: its middle lies at 0.5.
    view = Transform.similarity(-0.25, -0.25, scale=0.5) @ eye.view
    return replace(eye, example=example, view=view, lag=LAG[band])


@dataclass(frozen=True)
class Triple:
    """The run folder, and the truth about what was put in."""

    folder: Path
    truth: Observation

    @cached_property
    def results(self) -> Results:
        return Results(self.folder / "run")

    def curve(self, band: str) -> Table:
        (curve,) = (c for c in self.results.curves if (c.meta["OBJECT"], c.meta["FILTER"]) == ("V1", band))
        return curve


@pytest.fixture(scope="module")
def triple(albireo, tmp_path_factory: pytest.TempPathFactory) -> Triple:
    folder = tmp_path_factory.mktemp("triple")
    camera = Registry.discover().get("instrument", "opticam").cls()
    own = camera.simulation()
    night = Night(
        science=EXPOSURES,
        bias=0,
        flat=5,
        exptime=EXPTIME,
        overhead=OVERHEAD,
        fwhm=Sine(0.1, 0.3, level=1.9),
        drift=(40.0, -25.0),
        jitter=0.3,
        sky=12.0,
        transparency=lambda hours: 0.6 if 0.12 < hours < 0.14 else 1.0,
        flat_level=0.5,
    )
    simulation = replace(own, eyes=tuple(binned(eye) for eye in own.eyes), night=night)
    scene = simulation.field(40, 4e3, 1.2e2, target=TARGET, variables={TARGET: flicker}, seed=12)
    truth = simulate_observation(camera, folder / "raw", simulation, scene, night, seed=12)
    first = next(exposure for exposure in truth if exposure.frame.filter == "r")
    (folder / "night.toml").write_text(
        f'{RECIPE}[[targets]]\nname = "V1"\nx = {first.x[TARGET]:.2f}\ny = {first.y[TARGET]:.2f}\n'
        f'frame = "{first.frame.name}"\nra = 292.68\ndec = 27.96\n'
    )
    done = albireo("run", folder / "night.toml", folder / "raw", "--out", folder / "run")
    assert done.code == 0, done.text
    return Triple(folder, truth)


def test_all_frames_of_all_cameras_are_used(triple: Triple) -> None:
    assert triple.results.summary["counts"] == {"used": 3 * (EXPOSURES + 5)}
    frames = triple.results.frames
    science = frames[frames["kind"] == "science"]
    assert len(set(science["exposure"])) == EXPOSURES
    assert {(row["filter"], row["detector"]) for row in science} == set(BANDS.items())


def test_a_star_is_the_same_number_in_all_bands(triple: Triple) -> None:
    truths = {truth.exposures[0].frame.detector: truth for truth in triple.truth.truths}
    numbers: dict[int, set[int]] = {}
    for field in triple.results.fields:
        truth = truths[field.detector]
        exposure = truth[field.reference]
        for row in field.read_catalogue():
            distance = np.hypot(exposure.x - row["x"], exposure.y - row["y"])
            if distance.min() < 0.5:
                numbers.setdefault(int(distance.argmin()), set()).add(int(row["id"]))
    assert len(numbers) > 25
    assert all(len(found) == 1 for found in numbers.values())
    assert len(set.union(*numbers.values())) == len(numbers)
    assert {triple.curve(band).meta["SOURCE"] for band in BANDS} == numbers[TARGET]


def test_each_band_shows_the_star_as_it_was(triple: Triple) -> None:
    for truth in triple.truth.truths:
        band = truth.exposures[0].frame.filter
        curve = triple.curve(band)
        true = np.array([truth[frame].relative[TARGET] for frame in curve["frame"]])
        ratio = curve["flux"] / true
        pull = (ratio / np.median(ratio) - 1.0) / (curve["flux_err"] / curve["flux"])
        print(band, np.std(pull), np.median(curve["flux_err"]))
        assert len(curve) == EXPOSURES
        assert np.std(pull) == pytest.approx(1.0, abs=4.0 / np.sqrt(2 * EXPOSURES))


def test_bands_stand_side_by_side_on_one_axis_of_time(triple: Triple) -> None:
    (table,) = triple.results.bands
    assert len(table) == EXPOSURES
    assert {band: facts["DETECTOR"] for band, facts in table.meta["BANDS"].items()} == BANDS
    for band in "ri":
        assert np.abs(table[f"time_{band}"] - table["time_g"]).max() * 86400.0 < 1e-3
    assert np.diff(table["time_g"]) * 86400.0 == pytest.approx(np.full(EXPOSURES - 1, CADENCE), abs=0.01)


def test_one_report_shows_all_bands(triple: Triple) -> None:
    text = (triple.folder / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert f"{EXPOSURES} exposures; complete in all 3 detectors: {EXPOSURES}." in text
    assert "flux over its median, all bands at once" in text
    for band, detector in BANDS.items():
        assert re.search(rf"{detector}.{{0,40}}\b{band}\b", text)


@pytest.mark.parametrize(("one", "other"), [("g", "r"), ("g", "i"), ("r", "i")])
def test_the_lag_between_bands_is_found(triple: Triple, one: str, other: str) -> None:
    series = [
        [
            np.asarray(triple.curve(band)[name]) * unit
            for name, unit in (("time", 86400.0), ("flux", 1), ("flux_err", 1))
        ]
        for band in (one, other)
    ]
    found = timing.time_lag(*series[0], *series[1], max_lag=150.0)
    print(one, other, found.lag, found.error, found.peak)
    assert found.error < 0.5 * CADENCE
    assert found.lag == pytest.approx(LAG[other] - LAG[one], abs=3.0 * found.error)
    assert found.peak > 0.8


def test_the_report_on_time_series_says_the_same(triple: Triple) -> None:
    (path,) = (triple.folder / "run" / "report" / "timing").glob("V1_g_i_lag.ecsv")
    facts = Table.read(path, format="ascii.ecsv").meta
    assert facts["BANDS"] == ["g", "i"]
    assert "the second band comes later" in facts["SIGN"]
    error = 0.5 * (facts["LAG_HIGH"] - facts["LAG_LOW"])
    assert 0.0 < error < 0.5 * CADENCE
    assert facts["LAG"] == pytest.approx(LAG["i"], abs=3.0 * error)
    assert (triple.folder / "run" / "report" / "timing.html").is_file()
