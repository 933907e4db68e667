"""Whole runs with each aligner: every frame lies where the simulated telescope pointed, or is left out with the reason.

The camera is turned round after half of the night, so that aligners that follow shifts alone keep half of the frames.
Celestial coordinates are written into the raw files after the simulation, as a plate solution would.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from albireo import Registry, Results, Transform, tangent_wcs
from albireo.testing import Night, Scene, Truth, simulate_night

pytest.importorskip("albireo_alignment")

SHAPE = 240, 260
FRAMES = 6

CAMERA = f"""
name = "backyard"
kinds = [
    {{ kind = "bias", when = {{ IMAGETYP = "Bias Frame" }} }},
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
read_noise = {{ value = 5.0, source = "measured" }}
saturation = {{ value = 60000, source = "measured" }}
[example]
NAXIS1 = {SHAPE[1]}
NAXIS2 = {SHAPE[0]}
INSTRUME = "Backyard"
IMAGETYP = "Light Frame"
FILTER = "R"
OBJECT = "M 67"
EXPTIME = 60.0
DATE-OBS = "2024-03-01T20:00:00.000"
EGAIN = 1.3
"""

RECIPE = """
[instrument]
use = "fits"
definition = "camera.toml"
[[masters]]
use = "combine"
kind = "bias"
[[corrections]]
use = "bias"
[[corrections]]
use = "gain"
[background]
use = "mesh"
[finding]
use = "sep"
[alignment]
{alignment}
[[photometry]]
use = "aperture"
radius = 5
annulus = [9, 14]
[executor]
use = "serial"
"""


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> tuple[Path, Truth]:
    """Six frames that drift by half of the field in all, the last three turned by 180 degrees."""
    folder = tmp_path_factory.mktemp("flip")
    (folder / "camera.toml").write_text(CAMERA)
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(folder / "camera.toml"))
    scene = Scene.field((420, 460), 70, 1e4, 4e2, separation=18.0, margin=10.0, seed=8)
    scene = Scene(scene.x - 100.0, scene.y - 90.0, scene.flux)
    step = 1.2 * FRAMES * 70.0 / 3600.0
    night = Night(
        science=FRAMES,
        bias=3,
        flat=0,
        exptime=60.0,
        drift=(90.0 / step, -60.0 / step),
        jitter=1.0,
        rotation=lambda hours: 0.1 if hours < 3.0 * 70.0 / 3600.0 else 180.1,
    )
    truth = simulate_night(camera, folder / "raw", scene, night, seed=8)
    for exposure in truth:
        with fits.open(folder / "raw" / Path(exposure.frame.path).name, mode="update") as hdus:
            hdus[0].header.update(coordinates(exposure.transform).to_header())
    return folder, truth


def coordinates(view: Transform):
    """Coordinates of a frame that sees the scene through a map."""
    wcs = tangent_wcs(132.8, 11.8, 130.0, 120.0, 0.8, 0.0)
    x, y = view(129.0, 119.0)
    wcs.wcs.crpix = float(x) + 1.0, float(y) + 1.0
    wcs.wcs.cd = wcs.wcs.cd @ np.linalg.inv(view.matrix[:2, :2])
    wcs.wcs.set()
    return wcs


def reduced(command, raw: tuple[Path, Truth], out: Path, alignment: str) -> Results:
    """Reduce the night, or those of its frames that are in a folder of their own beside the recipe."""
    folder, _ = raw
    recipe = out / "night.toml"
    recipe.write_text(RECIPE.format(alignment=alignment).replace("camera.toml", str(folder / "camera.toml")))
    frames = out / "raw" if (out / "raw").exists() else folder / "raw"
    done = command("run", recipe, frames, "--out", out / "run")
    assert (out / "run" / "frames.ecsv").exists(), done.text
    return Results(out / "run")


def science(results: Results) -> Table:
    """The rows of the science frames."""
    frames = results.frames
    return frames[frames["kind"] == "science"]


def places_off(results: Results, truth: Truth) -> dict[str, float]:
    """Rms distance of the measured places from the true ones in each frame, by stars that are in it."""
    table = results.photometry
    table.convert_bytestring_to_unicode()
    found = {}
    for name in set(table["frame"]):
        exposure, rows = truth[str(name)], table[table["frame"] == name]
        x, y = np.asarray(rows["x"], dtype=float), np.asarray(rows["y"], dtype=float)
        inside = (x > 0) & (x < SHAPE[1] - 1) & (y > 0) & (y < SHAPE[0] - 1)
        distance = np.hypot(x[inside, None] - exposure.x, y[inside, None] - exposure.y).min(axis=1)
        found[str(name)] = float(np.sqrt(np.mean(distance**2)))
    return found


@pytest.mark.parametrize("alignment", ['use = "patterns"', 'use = "wcs"'])
def test_a_meridian_flip_and_a_drift_by_half_of_the_field_are_followed(
    alignment: str, command, raw, tmp_path: Path
) -> None:
    results = reduced(command, raw, tmp_path, alignment)
    assert set(science(results)["fate"]) == {"used"}
    off = places_off(results, raw[1])
    assert len(off) == FRAMES
    assert max(off.values()) < 0.1, off


@pytest.mark.parametrize("alignment", ['use = "translation"', 'use = "correlation"'])
def test_aligners_of_shifts_keep_the_frames_that_are_not_turned_and_say_why(
    alignment: str, command, raw, tmp_path: Path
) -> None:
    results = reduced(command, raw, tmp_path, alignment)
    frames, truth = science(results), raw[1]
    turned = [abs(truth[str(name)].transform.rotation) > 90.0 for name in frames["name"]]
    like_reference = np.array(turned) == (abs(truth[results.fields[0].reference].transform.rotation) > 90.0)
    assert list(frames["fate"] == "used") == like_reference.tolist()
    for row in frames[~like_reference]:
        assert row["stage"] == "alignment"
        assert "'patterns'" in row["reason"]
    off = places_off(results, truth)
    assert max(off.values()) < 0.15, off


def test_limits_leave_frames_out_with_their_size_and_a_second_run_says_the_same(command, raw, tmp_path: Path) -> None:
    alignment = 'use = "patterns"\nmax_rotation = 2\nmax_shift = [50, 60]'
    first = science(reduced(command, raw, tmp_path, alignment))
    again = science(reduced(command, raw, tmp_path, alignment))
    assert list(first["reason"]) == list(again["reason"])
    failed = first[first["fate"] == "failed"]
    assert set(failed["stage"]) == {"alignment"}
    reasons = [str(reason) for reason in failed["reason"]]
    assert sum("deg is more than the 2 deg allowed" in reason for reason in reasons) == 3
    assert all("allowed" in reason for reason in reasons)


def test_without_coordinates_the_reason_names_another_aligner(command, raw, tmp_path: Path) -> None:
    folder, _ = raw
    bare = tmp_path / "raw"
    bare.mkdir()
    for path in (folder / "raw").iterdir():
        with fits.open(path) as hdus:
            for card in ("CTYPE1", "CTYPE2"):
                hdus[0].header.remove(card, ignore_missing=True)  # bias frames have none
            hdus.writeto(bare / path.name)
    frames = science(reduced(command, raw, tmp_path, 'use = "wcs"'))
    reasons = [str(reason) for reason in frames["reason"]]
    assert sum("has no celestial coordinates that the camera vouches for" in reason for reason in reasons) == FRAMES - 1
