"""What rejection does to the scatter and to the error of a result, for any number of values.

Two numbers set the variance of a result right, for each number of values ``k`` that a pixel has:

* ``kept``: the sum of squares of the accepted values about their mean, per degree of freedom, over the variance of all;
* ``error``: the variance of the result over the pooled variance divided by the number of accepted values.

For a plain mean both are one. For a plain median the second is known from the joint density of the middle order
statistics. With rejection there are no formulas for few values: both are measured by combining a fixed set of
simulated normal values with the very code that combines frames. What the same values give without rejection, where the
answer is known, serves as a control variate, so that half a million values are enough. For numbers of values that are
not simulated, the ratio to what holds for very many values is interpolated in ``1 / k``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import pi
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from albireo_combine.engine import block_function
from albireo_combine.rules import BY_RANK, PRIOR_WEIGHT, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUES = 1 << 19
"""Simulated values for each number of frames."""

EVERY = 8
"""Up to so many values all numbers are simulated; beyond, each is half as large again as the one before it. By rank all
are simulated, because the share that is dropped jumps."""

FEWER = 4
"""By how much fewer do for numbers below that of the frames, which serve pixels with missing values."""

MOST = 128
"""Numbers beyond it behave like this one, but for what is known of very many values."""

SEED = 1

MEDIAN_FACTORS = (
    *(1.0, 1.0, 1.346013, 1.192798, 1.434168, 1.288456, 1.473128, 1.345447, 1.494912, 1.383264),
    *(1.508787, 1.410194, 1.518387, 1.430350, 1.525420, 1.446003, 1.530792, 1.458513, 1.535029, 1.468741),
)
"""Variance of the median of 1 to 20 normal values over that of their mean, from the joint density of the middle order
statistics (David & Nagaraja 2003, Order Statistics, section 2.2), integrated numerically."""


def median_factor(n: int) -> float:
    """Variance of the median of ``n`` normal values over the variance of their mean.

    Exact up to 20 values; beyond, pi / 2 times an expansion in ``1 / n`` that joins it to 0.04 %.
    """
    if n <= len(MEDIAN_FACTORS):
        return MEDIAN_FACTORS[n - 1]
    first = 2.0 - pi / 2.0
    return pi / 2.0 * (1.0 - first / n if n % 2 else 1.0 - (1.0 + first) / n + 2.7 / n**2)


def variance_factors(rule: Rule, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give ``kept`` and ``error`` for 0 to ``n`` values (the first element is not used); shape (n + 1,) each.

    Parameters
    ----------
    rule : Rule
        Its noise does not matter.
    n : int
        Frames.
    """
    return _factors(replace(rule, noise_floor=1.0, noise_slope=0.0, frame_noise=()), n)


@lru_cache(maxsize=64)
def _factors(rule: Rule, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    plain = np.array([1.0, *(median_factor(k) if rule.method == "median" else 1.0 for k in range(1, n + 1))])
    if rule.rejection == "none":
        return np.ones(n + 1), plain
    limit = np.array([(1.0, 1.0), *(_many_values(*rule.dropped(k), k) for k in range(1, n + 1))])
    if rule.method == "median":
        limit[:, 1] = plain * (1.0 - rule.drops(n).sum(axis=1) / np.maximum(np.arange(n + 1), 1))
    values = np.random.default_rng(SEED).standard_normal(VALUES, dtype=np.float32)
    simulated = _numbers(n, MOST if rule.rejection in BY_RANK else EVERY)
    measured = np.array(
        [_measure(rule, k, values if k == n else values[: VALUES // FEWER], float(plain[k])) for k in simulated]
    ).reshape(-1, 2)
    ratio = measured / limit[simulated]
    where, known = 1.0 / np.arange(2, n + 1), 1.0 / np.array(simulated)
    factors = limit.copy()
    for column in (0, 1) if simulated else ():
        factors[2:, column] *= np.interp(where, known[::-1], ratio[::-1, column])
    return np.ascontiguousarray(factors[:, 0]), np.ascontiguousarray(factors[:, 1])


def _numbers(n: int, every: int) -> list[int]:
    """Numbers of values to simulate: all up to ``every``, then steps of a half."""
    last = min(n, MOST)
    numbers = list(range(2, min(last, every) + 1))
    while numbers and numbers[-1] < last:
        numbers.append(min(last, numbers[-1] * 3 // 2))
    return numbers


def _many_values(low: int, high: int, number: int) -> tuple[float, float]:
    """Give ``kept`` and ``error`` of a mean for very many values, of which these shares are dropped by rank.

    They are the variance of a truncated normal distribution, and the variance of the Winsorised one over the share that
    is left (the trimmed mean; Huber 1981, Robust Statistics, section 3.3). Both are one if nothing is dropped.
    """
    left = 1.0 - (low + high) / number
    first, second, tail_first, tail_second = 0.0, left, 0.0, 0.0
    for dropped, sign in ((low, -1.0), (high, 1.0)):
        if dropped:
            edge = NormalDist().inv_cdf(1.0 - dropped / number)
            density = NormalDist().pdf(edge)
            first -= sign * density
            second -= edge * density
            tail_first += sign * edge * dropped / number
            tail_second += edge * edge * dropped / number
    truncated = second / left - (first / left) ** 2
    winsorised = second + tail_second - (first + tail_first) ** 2
    return truncated, winsorised / left


def _measure(rule: Rule, k: int, values: NDArray[np.float32], plain: float) -> tuple[float, float]:
    """Combine simulated pixels of ``k`` values; give ``kept`` and ``error``."""
    pixels = len(values) // k
    data = values[: k * pixels].reshape(k, pixels)
    result, scatter, used = _combine(rule, data)
    if rule.method == "median":
        control, _, _ = _combine(replace(rule, rejection="none"), data)
    else:
        control = data.mean(axis=0, dtype=np.float64)
    # What the scatter of the same values without rejection should be, over what it happens to be.
    scatter = scatter * ((k - 1) / float(data.var(axis=0, dtype=np.float64).mean()) / k)
    freedom = float((used - 1).mean())
    kept = float(scatter.mean()) / freedom if freedom > 0 else 1.0
    claimed = float(np.mean((scatter / kept + PRIOR_WEIGHT) / (used - 1 + PRIOR_WEIGHT) / used))
    return kept, float(result.var() / control.var()) * plain / k / claimed


def _combine(
    rule: Rule, data: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give result, sum of squares about the mean, and number of values of each pixel of unit noise."""
    from albireo_combine.combining import Combined, arguments

    k, pixels = data.shape
    ones = np.ones(k + 1)
    combined = Combined.empty((1, pixels))
    function = block_function(k)
    function(data, 0, pixels, *arguments(rule, rule.drops(k), ones, ones), *combined.lines(slice(0, 1)))
    used = combined.count[0].astype(np.float64)
    pooled = combined.variance[0].astype(np.float64) * used
    return combined.data[0].astype(np.float64), pooled * (used - 1 + PRIOR_WEIGHT) - PRIOR_WEIGHT, used
