"""Frames per second of the frame job, and time and memory of whole runs.

Run with ``pytest tests/benchmarks/test_bench_frames.py --benchmark-only -s``. Frames are simulated, unsigned 16-bit,
through three filters in turn, freshly written and so in the page cache. ``ALBIREO_BENCH_FRAMES`` is how many there are
in each filter (30 if not set), ``ALBIREO_BENCH_SIZES`` their sizes in pixels (``2048,512``), ``ALBIREO_BENCH_RUNS`` the
numbers of frames of the whole runs (``30,120``). Nothing is asserted about time. Figures are printed and kept in
``extra_info``:

* ``frames_per_second``: read, correct with bias and flat, background, sources, alignment, aperture and optimal
  photometry of 15 stars, in one process, after a first run that loads and compiles everything;
* ``seconds``, ``peak_mib``: a whole ``albireo run`` with two workers, start of the interpreter included, and the peak
  resident size of its largest process;
* ``ratio`` of ``test_short_nights_against_eloy``: how many times longer the functions of eloy take for the same frames,
  on as many processes, both as whole processes with their start. ``ALBIREO_BENCH_ELOY`` is a Python in whose
  environment eloy is installed; without it the test is skipped.
* ``seconds_again``: the same command once more, with nothing to do; ``ms_per_frame_again`` is that over the frames.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from albireo import Recipe, Registry, Results
from albireo.run import run
from albireo.testing import Camera, Night, Scene, simulate_night

FRAMES = int(os.environ.get("ALBIREO_BENCH_FRAMES", "30"))
SIZES = [int(size) for size in os.environ.get("ALBIREO_BENCH_SIZES", "2048,512").split(",")]
RUNS = [int(number) for number in os.environ.get("ALBIREO_BENCH_RUNS", "30,120").split(",")]
STARS = 15
FILTERS = ("g", "r", "i")

CAMERA = """
name = "bench"
kinds = [
    {{ kind = "bias", when = {{ KIND = "bias" }} }},
    {{ kind = "flat", when = {{ KIND = "flat" }} }},
    {{ kind = "science", when = {{ KIND = "science" }} }},
]
[frame]
filter = "FILTER"
target = "OBJECT"
exptime = "EXPTIME"
start = "DATE-OBS"
gain = "GAIN"
read_noise = "RDNOISE"
saturation = 60000
scale = 0.4
[example]
NAXIS1 = {size}
NAXIS2 = {size}
KIND = "science"
FILTER = "r"
OBJECT = "bench"
EXPTIME = 10.0
DATE-OBS = "2024-03-01T20:00:00.000"
GAIN = 1.5
RDNOISE = 4.0
"""

RECIPE = """
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
[catalogue]
max_sources = 15
[[photometry]]
use = "aperture"
radius = 6
annulus = [14, 22]
[[photometry]]
use = "optimal"
annulus = [14, 22]
[[curves]]
use = "differential"
[executor]
use = "{executor}"
"""


def night(folder: Path, size: int, science: int, executor: str) -> Path:
    """Write frames, camera and recipe into a folder; give the recipe."""
    folder.mkdir()
    (folder / "camera.toml").write_text(CAMERA.format(size=size))
    (folder / "night.toml").write_text(RECIPE.format(executor=executor))
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(folder / "camera.toml"))
    scene = Scene.field((size, size), STARS + 10, 3e4, 2e3, separation=50.0, margin=50.0, seed=size)
    plan = Night(
        science=science, bias=5, flat=3, exptime=10.0, overhead=2.0, filters=FILTERS, drift=(20.0, 10.0), jitter=1.0
    )
    simulate_night(camera, folder / "raw", scene, plan, Camera(cosmic_rays=0.0), seed=size)
    return folder / "night.toml"


def show(text: str) -> None:
    """Print past pytest's capture of this test's output, where ``-s`` asks for it."""
    print(f"\n{text}", file=sys.stdout, flush=True)


@pytest.mark.parametrize("size", SIZES)
def test_frame_job(size: int, benchmark, tmp_path: Path) -> None:
    recipe = Recipe.read(night(tmp_path / "night", size, len(FILTERS) * FRAMES, "serial"))
    raw, number = tmp_path / "night" / "raw", len(FILTERS) * FRAMES
    seconds: list[float] = []

    def reduce() -> None:
        out = tmp_path / f"run-{len(seconds)}"
        outcome = run(recipe, raw, out)
        assert outcome.counts["used"] == number + 5 + 3 * len(FILTERS)
        assert len(set(Results(out).photometry["source"])) == STARS
        seconds.append(Results(out).summary["timing"]["frames"])
        shutil.rmtree(out)

    benchmark.pedantic(reduce, rounds=3, warmup_rounds=1)
    rate = number / min(seconds[1:])
    benchmark.extra_info |= {"frames_per_second": rate, "frames": number, "size": size}
    show(f"frame job, {number} frames of {size} x {size}: {rate:.1f} frames/s on one core ({1e3 / rate:.1f} ms each)")
    shutil.rmtree(tmp_path / "night")


LAUNCHER = """
import os, subprocess, sys, time
begin = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - begin, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A child begins with the peak of the process that started it, so a small one has to."""


def measured(command: list[str | Path]) -> tuple[float, float]:
    """Run a command; give its seconds and the peak resident size of its largest process in MiB."""
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


@pytest.mark.skipif(sys.platform != "linux", reason="the peak size is in other units elsewhere")
@pytest.mark.parametrize("number", RUNS)
def test_whole_run(number: int, benchmark, tmp_path: Path) -> None:
    recipe = night(tmp_path / "night", 512, number, "processes")
    program = Path(sys.executable).with_name("albireo")
    found: list[tuple[float, float]] = []

    def reduce() -> None:
        out = tmp_path / f"run-{len(found)}"
        found.append(measured([program, "run", recipe, recipe.parent / "raw", "--out", out, "--jobs", "2"]))

    benchmark.pedantic(reduce, rounds=2, warmup_rounds=1)
    again, _ = measured([program, "run", recipe, recipe.parent / "raw", "--out", tmp_path / "run-0", "--jobs", "2"])
    seconds, peak = min(s for s, _ in found), max(p for _, p in found)
    benchmark.extra_info |= {
        "frames": number,
        "seconds": seconds,
        "peak_mib": peak,
        "seconds_again": again,
        "ms_per_frame_again": 1e3 * again / number,
    }
    show(
        f"albireo run, {number} frames of 512 x 512: {seconds:.2f} s, {peak:.0f} MiB in the largest process; "
        f"again with nothing changed {again:.2f} s"
    )


ELOY = """
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import numpy as np
from astropy.io import fits
from eloy import alignment, calibration, centroid, detection, photometry

def load(file):
    return fits.getdata(file).astype(float)

def calibrated(file):
    with np.errstate(divide="ignore", invalid="ignore"):
        image = (load(file) - BIAS) / FLATS[fits.getheader(file)["FILTER"]]
    return np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)  # dead pixels

def stars(image):
    regions = detection.stars_detection(image, opening=3)
    return detection.clean_close_coords(np.array([r.centroid[::-1] for r in regions]))[:STARS]

def begin(*facts):
    global BIAS, FLATS, REFERENCE, TREE, STARS
    BIAS, FLATS, REFERENCE, TREE, STARS = facts

def work(file):
    image = calibrated(file)
    coords = REFERENCE
    found = alignment.rotation_matrix(stars(image), REFERENCE, TREE)
    if found is not None:
        coords = (found @ np.c_[REFERENCE, np.ones(len(REFERENCE))].T)[:2].T
    flux = photometry.aperture_photometry(image, coords, [6.0])
    sky = photometry.annulus_sigma_clip_median(image, coords, 14, 22)
    return fits.getheader(file)["DATE-OBS"], flux[:, 0] - sky * np.pi * 36.0

if __name__ == "__main__":
    raw, STARS = Path(sys.argv[1]), int(sys.argv[2])
    BIAS = calibration.master_bias(sorted(raw.glob("bias*")), load)
    flats = {}
    for file in sorted(raw.glob("flat*")):
        flats.setdefault(fits.getheader(file)["FILTER"], []).append(file)
    dark = np.zeros_like(BIAS)
    FLATS = {name: calibration.master_flat(BIAS, dark, files, load, lambda f: 1.0) for name, files in flats.items()}
    science = sorted(raw.glob("science*"))
    REFERENCE = stars(calibrated(science[len(science) // 2]))
    TREE = alignment.twirl_reference(REFERENCE)
    with ProcessPoolExecutor(2, initializer=begin, initargs=(BIAS, FLATS, REFERENCE, TREE, STARS)) as pool:
        rows = list(pool.map(work, science))
    curves = np.array([flux for _, flux in rows])
    np.save(sys.argv[3], curves / np.median(curves, axis=0))
"""
"""The same task by the functions of eloy, as its documentation puts them together, with one aperture and no errors."""


@pytest.mark.skipif("ALBIREO_BENCH_ELOY" not in os.environ, reason="ALBIREO_BENCH_ELOY names no Python that has eloy")
@pytest.mark.parametrize(("size", "frames"), [(2048, 10), (512, 60)])
def test_short_nights_against_eloy(size: int, frames: int, benchmark, tmp_path: Path) -> None:
    recipe = night(tmp_path / "night", size, len(FILTERS) * frames, "processes")
    program, script = Path(sys.executable).with_name("albireo"), tmp_path / "peer.py"
    script.write_text(ELOY)
    peer_python, raw = os.environ["ALBIREO_BENCH_ELOY"], recipe.parent / "raw"
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []

    def both() -> None:
        out = tmp_path / f"run-{len(ours)}"
        ours.append(measured([program, "run", recipe, raw, "--out", out, "--jobs", "2"]))
        theirs.append(measured([peer_python, script, raw, str(STARS), tmp_path / "peer.npy"]))

    benchmark.pedantic(both, rounds=2, warmup_rounds=1)
    seconds, peer = min(s for s, _ in ours), min(s for s, _ in theirs)
    benchmark.extra_info |= {"seconds": seconds, "peer_seconds": peer, "ratio": peer / seconds}
    show(
        f"3 x {frames} frames of {size} x {size}, whole processes: albireo {seconds:.2f} s ({ours[-1][1]:.0f} MiB), "
        f"eloy {peer:.2f} s ({theirs[-1][1]:.0f} MiB), {peer / seconds:.1f} times as long"
    )
