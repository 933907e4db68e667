"""Good-time intervals: when there are data, and where there is a gap.

Methods that need an even sampling, and those that interpolate, work inside such intervals only. Times may have any
unit, as long as it is the same everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["common_intervals", "good_time_intervals", "inside", "median_cadence"]

GAP = 1.5
"""A step longer than this many cadences is a gap."""


def median_cadence(time: ArrayLike) -> float:
    """Median step between different times; NaN with fewer than two of them.

    Parameters
    ----------
    time : array_like, shape (n,)
        In any order; NaN are left out.
    """
    times = np.asarray(time, dtype=np.float64)
    steps = np.diff(np.unique(times[np.isfinite(times)]))
    return float(np.median(steps)) if steps.size else float("nan")


def good_time_intervals(time: ArrayLike, gap: float = GAP, cadence: float | None = None) -> NDArray[np.float64]:
    """Split a series at its gaps.

    Parameters
    ----------
    time : array_like, shape (n,)
        Middles of the exposures, in any order; NaN are left out.
    gap : float
        A step longer than this many cadences begins a new interval.
    cadence : float, optional
        Usual step between exposures; the median step if it is not given.

    Returns
    -------
    ndarray, shape (k, 2)
        Start and end of each interval: half a cadence before its first and after its last time. A series of one point
        has an interval of no length, unless the cadence is given; a series without any has none.
    """
    times = np.asarray(time, dtype=np.float64)
    times = np.unique(times[np.isfinite(times)])
    if not times.size:
        return np.empty((0, 2))
    step = median_cadence(times) if cadence is None else cadence
    half = 0.5 * step if np.isfinite(step) else 0.0
    breaks = np.flatnonzero(np.diff(times) > gap * step)
    return np.column_stack([times[np.r_[0, breaks + 1]] - half, times[np.r_[breaks, len(times) - 1]] + half])


def inside(time: ArrayLike, intervals: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each time lies in one of the intervals, their ends included; NaN lie in none.

    Parameters
    ----------
    time : array_like, any shape
    intervals : ndarray, shape (k, 2)
        In order, without overlap.
    """
    times = np.asarray(time, dtype=np.float64)
    if not len(intervals):
        return np.zeros(times.shape, dtype=bool)
    at = np.searchsorted(intervals[:, 0], times, side="right") - 1
    result: NDArray[np.bool_] = (at >= 0) & (times <= intervals[np.maximum(at, 0), 1])
    return result


def common_intervals(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times that lie in intervals of both sets.

    Parameters
    ----------
    first, second : ndarray, shape (k, 2)
        Each in order, without overlap.

    Returns
    -------
    ndarray, shape (l, 2)
        Common parts of positive length.
    """
    parts = [
        (max(a, c), min(b, d))
        for a, b in first.tolist()
        for c, d in second[np.searchsorted(second[:, 1], a) :].tolist()
        if max(a, c) < min(b, d)
    ]
    return np.array(parts, dtype=np.float64).reshape(-1, 2)
