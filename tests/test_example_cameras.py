"""Definitions of the worked examples: four amplifiers in four extensions, and frames sorted into folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from albireo import DeclarativeInstrument, Registry, Results
from albireo.cli import main
from albireo.jobs import calibrate
from albireo.testing import Night, Scene, simulate_night

ROOT = Path(__file__).resolve().parents[1]
SINISTRO = ROOT.parent / "shared" / "data" / "lco_mef" / "mef_raw_test_frame.fits"
real = pytest.mark.skipif(not SINISTRO.exists(), reason="the real frames of lco_mef are not here")


def camera(name: str) -> DeclarativeInstrument:
    cls = Registry.discover().get("instrument", "fits").cls
    stage = cls.model_validate({"definition": str(ROOT / "docs" / "examples" / f"{name}-camera.toml")})
    assert isinstance(stage, DeclarativeInstrument)
    return stage


# --- lco_mef ----------------------------------------------------------------------------------------------------------


@real
def test_a_frame_of_four_extensions_is_one_mosaic():
    stage = camera("sinistro")
    (frame,) = stage.frames(SINISTRO)
    assert (frame.kind, frame.filter, frame.target, frame.exptime) == ("science", "w", "2021 SO2", 94.975)
    assert [a.gain for a in frame.amplifiers] == [6.42, 6.23, 6.27, 6.26], "not the primary header's 0.0"
    assert {a.read_noise for a in frame.amplifiers} == {7.0}
    assert frame.saturation == 40000.0
    picture = stage.read(frame)
    lit = picture.data[:1024, :1024]
    assert np.isfinite(lit).all(), "1024 x 1024 pixels without gaps"
    assert max(a.data.y1 for a in frame.amplifiers) == max(a.data.x1 for a in frame.amplifiers) == 1024
    dark = [float(np.median(picture.data[a.overscan.slices])) for a in frame.amplifiers if a.overscan is not None]
    assert dark == pytest.approx([2522, 2560, 2553, 2582], abs=1.0)
    light = [float(np.median(picture.data[a.data.slices])) for a in frame.amplifiers]
    assert light == pytest.approx([2821, 2864, 2856, 2883], abs=1.0)


@real
def test_the_sky_runs_on_across_the_amplifiers_after_overscan_and_gain():
    stage = camera("sinistro")
    (frame,) = stage.frames(SINISTRO)
    registry = Registry.discover()
    steps = [registry.get("correction", name).cls.model_validate({}) for name in ("overscan", "trim", "gain")]
    picture = calibrate(stage.read(frame), frame, steps, {})  # type: ignore[arg-type]
    assert picture.shape == (1024, 1024)
    levels = [float(np.median(picture.data[a.data.slices])) for a in frame.amplifiers]
    # About 300 adu at 6.3 e-/adu; no flat is at hand, and amplifiers differ by a few per cent in their counts.
    assert levels == pytest.approx([1900.0] * 4, rel=0.04)
    # Where two amplifiers meet, the sky is the same to the noise of a strip of 40 x 512 pixels and a flat's slope.
    middle = 512
    left, right = (
        np.median(picture.data[:, span]) for span in (slice(middle - 20, middle), slice(middle, middle + 20))
    )
    assert left == pytest.approx(right, rel=0.03)


# --- folders ----------------------------------------------------------------------------------------------------------

RECIPE = f"""
[recipe]
title = "DARK, FLAT, ORIGINAL"
[data]
path = "night"
[instrument]
use = "fits"
definition = "{ROOT / "docs" / "examples" / "folders-camera.toml"}"
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
radius = [5]
[[curves]]
use = "differential"
[executor]
use = "serial"
"""


def test_a_night_sorted_into_folders_is_reduced_without_a_word_in_its_headers(tmp_path):
    stage = camera("folders")
    scene = Scene.field((512, 512), 40, 2e4, 5e2, separation=30.0, margin=40.0, seed=3)
    night = Night(science=4, bias=5, dark=5, flat=5, exptime=2.0, sky=20.0, fwhm=3.5)
    truth = simulate_night(stage, tmp_path / "made", scene, night, seed=5)
    for made, folder in (("bias", "BIAS"), ("dark", "DARK"), ("flat", "FLAT"), ("original", "ORIGINAL")):
        (tmp_path / "night" / folder).mkdir(parents=True)
        for number, path in enumerate(sorted((tmp_path / "made" / "night" / made).iterdir())):
            # Names that say nothing, so that only the folder does.
            shutil.copy(path, tmp_path / "night" / folder / f"{folder[0]}{number:03d}.fits")
    recipe = tmp_path / "folders.toml"
    recipe.write_text(RECIPE)
    assert main(["run", str(recipe), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    results = Results(tmp_path / "run")
    frames = results.frames
    assert sorted(set(frames["kind"])) == ["bias", "dark", "flat", "science"]
    assert (frames["fate"] == "used").all()
    table = results.photometry
    exposure = truth.exposures[0]
    rows = table[table["frame"] == "ORIGINAL/O000.fits"]
    distance = np.hypot(*(np.asarray(rows[c])[:, None] - getattr(exposure, c)[None, :] for c in ("x", "y")))
    star = np.argmin(distance, axis=1)
    good = (distance.min(axis=1) < 2) & (np.asarray(rows["flags"]) == 0)
    true, flux, error = (
        exposure.electrons[star[good]],
        np.asarray(rows["flux"])[good],
        np.asarray(rows["flux_err"])[good],
    )
    assert good.sum() >= 25
    share = np.sum(flux * true / error**2) / np.sum(true**2 / error**2)
    assert 0.85 < share < 1.0, "the share of the light within 5 pixels"
    pull = (flux - share * true) / error
    assert abs(np.mean(pull)) < 4 / np.sqrt(good.sum())
    assert 0.6 < np.std(pull) < 1.5
