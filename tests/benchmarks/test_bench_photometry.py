"""Photometry of single stars against sep and photutils.

Run with ``pytest tests/benchmarks/test_bench_photometry.py --benchmark-only -s``. A frame has 2048 x 2048 pixels and
15, 300 or 5000 stars. Nothing is asserted about time. Figures are printed and kept in ``extra_info``; times are of the
processor, the smallest of several runs, which other work on the machine disturbs least:

* ``ms``: milliseconds of ours; ``sep_ratio``, ``photutils_ratio``: those of the others over ours;
* ``kib``: what numpy has allocated at most during a call.

The others sum over the same circles with exact overlap and give errors. In ``circles`` nobody measures a sky; in
``rings`` everybody takes it from a ring: sep by the mean, which is its only way, photutils by a clipped mean.
``optimal`` is compared with the same sums on a profile that fills the frame, as is done where there are no stamps.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from albireo import PSF, Background, Sources
from albireo.testing import Profile, Scene, simulate_image

albireo_aperture = pytest.importorskip("albireo_aperture")

SHAPE = (2048, 2048)
RADII = tuple(range(1, 11))
RING = (12.0, 20.0)
SKY = 100.0
COUNTS = (15, 300, 5000)
WHOLE_FRAME_STARS = 3
"""A profile that fills the frame is timed on so many stars, and scaled."""


@lru_cache(maxsize=1)
def frame() -> Any:
    """A frame in electrons, with variance, and its PSF."""
    scene = Scene.field(SHAPE, 300, 1e5, 1e3, seed=1)
    return simulate_image(scene, SHAPE, profile=Profile(4.0), sky=SKY, seed=2).image


def positions(n: int) -> Sources:
    x, y = np.random.default_rng(n).uniform(40, SHAPE[0] - 40, (2, n))
    return Sources.make(x, y, id=np.arange(1, n + 1))


@lru_cache(maxsize=1)
def flat_map() -> Background:
    return Background(np.full(SHAPE, SKY, np.float32), np.full(SHAPE, 11.2, np.float32), SKY, 11.2)


def milliseconds(work: Callable[[], Any], runs: int) -> float:
    """Least processor time of a call."""
    work()
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def kibibytes(work: Callable[[], Any]) -> float:
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1024


def by_sep(sources: Sources, ring: bool) -> None:
    import sep

    options = {"bkgann": RING} if ring else {}
    for radius in RADII:
        sep.sum_circle(frame().data, sources.x, sources.y, radius, err=11.2, subpix=0, **options)


def by_photutils(sources: Sources, ring: bool) -> None:
    from astropy.stats import SigmaClip
    from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture, aperture_photometry

    at = np.stack([sources.x, sources.y], axis=1)
    circles = [CircularAperture(at, radius) for radius in RADII]
    aperture_photometry(frame().data, circles, error=np.sqrt(frame().uncertainty.array), method="exact")
    if ring:
        _ = ApertureStats(frame().data, CircularAnnulus(at, *RING), sigma_clip=SigmaClip(3.0)).mean


def by_whole_profiles(sources: Sources) -> None:
    """Naylor's sums with a profile on every pixel of the frame."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sigma = 4.0 / 2.3548
    data, variance = frame().data - SKY, frame().uncertainty.array
    for column, row in zip(sources.x, sources.y, strict=True):
        profile = np.exp(-0.5 * ((x - column) ** 2 + (y - row) ** 2) / sigma**2) / (2.0 * np.pi * sigma**2)
        weight = profile / variance
        (weight * data).sum() / (weight * profile).sum()


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("ring", [False, True], ids=["circles", "rings"])
def test_bench_apertures(benchmark, n: int, ring: bool) -> None:
    pytest.importorskip("sep")
    pytest.importorskip("photutils")
    picture, sources = frame(), positions(n)
    options: dict[str, Any] = {"annulus": RING} if ring else {"sky": "background"}
    stage = albireo_aperture.Aperture(radius=RADII, **options)

    def ours() -> None:
        stage.measure(picture, sources, flat_map(), None)

    runs = 3 if n > 1000 else 15
    mine = milliseconds(ours, runs)
    sep_ms, photutils_ms = (milliseconds(lambda f=f: f(sources, ring), 2) for f in (by_sep, by_photutils))
    benchmark.pedantic(ours, rounds=runs)
    kib = kibibytes(ours)
    benchmark.extra_info.update(ms=mine, sep_ratio=sep_ms / mine, photutils_ratio=photutils_ms / mine, kib=kib)
    print(
        f"\n10 radii of {n} stars, {'ring' if ring else 'map'}: {mine:.2f} ms, {kib:.0f} KiB; sep {sep_ms / mine:.1f} "
        f"times as long, photutils {photutils_ms / mine:.1f}"
    )


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("ring", [False, True], ids=["map", "ring"])
def test_bench_optimal(benchmark, n: int, ring: bool) -> None:
    picture, sources, psf = frame(), positions(n), PSF(4.0)
    stage = albireo_aperture.Optimal(annulus=RING, sky="annulus" if ring else "background")

    def ours() -> None:
        stage.measure(picture, sources, flat_map(), psf)

    runs = 3 if n > 1000 else 15
    mine = milliseconds(ours, runs)
    whole = milliseconds(lambda: by_whole_profiles(sources[:WHOLE_FRAME_STARS]), 1) * n / WHOLE_FRAME_STARS
    benchmark.pedantic(ours, rounds=runs)
    kib = kibibytes(ours)
    benchmark.extra_info.update(ms=mine, whole_frame_ratio=whole / mine, kib=kib)
    print(
        f"\noptimal, {n} stars, {'ring' if ring else 'map'}: {mine:.2f} ms, {kib:.0f} KiB; profiles that fill the "
        f"frame {whole / mine:.0f} times as long"
    )
