"""Aligners against astroalign on the same lists and phase correlation on the same images.

Run with ``pytest tests/benchmarks/test_bench_alignment.py --benchmark-only -s``. Lists have fifty stars, positions good
to 0.1 pixel, a fifth of each unknown to the other; images have ``ALBIREO_BENCH_SIZE`` squared pixels (1024 if not set).
All run interleaved in one process; figures are medians, printed and kept in ``extra_info``. Nothing is asserted about
time.

* ``ratio``: seconds of the other program over ours;
* ``error``, ``peer_error``: largest error of the maps anywhere in the field, in pixels.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from albireo import FrameError, Sources, Transform
from albireo.testing import Profile, Scene, simulate_image

pytest.importorskip("albireo_alignment")

SIZE = int(os.environ.get("ALBIREO_BENCH_SIZE", "1024"))
FIELD = 1000.0
ROUNDS = 15
CASES = {
    "drift": Transform.similarity(41.3, -22.7, rotation=0.02),
    "half a turn": Transform.similarity(FIELD, FIELD, rotation=179.7),
    "unrelated": None,
}


def lists(truth: Transform | None) -> tuple[np.ndarray, np.ndarray]:
    """Positions on an image and on the reference, brightest first; shape (50, 2)."""
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, FIELD, (2, 50))
    here = rng.uniform(0, FIELD, (2, 50)) if truth is None else np.array(truth(x, y)) + rng.normal(0, 0.1, (2, 50))
    here[:, ::5] = rng.uniform(0, FIELD, (2, 10))
    return here.T, np.stack([x, y], axis=1)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def error(found: Transform, truth: Transform, size: float) -> float:
    x, y = (side.ravel() for side in np.meshgrid([0.0, size], [0.0, size]))
    return float(np.hypot(*np.subtract(found(x, y), truth(x, y))).max())


def attempt(work: Callable[[], Any], refusals: tuple[type[Exception], ...]) -> Any:
    try:
        return work()
    except refusals:
        return None


@pytest.mark.parametrize("case", CASES)
def test_bench_patterns(benchmark, case: str) -> None:
    from albireo_alignment import Patterns

    astroalign = pytest.importorskip("astroalign")
    truth, (here, there) = CASES[case], lists(CASES[case])
    image, reference = Sources.make(*here.T), Sources.make(*there.T)

    def ours() -> Any:
        return attempt(lambda: Patterns().align(image, reference), (FrameError,))

    def peer() -> Any:
        search = astroalign.find_transform
        return attempt(lambda: search(there, here), (astroalign.MaxIterError, ValueError))

    found, theirs = ours(), peer()
    rounds = ROUNDS if truth is not None else 5
    peers = [seconds(peer) for _ in range(rounds)]
    benchmark.pedantic(ours, rounds=5 * rounds, warmup_rounds=2)
    mine = benchmark.stats.stats.median
    ratio = float(np.median(peers)) / mine
    benchmark.extra_info.update(ratio=ratio, peer_seconds=float(np.median(peers)))
    text = f"\npatterns, {case}: {1e3 * mine:.2f} ms, astroalign {1e3 * np.median(peers):.1f} ms ({ratio:.0f} times)"
    if truth is None:
        assert found is None
    else:
        matrix = np.asarray(theirs[0].params) if theirs is not None else np.full((3, 3), np.nan)
        errors = error(found, truth, FIELD), error(Transform(matrix), truth, FIELD)
        assert errors[0] < 0.2
        benchmark.extra_info.update(error=errors[0], peer_error=errors[1])
        text += f"; largest errors {errors[0]:.3f} and {errors[1]:.3f} pixels"
    print(text)


def test_bench_correlation(benchmark) -> None:
    from albireo_alignment import Correlation

    registration = pytest.importorskip("skimage.registration")
    truth = Transform.similarity(31.3, -12.6)
    scene = Scene.field((SIZE, SIZE), max(10, SIZE**2 // 20_000), 1e5, 1e3, seed=1)
    image, reference = (
        simulate_image(scene, (SIZE, SIZE), profile=Profile(3.0, 3.5), sky=500.0, transform=view, seed=seed).image
        for view, seed in ((truth, 2), (Transform.identity(), 1))
    )

    def ours() -> Transform:
        return Correlation().align_images(image, reference)

    def peer() -> Transform:
        pixels = [picture.data - np.median(picture.data) for picture in (image, reference)]
        dy, dx = registration.phase_cross_correlation(*pixels, upsample_factor=20, normalization=None)[0]
        return Transform.similarity(float(dx), float(dy))

    errors = error(ours(), truth, SIZE), error(peer(), truth, SIZE)
    assert errors[0] < 0.1
    peers = [seconds(peer) for _ in range(5)]
    benchmark.pedantic(ours, rounds=5, warmup_rounds=1)
    mine = benchmark.stats.stats.median
    ratio = float(np.median(peers)) / mine
    benchmark.extra_info.update(
        ratio=ratio, peer_seconds=float(np.median(peers)), error=errors[0], peer_error=errors[1]
    )
    print(
        f"\ncorrelation of {SIZE} x {SIZE}: {1e3 * mine:.0f} ms, scikit-image {1e3 * np.median(peers):.0f} ms "
        f"({ratio:.1f} times); errors {errors[0]:.3f} and {errors[1]:.3f} pixels"
    )
