"""Background and sources against SEP and photutils: milliseconds of one frame, peak memory, and the first use.

Run with ``pytest tests/benchmarks/test_bench_detection.py --benchmark-only -s``. The frame has
``ALBIREO_BENCH_SIZE`` squared pixels (1024 if not set) and 60 stars of FWHM 3 pixels on each 4 million pixels. All
programs run on one thread. Nothing is asserted about time. Figures are printed and kept in ``extra_info``:

* ``sep_ratio``, ``photutils_ratio``: milliseconds of the peer over ours; of the stages of the plugin ``sep``, and of
  ``Background2D`` with clipped SExtractor boxes and ``DAOStarFinder``;
* ``cpu_ratio``: the first of these in processor seconds, which other work on the machine disturbs less;
* ``peak_mib``, ``sep_peak_mib``: growth of the peak resident size (``VmHWM`` of Linux) of a process of its own;
* ``compile_seconds``, ``load_seconds``: first call of background and finder in a new process with an empty cache of
  compiled code, and with a full one; import of numba included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albireo.testing import Scene, simulate_image

pytest.importorskip("albireo_detection")

SIZE = int(os.environ.get("ALBIREO_BENCH_SIZE", "1024"))
ROUNDS = 9


def frame_of(size: int) -> Any:
    """A field of stars."""
    scene = Scene.field((size, size), max(5, int(15e-6 * size**2)), 3e5, 2e3, separation=15.0, margin=10.0, seed=1)
    return simulate_image(scene, (size, size), sky=300.0, seed=2)


def background(picture: Any) -> Any:
    from albireo_detection import Mesh

    return Mesh().estimate(picture.image)


def finder(picture: Any) -> Any:
    from albireo_detection import Segments

    return Segments().find(picture.image, picture.background)


def sep_background(picture: Any) -> Any:
    from albireo_sep import SepBackground

    return SepBackground().estimate(picture.image)


def sep_finder(picture: Any) -> Any:
    from albireo_sep import SepFinder

    return SepFinder().find(picture.image, picture.background)


def photutils_background(picture: Any) -> Any:
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, SExtractorBackground

    found = Background2D(
        picture.image.data, box_size=64, sigma_clip=SigmaClip(sigma=3.0), bkg_estimator=SExtractorBackground(None)
    )
    return found.background, found.background_rms


def photutils_finder(picture: Any) -> Any:
    from photutils.detection import DAOStarFinder

    sky = picture.background
    return DAOStarFinder(5.0 * sky.median_rms, 3.0)(picture.image.data - sky.level)


class Ready:
    """A picture whose image and sky are made, so that only the work of a stage is timed."""

    def __init__(self, picture: Any) -> None:
        self.image, self.background = picture.image, picture.background


def timed(work: Callable[[Any], Any], picture: Any) -> tuple[float, float]:
    """Give median milliseconds and processor milliseconds."""
    work(picture)
    spent = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        work(picture)
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = np.median(spent, axis=0) * 1e3
    return float(wall), float(cpu)


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
        f"frame = b.Ready(b.frame_of(b.SIZE)); b.{who}(b.Ready(b.frame_of(128)))\n"
        "open('/proc/self/clear_refs', 'w').write('5'); before = peak()\n"
        f"b.{who}(frame); print(peak() - before)"
    )


def first_call(cache: Path) -> float:
    """Seconds of the first background and search of a small frame in a new process."""
    return in_a_process(
        "frame = b.Ready(b.frame_of(128)); import time; start = time.perf_counter()\n"
        "b.background(frame); b.finder(frame); print(time.perf_counter() - start)",
        NUMBA_CACHE_DIR=str(cache),
    )


@pytest.mark.parametrize("what", ["background", "finder"])
def test_bench_detection(benchmark: Any, tmp_path: Path, what: str) -> None:
    pytest.importorskip("sep")
    pytest.importorskip("photutils")
    ours, sep, photutils = (globals()[f"{peer}{what}"] for peer in ("", "sep_", "photutils_"))
    picture = Ready(frame_of(SIZE))
    (wall, cpu), (sep_wall, sep_cpu), (photutils_wall, _) = (timed(each, picture) for each in (ours, sep, photutils))
    benchmark.pedantic(ours, args=(picture,), rounds=ROUNDS, warmup_rounds=1)
    compiling, loading = first_call(tmp_path / "cache"), first_call(tmp_path / "cache")
    peak, sep_peak = peak_growth(what), peak_growth(f"sep_{what}")
    benchmark.extra_info.update(
        size=SIZE,
        milliseconds=wall,
        sep_ratio=sep_wall / wall,
        cpu_ratio=sep_cpu / cpu,
        photutils_ratio=photutils_wall / wall,
        peak_mib=peak,
        sep_peak_mib=sep_peak,
        compile_seconds=compiling,
        load_seconds=loading,
    )
    print(
        f"\n{what} of {SIZE} x {SIZE}: {wall:.2f} ms ({cpu:.2f} ms of processor); sep {sep_wall / wall:.1f} times as "
        f"long ({sep_cpu / cpu:.1f} in processor time), photutils {photutils_wall / wall:.0f}; peak memory "
        f"+{peak:.0f} MiB against +{sep_peak:.0f} MiB; first call of both stages {compiling:.1f} s to compile, "
        f"{loading:.2f} s from the cache"
    )
