"""Compiled kernels: many values of each pixel into one.

`medians` sorts `WIDTH` neighbouring pixels of all frames at once by a network of comparators (Batcher's merge-exchange;
Knuth, The Art of Computer Programming, vol. 3, algorithm 5.2.2M): every comparator is a minimum and a maximum over rows
of a tile, which the compiler turns into vector instructions. `clipped_mean` then goes through the frames in their
order. Each pixel is computed by itself, so strips and threads do not change a bit of the result.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from albireo import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["clipped_mean", "comparators", "median_errors", "medians"]

WIDTH = 64
"""Pixels sorted together. A constant of the compiled code, because the vectoriser needs to know it."""

_W = np.uint64(WIDTH)

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution in units of its median absolute deviation."""


@numba.njit(inline="always")
def _sort(tile: Any, network: Any) -> None:
    """Sort the columns of a tile of shape (n, WIDTH), flattened."""
    for k in range(network.shape[0]):
        i, j = network[k, 0] * _W, network[k, 1] * _W
        for w in range(_W):
            x, y = tile[i + w], tile[j + w]
            ordered = x < y
            tile[i + w] = x if ordered else y
            tile[j + w] = y if ordered else x


@kernel("void(float32[:, ::1], uint64[:, ::1], boolean, float32[::1], float32[::1], int64, int64)")
def medians(values: Any, network: Any, lower: bool, middle: Any, spread: Any, start: int, stop: int) -> None:
    """Give the median of each pixel, and the median absolute deviation from it.

    Parameters
    ----------
    values : ndarray of float32, shape (n, pixels)
        NaN where a frame has no value.
    network : ndarray of uint64, shape (m, 2)
        From `comparators`.
    lower : bool
        Whether the middle of two values is the lower one, with no deviation, instead of their mean.
    middle, spread : ndarray of float32, shape (pixels,)
        Filled; NaN without a value.
    start, stop : int
        Which pixels.
    """
    n = values.shape[0]
    infinite, half = np.float32(np.inf), np.float32(0.5)
    tile = np.empty(n * WIDTH, dtype=np.float32)
    tile[:] = infinite
    number = np.empty(WIDTH, dtype=np.int64)
    center = np.empty(WIDTH, dtype=np.float32)
    for begin in range(start, stop, WIDTH):
        width = min(WIDTH, stop - begin)
        number[:] = 0
        for i in range(n):
            row = values[i, begin:stop]
            for w in range(width):
                there = row[w] == row[w]
                tile[i * WIDTH + w] = row[w] if there else infinite
                number[w] += 1 if there else 0
        _sort(tile, network)
        for w in range(width):
            low, high = (number[w] - 1) // 2, number[w] // 2
            if number[w] == 0:
                center[w] = np.nan
            elif number[w] == 2 and lower:
                center[w] = tile[w]
            else:
                center[w] = half * (tile[low * WIDTH + w] + tile[high * WIDTH + w])
            middle[begin + w] = center[w]
        for i in range(n):
            for w in range(width):
                value = tile[i * WIDTH + w]
                tile[i * WIDTH + w] = abs(value - center[w]) if value < infinite else infinite
        _sort(tile, network)
        for w in range(width):
            low, high = (number[w] - 1) // 2, number[w] // 2
            if number[w] == 0:
                spread[begin + w] = np.nan
            elif number[w] == 2 and lower:
                spread[begin + w] = np.float32(0.0)
            else:
                spread[begin + w] = half * (tile[low * WIDTH + w] + tile[high * WIDTH + w])


@kernel("void(float32[:, ::1], float32[:, ::1], float32[::1], float32[::1], float32[::1], int32[::1], int64, int64)")
def median_errors(
    values: Any, variances: Any, exptimes: Any, inverse: Any, coverage: Any, count: Any, start: int, stop: int
) -> None:
    """Count the values of each pixel, and sum their exposure times and the inverse of their errors.

    Parameters
    ----------
    values, variances : ndarray of float32, shape (n, pixels)
    exptimes : ndarray of float32, shape (n,)
    inverse, coverage : ndarray of float32, shape (pixels,)
    count : ndarray of int32, shape (pixels,)
        Filled.
    start, stop : int
        Which pixels.
    """
    n = values.shape[0]
    for p in range(start, stop):
        total, seconds, number = 0.0, 0.0, 0
        for i in range(n):
            if values[i, p] == values[i, p]:
                total += 1.0 / sqrt(variances[i, p]) if variances[i, p] > 0.0 else np.inf
                seconds += exptimes[i]
                number += 1
        inverse[p], coverage[p], count[p] = total, seconds, number


@kernel(
    "void(float32[:, ::1], float32[:, ::1], float32[::1], float32[::1], float32[::1], float64[::1], float32[::1],"
    " float32[::1], float64, float32[::1], float32[::1], float32[::1], int32[::1], int32[::1], int64, int64)"
)
def clipped_mean(
    values: Any,
    variances: Any,
    middle: Any,
    spread: Any,
    slack: Any,
    weights: Any,
    exptimes: Any,
    slopes: Any,
    kappa: float,
    data: Any,
    variance: Any,
    coverage: Any,
    count: Any,
    rejected: Any,
    start: int,
    stop: int,
) -> None:
    """Average what is not too far from the median.

    Parameters
    ----------
    values, variances : ndarray of float32, shape (n, pixels)
    middle, spread : ndarray of float32, shape (pixels,)
        From `medians`.
    slack : ndarray of float32, shape (pixels,)
        How far a value may be off whatever its noise.
    weights : ndarray of float64, shape (n,)
    exptimes : ndarray of float32, shape (n,)
    slopes : ndarray of float32, shape (n,)
        Change of the variance of a value with the value: its variance at the median follows.
    kappa : float
        Limit in standard deviations.
    data, variance, coverage : ndarray of float32, shape (pixels,)
    count, rejected : ndarray of int32, shape (pixels,)
        Filled.
    start, stop : int
        Which pixels.
    """
    n = values.shape[0]
    total, squares, weight = np.empty(WIDTH), np.empty(WIDTH), np.empty(WIDTH)
    seconds = np.empty(WIDTH, dtype=np.float32)
    used, refused = np.empty(WIDTH, dtype=np.int32), np.empty(WIDTH, dtype=np.int32)
    zero = np.float32(0.0)
    one, none = np.int32(1), np.int32(0)
    factor, sigma = np.float32(kappa), np.float32(MAD_TO_SIGMA)
    for begin in range(start, stop, WIDTH):
        width = min(WIDTH, stop - begin)
        total[:], squares[:], weight[:], seconds[:], used[:], refused[:] = 0.0, 0.0, 0.0, zero, none, none
        center, far, free = middle[begin:stop], spread[begin:stop], slack[begin:stop]
        for i in range(n):
            value, noise = values[i, begin:stop], variances[i, begin:stop]
            w, exptime, slope = weights[i], exptimes[i], slopes[i]
            for p in range(width):
                off = value[p] - center[p]
                expected = noise[p] - slope * off
                root = np.sqrt(expected if expected > zero else zero)
                scatter = sigma * far[p]
                good = abs(off) <= factor * (root if root > scatter else scatter) + free[p]
                total[p] += w * np.float64(value[p]) if good else 0.0
                squares[p] += w * w * np.float64(noise[p]) if good else 0.0
                weight[p] += w if good else 0.0
                seconds[p] += exptime if good else zero
                used[p] += one if good else none
                refused[p] += one if (not good) & (off == off) else none
        for p in range(width):
            there = used[p] > 0
            data[begin + p] = total[p] / weight[p] if there else np.nan
            variance[begin + p] = squares[p] / (weight[p] * weight[p]) if there else np.nan
            coverage[begin + p] = seconds[p]
            count[begin + p] = used[p]
            rejected[begin + p] = refused[p]


@lru_cache
def comparators(n: int) -> NDArray[np.uint64]:
    """Give pairs of ranks to compare, in order, that sort ``n`` values: shape (m, 2)."""
    parts: list[NDArray[np.int64]] = []
    top = 1 << max(0, (n - 1).bit_length() - 1)
    ranks = np.arange(n)
    p = top if n > 1 else 0
    while p:
        q, r, d = top, 0, p
        while True:
            first = ranks[: max(0, n - d)]
            first = first[(first & p) == r]
            parts.append(np.stack([first, first + d], axis=1))
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return np.concatenate([np.empty((0, 2), dtype=np.int64), *parts]).astype(np.uint64)
