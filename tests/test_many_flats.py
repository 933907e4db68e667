"""A thousand flats make one master within the memory of the recipe, whatever lies among them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import Results, planes_of, variance_of

SIZE = 1024
NUMBER = 1000
DIFFERENT = 25
"""Files that are written; the others are links to them, which are read and combined as any file."""
LEVEL, BIAS, GAIN = 20000.0, 500.0, 2.0
MEMORY = 200

CAMERA = f"""
name = "large"
kinds = [
    {{ kind = "flat", when = {{ IMAGETYP = "flat" }} }},
    {{ kind = "science", when = {{ IMAGETYP = "object" }} }},
]
[identity]
INSTRUME = "Large"
[frame]
exptime = "EXPTIME"
start = "DATE-OBS"
filter = "FILTER"
gain = {{ value = {GAIN}, source = "assumed" }}
read_noise = {{ value = 5, source = "assumed" }}
saturation = {{ value = 60000, source = "assumed" }}
[example]
NAXIS1 = {SIZE}
NAXIS2 = {SIZE}
INSTRUME = "Large"
IMAGETYP = "object"
EXPTIME = 10.0
FILTER = "r"
DATE-OBS = "2025-01-01T00:00:00"
"""
RECIPE = f"""
[instrument]
use = "fits"
definition = "camera.toml"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "pedestal"
level = {BIAS}
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[executor]
use = "serial"
memory = "{MEMORY} MiB"
"""
MEASURED = """
import sys
from albireo.cli import main
import albireo_combine.kernels, astropy.io.fits, albireo.stack
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
before = peak()
code = main(sys.argv[1:])
print("grown by", peak() - before)
sys.exit(code)
"""


def response() -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    return (1.0 - 0.4 * (x**2 + y**2)) * (1.0 + 0.01 * np.random.default_rng(1).standard_normal((SIZE, SIZE)))


def write(path: Path, kind: str, light: np.ndarray, rng: np.random.Generator) -> None:
    counts = BIAS + (rng.poisson(light) + 5.0 * rng.standard_normal(light.shape)) / GAIN
    unit = fits.PrimaryHDU(np.rint(counts).astype(np.uint16))
    cards = {"INSTRUME": "Large", "IMAGETYP": kind, "FILTER": "r", "EXPTIME": 10.0, "DATE-OBS": "2025-01-01T00:00:00"}
    unit.header.update(cards)
    unit.writeto(path)


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """The run folder, what was printed, and the name of the file that was cut short."""
    folder = tmp_path_factory.mktemp("thousand")
    raw = folder / "raw"
    raw.mkdir()
    rng = np.random.default_rng(2)
    for number in range(DIFFERENT):
        write(raw / f"flat-{number:04d}.fits", "flat", LEVEL * rng.uniform(0.8, 1.2) * response(), rng)
    for number in range(DIFFERENT, NUMBER):
        os.link(raw / f"flat-{number % DIFFERENT:04d}.fits", raw / f"flat-{number:04d}.fits")
    write(raw / "object.fits", "object", 1000.0 * response(), rng)
    (raw / "flat-0500.fits").unlink()
    (raw / "flat-0500.fits").write_bytes((raw / "flat-0000.fits").read_bytes()[:1_000_000])
    (folder / "camera.toml").write_text(CAMERA)
    (folder / "night.toml").write_text(RECIPE)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "run", "night.toml", "raw", "--out", "run"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return Results(folder / "run"), done


def test_the_memory_is_that_of_the_recipe(reduced):
    """Besides the strips there are the planes of the master and of one frame, and what a pass takes: some 100 MiB."""
    _, done = reduced
    assert done.returncode == 1, done.stderr  # one frame failed
    grown = float(done.stdout.rsplit("grown by", 1)[1])
    assert grown < MEMORY + 130


def test_the_file_that_was_cut_short_is_named_and_left_out(reduced):
    results, done = reduced
    frames = results.frames
    (row,) = frames[frames["fate"] == "failed"]
    assert row["name"] == "flat-0500.fits"
    assert "truncated" in row["reason"]
    assert "flat-0500.fits" in done.stderr
    assert set(frames[frames["fate"] == "used"]["name"]) | {"flat-0500.fits"} == set(frames["name"])


def test_the_master_is_the_response_of_the_detector(reduced):
    results, _ = reduced
    (master,) = (entry for entry in results.masters if entry.kind == "flat")
    picture = master.read()
    assert picture.meta["NFRAMES"] == NUMBER - 1
    truth = response() / np.median(response())
    # Forty links of a frame know no more than one of them; levels differ, and the flats were rounded to whole counts.
    variance = (truth * LEVEL * 1.013 + 25.0 + GAIN**2 / 12.0) / LEVEL**2 / DIFFERENT
    pull = (picture.data - truth) / np.sqrt(variance)
    assert np.median(pull) == pytest.approx(0.0, abs=0.1)
    assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(1.0, abs=0.06)
    counts = planes_of(picture)
    assert np.all(counts["COUNT"] + counts["REJECTED"] == NUMBER - 1)
    assert variance_of(picture).min() > 0
