"""A night as it goes: clouds, a meridian flip, drift, satellites, a broken file; the light curve is right all the same.

One recipe reduces it by the command line. What happened to each frame stands in the table of frames and in the report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from albireo import Flag, Registry, Results
from albireo.testing import Camera, Night, Scene, Transit, Truth, simulate_night

pytest.importorskip("albireo_alignment")
pytest.importorskip("albireo_detection")

SIZE = 400
FRAMES = 48
CADENCE = 70.0 / 3600.0
"""Hours from one exposure to the next."""

DRIFT = (250.0, -60.0)
"""Of the stars over the chip from the first frame to the last, in pixels."""

FLIP, BLIND, SOFT, BROKEN, STRUCK, CROSSED = 24, 30, 10, 37, 16, 42
"""Numbers of frames, from one: the first after the flip, the one behind a thick cloud, the one with twice the seeing,
the truncated file, and those with a satellite, which in the first of the two runs over the target."""

LOST = (BLIND, BROKEN)

METHODS = ("aperture-r4", "aperture-r6", "optimal")

TARGET, FILL = 4, 100
"""Which star has a planet, in order of brightness, and how many stars there are on the whole path of the field."""

TRANSIT = Transit(mid=0.46, duration=0.42, depth=0.03, ingress=0.08)

CAMERA = f"""
name = "dome"
kinds = [
    {{ kind = "bias", when = {{ IMAGETYP = "bias" }} }},
    {{ kind = "flat", when = {{ IMAGETYP = "flat" }} }},
    {{ kind = "science", when = {{ IMAGETYP = "light" }} }},
]
[frame]
filter = "FILTER"
target = "OBJECT"
exptime = "EXPTIME"
start = "DATE-OBS"
ra = "RA"
dec = "DEC"
gain = 1.5
read_noise = 5.0
saturation = 60000
[site]
longitude = -111.42
latitude = 34.74
height = 2361
[example]
NAXIS1 = {SIZE}
NAXIS2 = {SIZE}
IMAGETYP = "light"
FILTER = "r"
OBJECT = "WASP-0"
EXPTIME = 60.0
DATE-OBS = "2024-03-01T05:00:00.000"
RA = 132.8
DEC = 31.8
"""

RECIPE = """
[recipe]
title = "A difficult night"
[instrument]
use = "fits"
definition = "camera.toml"
[[masters]]
use = "combine"
kind = "bias"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "bias"
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[background]
use = "mesh"
[finding]
use = "segments"
[alignment]
use = "patterns"
[[photometry]]
use = "aperture"
radius = [4, 6]
annulus = [10, 16]
[[photometry]]
use = "optimal"
annulus = [10, 16]
[[curves]]
use = "differential"
[[curves]]
use = "clip"
[[reports]]
use = "html"
[executor]
use = "processes"
"""
STAR = """
[[targets]]
name = "{name}"
x = {x:.2f}
y = {y:.2f}
frame = "{frame}"
ra = 132.8
dec = 31.8
"""
NAME = "WASP-0"


def number_at(hours: float) -> int:
    """Number of the frame, from one, that is exposed at a time."""
    return int(hours / CADENCE) + 1


def transparency(hours: float) -> float:
    """Clouds: thin ones after a third of the night, thick ones later, and for one frame nothing but cloud."""
    number = number_at(hours)
    if number == BLIND:
        return 0.0
    if 14 <= number <= 18:
        return 0.7 - 0.1 * (number % 3)
    return {27: 0.6, 28: 0.25, 29: 0.05, 31: 0.1, 32: 0.4, 33: 0.7}.get(number, 1.0)


def stars() -> Scene:
    """Stars on the whole path of the field; the target lies where no frame loses it."""
    rng = np.random.default_rng(5)
    places = [(SIZE / 2 + 62.0, SIZE / 2 - 10.0)]
    while len(places) < FILL:
        place = rng.uniform(-130.0, SIZE + 200.0), rng.uniform(-100.0, SIZE + 60.0)
        if all(np.hypot(place[0] - x, place[1] - y) > 26.0 for x, y in places):
            places.append(place)
    flux = np.geomspace(1.4e4, 6e2, FILL)
    order = [*range(1, TARGET + 1), 0, *range(TARGET + 1, FILL)]
    x, y = np.array(places)[order].T
    return Scene(x, y, flux, {TARGET: TRANSIT})


def draw_trail(path: Path, x: float, y: float, angle: float, electrons: float = 3000.0) -> None:
    """Add the trail of a satellite to a raw file: a straight line across the whole image, as wide as a star.

    Parameters
    ----------
    path : Path
        Of the file, which is changed.
    x, y : float
        A pixel on the line.
    angle : float
        Of the line, in degrees counter-clockwise from +x.
    electrons : float
        In a pixel on the ridge.
    """
    with fits.open(path, mode="update") as hdus:
        counts = hdus[0].data.astype(np.float64)
        row, column = np.mgrid[: counts.shape[0], : counts.shape[1]]
        turn = np.radians(angle)
        distance = (column - x) * np.sin(turn) - (row - y) * np.cos(turn)
        counts += electrons / 1.5 * np.exp(-0.5 * (distance / 1.5) ** 2)
        hdus[0].data = np.rint(counts).clip(0, 65535).astype(np.uint16)


def always_inside(truth: Truth, margin: float = 20.0) -> list[int]:
    """Give the stars that no frame loses, brightest first."""
    places = np.array([(exposure.x, exposure.y) for exposure in truth.exposures])
    inside = ((places > margin) & (places < SIZE - 1 - margin)).all(axis=(0, 1))
    return np.flatnonzero(inside).tolist()


def targets(truth: Truth, names: dict[int, str]) -> str:
    """Point at stars by their pixels in the first frame."""
    first = truth.exposures[0]
    file = Path(first.frame.path).name
    return "".join(STAR.format(name=name, x=first.x[s], y=first.y[s], frame=file) for s, name in names.items())


@dataclass(frozen=True)
class Reduced:
    """The run folder, and the truth about what was put in."""

    folder: Path
    truth: Truth
    struck: int
    """The star, not a target, that the second satellite ran over."""
    checks: list[int]
    """Constant stars that the recipe names, so that they are no comparison stars and have curves of their own."""

    @cached_property
    def results(self) -> Results:
        return Results(self.folder / "run")

    def row(self, number: int) -> Any:
        """What the table of frames says of a science frame."""
        return next(row for row in self.results.frames if row["name"] == name(number))

    def curve(self, star: str, method: str) -> Table:
        """One light curve, read as anybody would; with the true hours of the middle of its exposures."""
        table = Table.read(self.folder / "run" / "curves" / f"{star}_r_{method}.ecsv", format="ascii.ecsv")
        table["hours"] = [self.truth[frame].hours for frame in table["frame"]]
        return table

    def clipped(self, method: str) -> dict[int, list[str]]:
        """Frames in which the run left out a point of a star, by the star's number in the catalogue."""
        (record,) = (e for e in self.results.summary["ensembles"] if e["label"] == method)
        return {int(star): frames for star, frames in record["steps"]["clip"]["stars"].items()}

    def number_of(self, star: int) -> int:
        """Number in the catalogue of a star of the scene."""
        (field,) = self.results.fields
        catalogue, reference = field.read_catalogue(), self.truth[field.reference]
        distance = np.hypot(catalogue["x"] - reference.x[star], catalogue["y"] - reference.y[star])
        assert distance.min() < 0.5
        return int(catalogue["id"][np.argmin(distance)])


def name(number: int) -> str:
    """Name of a science frame in the run."""
    return f"science-{number:04d}.fits"


def observe(folder: Path) -> Reduced:
    """Write the raw frames and the recipe."""
    (folder / "camera.toml").write_text(CAMERA)
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(folder / "camera.toml"))
    length = (FRAMES - 1) * CADENCE
    night = Night(
        science=FRAMES,
        bias=5,
        flat=5,
        exptime=60.0,
        overhead=10.0,
        fwhm=lambda hours: 7.0 if number_at(hours) == SOFT else 3.5 + 0.4 * hours,
        drift=(DRIFT[0] / length, DRIFT[1] / length),
        # Where the first frame points; the flip turns the field about the middle of the scene.
        dithers=((-62.0, 15.0),),
        jitter=0.8,
        rotation=lambda hours: 0.1 if number_at(hours) < FLIP else 180.3,
        sky=lambda hours: 4.0 + 20.0 * (1.0 - transparency(hours)),
        transparency=transparency,
    )
    truth = simulate_night(camera, folder / "raw", stars(), night, Camera(cosmic_rays=0.0, hot=0.0), seed=5)
    inside = [star for star in always_inside(truth) if star != TARGET]
    struck, checks = inside[0], inside[1:7]
    one, other = truth.exposures[STRUCK - 1], truth.exposures[CROSSED - 1]
    draw_trail(Path(one.frame.path), one.x[TARGET] + 1.0, one.y[TARGET], 35.0)
    draw_trail(Path(other.frame.path), other.x[struck] - 1.0, other.y[struck], -20.0)
    broken = Path(truth.exposures[BROKEN - 1].frame.path)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    named = {TARGET: NAME} | {star: f"check{n}" for n, star in enumerate(checks, 1)}
    (folder / "night.toml").write_text(RECIPE + targets(truth, named))
    return Reduced(folder, truth, struck, checks)


@pytest.fixture(scope="module")
def reduced(albireo, tmp_path_factory: pytest.TempPathFactory) -> Reduced:
    night = observe(tmp_path_factory.mktemp("difficult"))
    done = albireo("run", night.folder / "night.toml", night.folder / "raw", "--out", night.folder / "run")
    assert done.code == 1, done.text  # two frames could not be used
    for number in (BLIND, BROKEN):
        assert f"{name(number)} failed" in done.err
    return night


# --- what happened to each frame --------------------------------------------------------------------------------------


def test_all_frames_but_two_are_used(reduced: Reduced) -> None:
    frames = reduced.results.frames
    # Of a truncated file not even the kind is known.
    science = frames[[name.startswith("science") for name in frames["name"]]]
    assert len(science) == FRAMES
    lost = {row["name"]: row["stage"] for row in science if row["fate"] != "used"}
    assert lost == {name(BLIND): "alignment", name(BROKEN): "index"}
    assert reduced.results.summary["counts"] == {"used": FRAMES - 2 + 10, "failed": 2}


def test_the_reason_of_each_lost_frame_is_said(reduced: Reduced) -> None:
    assert "no star was found on this frame" in reduced.row(BLIND)["reason"]
    assert "the file is truncated" in reduced.row(BROKEN)["reason"]
    assert "copy it again" in reduced.row(BROKEN)["reason"]
    text = re.sub(r"<[^>]*>|\s+", " ", (reduced.folder / "run/report/index.html").read_text(encoding="utf-8"))
    for number in (BLIND, BROKEN):
        row = reduced.row(number)
        assert row["reason"] in unescape(text)
        assert re.search(rf"{name(number)}.{{0,200}}failed", text)


def test_frames_are_followed_through_the_flip_and_the_drift(reduced: Reduced) -> None:
    reference = reduced.truth[reduced.results.fields[0].reference]
    for exposure in reduced.truth:
        row = reduced.results.frames[reduced.results.frames["name"] == exposure.frame.name][0]
        if row["fate"] != "used":
            continue
        expected = exposure.transform @ reference.transform.inverse()
        dx, dy = expected(0.0, 0.0)
        # The corner lies up to 300 pixels from the stars: an error of the angle moves it more than them.
        cloudy = 4.0 if exposure.transparency < 0.2 else 1.0
        assert row["dx"] == pytest.approx(float(dx), abs=0.1 * cloudy)
        assert row["dy"] == pytest.approx(float(dy), abs=0.1 * cloudy)
        assert (row["rotation"] - expected.rotation + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.01 * cloudy)
    turned = [abs(reduced.row(number)["rotation"]) > 90 for number in range(1, FRAMES + 1) if number not in LOST]
    assert sum(turned) in (FLIP - 1, FRAMES - FLIP + 1 - len(LOST))


def test_clouds_and_seeing_stand_in_the_table_of_frames(reduced: Reduced) -> None:
    assert reduced.row(SOFT)["fwhm"] == pytest.approx(2.0 * reduced.row(SOFT - 1)["fwhm"], rel=0.1)
    (record,) = (e for e in reduced.results.summary["ensembles"] if e["label"] == METHODS[0])
    light = dict(zip(record["frames"], record["steps"]["differential"]["transparency"], strict=True))
    error = dict(zip(record["frames"], record["steps"]["differential"]["transparency_err"], strict=True))
    # An aperture of a fixed radius loses light as the seeing gets worse: compare with neighbours in time.
    for number in (*range(14, 19), 28, 29, 31, 32):
        clear = 0.5 * (light[name(13)] + light[name(20)]) if number < FLIP else light[name(34)]
        true = transparency((number - 0.5) * CADENCE)
        assert light[name(number)] / clear == pytest.approx(true, abs=4.0 * error[name(number)] / clear + 0.01 * true)


# --- the light curve --------------------------------------------------------------------------------------------------


def depth_of(curve: Table) -> tuple[float, float, float]:
    """Fit level and depth, with time and shape of the transit known: depth, its error, and the reduced chi square."""
    good = np.isfinite(curve["flux"])
    time, flux, error = (np.asarray(curve[column])[good] for column in ("hours", "flux", "flux_err"))
    inside = (1.0 - np.array([TRANSIT(t) for t in time])) / TRANSIT.depth
    design = np.stack([np.ones_like(time), -inside], axis=1) / error[:, None]
    (level, drop), squares, *_ = np.linalg.lstsq(design, flux / error, rcond=None)
    covariance = np.linalg.inv(design.T @ design)
    return drop / level, float(np.sqrt(covariance[1, 1])) / level, float(squares[0]) / (len(time) - 2)


@pytest.mark.parametrize("method", METHODS)
def test_the_transit_is_as_deep_as_it_was(reduced: Reduced, method: str) -> None:
    curve = reduced.curve(NAME, method)
    depth, error, chi2 = depth_of(curve)
    print(method, depth, error, chi2)
    assert len(curve) == FRAMES - 2
    assert error < 0.001
    assert abs(depth - TRANSIT.depth) < 3.0 * error
    assert chi2 == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / len(curve)))


@pytest.mark.parametrize("method", METHODS)
def test_error_bars_of_constant_stars_are_their_scatter(reduced: Reduced, method: str) -> None:
    pulls = []
    for star in range(1, len(reduced.checks) + 1):
        curve = reduced.curve(f"check{star}", method)
        good = np.isfinite(curve["flux"]) & (curve["flags"] == 0)
        flux, error = np.asarray(curve["flux"])[good], np.asarray(curve["flux_err"])[good]
        mean = np.sum(flux / error**2) / np.sum(1.0 / error**2)
        # The mean takes one point of each curve away.
        pulls.extend((flux - mean) / error * np.sqrt(len(flux) / (len(flux) - 1)))
    print(method, len(pulls), np.std(pulls))
    assert len(pulls) > 0.75 * len(reduced.checks) * FRAMES
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("method", METHODS)
def test_points_with_a_satellite_are_left_out_and_listed(reduced: Reduced, method: str) -> None:
    clipped = reduced.clipped(method)
    assert name(STRUCK) in clipped[reduced.number_of(TARGET)]
    assert name(CROSSED) in clipped[reduced.number_of(reduced.struck)]
    (point,) = (row for row in reduced.curve(NAME, method) if row["frame"] == name(STRUCK))
    assert np.isnan(point["flux"])
    assert point["flags"] & Flag.OUTLIER
    assert sum(map(len, clipped.values())) < 0.02 * FRAMES * len(reduced.results.fields[0].read_catalogue())


@pytest.mark.parametrize("method", ["aperture-r4", "optimal"])  # a dead pixel takes the star out of the third
def test_a_satellite_over_a_comparison_star_moves_no_other(reduced: Reduced, method: str) -> None:
    (record,) = (e for e in reduced.results.summary["ensembles"] if e["label"] == method)
    assert str(reduced.number_of(reduced.struck)) in record["comparisons"]
    curve = reduced.curve(NAME, method)
    near = np.array([abs(int(frame[8:12]) - CROSSED) <= 4 for frame in curve["frame"]])
    (point,) = curve[curve["frame"] == name(CROSSED)]
    assert abs(point["flux"] - np.nanmedian(curve["flux"][near])) < 4.0 * point["flux_err"]


# --- once more --------------------------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(reduced: Reduced, albireo, tables) -> None:
    before = tables(reduced.folder / "run")
    done = albireo("run", reduced.folder / "night.toml", reduced.folder / "raw", "--out", reduced.folder / "run")
    assert done.code == 1, done.text
    assert "nothing had changed" in done.out
    assert tables(reduced.folder / "run") == before
