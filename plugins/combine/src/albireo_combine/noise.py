"""What noise one value should have, from the difference of two frames.

The difference of two frames of the same light knows nothing of the pattern they share. Its variance, halved, against
the level is the photon transfer curve: read noise at the bottom and photon noise in proportion to the level (Janesick
2001, Scientific Charge-Coupled Devices, chapter 2). No gain need be known for it.
"""

from __future__ import annotations

from math import erf, exp, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from albireo_combine.rules import MAD_TO_SIGMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 1 << 18
"""Pixels that are enough: a variance from so many is right to 0.3 %."""

BINS = 16
"""Ranges of level, with equal numbers of pixels, in which the noise is measured."""

CLIP = 4.0
"""Differences farther out than this many standard deviations are cosmic rays, stars or bad pixels."""


def kept_variance(limit: float) -> float:
    """Variance of a unit normal distribution cut at ``-limit`` and ``limit``."""
    density = exp(-0.5 * limit * limit) / sqrt(2.0 * pi)
    return 1.0 - 2.0 * limit * density / erf(limit / sqrt(2.0))


def sampled(shape: tuple[int, ...]) -> slice:
    """Rows that make a sample of an image: all of a small one, else every k-th with odd k."""
    step = -(-shape[0] * shape[1] // SAMPLE)
    return slice(None, None, step + 1 - step % 2)


def pair_noise(first: NDArray[np.floating], second: NDArray[np.floating], *, with_light: bool) -> tuple[float, float]:
    """Variance of one value as a straight line in the level.

    Parameters
    ----------
    first, second : ndarray
        Two frames at the same level; NaN pixels do not take part.
    with_light : bool
        Whether noise may grow with the level; false for bias frames.

    Returns
    -------
    floor, slope : float
        ``floor + slope * level``, neither negative; both zero if there is nothing to measure.
    """
    good = np.isfinite(first) & np.isfinite(second)
    a, b = first[good].astype(np.float64), second[good].astype(np.float64)
    if a.size < 2:
        return 0.0, 0.0
    difference, level = a - b, 0.5 * (a + b)
    bins = max(1, min(BINS, a.size // 100)) if with_light else 1
    groups = np.array_split(np.argsort(level, kind="stable"), bins) if bins > 1 else [slice(None)]
    variances = np.array([0.5 * _clipped_variance(difference[group]) for group in groups])
    levels = np.array([level[group].mean() for group in groups])
    mean_variance, mean_level = variances.mean(), levels.mean()
    offset = levels - mean_level
    spread = float((offset**2).sum())
    slope = max(float((offset * variances).sum()) / spread, 0.0) if spread > 0 else 0.0
    floor = mean_variance - slope * mean_level
    if floor < 0 < mean_level:
        floor, slope = 0.0, mean_variance / mean_level
    return float(floor), float(slope)


def _clipped_variance(values: NDArray[np.float64]) -> float:
    values = values - np.median(values)
    limit = CLIP * MAD_TO_SIGMA * float(np.median(np.abs(values)))
    if limit == 0.0:
        limit = CLIP * float(values.std())
    variance = 0.0
    for _ in range(3):
        kept = values[np.abs(values) <= limit]
        variance = float(kept.var()) / kept_variance(CLIP)
        limit = CLIP * variance**0.5
    return variance
