"""Reading and calibrating one frame, against ccdproc.ccd_process and against copying as many bytes.

Run with ``pytest tests/benchmarks/test_bench_calibration.py --benchmark-only -s``. The frame has ``ALBIREO_BENCH_SIZE``
squared pixels (1024 if not set; ``full`` is 3072 x 3080), unsigned 16-bit, freshly written and so in the page cache;
overscan, trim, bias, dark, gain and flat are corrected on one thread, with variance and flags. All ways take turns,
and the best of many rounds counts, so that the ratios hold on a machine that is shared. Nothing is asserted about
time. Figures are printed and kept in ``extra_info``:

* ``ratio``: seconds of ``ccd_process(error=True)`` and reading with ``CCDData.read``, over ours;
* ``ratio_pass``: seconds of copying the bytes that the one pass must read and write, under those of the pass alone
  (masters, their variances, raw image and flags in; image, variance, flags and mask out);
* ``ratio_numpy``: seconds of the same with numpy, over ours;
* ``peak_mib``, ``peer_peak_mib``: growth of the peak resident size of a process that reduces this one frame, after its
  imports and a first small frame;
* ``start_seconds``: what numba and the compiled functions take to import, from their cache on disk, and
  ``compile_seconds`` the first time on a machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albireo import Amplifier, Frame, Registry, Section, apply_terms, engine, image, raw_image, read_pixels, variance_of
from albireo.jobs import calibrate

pytest.importorskip("numba")
pytest.importorskip("ccdproc")
pytest.importorskip("albireo_calibration")

SIZE = os.environ.get("ALBIREO_BENCH_SIZE", "1024")
SHAPE = (3080, 3072) if SIZE == "full" else (int(SIZE), int(SIZE))
OVERSCAN = 32
GAIN, READ_NOISE, SATURATION = 2.9, 6.0, 60000.0
ROUNDS = 15


class Night:
    """A raw frame in a folder, and masters for it, in memory."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        from astropy.io import fits

        rng = np.random.default_rng(1)
        if not path.exists():
            fits.writeto(path, rng.normal(3000.0, 40.0, shape).round().astype(np.uint16))
        data = Section(0, shape[0], 0, shape[1] - OVERSCAN)
        beside = Section(0, shape[0], data.x1, shape[1])
        amplifier = Amplifier(data, beside, GAIN, READ_NOISE)
        self.frame = Frame(str(path), shape=shape, exptime=60.0, amplifiers=(amplifier,), saturation=SATURATION)

        def plane(level: float, scatter: float) -> np.ndarray:
            return level + scatter * rng.standard_normal(data.shape, dtype=np.float32)

        def master(level: float, scatter: float, variance: float) -> Any:
            flags = np.zeros(data.shape, dtype=np.uint16)
            return image(plane(level, scatter), variance=plane(variance, 0.01 * variance), flags=flags)

        self.masters = {"bias": master(0, 1, 1), "dark": master(5, 1, 1), "flat": master(1, 0.02, 1e-4)}
        self.masters["dark"].meta["EXPTIME"] = 60.0
        names = ("overscan", "trim", "bias", "dark", "gain", "flat")
        registry = Registry.discover()
        self.chain = [registry.get("correction", name).cls() for name in names]

    def read(self) -> Any:
        return raw_image(read_pixels(self.frame.path), SATURATION)

    def ours(self) -> Any:
        return calibrate(self.read(), self.frame, self.chain, self.masters)

    def one_pass(self) -> Callable[[], Any]:
        """The pass alone: all that looks at the pixels to find what to subtract is done before."""
        raw = self.read()
        terms = [correction.terms(raw, self.frame, self.masters) for correction in self.chain]
        return partial(apply_terms, raw, self.frame, terms)

    def copy(self) -> Callable[[], Any]:
        """Copy half of the bytes, so that reading and writing together are all of them."""
        raw, kept = SHAPE[0] * SHAPE[1], SHAPE[0] * (SHAPE[1] - OVERSCAN)
        source = np.ones((raw * (4 + 2) + kept * (3 * 8 + 4 + 4 + 2 + 1)) // 2, dtype=np.uint8)
        return partial(np.copyto, np.zeros_like(source), source)

    def peer(self) -> Any:
        import astropy.units as u
        import ccdproc
        from astropy.nddata import CCDData, StdDevUncertainty

        def master(kind: str, unit: Any) -> Any:
            given = self.masters[kind]
            return CCDData(given.data, unit=unit, uncertainty=StdDevUncertainty(np.sqrt(variance_of(given))))

        if not hasattr(self, "peers"):
            units = {"bias": u.adu, "dark": u.adu, "flat": u.dimensionless_unscaled}
            self.peers = {kind: master(kind, unit) for kind, unit in units.items()}
        return ccdproc.ccd_process(
            CCDData.read(self.frame.path, unit="adu"),
            oscan=f"[{SHAPE[1] - OVERSCAN + 1}:{SHAPE[1]},:]",
            trim=f"[1:{SHAPE[1] - OVERSCAN},:]",
            error=True,
            master_bias=self.peers["bias"],
            dark_frame=self.peers["dark"],
            master_flat=self.peers["flat"],
            dark_exposure=60.0 * u.s,
            data_exposure=60.0 * u.s,
            gain=GAIN * u.electron / u.adu,
            readnoise=READ_NOISE * u.electron,
            gain_corrected=False,
            oscan_median=False,
        )


@contextmanager
def done_by(compiled: bool) -> Iterator[None]:
    """Let numpy or the compiled functions do the work."""
    from albireo.engine import kernels

    before = engine._Choice.kernels, engine._Choice.refused
    engine._Choice.kernels, engine._Choice.refused = (kernels, False) if compiled else (None, True)
    try:
        yield
    finally:
        engine._Choice.kernels, engine._Choice.refused = before


def best_of(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(times) for name, times in seconds.items()}


def peak_growth(who: str, path: Path) -> float:
    """MiB by which one frame raises the peak resident size of a fresh process; NaN where no one counts it."""
    if not Path("/proc/self/status").exists():
        return float("nan")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import {Path(__file__).stem} as b\n"
        "from pathlib import Path\n"
        "def peak():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) / 1024\n"
        f"night = b.Night(Path({str(path)!r}), b.SHAPE)\n"
        f"b.SHAPE = (64, 96); small = b.Night(Path({str(path.with_name('small.fits'))!r}), b.SHAPE)\n"
        f"getattr(small, {who!r})(); b.SHAPE = night.frame.shape\n"
        f"before = peak(); getattr(night, {who!r})(); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def import_seconds(cache: Path | None) -> float:
    """Seconds to import numba and the compiled functions in a fresh process, with an empty cache or the usual one."""
    code = (
        "import time, numpy, pydantic, astropy.io.fits, albireo.engine.steps\n"
        "start = time.perf_counter(); import albireo.engine.kernels; print(time.perf_counter() - start)"
    )
    environment = os.environ if cache is None else {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def test_bench_calibration(benchmark, tmp_path: Path) -> None:
    night = Night(tmp_path / "raw.fits", SHAPE)
    with done_by(True):
        result = night.ours()
        benchmark.pedantic(night.ours, rounds=5, warmup_rounds=1)
    with done_by(False):
        assert np.array_equal(night.ours().data, result.data)
    # The peer takes its overscan as a mean without rejection.
    assert np.median(np.abs(night.peer().data / result.data - 1.0)) < 1e-3

    def timed(compiled: bool, work: Callable[[], Any]) -> Callable[[], None]:
        def go() -> None:
            with done_by(compiled):
                work()

        return go

    one_pass = night.one_pass()
    best = best_of(
        {
            "ours": timed(True, night.ours),
            "numpy": timed(False, night.ours),
            "read": timed(True, night.read),
            "pass": timed(True, one_pass),
            "numpy pass": timed(False, one_pass),
            "copy": night.copy(),
        },
        ROUNDS,
    )
    peer = best_of({"peer": night.peer}, 3)["peer"]
    peak, peer_peak = peak_growth("ours", tmp_path / "raw.fits"), peak_growth("peer", tmp_path / "raw.fits")
    compile_seconds, start_seconds = import_seconds(tmp_path / "cache"), import_seconds(None)
    benchmark.extra_info.update(
        {f"{name.replace(' ', '_')}_seconds": value for name, value in best.items()},
        shape=list(SHAPE),
        peer_seconds=peer,
        ratio=peer / best["ours"],
        ratio_pass=best["pass"] / best["copy"],
        ratio_numpy=best["numpy"] / best["ours"],
        peak_mib=peak,
        peer_peak_mib=peer_peak,
        start_seconds=start_seconds,
        compile_seconds=compile_seconds,
    )
    ms = {name: f"{1e3 * value:.1f}" for name, value in best.items()}
    print(
        f"\none frame of {SHAPE[1]} x {SHAPE[0]}, file to calibrated image with variance and flags: {ms['ours']} ms, "
        f"of which reading {ms['read']} and the one pass {ms['pass']}; numpy {ms['numpy']} (its pass "
        f"{ms['numpy pass']}); copying the bytes of the pass {ms['copy']}, {best['pass'] / best['copy']:.2f} under it; "
        f"ccd_process with errors {1e3 * peer:.0f}, {peer / best['ours']:.0f} times as long; "
        f"peak memory +{peak:.0f} MiB against +{peer_peak:.0f} MiB; "
        f"import of numba and kernels {start_seconds:.2f} s, the first time {compile_seconds:.1f} s"
    )
