"""What software for fast cameras got wrong, and this one must not; see `test_opticam_acceptance.py` for the list.

Whole runs over simulated raw files, with the network cut off and every reading of pixels counted.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from astropy.nddata import CCDData
from astropy.time import Time

from albireo import Frame, Recipe, RecipeError, Registry, Results, Section, Transform, load_definition, planes_of
from albireo.run import run
from albireo.testing import (
    Camera,
    Eye,
    Night,
    Observation,
    PlainCamera,
    Scene,
    Simulation,
    Truth,
    simulate_night,
    simulate_observation,
)
from albireo_timing import fold, phase_bin, power_spectrum

ROOT = Path(__file__).resolve().parents[1]

FWHM = 4.71
"""Of stars with a standard deviation of 2 pixels."""

SHARE = 1.0 - np.exp(-0.5 * FWHM**2 / (4.0 + 2.0 / 12.0))
"""Light within one FWHM; star and aperture are both blurred by a pixel."""

FLUXES = np.array([20000, 15000, 12000, 10000, 8000, 6000, 5000, 4000], dtype=float)
"""Electrons of an exposure."""

EXPTIME = 10.0
PLAIN = Camera(
    bias=100.0, bias_structure=0.0, overscan_drift=0.0, dark=0.0, hot=0.0, dead=0.0, vignetting=0.0, response=0.0
)
"""A detector that adds a pedestal and nothing else; cosmic rays as they come."""

RECIPE = """
[instrument]
use = "lmi"
[[corrections]]
use = "pedestal"
level = 100
[[corrections]]
use = "gain"
{corrections}
[background]
use = "mesh"
[finding]
use = "segments"
[psf]
use = "gaussian"
[alignment]
use = "patterns"
{more}
[executor]
use = "serial"
"""
APERTURE = '[[photometry]]\nuse = "aperture"\nradius = {radius}\nannulus = [{inner}, {outer}]\n'
ONE = APERTURE.format(radius=FWHM, inner=14, outer=24)
FOUR = ONE + '[[photometry]]\nuse = "optimal"\n[[photometry]]\nuse = "psf"\n[[photometry]]\nuse = "photutils-psf"\n'

READ: Counter[str] = Counter()
"""How often the pixels of each frame were read."""


class Wired(PlainCamera, name="wired"):
    """The plain camera with a wire in its reader."""

    def read(self, frame: Frame, region: Section | None = None) -> CCDData:
        READ[frame.name] += 1
        return super().read(frame, region)


def wired(side: int) -> tuple[Wired, Frame]:
    """A camera without overscan, and its frames: one electron per adu, next to no read noise."""
    camera = Wired(rows=side, columns=side, overscan=False)
    example = camera.example()
    (amplifier,) = example.amplifiers
    return camera, example.replace(amplifiers=(replace(amplifier, gain=1.0, read_noise=0.1),))


def reduced(camera: Any, raw: Path, out: Path, more: str, corrections: str = "") -> Results:
    recipe = Recipe.parse(RECIPE.format(more=more, corrections=corrections), "night.toml")
    outcome = run(replace(recipe, instrument=camera), raw, out)
    assert outcome.exit_code == 0, outcome.warnings
    return Results(out)


@pytest.fixture(scope="module")
def unplugged() -> Iterator[None]:
    """No network: who asks for it fails."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    with pytest.MonkeyPatch.context() as patch:
        for where, name in ((socket.socket, "connect"), (socket, "create_connection"), (socket, "getaddrinfo")):
            patch.setattr(where, name, refuse)
        yield


# --- drift --------------------------------------------------------------------------------------------------------

DRIFT = (1.0, 0.5)
"""Pixels from one frame to the next."""

FRAMES = 24


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Eight isolated stars that drift by 23 and 11.5 pixels."""
    folder = tmp_path_factory.mktemp("drift")
    camera, example = wired(512)
    x = np.array([90.2, 210.7, 330.4, 430.1, 120.6, 240.3, 310.8, 420.5])
    y = np.array([100.4, 150.9, 80.3, 190.6, 300.2, 380.7, 290.5, 410.1])
    night = Night(
        science=FRAMES,
        bias=0,
        flat=0,
        exptime=EXPTIME,
        overhead=0.0,
        fwhm=FWHM,
        beta=float("inf"),
        drift=(DRIFT[0] * 3600 / EXPTIME, DRIFT[1] * 3600 / EXPTIME),
        sky=100.0 / EXPTIME,
    )
    detector = replace(PLAIN, cosmic_rays=0.0)
    scene = Scene(x, y, FLUXES / EXPTIME)
    return folder / "raw", simulate_night(camera, folder / "raw", scene, night, detector, example=example, seed=21)


@pytest.fixture(scope="module")
def followed(unplugged, drifting, tmp_path_factory) -> tuple[Results, Counter[str]]:
    """The drifting night by four photometers, and how often each frame was read."""
    READ.clear()
    results = reduced(wired(512)[0], drifting[0], tmp_path_factory.mktemp("followed") / "run", FOUR)
    return results, READ.copy()


def by_star(results: Results, truth: Truth, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Flux and error of each frame (rows) and star (columns, brightest first)."""
    table = results.photometry
    rows = table[[str(name).startswith(method) for name in table["method"]]]
    frames = sorted(set(rows["frame"]))
    flux, error = (np.full((len(frames), len(truth.scene)), np.nan) for _ in range(2))
    for row in rows:
        exposure = truth[row["frame"]]
        star = int(np.argmin(np.hypot(exposure.x - row["x"], exposure.y - row["y"])))
        flux[frames.index(row["frame"]), star] = row["flux"]
        error[frames.index(row["frame"]), star] = row["flux_err"]
    return flux, error


@pytest.mark.parametrize(
    ("method", "share"), [("aperture", SHARE), ("optimal", 1.0), ("psf", 1.0), ("photutils-psf", 1.0)]
)
def test_oc_a01_and_d01_a_drifting_star_keeps_its_flux(followed, drifting, method: str, share: float) -> None:
    results, truth = followed[0], drifting[1]
    assert list(results.frames["fate"]) == ["used"] * FRAMES
    flux, error = by_star(results, truth, method)
    assert flux.shape == (FRAMES, len(FLUXES))
    assert np.isfinite(flux).all()
    expected = share * FLUXES
    assert (np.abs(flux[:, 0] - expected[0]) < 4.0 * error[:, 0]).all()
    # Half a per cent, of which the noise of the brightest star takes 0.17 and that of all together 0.1.
    assert flux[:, 0].mean() == pytest.approx(expected[0], rel=0.005)
    assert flux.sum() == pytest.approx(FRAMES * expected.sum(), rel=0.005)
    # Nothing is left of the drift: the first and the last third of the night agree.
    third = FRAMES // 3
    night = flux.sum(axis=1)
    noise = sqrt((error[:third] ** 2).sum() + (error[-third:] ** 2).sum())
    assert abs(night[:third].sum() - night[-third:].sum()) < 4.0 * noise
    assert np.std((flux - expected) / error) == pytest.approx(1.0, abs=0.1 + 2.0 / sqrt(2 * flux.size))


def test_oc_d17_photometers_share_one_pass_without_a_network(unplugged, followed, drifting, tmp_path: Path) -> None:
    results, four = followed
    assert set(map(str, results.photometry["method"])) >= {"optimal", "psf", "photutils-psf"}
    READ.clear()
    reduced(wired(512)[0], drifting[0], tmp_path / "one", ONE)
    assert four == READ, "three more photometers read nothing again"
    # A frame is read when it is measured; a few are looked at before, and the best of these becomes the reference.
    assert len(four) == FRAMES
    assert np.median(list(four.values())) == 1
    assert max(four.values()) <= 3
    assert np.isfinite(np.asarray(results.photometry["bjd_tdb"], dtype=float)).all()


# --- signal to noise ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def binned(unplugged, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Results]:
    """A night with flats and wide stars, reduced with pixels as they are and binned by 2 and 4."""
    folder = tmp_path_factory.mktemp("binned")
    camera, example = wired(320)
    scene = Scene.field((320, 320), 8, 2e4 / EXPTIME, 5e3 / EXPTIME, separation=70.0, margin=50.0, seed=12)
    night = Night(
        science=8, bias=0, flat=9, exptime=EXPTIME, fwhm=12.0, beta=float("inf"), jitter=0.3, sky=20.0 / EXPTIME
    )
    detector = replace(PLAIN, vignetting=0.3, response=0.02, cosmic_rays=0.0)
    simulate_night(camera, folder / "raw", scene, night, detector, example=example, seed=5)
    flat = '[[corrections]]\nuse = "flat"\n[[corrections]]\nuse = "rebin"\nfactor = {}\n'
    found = {}
    for factor in (1, 2, 4):
        more = APERTURE.format(radius=12.0 / factor, inner=32 // factor, outer=48 // factor)
        more += '[[masters]]\nuse = "combine"\nkind = "flat"\n[[curves]]\nuse = "differential"\n'
        found[factor] = reduced(camera, folder / "raw", folder / f"run{factor}", more, flat.format(factor))
    return found


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_oc_d06_signal_to_noise_is_that_of_the_measurement_at_every_rebin(binned, factor: int) -> None:
    results, whole = binned[factor], binned[1]
    stars, table = results.stars, results.photometry
    assert len(stars) == 8
    pulls = []
    for star in stars:
        rows = table[np.asarray(table["source"]) == star["source"]]
        flux, error = (np.asarray(rows[name], dtype=float) for name in ("flux", "flux_err"))
        assert star["snr"] == pytest.approx(np.median(flux / error), rel=0.02)
        pulls.append((flux - flux.mean()) / error)
    free = len(stars) * (len(flux) - 1)
    assert sqrt((np.array(pulls) ** 2).sum() / free) == pytest.approx(1.0, abs=4.0 / sqrt(2 * free))
    # The same photons in larger pixels: what differs is the rim of the aperture.
    assert np.sort(stars["snr"]) == pytest.approx(np.sort(whole.stars["snr"]), rel=0.08)
    assert np.min(stars["snr"]) > 20


# --- filters, binning, times --------------------------------------------------------------------------------------

SIDE = 256
TRIO = """
[instrument]
use = "opticam"
gain = 0.3
[[corrections]]
use = "pedestal"
level = 100
[[corrections]]
use = "gain"
[[corrections]]
use = "dark-current"
[background]
use = "mesh"
[finding]
use = "segments"
[alignment]
use = "patterns"
[[photometry]]
use = "aperture"
radius = 5
annulus = [10, 16]
[[curves]]
use = "differential"
[executor]
use = "serial"
"""


def opticam_night(folder: Path, eyes: dict[str, tuple[tuple[str, ...], int]], seed: int = 2) -> Observation:
    """Write three exposures through each filter: for each camera its filters, and how many raw pixels were binned."""
    camera: Any = Registry.discover().get("instrument", "opticam").cls()
    night = Night(bias=0, flat=0, exptime=5.0, overhead=1.0, fwhm=1.1, sky=10.0, jitter=0.2)
    seen = []
    for example in camera.examples():
        if example.detector not in eyes:
            continue
        filters, binning = eyes[example.detector]
        # The setup of a frame says how it was binned; scale, noise and dark current follow.
        (amplifier,) = example.amplifiers
        side = SIDE * 2 // binning
        ratio = binning / 2
        setup = tuple((k, f"{binning}x{binning}" if k == "binning" else v) for k, v in example.setup)
        frame = example.replace(
            shape=(side, side),
            setup=setup,
            scale=example.scale * ratio,
            dark_current=example.dark_current * ratio**2,
            exposure="",
            amplifiers=(
                replace(amplifier, data=Section(0, side, 0, side), gain=0.3, read_noise=amplifier.read_noise * ratio),
            ),
        )
        view = Transform.similarity(0.5 * (side - 1), 0.5 * (side - 1), scale=1.0 / frame.scale)
        detector = replace(PLAIN, dark=frame.dark_current, cosmic_rays=0.0)
        seen.append(Eye(frame, detector, view, filters=filters, calibrations=()))
    simulation = Simulation(tuple(seen), night=night)
    scene = simulation.field(14, 2e4, 2e3, separation=8.0, seed=seed)
    rounds = max(len(filters) for filters, _ in eyes.values())
    return simulate_observation(camera, folder, simulation, scene, replace(night, science=3 * rounds), seed=seed)


@pytest.mark.parametrize(
    "eyes",
    [
        {"C2": (("r",), 2), "C3": (("i",), 2)},
        {"C1": (("u'", "g'"), 2), "C2": (("r'",), 2)},
        {"C1": (("Halpha",), 2), "C2": (("open",), 2), "C3": (("z", "clear"), 4)},
    ],
    ids=["r and i", "u' g' r'", "others in two binnings"],
)
def test_oc_d09_any_filters_of_any_cameras_in_any_binning(eyes, tmp_path: Path) -> None:
    opticam_night(tmp_path / "raw", eyes)
    outcome = run(Recipe.parse(TRIO, "night.toml"), tmp_path / "raw", tmp_path / "run")
    assert outcome.exit_code == 0, outcome.warnings
    results = Results(tmp_path / "run")
    assert set(results.frames["fate"]) == {"used"}
    bands = {(camera, name) for camera, (filters, _) in eyes.items() for name in filters}
    assert {(row["detector"], row["filter"]) for row in results.frames} == bands
    assert {(str(row["detector"]), str(row["filter"])) for row in results.stars} == bands
    curves = {(curve.meta["DETECTOR"], curve.meta["FILTER"]) for curve in results.curves}
    assert curves == bands
    # Places and the noise of reading are those of the binning of each camera.
    for field in results.fields:
        binning = eyes[field.detector][1]
        assert field.read_image().shape == (SIDE * 2 // binning, SIDE * 2 // binning)
    for row in results.frames:
        assert f"binning={eyes[row['detector']][1]}x{eyes[row['detector']][1]}" in row["setup"]


def test_oc_d11_times_are_middles_and_placeholders_give_no_barycentric_ones(tmp_path: Path) -> None:
    told = opticam_night(tmp_path / "raw", {"C2": (("r",), 2)})
    first = told.truths[0].exposures[0]
    star = Path(first.frame.path).name
    target = f'[[targets]]\nname = "star"\nx = {first.x[0]:.2f}\ny = {first.y[0]:.2f}\nframe = "{star}"\n'
    found = {}
    for name, more in (("placeholders", ""), ("told", 'ra = "19:30:43.28"\ndec = "+27:57:34.8"\n')):
        outcome = run(Recipe.parse(TRIO + target + more, "night.toml"), tmp_path / "raw", tmp_path / name)
        assert outcome.exit_code == 0, outcome.warnings
        found[name] = Results(tmp_path / name)
    for results in found.values():
        for row in results.frames:
            start, mid = Time([row["start"], row["mid"]], scale="utc").mjd
            assert start == pytest.approx(told[row["name"]].frame.start, abs=1e-3 / 86400)
            assert (mid - start) * 86400 == pytest.approx(0.5 * row["exptime"], abs=2e-3)
            assert row["mjd_mid"] == pytest.approx(mid, abs=1e-3 / 86400)
    without, told_where = found["placeholders"].photometry, found["told"].photometry
    assert np.isnan(np.asarray(without["bjd_tdb"], dtype=float)).all()
    assert {curve.meta["TIMESYS"] for curve in found["placeholders"].curves} == {"JD_UTC"}
    assert any("give ra and dec" in warning for warning in found["placeholders"].summary["warnings"])
    # TDB is 69.2 s ahead of UTC, and the light of the barycentre up to 499 s early or late.
    delay = (np.asarray(told_where["bjd_tdb"], dtype=float) - 2400000.5 - np.asarray(told_where["mjd"])) * 86400
    assert (np.abs(delay - 69.2) < 499.0).all()
    assert {curve.meta["TIMESYS"] for curve in found["told"].curves} == {"BJD_TDB"}


# --- calibration --------------------------------------------------------------------------------------------------


def test_oc_d12_a_flat_before_the_pedestal_is_gone_is_refused() -> None:
    text = '[instrument]\nuse = "opticam"\n[[masters]]\nuse = "combine"\nkind = "flat"\n'
    flat, pedestal = '[[corrections]]\nuse = "flat"\n', '[[corrections]]\nuse = "pedestal"\nlevel = 100\n'
    for wrong in (flat, flat + pedestal):
        with pytest.raises(RecipeError, match="flat: it needs the electronic pedestal subtracted"):
            Recipe.parse(text + wrong, "night.toml")
    assert Recipe.parse(text + pedestal + flat, "night.toml").corrections


def definitions() -> list[Path]:
    """The tables of all cameras: those of the instruments and those of the examples."""
    return [*sorted(ROOT.glob("instruments/*/src/*/*.toml")), *sorted(ROOT.glob("docs/examples/*-camera.toml"))]


@pytest.mark.parametrize("path", [p for p in definitions() if p.name != "recipe.toml"], ids=lambda path: path.stem)
def test_oc_d14_the_description_of_a_camera_survives_writing_and_reading(path: Path, tmp_path: Path) -> None:
    before = load_definition(path)
    written = tmp_path / "camera.toml"
    written.write_text(tomli_w.dumps(before.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    assert load_definition(written) == before


def test_oc_d14_every_camera_can_be_made_and_its_options_survive() -> None:
    cameras: list[Any] = [entry.cls for entry in Registry.discover().entries("instrument")]
    for cls in cameras:
        if not any(option.is_required() for option in cls.model_fields.values()):
            for camera in (cls(), cls(gain=2.5)):
                assert cls.model_validate_json(camera.model_dump_json()) == camera


# --- alignment and stacks -----------------------------------------------------------------------------------------


def test_oc_d16_the_same_frames_give_the_same_stack_without_what_single_frames_show(tmp_path: Path) -> None:
    camera, example = wired(SIDE)
    scene = Scene.field((SIDE, SIDE), 12, 2e4 / EXPTIME, 3e3 / EXPTIME, separation=40.0, margin=25.0, seed=3)
    night = Night(science=8, bias=0, flat=0, exptime=EXPTIME, fwhm=FWHM, sky=10.0, jitter=4.0, rotation=0.3)
    truth = simulate_night(
        camera, tmp_path / "raw", scene, night, replace(PLAIN, cosmic_rays=30.0), example=example, seed=6
    )
    runs = [reduced(camera, tmp_path / "raw", tmp_path / n, ONE + '[[stacks]]\nuse = "stack"\n') for n in "ab"]
    assert {tuple(results.frames[name]) for results in runs for name in ("fate",)} == {("used",) * 8}
    for name in ("dx", "dy", "rotation", "scale"):
        assert list(runs[0].frames[name]) == list(runs[1].frames[name])
    (one,), (other,) = (results.stacks for results in runs)
    assert one.path.read_bytes() == other.path.read_bytes()
    planes = planes_of(one.read())
    assert planes["COVERAGE"].max() == 8 * EXPTIME
    assert planes["COVERAGE"].min() < 8 * EXPTIME, "frames that moved do not cover all of the reference"
    reference = next(e for e in truth if Path(e.frame.path).name == one.meta["REFFRAME"])
    struck = truth.detector.cosmic_rays(EXPTIME, reference.number) > 200.0  # twenty sigma of the sky
    middle = np.s_[30:-30, 30:-30]
    assert struck[middle].sum() > 50
    assert (planes["REJECTED"][middle][struck[middle]] > 0).mean() > 0.9


# --- time series --------------------------------------------------------------------------------------------------


def test_oc_d10_phase_bins_are_equally_wide_and_have_their_own_errors() -> None:
    rng = np.random.default_rng(8)
    n_bins, period, t0 = 8, 7.4074, 3.1
    # Three times as many points in the second half of the cycle.
    phase = np.concatenate([rng.uniform(0.0, 0.5, 2000), rng.uniform(0.5, 1.0, 6000)])
    time = t0 + period * (phase + rng.integers(0, 300, phase.size))
    flux = phase + rng.normal(0.0, 0.1, phase.size)
    binned = phase_bin(time, flux, np.full(phase.size, 0.1), period=period, t0=t0, n_bins=n_bins)
    assert binned.phase == pytest.approx((np.arange(n_bins) + 0.5) / n_bins)
    assert binned.n.tolist() == np.histogram(phase, n_bins, (0.0, 1.0))[0].tolist()
    assert binned.flux_err == pytest.approx(0.1 / np.sqrt(binned.n), rel=1e-6)
    # In a bin the flux rises by an eighth, with a scatter of 0.125 / sqrt(12) about its middle.
    spread = np.hypot(0.1, 0.125 / sqrt(12)) / np.sqrt(binned.n)
    assert (np.abs(binned.flux - binned.phase) < 4.0 * spread).all()
    moved = phase_bin(time, flux, np.full(phase.size, 0.1), period=period, t0=t0 + 0.25 * period, n_bins=n_bins)
    assert moved.flux == pytest.approx(np.roll(binned.flux, -2), abs=1e-9)
    assert fold([t0, t0 - 0.25 * period, t0 + 7.5 * period], period, t0) == pytest.approx([0.0, 0.75, 0.5])


def test_oc_d18_the_noise_of_a_power_spectrum_follows_from_the_errors_of_the_points() -> None:
    rng = np.random.default_rng(9)
    time, error = np.arange(4096) * 5.0, 0.013
    flux = 0.4 + rng.normal(0.0, error, time.size)  # a relative flux: no counts, no Poisson
    spectrum = power_spectrum(time, flux, np.full(time.size, error), segment=256 * 5.0)
    assert spectrum.noise == pytest.approx(2.0 * 5.0 * (error / 0.4) ** 2, rel=0.01)
    powers = 16 * spectrum.frequency.size
    assert spectrum.segments == 16
    assert spectrum.power.mean() == pytest.approx(spectrum.noise, rel=4.0 / sqrt(powers))
