"""The compiled kernel of weighted means, `albireo_combine.reference.weigh_block`: some twenty times as slow as without.

Every value has its own weight, so that pixels are worked on one by one. Importing this module compiles one function, or
loads it from numba's cache on disk.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numba
import numpy as np

from albireo import kernel
from albireo_combine.rules import (
    HALF_PI,
    MAD_TO_SIGMA,
    TIE,
    WINSOR_CHANGE,
    WINSOR_DEVIATION,
    WINSOR_LIMIT,
    WINSOR_ROUNDS,
)


@numba.njit(inline="always")
def _middle(values: Any, number: int) -> float:
    """Median of the first values, which are sorted."""
    return 0.5 * (values[(number - 1) // 2] + values[number // 2])


@numba.njit(inline="always")
def _deviation(values: Any, number: int, edge: float) -> float:
    """Standard deviation of the first values, each pulled in to ``edge``."""
    total = 0.0
    for i in range(number):
        total += min(max(values[i], -edge), edge)
    mean = total / number
    squares = 0.0
    for i in range(number):
        offset = min(max(values[i], -edge), edge) - mean
        squares += offset * offset
    return sqrt(squares / (number - 1))


@numba.njit(inline="always")
def _width(distances: Any, spare: Any, number: int, clipping: int) -> float:
    """Width of the first distances from the median; see `albireo_combine.rules`."""
    if clipping == 2:
        return _deviation(distances, number, np.inf)
    for i in range(number):
        spare[i] = abs(distances[i])
    spare[:number].sort()
    width = MAD_TO_SIGMA * _middle(spare, number)
    if clipping == 3:
        for _ in range(WINSOR_ROUNDS):
            new = _deviation(distances, number, WINSOR_LIMIT * width) / WINSOR_DEVIATION
            close = abs(new - width) <= WINSOR_CHANGE * width
            width = new
            if close:
                break
    return width


@numba.njit(inline="always")
def _weighted_middle(x: Any, ranks: Any, left: Any, pull: Any) -> float:
    """Weighted median of the values that are left; ``ranks`` sorts all values."""
    total = 0.0
    for i in ranks:
        if left[i]:
            total += pull[i]
    reached, between, last = 0.0, False, 0.0
    for i in ranks:
        if left[i]:
            if between:
                return 0.5 * (last + x[i])
            reached += pull[i]
            last = x[i]
            if abs(reached - 0.5 * total) <= TIE * total:
                between = True
            elif reached > 0.5 * total:
                return last
    return last


@kernel(
    "void(float32[:, ::1], int64, int64, float64[:, ::1], int64[::1], int64, float64, float64, float64, int64, "
    "float64[::1], float64[::1], float32[::1], float32[::1], uint16[::1], uint16[::1], int64[::1])"
)
def weigh_block(
    data: Any,
    start: int,
    stop: int,
    noise: Any,
    order: Any,
    clipping: int,
    prior_weight: float,
    low: float,
    high: float,
    iterations: int,
    kept: Any,
    error: Any,
    value: Any,
    variance: Any,
    count: Any,
    rejected: Any,
    totals: Any,
) -> None:
    """Combine pixels ``start`` to ``stop`` of ``data`` (n, pixels); see `albireo_combine.reference.weigh_block`."""
    n = data.shape[0]
    x = np.empty(n, dtype=np.float64)
    expected = np.empty(n, dtype=np.float64)
    pull = np.empty(n, dtype=np.float64)
    sigma = np.empty(n, dtype=np.float64)
    left = np.empty(n, dtype=np.bool_)
    distances = np.empty(n, dtype=np.float64)
    spare = np.empty(n, dtype=np.float64)
    for pixel in range(start, stop):
        number = 0
        for i in range(n):
            x[i] = data[order[i], pixel]
            left[i] = abs(x[i]) < np.inf
            if left[i]:
                number += 1
            else:
                x[i] = np.inf
        totals[1] += n - number
        if number == 0:
            value[pixel] = np.nan
            variance[pixel] = np.nan
            count[pixel] = 0
            rejected[pixel] = 0
            continue
        ranks = np.argsort(x, kind="mergesort")
        middle = 0.5 * (x[ranks[(number - 1) // 2]] + x[ranks[number // 2]])
        light = max(middle, 0.0)
        known = True
        for i in range(n):
            expected[i] = noise[order[i], 0] + noise[order[i], 1] * light
            known &= expected[i] > 0.0
        if not known:
            expected[:] = 1.0
        precision = 0.0
        for i in range(n):
            pull[i] = 1.0 / sqrt(expected[i])
            if left[i]:
                precision += 1.0 / expected[i]
        of_middle = HALF_PI / precision
        for i in range(n):
            sigma[i] = sqrt((expected[i] + of_middle) / (1.0 + HALF_PI / number))
        used = number
        for _ in range(iterations if clipping > 0 else 0):
            if used < 3:
                break
            here = _weighted_middle(x, ranks, left, pull)
            k, far = 0, False
            for i in range(n):
                if left[i]:
                    distance = (x[i] - here) / sigma[i]
                    far |= -distance > low or distance > high
                    distances[k] = distance
                    k += 1
            if known and not far:  # whatever the width is, the limits are no less than these
                break
            limit = max(1.0 if known else 0.0, _width(distances, spare, used, clipping))
            k, before = 0, used
            for i in range(n):
                if left[i]:
                    if -distances[k] > low * limit or distances[k] > high * limit:
                        left[i] = False
                        used -= 1
                    k += 1
            if used == before:
                break
        weights, s, q = 0.0, 0.0, 0.0
        for i in range(n):
            if left[i]:
                weight, d = 1.0 / expected[i], x[i] - middle
                weights += weight
                s += weight * d
                q += weight * d * d
        scatter = (q - s * s / weights) / kept[number]
        pooled = (scatter + (prior_weight if known else 0.0)) / (used - 1 + prior_weight)
        value[pixel] = np.float32(middle + s / weights)
        variance[pixel] = np.float32(pooled * error[number] / weights)
        count[pixel] = used
        rejected[pixel] = number - used
        totals[0] += number - used
