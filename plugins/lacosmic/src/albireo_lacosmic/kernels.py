"""Compiled kernels: the two steps of `albireo_lacosmic.reference`, with equal results.

`screen` goes over the whole frame once, a piece of a row at a time. `medians` sorts the windows of `WIDTH` places at
once by a network of comparators (Batcher's merge-exchange; Knuth, The Art of Computer Programming, vol. 3, algorithm
5.2.2M): every comparator is a minimum and a maximum over rows of a tile, which the compiler turns into vector
instructions.

The functions release the global lock. Importing this module compiles both, or loads them from numba's cache on disk.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy as np

from albireo import kernel
from albireo_lacosmic.rules import PAD, TINY

PIECE = 256
"""Pixels of a row screened together: their buffers stay in the first-level cache."""

WIDTH = 64
"""Windows sorted together. A constant of the compiled code, because the vectoriser needs to know it."""

_W = np.uint64(WIDTH)


@numba.njit(inline="always")
def _low(a: Any, b: Any) -> Any:
    return a if a < b else b


@numba.njit(inline="always")
def _high(a: Any, b: Any) -> Any:
    return b if a < b else a


@kernel("int64(float32[:, ::1], float32[:, ::1], boolean[:, ::1], float32, int64[::1])")
def screen(pixels: Any, variance: Any, closed: Any, limit: Any, found: Any) -> int:
    """Find places whose sharpness may be above a limit; see `albireo_lacosmic.reference.screen`.

    Returns
    -------
    int
        How many there are. As many as fit are in ``found``.
    """
    ny, nx = pixels.shape
    two, quarter, zero, tiny = np.float32(2.0), np.float32(0.25), np.float32(0.0), np.float32(TINY)
    columns = np.empty(PIECE + 4, dtype=np.float32)
    passed = np.empty(PIECE, dtype=np.bool_)
    total = 0
    for y in range(PAD, ny - PAD):
        for begin in range(PAD, nx - PAD, PIECE):
            width = min(PIECE, nx - PAD - begin)
            end = begin + width
            v0 = variance[y - 2, begin - 2 : end + 2]
            v1 = variance[y - 1, begin - 2 : end + 2]
            v2 = variance[y, begin - 2 : end + 2]
            v3 = variance[y + 1, begin - 2 : end + 2]
            v4 = variance[y + 2, begin - 2 : end + 2]
            for x in range(width + 4):
                lowest = _high(_low(v0[x], v1[x]), _low(v2[x], v3[x]))
                highest = _low(_high(v0[x], v1[x]), _high(v2[x], v3[x]))
                columns[x] = _high(_low(lowest, highest), _low(_high(lowest, highest), v4[x]))
            c1, c2, c3, c4 = columns[1:], columns[2:], columns[3:], columns[4:]
            up, here, down = pixels[y - 1, begin:end], pixels[y, begin:end], pixels[y + 1, begin:end]
            left, right = pixels[y, begin - 1 : end - 1], pixels[y, begin + 1 : end + 1]
            number = 0
            for x in range(width):
                floor = _high(_low(_low(_low(columns[x], c1[x]), _low(c2[x], c3[x])), c4[x]), tiny)
                double = two * here[x]
                curved = _high(double - up[x] - left[x], zero) + _high(double - up[x] - right[x], zero)
                curved += _high(double - down[x] - left[x], zero) + _high(double - down[x] - right[x], zero)
                curved *= quarter
                passed[x] = curved * curved > limit * floor
                number += passed[x]
            if number == 0:
                continue
            for x in range(width):
                if passed[x] and not closed[y, begin + x]:
                    if total < found.size:
                        found[total] = y * nx + begin + x
                    total += 1
    return total


@kernel("void(float32[::1], boolean[::1], int64[::1], int64[::1], uint64[:, ::1], float32[::1], int64[::1])")
def _medians(plane: Any, hole: Any, places: Any, steps: Any, comparators: Any, medians: Any, numbers: Any) -> None:
    """Fill in the median of each window and the number of its values; an empty ``hole`` means that there are none."""
    n = steps.size
    infinite, half = np.float32(np.inf), np.float32(0.5)
    tile = np.empty(n * WIDTH, dtype=np.float32)
    tile[:] = infinite
    for begin in range(0, places.size, WIDTH):
        width = min(WIDTH, places.size - begin)
        for w in range(width):
            place, number = places[begin + w], n
            for k in range(n):
                tile[k * WIDTH + w] = plane[place + steps[k]]
            if hole.size:
                for k in range(n):
                    if hole[place + steps[k]]:
                        tile[k * WIDTH + w] = infinite
                        number -= 1
            numbers[begin + w] = number
        for k in range(comparators.shape[0]):
            i = comparators[k, 0] * _W
            j = comparators[k, 1] * _W
            for w in range(_W):
                x = tile[i + w]
                y = tile[j + w]
                ordered = x < y
                tile[i + w] = x if ordered else y
                tile[j + w] = y if ordered else x
        for w in range(width):
            number = numbers[begin + w]
            if number:
                below, above = tile[(number - 1) // 2 * WIDTH + w], tile[number // 2 * WIDTH + w]
                medians[begin + w] = half * (below + above)
            else:
                medians[begin + w] = np.float32(np.nan)


def medians(plane: Any, places: Any, steps: Any, hole: Any = None) -> tuple[Any, Any]:
    """Take medians of windows; see `albireo_lacosmic.reference.medians`."""
    found, numbers = np.empty(places.size, dtype=np.float32), np.empty(places.size, dtype=np.int64)
    holes = np.empty(0, dtype=np.bool_) if hole is None else hole.reshape(-1)
    _medians(plane.reshape(-1), holes, places, steps, _comparators(steps.size), found, numbers)
    return found, numbers


@lru_cache
def _comparators(n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
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
