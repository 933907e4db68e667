"""Loops of the sky: the pixels of a ring around each star, and their clipped level."""

from __future__ import annotations

from math import ceil, cos, floor, isfinite, nan, pi, sin, sqrt
from typing import Any

import numpy as np

from albireo_aperture.engine import compiled

MIN_PIXELS = 20
"""Fewer pixels than this make no sky."""

ROUNDS = 10
"""Rounds of clipping; four are usual."""

TINY = 1e-9
"""In pixels squared: rounding does not take a pixel on the edge of a ring out of it."""

LOWER_SIGMA = 0.1587
"""Share of a normal distribution below one standard deviation under its median."""

SKEWED = 0.3
"""Where mean and median differ by more than this, in standard deviations, the mode is not made from them."""

MODE = 2.5
"""The mode is the mean plus this times (median - mean) (Bertin & Arnouts 1996, A&AS 117, 393, section 7.1)."""

MEAN, MEDIAN, MODE_OF_BOTH = range(3)


@compiled
def ring_values(
    data: Any,
    flags: Any,
    masked: Any,
    x: Any,
    y: Any,
    inner: float,
    outer: float,
    elongation: Any,
    theta: Any,
    values: Any,
    count: Any,
) -> None:
    """Collect the pixels whose centres lie in a ring around each star.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    flags : ndarray of uint16, shape (ny, nx)
    masked : uint16
        Bits of pixels that take no part.
    x, y, elongation, theta : ndarray of float64, shape (n,)
        Centre, axis ratio and position angle of the ring.
    inner, outer : float
        Geometric means of the semi-axes in pixels.
    values : ndarray of float32, shape (n, m)
        Filled from the left; the rest is infinite, so that it stays behind when rows are sorted.
    count : ndarray of int64, shape (n,)
        Filled: how many values there are.
    """
    ny, nx = data.shape
    for n in range(len(x)):
        stretch = sqrt(elongation[n])
        c, s = cos(theta[n]), sin(theta[n])
        # The radius squared of a place (dx, dy) is xx dx**2 + 2 xy dx dy + yy dy**2: a row has it in pieces.
        xx, yy = (c / stretch) ** 2 + (s * stretch) ** 2, (s / stretch) ** 2 + (c * stretch) ** 2
        xy = c * s * (1.0 / elongation[n] - elongation[n])
        reach = outer * stretch
        found = 0
        if -reach < x[n] < nx + reach and -reach < y[n] < ny + reach:
            for v in range(max(0, ceil(y[n] - reach)), min(ny, floor(y[n] + reach) + 1)):
                dy = v - y[n]
                middle = x[n] - xy * dy / xx
                rest = dy * dy * (yy - xy * xy / xx)
                if rest > outer * outer + TINY:
                    continue
                far = sqrt((outer * outer + TINY - rest) / xx)
                near = sqrt(max(inner * inner - TINY - rest, 0.0) / xx)
                values_of_row, flags_of_row = data[v], flags[v]
                first, last = max(0, ceil(middle - far)), min(nx - 1, floor(middle + far))
                hole, after = floor(middle - near) + 1, ceil(middle + near)
                for start, stop in ((first, min(hole, last + 1)), (max(after, hole, first), last + 1)):
                    for u in range(start, stop):
                        # What does not count is overwritten by the next value: that is faster than to skip it.
                        values[n, found] = values_of_row[u]
                        found += ((flags_of_row[u] & masked) == 0) & isfinite(values_of_row[u])
        count[n] = found
        values[n, found:] = np.inf


@compiled
def _between(ordered: Any, low: int, high: int, limit: float, beyond: bool) -> int:
    """Find the first place from ``low`` to ``high`` with a value of at least the limit, or above it."""
    while low < high:
        middle = (low + high) // 2
        value = np.float64(ordered[middle])
        if value < limit or (beyond and value == limit):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _median(ordered: Any, low: int, high: int) -> float:
    """Median of the values at the places from ``low`` to below ``high``."""
    return 0.5 * (np.float64(ordered[(low + high - 1) // 2]) + np.float64(ordered[(low + high) // 2]))


@compiled
def _moments(ordered: Any, low: int, high: int, origin: float) -> tuple[float, float]:
    """Mean above an origin, and standard deviation; sums about a number near the mean keep their digits."""
    total = squares = 0.0
    for i in range(low, high):
        offset = np.float64(ordered[i]) - origin
        total += offset
        squares += offset * offset
    kept = high - low
    mean = total / kept
    return mean, sqrt(max(squares / kept - mean * mean, 0.0) * kept / (kept - 1))


@compiled
def clipped_levels(ordered: Any, count: Any, clip: float, statistic: int, sky: Any) -> None:
    """Level of the sky, its error, and the width of its values, for each row of sorted values.

    The first clip takes its width from the lower side of the distribution, which neighbouring stars do not widen; the
    following ones take the standard deviation of what is left.

    Parameters
    ----------
    ordered : ndarray of float32, shape (n, m)
        Sorted rows.
    count : ndarray of int64, shape (n,)
        How many values of a row count.
    clip : float
        Half-width of what is kept about the median, in standard deviations.
    statistic : int
        ``MEAN``, ``MEDIAN`` or ``MODE_OF_BOTH``, of what is kept.
    sky : ndarray of float64, shape (3, n)
        Filled: level, error, standard deviation; NaN where there are fewer than `MIN_PIXELS` values. For normal values
        the variance of the mean is ``std**2 / kept``, that of a median pi / 2 times as large, and that of
        ``mean + k (median - mean)`` ``1 + k**2 (pi / 2 - 1)`` times, because the mean and its distance from the
        median are independent.
    """
    for n in range(len(count)):
        high = count[n]
        if high < MIN_PIXELS:
            sky[:, n] = nan
            continue
        low = 0
        row = ordered[n]
        origin = middle = _median(row, low, high)
        mean, width = _moments(row, low, high, origin)
        lower_side = origin - np.float64(row[int(LOWER_SIGMA * (high - 1))])
        if lower_side > 0.0:
            width = lower_side
        for _ in range(ROUNDS):
            new_low = _between(row, low, high, middle - clip * width, False)
            new_high = _between(row, new_low, high, middle + clip * width, True)
            if new_low == low and new_high == high:
                break
            low, high = new_low, new_high
            middle = _median(row, low, high)
            mean, width = _moments(row, low, high, origin)
        mean, width = _moments(row, low, high, origin)
        level, factor = origin + mean, 1.0
        if statistic == MEDIAN:
            level, factor = middle, 0.5 * pi
        elif statistic == MODE_OF_BOTH:
            factor = 1.0 + MODE**2 * (0.5 * pi - 1.0)
            if abs(middle - level) > SKEWED * width:
                level, factor = middle, 0.5 * pi
            else:
                level += MODE * (middle - level)
        sky[0, n], sky[1, n], sky[2, n] = level, width * sqrt(factor / (high - low)), width
