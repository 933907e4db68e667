"""Compiled kernels: the statistics of `albireo_combine.reference`, column by column, at the speed of memory.

A tile of `WIDTH` neighbouring pixels of all frames is sorted at once by a network of comparators (Batcher's
merge-exchange; Knuth, The Art of Computer Programming, vol. 3, algorithm 5.2.2M): every comparator is a minimum and a
maximum over rows of the tile, which the compiler turns into vector instructions. From sorted columns the median, the
scatter, the clipping and the counts follow without another look at the data. Tiles stay in the second-level cache.

The functions release the global lock, so that blocks of pixels run on threads; each pixel is computed by itself and in
sorted order, so that blocks, threads and the order of frames do not change a bit of the result.

Importing this module compiles two functions, or loads them from numba's cache on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numba
import numpy as np

from albireo_combine.rules import MAD_TO_SIGMA

WIDTH = 128
"""Pixels sorted together. A constant of the compiled code, because the vectoriser needs to know it."""

_W = np.uint64(WIDTH)


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile with the cache on disk, or without it where no folder can be written."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(signature, nogil=True, cache=True)(function)
        except (RuntimeError, OSError):
            return numba.njit(signature, nogil=True)(function)

    return decorate


@numba.njit(inline="always")
def _middle(tile: Any, w: Any, lo: Any, hi: Any) -> float:
    """Median of the sorted column ``w`` between ranks ``lo`` and ``hi``."""
    first = lo + (hi - lo - 1) // 2
    second = lo + (hi - lo) // 2
    return 0.5 * (np.float64(tile[np.uint64(first) * _W + w]) + np.float64(tile[np.uint64(second) * _W + w]))


@numba.njit(inline="always")
def _nearest(tile: Any, w: Any, lo: Any, hi: Any, middle: float, k: Any) -> float:
    """Distance from ``middle`` of the k-th nearest of a sorted column (0 is the nearest), by bisection.

    The nearest k + 1 values are neighbours in rank. Of all such windows theirs has the smallest distance at its farther
    end, and where the upper end becomes the farther one the search is over.
    """
    left, right = lo, hi - k
    while left < right:
        half = (left + right) // 2
        below = middle - np.float64(tile[np.uint64(half) * _W + w])
        above = np.float64(tile[np.uint64(half + k) * _W + w]) - middle
        if above >= below:
            right = half
        else:
            left = half + 1
    distance = np.inf
    if left < hi - k:
        distance = np.float64(tile[np.uint64(left + k) * _W + w]) - middle
    if left > lo:
        distance = min(distance, middle - np.float64(tile[np.uint64(left - 1) * _W + w]))
    return distance


@numba.njit(inline="always")
def _spread(tile: Any, w: Any, lo: Any, hi: Any, middle: float) -> float:
    """Median absolute deviation from ``middle`` of a sorted column between two ranks."""
    number = hi - lo
    far = _nearest(tile, w, lo, hi, middle, number // 2)
    return far if number % 2 else 0.5 * (_nearest(tile, w, lo, hi, middle, number // 2 - 1) + far)


@_compiled("void(float32[::1], uint64[:, ::1])")
def _sort(tile: Any, comparators: Any) -> None:
    """Sort the columns of a tile of shape (n, WIDTH), flattened."""
    for k in range(comparators.shape[0]):
        i = comparators[k, 0] * _W
        j = comparators[k, 1] * _W
        for w in range(_W):
            x = tile[i + w]
            y = tile[j + w]
            ordered = x < y
            tile[i + w] = x if ordered else y
            tile[j + w] = y if ordered else x


@_compiled(
    "void(float32[:, ::1], int64, int64, uint64[:, ::1], int64, float64, float64, float64, float64, float64, float64, "
    "int64, float64[::1], float32[::1], float32[::1], int64[::1])"
)
def combine_block(
    data: Any,
    start: int,
    stop: int,
    comparators: Any,
    method: int,
    noise_floor: float,
    noise_slope: float,
    prior_weight: float,
    low: float,
    high: float,
    kept_variance: float,
    iterations: int,
    factors: Any,
    value: Any,
    variance: Any,
    totals: Any,
) -> None:
    """Combine pixels ``start`` to ``stop`` of ``data`` (n, pixels); see `albireo_combine.reference.combine_block`."""
    n = data.shape[0]
    tile = np.empty(n * WIDTH, dtype=np.float32)
    special = np.empty(WIDTH, dtype=np.bool_)
    centre = np.empty(WIDTH, dtype=np.float64)
    total = np.empty(WIDTH, dtype=np.float64)
    squares = np.empty(WIDTH, dtype=np.float64)
    infinite = np.float32(np.inf)
    clip = method != 0 and n > 2
    rejected = 0
    missing = 0
    for begin in range(start, stop, WIDTH):
        width = np.uint64(min(WIDTH, stop - begin))
        if width < _W:
            tile[:] = infinite
        for i in range(n):
            row = tile[i * WIDTH : (i + 1) * WIDTH]
            source = data[i, begin : stop if stop - begin < WIDTH else begin + WIDTH]
            for w in range(width):
                x = source[w]
                row[w] = x + np.float32(0.0) if abs(x) < infinite else infinite  # adding zero makes of -0 a plain 0
        _sort(tile, comparators)

        # All columns as if they were complete and had nothing to reject, in vector instructions.
        bottom = tile[:WIDTH]
        top = tile[(n - 1) * WIDTH :]
        first = tile[((n - 1) // 2) * WIDTH : ((n - 1) // 2 + 1) * WIDTH]
        second = tile[(n // 2) * WIDTH : (n // 2 + 1) * WIDTH]
        for w in range(_W):
            centre[w] = 0.5 * (np.float64(first[w]) + np.float64(second[w]))
            total[w] = 0.0
            squares[w] = 0.0
        for i in range(0, n - 3, 4):  # four rows at a time spare three quarters of the traffic of the sums
            row0 = tile[i * WIDTH : (i + 1) * WIDTH]
            row1 = tile[(i + 1) * WIDTH : (i + 2) * WIDTH]
            row2 = tile[(i + 2) * WIDTH : (i + 3) * WIDTH]
            row3 = tile[(i + 3) * WIDTH : (i + 4) * WIDTH]
            for w in range(_W):
                d0 = np.float64(row0[w]) - centre[w]
                d1 = np.float64(row1[w]) - centre[w]
                d2 = np.float64(row2[w]) - centre[w]
                d3 = np.float64(row3[w]) - centre[w]
                total[w] = (((total[w] + d0) + d1) + d2) + d3
                squares[w] = (((squares[w] + d0 * d0) + d1 * d1) + d2 * d2) + d3 * d3
        for i in range(n - n % 4, n):
            row = tile[i * WIDTH : (i + 1) * WIDTH]
            for w in range(_W):
                d = np.float64(row[w]) - centre[w]
                total[w] += d
                squares[w] += d * d
        out_value = value[begin:]
        out_variance = variance[begin:]
        for w in range(width):
            model = noise_floor + noise_slope * max(centre[w], 0.0)
            scatter = (squares[w] - total[w] * total[w] / n) / kept_variance
            pooled = (scatter + prior_weight * model) / (n - 1 + prior_weight)
            out_value[w] = np.float32(centre[w] if method == 1 else centre[w] + total[w] / n)
            out_variance[w] = np.float32(pooled * factors[n] / n)
            sigma = sqrt(model)
            far = (centre[w] - np.float64(bottom[w]) > low * sigma) | (np.float64(top[w]) - centre[w] > high * sigma)
            special[w] = (top[w] == infinite) | (clip & far)

        # The few others one by one.
        for w in range(width):
            if not special[w]:
                continue
            number = n
            while number > 0 and tile[np.uint64(number - 1) * _W + w] == infinite:
                number -= 1
            missing += n - number
            if number == 0:
                out_value[w] = np.nan
                out_variance[w] = np.nan
                continue
            middle = _middle(tile, w, 0, number)
            model = noise_floor + noise_slope * max(middle, 0.0)
            sigma = sqrt(model)
            lo, hi, here = 0, number, middle
            for _ in range(iterations if method != 0 else 0):
                before = hi - lo
                if before < 3:
                    break
                limit = max(sigma, MAD_TO_SIGMA * _spread(tile, w, lo, hi, here))
                while here - np.float64(tile[np.uint64(lo) * _W + w]) > low * limit:
                    lo += 1
                while np.float64(tile[np.uint64(hi - 1) * _W + w]) - here > high * limit:
                    hi -= 1
                if hi - lo == before:
                    break
                here = _middle(tile, w, lo, hi)
            used = hi - lo
            rejected += number - used
            s, q = 0.0, 0.0
            for i in range(lo, hi):
                d = np.float64(tile[np.uint64(i) * _W + w]) - middle
                s += d
                q += d * d
            scatter = (q - s * s / used) / kept_variance
            pooled = (scatter + prior_weight * model) / (used - 1 + prior_weight)
            held = number if method == 1 else used
            out_value[w] = np.float32(middle if method == 1 else middle + s / used)
            out_variance[w] = np.float32(pooled * factors[held] / held)
    totals[0] += rejected
    totals[1] += missing


def comparators(n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Pairs of ranks to compare, in order, that sort ``n`` values: shape (m, 2)."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max(0, (n - 1).bit_length() - 1)
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return np.array(pairs, dtype=np.uint64).reshape(-1, 2)
