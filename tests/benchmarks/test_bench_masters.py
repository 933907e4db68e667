"""Masters against ccdproc.combine and against Siril: seconds and peak memory, from files to a master.

Run with ``pytest tests/benchmarks/test_bench_masters.py --benchmark-only -s``. Frames have ``ALBIREO_BENCH_SIZE``
squared pixels (1024 if not set; ``full`` is 3072 x 3080), unsigned 16-bit, freshly written and so in the page cache.
Nothing is asserted about time. Ratios are printed and kept in ``extra_info``:

* ``bytes_seconds``: reading the bytes of all files, nothing else; ``ratio_bytes``: ours from files over it;
* ``ratio``: seconds of ccdproc.combine from files, over ours from files;
* ``ratio_kernel``: the same seconds over those of the kernel alone, on pixels in memory;
* ``peak_mib``, ``peer_peak_mib``: growth of the peak resident size (``VmHWM`` of Linux) of a process of its own while
  it combines, after all imports and a first small master. Pages of memory-mapped files count.

Siril is compiled, so whole processes are compared, with start, imports and writing of the master: ``seconds``,
``siril_seconds``, their ``ratio_siril``, and the peak resident sizes ``peak_mib`` and ``siril_peak_mib``. Kernels are
compiled and cached before. ``compile_seconds`` and ``import_seconds`` are those of the first and of every later use.
"""

from __future__ import annotations

import os
import shutil
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
OPTIONS = {"median": {"method": "median", "rejection": "none"}, "clipped-mean": {}}
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

    return Combine(kind="bias", **OPTIONS[method]).build(FileStack(paths)).data


def peer(paths: list[str], asked: str) -> np.ndarray:
    import ccdproc

    return ccdproc.combine(paths, unit="adu", dtype=np.float32, mem_limit=16e9, **PEERS[asked]).data


def kernel(data: np.ndarray, method: str) -> None:
    from albireo_combine import engine, factors
    from albireo_combine.combining import Combined, arguments
    from albireo_combine.rules import Rule

    n, pixels = data.shape
    rule = Rule(**OPTIONS[method], noise_floor=9.0)
    function, out = engine.block_function(n), Combined.empty((1, pixels)).lines(slice(0, 1))
    options = arguments(rule, rule.drops(n), *factors.variance_factors(rule, n))

    def work(start: int) -> None:
        function(data, start, min(start + engine.BLOCK, pixels), *options, *out[:-1], np.zeros(2, np.int64))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(0, pixels, engine.BLOCK)))


def read_bytes(paths: list[str]) -> float:
    start = time.perf_counter()
    for path in paths:
        Path(path).read_bytes()
    return time.perf_counter() - start


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
    bytes_seconds = float(np.median([read_bytes(paths) for _ in range(5)]))
    peak, peer_peak = (peak_growth(who, paths, small, name) for who, name in (("ours", method), ("peer", asked)))
    benchmark.extra_info.update(
        shape=list(SHAPE),
        peer_seconds=peer_seconds,
        kernel_seconds=kernel_seconds,
        bytes_seconds=bytes_seconds,
        ratio_bytes=seconds / bytes_seconds,
        ratio=peer_seconds / seconds,
        ratio_kernel=peer_seconds / kernel_seconds,
        peak_mib=peak,
        peer_peak_mib=peer_peak,
    )
    print(
        f"\n{asked} of {n} frames of {SHAPE[1]} x {SHAPE[0]}: {seconds:.3f} s from files, "
        f"{seconds / bytes_seconds:.1f} times the bytes, {kernel_seconds:.3f} s kernel; "
        f"ccdproc.combine {peer_seconds:.2f} s, {peer_seconds / seconds:.0f} times and "
        f"{peer_seconds / kernel_seconds:.0f} times as long; peak memory +{peak:.0f} MiB against +{peer_peak:.0f} MiB"
    )


SIRIL = {"median": "median", "clipped-mean": "rej 3 3"}
PROCESS = """
import sys; sys.path.insert(0, {folder!r}); import {module} as b
from albireo import write_image
from albireo_combine import Combine
write_image({out!r}, Combine(kind="bias", **b.OPTIONS[{method!r}]).build(b.FileStack({paths!r})))
"""


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; give its seconds, and the MiB of its largest resident size."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said.decode()
    return time.perf_counter() - start, usage.ru_maxrss / 1024


@pytest.mark.skipif(shutil.which("siril-cli") is None, reason="siril-cli is not installed")
@pytest.mark.parametrize("method", SIRIL)
@pytest.mark.parametrize("n", [10, 30])
def test_bench_whole_process(benchmark, tmp_path: Path, n: int, method: str) -> None:
    paths = [
        str(Path(path).rename(tmp_path / f"bias_{index:05d}.fit"))
        for index, path in enumerate(write_frames(tmp_path, n, SHAPE), 1)
    ]
    script = tmp_path / "stack.ssf"
    script.write_text(f"requires 1.0.0\nstack bias_ {SIRIL[method]} -nonorm -out=theirs\n")
    theirs = ["siril-cli", "-d", str(tmp_path), "-s", str(script)]
    code = PROCESS.format(
        folder=str(Path(__file__).parent), module=Path(__file__).stem, out=str(tmp_path / "ours.fits"), method=method,
        paths=paths,
    )  # fmt: skip
    mine = [sys.executable, "-W", "ignore", "-c", code]
    compile_seconds = import_kernels({**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")})
    timed(mine, tmp_path)  # compiles what is not in the cache
    import_seconds = import_kernels(dict(os.environ))
    found = [timed(theirs, tmp_path) for _ in range(3)]
    siril_seconds, siril_peak = (float(value) for value in np.median(found, axis=0))
    peaks: list[float] = []
    benchmark.pedantic(lambda: peaks.append(timed(mine, tmp_path)[1]), rounds=3)
    seconds, peak = benchmark.stats.stats.median, float(np.median(peaks))
    ours_data, theirs_data = read_pixels(tmp_path / "ours.fits"), read_pixels(tmp_path / "theirs.fit")
    # Siril writes its result as fractions of the largest number of sixteen bits, or as whole counts.
    unit = np.median(theirs_data) / np.median(ours_data)
    assert np.median(np.abs(theirs_data / unit - ours_data)) < 1.0
    benchmark.extra_info.update(
        shape=list(SHAPE),
        siril_seconds=siril_seconds,
        ratio_siril=siril_seconds / seconds,
        peak_mib=peak,
        siril_peak_mib=siril_peak,
        compile_seconds=compile_seconds,
        import_seconds=import_seconds,
    )
    print(
        f"\n{method} of {n} frames of {SHAPE[1]} x {SHAPE[0]}, whole process: {seconds:.2f} s and {peak:.0f} MiB; "
        f"Siril {siril_seconds:.2f} s ({siril_seconds / seconds:.1f} times) and {siril_peak:.0f} MiB; "
        f"kernels compile in {compile_seconds:.1f} s and load in {import_seconds:.2f} s"
    )


def import_kernels(environment: dict[str, str]) -> float:
    """Seconds to import the kernels, after numba and the rest of the plugin, in a fresh process."""
    code = (
        "import time, numba, albireo_combine; start = time.perf_counter()\n"
        "import albireo_combine.kernels; print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)
