"""A straight line in exposure time through the values of each pixel, by weighted least squares.

With weights W of the exposure times and ``tau = t - T0``, the sums S0 = sum(W), S1 = sum(W tau), S2 = sum(W tau**2) and
the determinant S0 S2 - S1**2 give the value at T0 and the rate as sums over the means of the exposure times, with the
coefficients ``W (S2 - tau S1)`` and ``W (tau S0 - S1)`` over the determinant (Bevington & Robinson 2003, Data Reduction
and Error Analysis for the Physical Sciences, section 6.3). Weights are the number of frames over the noise expected of
one (`albireo_combine.dark_noise`); the variances and the covariance follow from the coefficients.

Values are first rejected within their exposure time, by their distance from its median in units of the expected noise
or of the median absolute deviation, whichever is larger. One or two frames cannot judge themselves: there the value
farthest from the line goes, one for each pixel at most, because two hits of one pixel in so few frames are rarer than a
pixel that does not follow a line.

The errors are those of the expected noise, scaled by the scatter of the pixel within its exposure times; the expected
noise counts as `PRIOR_WEIGHT` degrees of freedom in that, as in every master (`albireo_combine.rules`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from albireo_combine.dark_noise import DarkNoise
from albireo_combine.rules import MAD_TO_SIGMA, PRIOR_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ENOUGH = 3
"""Frames of one exposure time from which on they can judge each other."""

LEAST_FREEDOM = 1e-6
"""Of one value about its line: below, the value is all that the line there is made of."""


@dataclass(frozen=True)
class Line:
    """The line of each pixel. All arrays have the shape (pixels,); NaN where fewer than two exposure times have values.

    Attributes
    ----------
    value, rate : ndarray of float64
        At the reference time, and per second.
    value_variance, rate_variance, covariance : ndarray of float64
    count, rejected : ndarray of int64
        Values used and rejected.
    misfit : ndarray of float64
        Chi square of the means of the exposure times about the line, over the scatter of the pixel.
    freedom : ndarray of int64
        Degrees of freedom of the misfit: exposure times minus two, or zero.
    """

    value: NDArray[np.float64]
    rate: NDArray[np.float64]
    value_variance: NDArray[np.float64]
    rate_variance: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: NDArray[np.int64]
    rejected: NDArray[np.int64]
    misfit: NDArray[np.float64]
    freedom: NDArray[np.int64]


def fit_line(
    values: Sequence[NDArray[np.float32]],
    times: NDArray[np.float64],
    origin: float,
    noise: DarkNoise,
    clip: float,
) -> Line:
    """Fit.

    Parameters
    ----------
    values : sequence of ndarray, shape (frames, pixels)
        For each exposure time the values of its frames; what is not finite takes no part.
    times : ndarray
        Exposure times in s, at least two.
    origin : float
        The reference time T0 in s.
    noise : DarkNoise
    clip : float
        Limit of the rejection in standard deviations.
    """
    # Sums go over sorted values, so that the order of the frames does not change a bit of them.
    columns = [np.sort(np.where(np.isfinite(v), v, np.inf), axis=0).astype(np.float64) for v in values]
    kept = [np.isfinite(column) for column in columns]
    present = np.array([k.sum(axis=0) for k in kept])
    middle = np.array([_median(column, number) for column, number in zip(columns, present, strict=True)])
    tau = times - origin
    usual = noise.variance(np.full(present.shape[1], max(noise.rate, 0.0)), times)
    rate = _solve(present / usual, middle, tau).rate
    generous = noise.variance(np.fmax(rate, max(noise.rate, 0.0)), times)
    for k, column in enumerate(columns):
        if len(column) >= ENOUGH:
            kept[k] &= _near(column, kept[k], middle[k], generous[k], clip)
    _drop_farthest(columns, kept, generous, tau, clip)

    counts, means = _counts_and_means(columns, kept)
    line = _solve(counts / noise.variance(rate, times), means, tau)
    variance = noise.variance(line.rate, times)
    scatter = np.zeros(present.shape[1])
    for k, column in enumerate(columns):
        scatter += (np.where(kept[k], column - means[k], 0.0) ** 2).sum(axis=0) / variance[k]
    freedom = np.maximum(counts - 1, 0).sum(axis=0)
    excess = (scatter / _kept_variance(clip) + PRIOR_WEIGHT) / (freedom + PRIOR_WEIGHT)
    error = np.where(counts > 0, excess * variance / np.maximum(counts, 1), 0.0)  # variance of each mean
    off = np.where(counts > 0, means - line.value - line.rate * tau[:, None], 0.0)
    return Line(
        value=line.value,
        rate=line.rate,
        value_variance=(line.to_value**2 * error).sum(axis=0),
        rate_variance=(line.to_rate**2 * error).sum(axis=0),
        covariance=(line.to_value * line.to_rate * error).sum(axis=0),
        count=counts.sum(axis=0),
        rejected=(present - counts).sum(axis=0),
        misfit=(off**2 / np.where(counts > 0, error, np.inf)).sum(axis=0),
        freedom=np.maximum((counts > 0).sum(axis=0) - 2, 0),
    )


@dataclass(frozen=True)
class _Solution:
    """A line, and by what the means of the exposure times are multiplied to give it: shape (times, pixels)."""

    to_value: NDArray[np.float64]
    to_rate: NDArray[np.float64]
    value: NDArray[np.float64]
    rate: NDArray[np.float64]


def _solve(weights: NDArray[np.float64], means: NDArray[np.float64], tau: NDArray[np.float64]) -> _Solution:
    """Fit the line through weighted means; NaN where fewer than two times have a weight."""
    time = tau[:, None]
    s0, s1, s2 = weights.sum(axis=0), (weights * time).sum(axis=0), (weights * time**2).sum(axis=0)
    determinant = np.where((weights > 0).sum(axis=0) > 1, s0 * s2 - s1**2, np.nan)
    to_value, to_rate = weights * (s2 - time * s1) / determinant, weights * (time * s0 - s1) / determinant
    y = np.where(weights > 0, means, 0.0)
    return _Solution(to_value, to_rate, (to_value * y).sum(axis=0), (to_rate * y).sum(axis=0))


def _kept_variance(clip: float) -> float:
    """Variance of a unit normal distribution cut at ``-clip`` and ``clip``."""
    return 1.0 - 2.0 * clip * exp(-0.5 * clip**2) / sqrt(2.0 * pi) / erf(clip / sqrt(2.0)) if clip < np.inf else 1.0


def _median(column: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.float64]:
    """Medians of sorted columns, of which the first ``number`` values are finite; NaN where there is none."""
    low, high = np.maximum(number - 1, 0) // 2, np.minimum(number // 2, len(column) - 1)
    pair = (np.take_along_axis(column, rank[None], axis=0)[0] for rank in (low, high))
    return np.where(number > 0, 0.5 * sum(pair), np.nan)


def _near(
    column: NDArray[np.float64],
    kept: NDArray[np.bool_],
    middle: NDArray[np.float64],
    variance: NDArray[np.float64],
    clip: float,
) -> NDArray[np.bool_]:
    """Which values of one exposure time lie near enough to its median."""
    with np.errstate(invalid="ignore"):
        distance = np.where(kept, np.abs(column - middle), np.inf)
        spread = MAD_TO_SIGMA * _median(np.sort(distance, axis=0), kept.sum(axis=0))
        return np.asarray(distance <= clip * np.fmax(np.sqrt(variance), spread))


def _counts_and_means(
    columns: Sequence[NDArray[np.float64]], kept: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers and means of what is kept, of each exposure time; the mean of nothing is zero."""
    counts = np.array([k.sum(axis=0) for k in kept])
    sums = [np.where(k, column, 0.0).sum(axis=0) for column, k in zip(columns, kept, strict=True)]
    return counts, np.array(sums) / np.maximum(counts, 1)


def _drop_farthest(
    columns: Sequence[NDArray[np.float64]],
    kept: Sequence[NDArray[np.bool_]],
    variance: NDArray[np.float64],
    tau: NDArray[np.float64],
    clip: float,
) -> None:
    """Reject the value farthest from the line, of the exposure times with too few frames to judge themselves.

    Each residual is measured in units of its own error, which is smaller than that of the value by what the value
    itself adds to the line. With fewer than four values nobody could say which of them is wrong.
    """
    few = [(k, rank) for k, column in enumerate(columns) if len(column) < ENOUGH for rank in range(len(column))]
    counts, means = _counts_and_means(columns, kept)
    line = _solve(counts / variance, means, tau)
    enough = (counts.sum(axis=0) > 3) & np.isfinite(line.rate)
    worst, which = np.full(line.rate.shape, clip), np.full(line.rate.shape, -1)
    for index, (k, rank) in enumerate(few):
        able = enough & kept[k][rank] & ((counts[k] > 1) | ((counts > 0).sum(axis=0) > 2))
        leverage = (line.to_value[k] + tau[k] * line.to_rate[k]) / np.maximum(counts[k], 1)
        error = np.sqrt(variance[k] * np.maximum(1.0 - leverage, LEAST_FREEDOM))
        off = np.where(able, np.abs(columns[k][rank] - line.value - line.rate * tau[k]) / error, 0.0)
        which[off > worst] = index
        worst = np.fmax(worst, off)
    for index, (k, rank) in enumerate(few):
        kept[k][rank] &= which != index
