"""Stacks against Siril, scipy and reproject: seconds a frame and peak memory.

Run with ``pytest tests/benchmarks/test_bench_stacks.py --benchmark-only -s``. Frames have ``ALBIREO_BENCH_SIZE``
squared pixels (1024 if not set) of a field of stars, shifted and turned a little, written as 32-bit FITS and so in the
page cache. Nothing is asserted about time. Ratios are printed and kept in ``extra_info``:

* ``test_one_frame``: interpolation of one frame with its variance, over ``scipy.ndimage.affine_transform`` (cubic
  spline, without prefilter and variance) and ``reproject.reproject_interp`` (bicubic), without variance either;
* ``test_a_stack``: files to a stack by a clipped mean, transforms known. Siril registers (finds and matches stars, and
  interpolates) and stacks the same files, without variance and counts, as a whole process with its start. ``ratio_cpu``
  is that of the time on the processor, which says more on a busy machine. ``peak_mib`` is the growth of the peak
  resident size of a process of its own after imports, ``siril_peak_mib`` that of Siril.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import AlignedFrame, AlignedFrames, Background, Frame, Transform, image
from albireo.testing import Scene, simulate_image

pytest.importorskip("albireo_stack")

SIZE = int(os.environ.get("ALBIREO_BENCH_SIZE", "1024"))
SHAPE = (SIZE, SIZE)
NUMBER = 20
SKY = 200.0


def transforms(number: int) -> list[Transform]:
    rng = np.random.default_rng(1)
    return [Transform.similarity(*rng.uniform(-15, 15, 2), rotation=rng.uniform(-0.05, 0.05)) for _ in range(number)]


class Files(AlignedFrames):
    """Calibrated frames in files of 32 bits."""

    def __init__(self, folder: Path, number: int, memory: int = 1 << 30) -> None:
        self.shape, self.unit, self.memory, self.scratch = SHAPE, "electron", memory, folder
        self._facts = [
            AlignedFrame(Frame(str(folder / f"light_{n:05d}.fit"), exptime=1.0), transform, 1.0, 3.0, SKY, SKY**0.5)
            for n, transform in enumerate(transforms(number), 1)
        ]

    def __len__(self) -> int:
        return len(self._facts)

    def __getitem__(self, index):
        return self._facts[index]

    def image(self, index):
        data = fits.getdata(self[index].frame.path).astype(np.float32)
        return image(data, "electron", variance=np.maximum(data, 1.0))

    def background(self, image):
        level = np.full(SHAPE, np.float32(SKY))
        return Background(level, level, SKY, SKY**0.5)


def write(folder: Path, number: int) -> None:
    scene = Scene.field(SHAPE, 200, 1e5, 3e3, separation=20.0, margin=30.0, seed=1)
    for n, transform in enumerate(transforms(number), 1):
        picture = simulate_image(scene, SHAPE, sky=SKY, transform=transform, seed=n).image
        fits.writeto(folder / f"light_{n:05d}.fit", picture.data / np.float32(65535.0))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos3"])
def test_one_frame(interpolation: str, benchmark) -> None:
    from scipy.ndimage import affine_transform

    from albireo_stack.warping import Warped, Workspace, warp_frame

    picture = simulate_image(Scene([], [], []), SHAPE, sky=SKY).image
    (transform,) = transforms(1)
    why = np.zeros(SHAPE, np.uint16)
    out = Warped(*np.empty((2, *SHAPE), np.float32))
    benchmark(warp_frame, picture, SKY, transform.matrix, 1.0, interpolation, SHAPE, why, Workspace(), out)
    ours = benchmark.stats.stats.min
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    matrix = swap @ transform.matrix @ swap
    begin = time.perf_counter()
    affine_transform(picture.data, matrix, order=3, prefilter=False, output=np.float32)
    peers = {"scipy": time.perf_counter() - begin}
    if pytest.importorskip("reproject") and interpolation == "bicubic":
        peers["reproject"] = reprojected(picture.data, transform)
    for name, seconds in peers.items():
        benchmark.extra_info[f"ratio_{name}"] = seconds / ours
        print(f"\n{interpolation}: {1e3 * ours:.1f} ms, {name} {1e3 * seconds:.0f} ms: {seconds / ours:.1f} times")


def reprojected(data: np.ndarray, transform: Transform) -> float:
    from astropy.wcs import WCS
    from reproject import reproject_interp

    plain = WCS(naxis=2)
    plain.wcs.ctype, plain.wcs.cdelt, plain.wcs.crval = ["RA---TAN", "DEC--TAN"], [-1e-4, 1e-4], [10.0, 20.0]
    plain.wcs.crpix = [SIZE / 2, SIZE / 2]
    turned = plain.deepcopy()
    turned.wcs.pc = transform.matrix[:2, :2]
    turned.wcs.crpix = plain.wcs.crpix + np.array(transform.shift)
    begin = time.perf_counter()
    reproject_interp((data, turned), plain, shape_out=SHAPE, order="bicubic", return_footprint=False)
    return time.perf_counter() - begin


PEAK = "[line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]"
"""Highest resident size of a process so far, in KiB."""

WATCH = """
import os, subprocess, sys, time
begin = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
assert status == 0
print(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""
"""Runs a command from a small process, whose own memory does not show in that of the command."""


def measured(*command: str) -> tuple[float, float, float]:
    """Run a command in a Python of its own: the last three numbers that it prints."""
    done = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, check=True)
    wall, cpu, kib = map(float, done.stdout.split()[-3:])
    return wall, cpu, kib / 1024


def alone(folder: Path, number: int) -> tuple[float, float, float]:
    """Stack in a process of its own: seconds, those of the processor, and growth of the peak memory in MiB."""
    return measured(
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nfrom albireo_stack import MeanStack\nfrom test_bench_stacks import Files\n"
        f"folder = Path({str(folder)!r})\nMeanStack(method='mean').stack(Files(folder, 1, 1 << 20))\n"
        f"before, begin, cpu = int({PEAK}), time.perf_counter(), time.process_time()\n"
        f"MeanStack().stack(Files(folder, {number}))\n"
        f"print(time.perf_counter() - begin, time.process_time() - cpu, int({PEAK}) - before)"
    )


def siril(folder: Path) -> tuple[float, float, float]:
    """Register and stack: seconds, those of the processor, and peak memory in MiB."""
    script = folder / "stack.ssf"
    script.write_text(
        "requires 1.0.0\nsetcompress 0\nset32bits\nregister light_ -interp=cubic\n"
        "stack r_light_ rej 3 3 -norm=none -out=result\nclose\n"
    )
    return measured(WATCH, "siril-cli", "-d", str(folder), "-s", str(script))


def test_a_stack(benchmark, tmp_path: Path) -> None:
    from albireo_stack import MeanStack

    write(tmp_path, NUMBER)
    MeanStack().stack(Files(tmp_path, 1))
    benchmark.pedantic(MeanStack().stack, (Files(tmp_path, NUMBER),), rounds=3)
    ours = benchmark.stats.stats.min
    _, cpu, mib = alone(tmp_path, NUMBER)
    benchmark.extra_info |= {"frames_per_second": NUMBER / ours, "frames_per_cpu_second": NUMBER / cpu, "peak_mib": mib}
    print(f"\n{NUMBER / ours:.1f} frames/s, {NUMBER / cpu:.1f} for each second of a core, {mib:.0f} MiB more")
    if shutil.which("siril-cli") is not None:
        seconds, theirs, peak = siril(tmp_path)
        benchmark.extra_info |= {"ratio_siril": seconds / ours, "ratio_cpu": theirs / cpu, "siril_peak_mib": peak}
        print(
            f"Siril {NUMBER / seconds:.1f} frames/s, {NUMBER / theirs:.1f} for each second of a core, {peak:.0f} MiB: "
            f"{seconds / ours:.1f} and {theirs / cpu:.1f} times"
        )
