"""Cosmic rays against astroscrappy: seconds of one frame on one thread, peak memory, and the cost of the first use.

Run with ``pytest tests/benchmarks/test_bench_cosmic_rays.py --benchmark-only -s``. The frame has
``ALBIREO_BENCH_SIZE`` squared pixels (1024 if not set; ``full`` is 3072 x 3080), stars of FWHM 3 pixels, and rays. The
other program is kept to one thread, and is given the same variance. Nothing is asserted about time. Figures are
printed and kept in ``extra_info``:

* ``ratio``, ``ratio_full``: seconds of astroscrappy with separable and with full median filters, over those of the
  whole correction, copies of the planes included;
* ``cpu_ratio``: the first of these in processor seconds, which other work on the machine disturbs less;
* ``differ``: pixels in which the mask differs from that of the full median filters, over those found by either;
* ``peak_mib``, ``peer_peak_mib``: growth of the peak resident size (``VmHWM`` of Linux) of a process of its own while
  it works on the frame, after all imports and a first small frame;
* ``compile_seconds``, ``load_seconds``: first call in a new process with an empty cache of compiled code, and with a
  full one; import of numba included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # read by astroscrappy when it is imported

import numpy as np
import pytest

from albireo import Flag, Frame, flags_of, image, variance_of
from albireo.testing import Profile, Scene, simulate_image

pytest.importorskip("albireo_lacosmic")

SIZE = os.environ.get("ALBIREO_BENCH_SIZE", "1024")
SHAPE = (3080, 3072) if SIZE == "full" else (int(SIZE), int(SIZE))
RAYS_PER_MEGAPIXEL = 30
EDGE = 4
"""Pixels at the edge where the other program finds none."""


def frame_of(shape: tuple[int, int]) -> Any:
    """A field of stars with cosmic rays, in electrons, with variance."""
    megapixels = shape[0] * shape[1] / 1e6
    scene = Scene.field(shape, int(30 * megapixels) + 1, 3e6, 2e3, seed=1)
    picture = simulate_image(scene, shape, profile=Profile(3.0, 3.5), sky=800.0, read_noise=6.0, seed=2).image
    rng, charge = np.random.default_rng(3), np.zeros(shape, np.float32)
    for _ in range(int(RAYS_PER_MEGAPIXEL * megapixels) + 1):
        steps = np.linspace(0.0, min(1.0 + rng.exponential(4.0), 15.0), 64)
        angle, level = rng.uniform(0.0, 2.0 * np.pi), 500.0 * (1.0 + rng.pareto(1.5))
        rows = np.floor(rng.uniform(0, shape[0]) + steps * np.sin(angle)).astype(int) % shape[0]
        columns = np.floor(rng.uniform(0, shape[1]) + steps * np.cos(angle)).astype(int) % shape[1]
        np.add.at(charge, (rows, columns), np.float32(level * steps[-1] / steps.size))
    return image(
        picture.data + charge, "electron", variance=variance_of(picture) + charge, flags=flags_of(picture).copy()
    )


def ours(picture: Any) -> np.ndarray:
    from albireo_lacosmic import CosmicRays

    return (flags_of(CosmicRays().correct(picture, Frame("bench.fits"), {})) & Flag.COSMIC_RAY) != 0


def peer(picture: Any, separable: bool = True) -> np.ndarray:
    import astroscrappy

    # Between rounds a ray is filled by the median, as in van Dokkum's program and in ours.
    given = {"invar": variance_of(picture), "satlevel": np.inf, "gain": 1.0, "cleantype": "medmask"}
    return astroscrappy.detect_cosmics(picture.data, sepmed=separable, **given)[0]


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """Give the result, seconds, and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(*arguments)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def in_a_process(code: str, **environment: str) -> float:
    """Run code that knows this module as ``b`` in a process of its own; give the number it prints last."""
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import {Path(__file__).stem} as b\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", start + code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return float(done.stdout.split()[-1])


def peak_growth(who: str) -> float:
    """MiB by which a frame raises the peak resident size of a fresh process; NaN where no one counts it."""
    if not Path("/proc/self/status").exists():
        return float("nan")
    return in_a_process(
        "def peak():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) / 1024\n"
        f"frame = b.frame_of(b.SHAPE); b.{who}(b.frame_of((64, 64)))\n"
        "open('/proc/self/clear_refs', 'w').write('5'); before = peak()\n"
        f"b.{who}(frame); print(peak() - before)"
    )


def first_call(cache: Path) -> float:
    """Seconds of the first correction of a small frame in a new process."""
    return in_a_process(
        "frame = b.frame_of((64, 64)); import time; start = time.perf_counter()\n"
        "b.ours(frame); print(time.perf_counter() - start)",
        NUMBA_CACHE_DIR=str(cache),
    )


def test_bench_cosmic_rays(benchmark, tmp_path: Path) -> None:
    pytest.importorskip("astroscrappy")
    picture, small = frame_of(SHAPE), frame_of((64, 64))
    ours(small)
    peer(small)
    _, seconds_separable, cpu_separable = timed(peer, picture)
    full, seconds_full, _ = timed(peer, picture, False)
    found = benchmark.pedantic(ours, args=(picture,), rounds=9, warmup_rounds=1)
    seconds = benchmark.stats.stats.median
    cpu = float(np.median([timed(ours, picture)[2] for _ in range(5)]))
    inner = np.s_[EDGE:-EDGE, EDGE:-EDGE]
    differ = float((found != full)[inner].sum() / (found | full)[inner].sum())
    assert differ < 0.005
    compiling, loading = first_call(tmp_path / "cache"), first_call(tmp_path / "cache")
    peak, peer_peak = peak_growth("ours"), peak_growth("peer")
    benchmark.extra_info.update(
        shape=list(SHAPE),
        peer_seconds=seconds_separable,
        peer_seconds_full=seconds_full,
        ratio=seconds_separable / seconds,
        ratio_full=seconds_full / seconds,
        cpu_ratio=cpu_separable / cpu,
        differ=differ,
        peak_mib=peak,
        peer_peak_mib=peer_peak,
        compile_seconds=compiling,
        load_seconds=loading,
    )
    print(
        f"\ncosmic rays in {SHAPE[1]} x {SHAPE[0]}: {seconds:.3f} s ({cpu:.3f} s of processor), {found.sum()} pixels; "
        f"astroscrappy {seconds_separable:.2f} s separable ({seconds_separable / seconds:.0f} times as long, "
        f"{cpu_separable / cpu:.0f} in processor time), {seconds_full:.2f} s full ({seconds_full / seconds:.0f}); "
        f"masks differ in {100 * differ:.2f} %; peak memory +{peak:.0f} MiB against +{peer_peak:.0f} MiB; first call "
        f"{compiling:.1f} s to compile, {loading:.2f} s from the cache"
    )
