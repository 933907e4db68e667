"""Masters against ccdproc.combine: seconds and peak memory, files to master, in one process and one after the other.

Run with ``pytest tests/benchmarks/test_bench_masters.py --benchmark-only -s``. Frames have ``ALBIREO_BENCH_SIZE``
squared pixels (1024 if not set; ``full`` is 3072 x 3080), unsigned 16-bit, freshly written and so in the page cache.
Nothing is asserted about time. Ratios are printed and kept in ``extra_info``:

* ``ratio``: seconds of ccdproc.combine from files, over ours from files;
* ``ratio_kernel``: the same seconds over those of the kernel alone, on pixels in memory;
* ``peak_mib``, ``peer_peak_mib``: growth of the peak resident size (``VmHWM`` of Linux) of a process of its own while
  it combines, after all imports and a first small master. Pages of memory-mapped files count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from albireo import Frame, Frames, Section, Stack, Strip, image, read_pixels

pytest.importorskip("albireo_combine")

SIZE = os.environ.get("ALBIREO_BENCH_SIZE", "1024")
SHAPE = (3080, 3072) if SIZE == "full" else (int(SIZE), int(SIZE))
STRIP_BYTES = 64 << 20
CLIP = {"method": "average", "sigma_clip": True, "sigma_clip_low_thresh": 3, "sigma_clip_high_thresh": 3}
PEERS = {
    "median": {"method": "median"},
    "clipped-mean": {**CLIP, "sigma_clip_func": "median", "sigma_clip_dev_func": "mad_std"},
    "clipped-mean, peer by plain deviation": CLIP,
}
"""What the peer is asked for: the rule of ours, and for the clipped mean also its cheapest rule, which is another."""


class FileStack(Stack):
    """Raw files as a stack: strips are read from every file, on two threads."""

    def __init__(self, paths: list[str]) -> None:
        self.frames = Frames(Frame(path) for path in paths)
        self.shape, self.unit = read_pixels(paths[0]).shape, "adu"

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index):
        return image(read_pixels(self.frames[index].path))

    def strips(self, scale=None):
        ny, nx = self.shape
        rows = max(1, min(ny, STRIP_BYTES // (4 * nx * len(self))))
        buffer = np.empty((len(self), rows, nx), dtype=np.float32)
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, ny, rows):
                stop = min(start + rows, ny)
                part = buffer[:, : stop - start]

                def fill(index: int, start: int = start, stop: int = stop, part: np.ndarray = part) -> None:
                    part[index] = read_pixels(self.frames[index].path, region=Section(start, stop, 0, nx))

                list(pool.map(fill, range(len(self))))
                yield Strip(slice(start, stop), part)


def ours(paths: list[str], method: str) -> np.ndarray:
    from albireo_combine import Combine

    return Combine(kind="bias", method=method).build(FileStack(paths)).data


def peer(paths: list[str], asked: str) -> np.ndarray:
    import ccdproc

    return ccdproc.combine(paths, unit="adu", dtype=np.float32, mem_limit=16e9, **PEERS[asked]).data


def kernel(data: np.ndarray, method: str) -> None:
    from albireo_combine import engine, rules

    n, pixels = data.shape
    block = engine.block_function(n)
    out = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    options = (rules.METHODS[method], 9.0, 0.0, 5.0, 3.0, 3.0, 1.0, 5, rules.variance_factors(method, n))

    def work(start: int) -> None:
        block(data, start, min(start + engine.BLOCK, pixels), *options, *out, np.zeros(2, np.int64))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(0, pixels, engine.BLOCK)))


def write_frames(folder: Path, n: int, shape: tuple[int, int]) -> list[str]:
    from astropy.io import fits

    rng = np.random.default_rng(1)
    paths = []
    for index in range(n):
        pixels = np.round(rng.normal(1000.0, 3.0, shape))
        pixels[rng.integers(0, shape[0], 500), rng.integers(0, shape[1], 500)] += 2000.0
        path = folder / f"bias{index:03d}.fits"
        fits.writeto(path, pixels.astype(np.uint16))
        paths.append(str(path))
    return paths


def peak_growth(who: str, paths: list[str], small: list[str], method: str) -> float:
    """MiB by which combining raises the peak resident size of a fresh process; NaN where no one counts it."""
    if not Path("/proc/self/status").exists():
        return float("nan")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import {Path(__file__).stem} as b\n"
        "def peak():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) / 1024\n"
        f"b.{who}({small!r}, {method!r}); before = peak(); b.{who}({paths!r}, {method!r}); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


@pytest.mark.parametrize("asked", PEERS)
@pytest.mark.parametrize("n", [10, 30])
def test_bench_master(benchmark, tmp_path: Path, n: int, asked: str) -> None:
    method = asked.partition(",")[0]
    pytest.importorskip("ccdproc")
    (tmp_path / "small").mkdir()
    paths, small = write_frames(tmp_path, n, SHAPE), write_frames(tmp_path / "small", 3, (64, 64))
    peer(small, asked)  # imports

    start = time.perf_counter()
    reference = peer(paths, asked)
    peer_seconds = time.perf_counter() - start
    master = benchmark.pedantic(ours, args=(paths, method), rounds=5, warmup_rounds=1)
    if method == "median":
        np.testing.assert_array_equal(master, reference)
    else:
        # The peer has another floor for its width, and with the plain deviation another rule.
        assert np.median(np.abs(master - reference)) < 0.1

    data = np.stack([read_pixels(path).reshape(-1) for path in paths])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        kernel(data, method)
        times.append(time.perf_counter() - start)
    seconds, kernel_seconds = benchmark.stats.stats.median, float(np.median(times))
    peak, peer_peak = (peak_growth(who, paths, small, name) for who, name in (("ours", method), ("peer", asked)))
    benchmark.extra_info.update(
        shape=list(SHAPE),
        peer_seconds=peer_seconds,
        kernel_seconds=kernel_seconds,
        ratio=peer_seconds / seconds,
        ratio_kernel=peer_seconds / kernel_seconds,
        peak_mib=peak,
        peer_peak_mib=peer_peak,
    )
    print(
        f"\n{asked} of {n} frames of {SHAPE[1]} x {SHAPE[0]}: {seconds:.3f} s from files, "
        f"{kernel_seconds:.3f} s kernel; "
        f"ccdproc.combine {peer_seconds:.2f} s, {peer_seconds / seconds:.0f} times and "
        f"{peer_seconds / kernel_seconds:.0f} times as long; peak memory +{peak:.0f} MiB against +{peer_peak:.0f} MiB"
    )
