"""Compiled kernels: the statistics of `albireo_combine.reference`, column by column, at the speed of memory.

A tile of `WIDTH` neighbouring pixels of all frames is sorted at once by a network of comparators (Batcher's odd-even
merge sort; Knuth, The Art of Computer Programming, vol. 3, section 5.3.4): every comparator is a minimum and a maximum
over rows of the tile, which the compiler turns into vector instructions. From sorted columns the median, the scatter,
the rejection and the counts follow without another look at the data. Tiles stay in the first or second-level cache.

The functions release the global lock, so that blocks of pixels run on threads; each pixel is computed by itself and in
sorted order, so that blocks, threads and the order of frames do not change a bit of the result.

Importing this module compiles two functions, or loads them from numba's cache on disk.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numba
import numpy as np

from albireo import kernel
from albireo_combine.rules import MAD_TO_SIGMA, WINSOR_CHANGE, WINSOR_DEVIATION, WINSOR_LIMIT, WINSOR_ROUNDS

WIDTH = 128
"""Pixels sorted together. A constant of the compiled code, because the vectoriser needs to know it."""

_W = np.uint64(WIDTH)

PAIR, MERGE, FOUR = 0, 1, 2
"""Steps of a sorting network: one comparator; three that merge ranks a < c and b < d; five that sort four ranks."""

SAFE = 1.0 - 1e-6
"""Factor for a quick test that is followed by the exact one."""


@numba.njit(inline="always")
def _middle(tile: Any, w: Any, lo: Any, hi: Any) -> float:
    """Median of the sorted column ``w`` between ranks ``lo`` and ``hi``."""
    first = lo + (hi - lo - 1) // 2
    second = lo + (hi - lo) // 2
    return 0.5 * (np.float64(tile[np.uint64(first) * _W + w]) + np.float64(tile[np.uint64(second) * _W + w]))


@numba.njit(inline="always")
def _spread(tile: Any, w: Any, lo: Any, hi: Any, middle: float) -> float:
    """Median absolute deviation from ``middle`` of a sorted column between two ranks, by bisection.

    The nearest k + 1 values are neighbours in rank. Of all such windows theirs has the smallest distance at its farther
    end, and where the upper end becomes the farther one the search is over. The next nearest value is at an end too.
    """
    k = (hi - lo) // 2
    left, right = lo, hi - k
    while left < right:
        half = (left + right) // 2
        below = middle - np.float64(tile[np.uint64(half) * _W + w])
        above = np.float64(tile[np.uint64(half + k) * _W + w]) - middle
        if above >= below:
            right = half
        else:
            left = half + 1
    if left > lo:
        below = middle - np.float64(tile[np.uint64(left - 1) * _W + w])
        if left == hi - k or below < np.float64(tile[np.uint64(left + k) * _W + w]) - middle:
            left -= 1
    below = middle - np.float64(tile[np.uint64(left) * _W + w])
    above = np.float64(tile[np.uint64(left + k) * _W + w]) - middle
    far = max(below, above)
    if (hi - lo) % 2:
        return far
    if below > above:
        return 0.5 * (max(middle - np.float64(tile[np.uint64(left + 1) * _W + w]), above) + far)
    return 0.5 * (max(below, np.float64(tile[np.uint64(left + k - 1) * _W + w]) - middle) + far)


@kernel("void(float32[::1], uint64[:, ::1])")
def sort_tile(tile: Any, network: Any) -> None:
    """Sort the columns of a tile of shape (n, WIDTH), flattened, by a `network` of comparators.

    Several comparators of the same four rows are done at once: a row is then loaded and stored once for all of them.
    """
    for k in range(network.shape[0]):
        kind = network[k, 0]
        i, j, m, n = network[k, 1] * _W, network[k, 2] * _W, network[k, 3] * _W, network[k, 4] * _W
        if kind == PAIR:
            for w in range(_W):
                x, y = tile[i + w], tile[j + w]
                ordered = x < y
                tile[i + w] = x if ordered else y
                tile[j + w] = y if ordered else x
        else:
            for w in range(_W):
                a, b, c, d = tile[i + w], tile[j + w], tile[m + w], tile[n + w]
                a, c = (a if a < c else c), (c if a < c else a)
                b, d = (b if b < d else d), (d if b < d else b)
                if kind == FOUR:
                    a, b = (a if a < b else b), (b if a < b else a)
                    c, d = (c if c < d else d), (d if c < d else c)
                b, c = (b if b < c else c), (c if b < c else b)
                tile[i + w] = a
                tile[j + w] = b
                tile[m + w] = c
                tile[n + w] = d


@numba.njit(inline="always")
def _deviation(tile: Any, w: Any, lo: Any, hi: Any, middle: float, edge: float) -> float:
    """Standard deviation of distances from ``middle`` between two ranks, each pulled in to ``edge``."""
    total = 0.0
    for i in range(lo, hi):
        total += min(max(np.float64(tile[np.uint64(i) * _W + w]) - middle, -edge), edge)
    mean = total / (hi - lo)
    squares = 0.0
    for i in range(lo, hi):
        offset = min(max(np.float64(tile[np.uint64(i) * _W + w]) - middle, -edge), edge) - mean
        squares += offset * offset
    return sqrt(squares / (hi - lo - 1))


@numba.njit(inline="always")
def _width(tile: Any, w: Any, lo: Any, hi: Any, middle: float, clipping: int) -> float:
    """Width of a sorted column between two ranks; see `albireo_combine.rules`."""
    if clipping == 2:
        return _deviation(tile, w, lo, hi, middle, np.inf)
    width = MAD_TO_SIGMA * _spread(tile, w, lo, hi, middle)
    if clipping == 3:
        for _ in range(WINSOR_ROUNDS):
            new = _deviation(tile, w, lo, hi, middle, WINSOR_LIMIT * width) / WINSOR_DEVIATION
            close = abs(new - width) <= WINSOR_CHANGE * width
            width = new
            if close:
                break
    return width


@kernel(
    "void(float32[:, ::1], int64, int64, uint64[:, ::1], boolean, int64, float64, float64, float64, float64, float64, "
    "int64, int64[:, ::1], float64[::1], float64[::1], float32[::1], float32[::1], uint16[::1], uint16[::1], "
    "int64[::1])"
)
def combine_block(
    data: Any,
    start: int,
    stop: int,
    network: Any,
    median: bool,
    clipping: int,
    noise_floor: float,
    noise_slope: float,
    prior_weight: float,
    low: float,
    high: float,
    iterations: int,
    drops: Any,
    kept: Any,
    error: Any,
    value: Any,
    variance: Any,
    count: Any,
    rejected: Any,
    totals: Any,
) -> None:
    """Combine pixels ``start`` to ``stop`` of ``data`` (n, pixels); see `albireo_combine.reference.combine_block`."""
    n = data.shape[0]
    tile = np.empty(n * WIDTH, dtype=np.float32)
    special = np.empty(WIDTH, dtype=np.bool_)
    total = np.empty(WIDTH, dtype=np.float32)
    squares = np.empty(WIDTH, dtype=np.float32)
    infinite = np.float32(np.inf)
    clip = clipping > 0 and n > 2
    # Ranks of a complete column that has nothing to clip.
    bottom, top = drops[n, 0], n - drops[n, 1]
    whole = top - bottom
    count[start:stop] = whole
    rejected[start:stop] = n - whole
    dropped = (n - whole) * (stop - start)
    missing = 0
    share, weight = 1.0 / whole, 1.0 / (whole - 1 + prior_weight)
    # A little below the limits, so that rounding sends a column to the exact test rather than past it.
    low2, high2 = SAFE * low * low, SAFE * high * high
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
        sort_tile(tile, network)

        # All columns as if they were complete and had nothing to clip, in vector instructions.
        centre = tile[((n - 1) // 2) * WIDTH : ((n - 1) // 2 + 1) * WIDTH]
        for w in range(_W):
            total[w] = 0.0
            squares[w] = 0.0
        for i in range(bottom, top - 3, 4):  # four rows at a time spare three quarters of the traffic of the sums
            row0 = tile[i * WIDTH : (i + 1) * WIDTH]
            row1 = tile[(i + 1) * WIDTH : (i + 2) * WIDTH]
            row2 = tile[(i + 2) * WIDTH : (i + 3) * WIDTH]
            row3 = tile[(i + 3) * WIDTH : (i + 4) * WIDTH]
            for w in range(_W):
                d0 = row0[w] - centre[w]
                d1 = row1[w] - centre[w]
                d2 = row2[w] - centre[w]
                d3 = row3[w] - centre[w]
                total[w] = (((total[w] + d0) + d1) + d2) + d3
                squares[w] = (((squares[w] + d0 * d0) + d1 * d1) + d2 * d2) + d3 * d3
        for i in range(top - whole % 4, top):
            row = tile[i * WIDTH : (i + 1) * WIDTH]
            for w in range(_W):
                d = row[w] - centre[w]
                total[w] += d
                squares[w] += d * d
        out_value = value[begin:]
        out_variance = variance[begin:]
        least = tile[:WIDTH]
        most = tile[(n - 1) * WIDTH :]
        upper = tile[(n // 2) * WIDTH : (n // 2 + 1) * WIDTH]
        first = tile[((bottom + top - 1) // 2) * WIDTH : ((bottom + top - 1) // 2 + 1) * WIDTH]
        second = tile[((bottom + top) // 2) * WIDTH : ((bottom + top) // 2 + 1) * WIDTH]
        for w in range(width):
            middle = 0.5 * (np.float64(centre[w]) + np.float64(upper[w]))
            model = noise_floor + noise_slope * max(middle, 0.0)
            s = np.float64(total[w])
            scatter = (np.float64(squares[w]) - s * s * share) / kept[n]
            inner = 0.5 * (np.float64(first[w]) + np.float64(second[w]))
            out_value[w] = np.float32(inner if median else np.float64(centre[w]) + s * share)
            out_variance[w] = np.float32((scatter + prior_weight * model) * weight * error[n] * share)
            below, above = middle - np.float64(least[w]), np.float64(most[w]) - middle
            far = (below * below > low2 * model) | (above * above > high2 * model)
            special[w] = (most[w] == infinite) | (clip & far)

        # The few others one by one.
        for w in range(width):
            if not special[w]:
                continue
            pixel = begin + w
            number = n
            while number > 0 and tile[np.uint64(number - 1) * _W + w] == infinite:
                number -= 1
            missing += n - number
            dropped -= n - whole
            if number == 0:
                out_value[w] = np.nan
                out_variance[w] = np.nan
                count[pixel] = 0
                rejected[pixel] = 0
                continue
            around = _middle(tile, w, 0, number)
            expected = noise_floor + noise_slope * max(around, 0.0)
            sigma = sqrt(expected)
            lo, hi, here = drops[number, 0], number - drops[number, 1], around
            for _ in range(iterations if clip else 0):
                before = hi - lo
                if before < 3:
                    break
                limit = max(sigma, _width(tile, w, lo, hi, here, clipping))
                while here - np.float64(tile[np.uint64(lo) * _W + w]) > low * limit:
                    lo += 1
                while np.float64(tile[np.uint64(hi - 1) * _W + w]) - here > high * limit:
                    hi -= 1
                if hi - lo == before:
                    break
                here = _middle(tile, w, lo, hi)
            used = hi - lo
            dropped += number - used
            count[pixel] = used
            rejected[pixel] = number - used
            origin = tile[np.uint64((number - 1) // 2) * _W + w]
            s32, q32 = np.float32(0.0), np.float32(0.0)
            for i in range(lo, hi):
                d = tile[np.uint64(i) * _W + w] - origin
                s32 += d
                q32 += d * d
            part = 1.0 / used
            scatter = (np.float64(q32) - np.float64(s32) * np.float64(s32) * part) / kept[number]
            out_value[w] = np.float32(
                _middle(tile, w, lo, hi) if median else np.float64(origin) + np.float64(s32) * part
            )
            freedom = 1.0 / (used - 1 + prior_weight)
            out_variance[w] = np.float32((scatter + prior_weight * expected) * freedom * error[number] * part)
    totals[0] += dropped
    totals[1] += missing


def network(n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Comparators that sort ``n`` values, in order: shape (m, 5), kind and up to four ranks.

    Batcher's odd-even merge sort of fours, eights and so on; ranks beyond ``n`` would hold the largest values and stay
    where they are, so that their comparators are left out.
    """
    steps = [row for start in range(0, n, 4) for row in _sorted_four(start, n)]
    size = 4
    while size < n:
        for start in range(0, n, 2 * size):
            steps += _merged(start, size, n)
        size *= 2
    return np.array(steps, dtype=np.uint64).reshape(-1, 5)


def _sorted_four(start: int, n: int) -> list[tuple[int, ...]]:
    if start + 4 <= n:
        return [(FOUR, start, start + 1, start + 2, start + 3)]
    pairs = {1: [], 2: [(0, 1)], 3: [(0, 1), (1, 2), (0, 1)]}[n - start]
    return [(PAIR, start + i, start + j, start, start) for i, j in pairs]


def _merged(start: int, size: int, n: int) -> list[tuple[int, ...]]:
    """Comparators that merge two sorted runs of ``size``, the first at ``start``: two distances at a time."""
    stop = min(start + 2 * size, n)
    layers = []
    distance = size
    while distance:
        first = start if distance == size else start + distance
        ranks = range(first, start + 2 * size - distance)
        layers.append([(i, i + distance) for i in ranks if (i - first) // distance % 2 == 0 and i + distance < stop])
        distance //= 2
    steps: list[tuple[int, ...]] = []
    done: set[tuple[int, int]] = set()
    for here, after in zip(layers, [*layers[1:], []], strict=True):
        known, next_ones, half = {*here}, {*after}, after[0][1] - after[0][0] if after else 0
        fellows = [((a, c), (c - half, 2 * c - half - a)) for a, c in here]
        fours = {(a, c): (b, d) for (a, c), (b, d) in fellows if a < b and (b, c) in next_ones and (b, d) in known}
        for (a, c), (b, d) in fours.items():
            if not {(a, c), (b, d)} & done:
                steps.append((MERGE, a, b, c, d))
                done |= {(a, c), (b, d), (b, c)}
        steps += [(PAIR, i, j, i, i) for i, j in here if (i, j) not in done]
    return steps
