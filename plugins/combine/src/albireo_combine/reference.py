"""The same statistics in plain numpy: what the compiled kernels are tested against, and what runs where numba cannot.

About fifty times slower than the kernels, and equal to them bit for bit: sums run over sorted values, or for weighted
means over frames in the order of their names, one after the other. Sums of sorted values are those of their distances
from the (lower) middle value, which single precision holds exactly enough: the error of a mean is a millionth of the
scatter of the values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_combine.rules import (
    HALF_PI,
    MAD_TO_SIGMA,
    TIE,
    WINSOR_CHANGE,
    WINSOR_DEVIATION,
    WINSOR_LIMIT,
    WINSOR_ROUNDS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 16
"""Pixels combined at a time."""


def combine_block(
    data: NDArray[np.float32],
    start: int,
    stop: int,
    median: bool,
    clipping: int,
    noise_floor: float,
    noise_slope: float,
    prior_weight: float,
    low: float,
    high: float,
    iterations: int,
    drops: NDArray[np.int64],
    kept: NDArray[np.float64],
    error: NDArray[np.float64],
    value: NDArray[np.float32],
    variance: NDArray[np.float32],
    count: NDArray[np.uint16],
    rejected: NDArray[np.uint16],
    totals: NDArray[np.int64],
) -> None:
    """Combine the pixels from ``start`` to ``stop``.

    Parameters
    ----------
    data : ndarray, shape (n, pixels)
        Values; what is not finite does not take part.
    start, stop : int
        Which pixels.
    median : bool
        Median instead of mean of the values that are left.
    clipping : int
        The width for rejection by distance; see `albireo_combine.rules.CLIPPING`, 0 for none.
    noise_floor, noise_slope : float
        Expected variance of one value: floor plus slope times the median, where that is positive.
    prior_weight : float
        Degrees of freedom that the expected variance counts for.
    low, high : float
        Limits of the rejection by distance.
    iterations : int
        Rounds of it at most.
    drops : ndarray, shape (n + 1, 2)
        How many of the lowest and highest of k values are dropped by rank.
    kept, error : ndarray, shape (n + 1,)
        See `albireo_combine.factors`.
    value, variance : ndarray, shape (pixels,)
        Filled with the result; NaN where there is no value.
    count, rejected : ndarray of uint16, shape (pixels,)
        Filled with the numbers of values used and rejected.
    totals : ndarray of int64, shape (2,)
        Numbers of values rejected and missing are added.
    """
    for begin in range(start, stop, BLOCK):
        part = slice(begin, min(begin + BLOCK, stop))
        column, number = _sorted(data[:, part])
        middle = _middle(column, np.zeros_like(number), number)
        with np.errstate(invalid="ignore", divide="ignore"):
            model = noise_floor + noise_slope * np.maximum(middle, 0.0)
            lo, hi = drops[number, 0], number - drops[number, 1]
            if clipping:
                lo, hi = _clipped(column, lo, hi, middle, np.sqrt(model), clipping, low, high, iterations)
            used = hi - lo
            single = column.astype(np.float32)
            origin = _at(column, np.maximum(number - 1, 0) // 2).astype(np.float32)
            offset = np.where(_inside(column, lo, hi), single - origin, np.float32(0.0))
            total, squares = _sum(offset).astype(np.float64), _sum(offset * offset).astype(np.float64)
            share, freedom = 1.0 / used, 1.0 / (used - 1 + prior_weight)
            scatter = (squares - total * total * share) / kept[number]
            result = _middle(column, lo, hi) if median else origin.astype(np.float64) + total * share
            value[part] = np.where(number > 0, result, np.nan)
            spread = (scatter + prior_weight * model) * freedom * error[number] * share
            variance[part] = np.where(number > 0, spread, np.nan)
        count[part] = used
        rejected[part] = number - used
        totals[0] += int((number - used).sum())
        totals[1] += int((len(column) - number).sum())


def weigh_block(
    data: NDArray[np.float32],
    start: int,
    stop: int,
    noise: NDArray[np.float64],
    order: NDArray[np.int64],
    clipping: int,
    prior_weight: float,
    low: float,
    high: float,
    iterations: int,
    kept: NDArray[np.float64],
    error: NDArray[np.float64],
    value: NDArray[np.float32],
    variance: NDArray[np.float32],
    count: NDArray[np.uint16],
    rejected: NDArray[np.uint16],
    totals: NDArray[np.int64],
) -> None:
    """Combine the pixels from ``start`` to ``stop`` to means weighted by inverse variance.

    Distances are taken from the median weighted by one over the noise of each value, in units of that noise, so that
    noisy frames are not rejected for their noise and do not blur the middle. To it comes the variance of the weighted
    median, ``pi / 2`` over the sum of inverse variances (from the densities at the middle; David & Nagaraja 2003, Order
    Statistics, chapter 10); both together are scaled so that frames of equal noise have the limits of `combine_block`.
    Where a frame has no expected noise, all weigh the same.

    Parameters
    ----------
    noise : ndarray, shape (n, 2)
        Expected variance of the values of each frame: floor, and slope with the median.
    order : ndarray, shape (n,)
        In which frames are added.

    The others are those of `combine_block`.
    """
    n = len(data)
    for begin in range(start, stop, BLOCK):
        part = slice(begin, min(begin + BLOCK, stop))
        column, number = _sorted(data[:, part])
        middle = _middle(column, np.zeros_like(number), number)
        raw = data[order, part].astype(np.float64)
        good = np.isfinite(raw)
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = noise[order, 0, None] + noise[order, 1, None] * np.maximum(middle, 0.0)
            known = (expected > 0.0).all(axis=0)
            expected = np.where(known, expected, 1.0)
            of_middle = HALF_PI / _sum(np.where(good, 1.0 / expected, 0.0))
            sigma = np.sqrt((expected + of_middle) / (1.0 + HALF_PI / number))
            left = good
            if clipping:
                unit = np.where(known, 1.0, 0.0)
                left = _clipped_in_units(raw, good, expected, sigma, unit, clipping, low, high, iterations)
            used = left.sum(axis=0)
            weight = np.where(left, 1.0 / expected, 0.0)
            offset = np.where(left, raw - middle, 0.0)
            weights, total, squares = _sum(weight), _sum(weight * offset), _sum(weight * offset * offset)
            scatter = (squares - total * total / weights) / kept[number]
            pooled = (scatter + np.where(known, prior_weight, 0.0)) / (used - 1 + prior_weight)
            value[part] = np.where(number > 0, middle + total / weights, np.nan)
            variance[part] = np.where(number > 0, pooled * error[number] / weights, np.nan)
        count[part] = used
        rejected[part] = number - used
        totals[0] += int((number - used).sum())
        totals[1] += int((n - number).sum())


def _sorted(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sort columns, with what is not finite as infinity at the end; give them and the numbers of finite values."""
    columns = values.copy()
    columns[~np.isfinite(columns)] = np.inf
    columns += np.float32(0.0)
    columns.sort(axis=0)
    column = columns.astype(np.float64)
    return column, np.isfinite(column).sum(axis=0)


def _inside(column: NDArray[np.float64], lo: NDArray[np.int64], hi: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the ranks from ``lo`` to ``hi``."""
    rank = np.arange(len(column))[:, None]
    return (rank >= lo) & (rank < hi)


def _sum(rows: NDArray[Any]) -> NDArray[Any]:
    """Add rows one after the other; `numpy.sum` may add in pairs."""
    total = np.zeros(rows.shape[1], dtype=rows.dtype)
    for row in rows:
        total += row
    return total


def _at(column: NDArray[np.float64], rank: NDArray[np.int64]) -> NDArray[np.float64]:
    """One value of each sorted column, by its rank; infinite outside."""
    inside = (rank >= 0) & (rank < len(column))
    picked = np.take_along_axis(column, np.where(inside, rank, 0)[None], axis=0)[0]
    return np.where(inside, picked, np.inf)


def _middle(column: NDArray[np.float64], lo: NDArray[np.int64], hi: NDArray[np.int64]) -> NDArray[np.float64]:
    """Medians between the ranks ``lo`` and ``hi``; NaN for none."""
    some = hi > lo
    first = np.where(some, lo + (hi - lo - 1) // 2, 0)
    second = np.where(some, lo + (hi - lo) // 2, 0)
    return np.where(some, 0.5 * (_at(column, first) + _at(column, second)), np.nan)


def _clipped(
    column: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    middle: NDArray[np.float64],
    sigma: NDArray[np.float64],
    clipping: int,
    low: float,
    high: float,
    iterations: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks that pass the rejection."""
    for _ in range(iterations):
        inside = _inside(column, lo, hi)
        limit = np.maximum(sigma, _width(column - middle, inside, hi - lo, clipping))
        active = hi - lo > 2
        kept = inside & ~(active & ((middle - column > low * limit) | (column - middle > high * limit)))
        left = kept.sum(axis=0)
        if np.array_equal(left, hi - lo):
            break
        lo = np.where(left < hi - lo, kept.argmax(axis=0), lo)
        hi = lo + left
        middle = _middle(column, lo, hi)
    return lo, hi


def _clipped_in_units(
    raw: NDArray[np.float64],
    left: NDArray[np.bool_],
    expected: NDArray[np.float64],
    sigma: NDArray[np.float64],
    unit: NDArray[np.float64],
    clipping: int,
    low: float,
    high: float,
    iterations: int,
) -> NDArray[np.bool_]:
    """Which values pass the rejection, by their distance in units of their own noise."""
    ranks = np.argsort(np.where(left, raw, np.inf), axis=0, kind="stable")
    pull = 1.0 / np.sqrt(expected)
    for _ in range(iterations):
        distance = (raw - _weighted_middle(raw, ranks, left, pull)) / sigma
        used = left.sum(axis=0)
        limit = np.maximum(unit, _width(distance, left, used, clipping))
        active = used > 2
        kept = left & ~(active & ((-distance > low * limit) | (distance > high * limit)))
        if np.array_equal(kept, left):
            break
        left = kept
    return left


def _weighted_middle(
    raw: NDArray[np.float64], ranks: NDArray[np.int64], left: NDArray[np.bool_], pull: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted medians of the values that are left; the mean of two where half of the weight lies on either side."""
    weight = np.take_along_axis(np.where(left, pull, 0.0), ranks, axis=0)
    ordered = np.take_along_axis(raw, ranks, axis=0)
    present = np.take_along_axis(left, ranks, axis=0)
    total = _sum(weight)
    reached, first, second = np.zeros(total.shape), np.full(total.shape, np.nan), np.full(total.shape, np.nan)
    for row, value, there in zip(weight, ordered, present, strict=True):
        waiting = there & np.isfinite(first) & np.isnan(second)
        second = np.where(waiting, value, second)
        reached += row
        tie = np.abs(reached - 0.5 * total) <= TIE * total
        here = there & np.isnan(first) & (tie | (reached > 0.5 * total))
        first = np.where(here, value, first)
        second = np.where(here & ~tie, value, second)
    return 0.5 * (first + second)


def _width(
    distance: NDArray[np.float64], inside: NDArray[np.bool_], used: NDArray[np.int64], clipping: int
) -> NDArray[np.float64]:
    """Width of the values inside, from their distances from the median, in the order in which they are added."""
    if clipping == 2:
        return _deviation(np.where(inside, distance, 0.0), inside, used)
    far = np.sort(np.where(inside, np.abs(distance), np.inf), axis=0)
    width = MAD_TO_SIGMA * _middle(far, np.zeros_like(used), used)
    if clipping == 1:
        return width
    done = np.zeros(used.shape, dtype=bool)
    for _ in range(WINSOR_ROUNDS):
        edge = WINSOR_LIMIT * width
        pulled = np.where(inside, np.minimum(np.maximum(distance, -edge), edge), 0.0)
        new = _deviation(pulled, inside, used) / WINSOR_DEVIATION
        close = np.abs(new - width) <= WINSOR_CHANGE * width
        width = np.where(done, width, new)
        done |= close
        if done.all():
            break
    return width


def _deviation(values: NDArray[np.float64], inside: NDArray[np.bool_], used: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard deviation of the values inside; those outside are zero."""
    mean = _sum(values) / used
    offset = np.where(inside, values - mean, 0.0)
    return np.sqrt(_sum(offset * offset) / (used - 1))
