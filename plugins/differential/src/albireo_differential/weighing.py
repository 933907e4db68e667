"""Weights of comparison stars from how constant they are.

After Broeg, Fernandez & Neuhaeuser (2005, AN 326, 134): compare each star with the ensemble of the others, take its
weight from the scatter, and repeat. The scatter is split into what the photometric errors explain, which may differ
from frame to frame, and an excess, which belongs to the star. All start with equal weights, so that a bright
variable star does not lead the first ensemble.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_differential.zeropoints import Solution, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ROUNDS = 30
"""Rounds of weighing; the excess usually settles in five to ten."""

SETTLED = 0.01
"""Largest relative change of a star's weight that ends the rounds."""

OUTLIER = 5.0
"""Measurements further off than this many standard deviations have no weight."""

MIN_FRAMES = 5
"""With fewer frames no scatter is measured: the photometric errors alone make the weights."""

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""


class Weighing:
    """Comparison stars, the excess scatter of each, and the zero points that follow.

    Parameters
    ----------
    flux, error : ndarray, shape (n, m)
        Frames by comparison stars.
    fit : ndarray of bool, shape (n, m)
        Measurements that may be used; the others may be NaN.

    Attributes
    ----------
    scatter, expected : ndarray, shape (m,)
        Robust relative scatter of each star against the others, and what all errors make one expect; NaN with fewer
        than five frames, or without other stars.
    excess : ndarray, shape (m,)
        What has to be added to the errors, in quadrature, to explain the scatter; relative.
    precision : ndarray, shape (m,)
        Typical inverse relative variance of one measurement, excess included: the weight of the star.
    solution : Solution
    """

    def __init__(self, flux: Array, error: Array, fit: NDArray[np.bool_]) -> None:
        self._usable = fit
        self._flux = np.where(fit, flux, 0.0)
        self._variance = np.where(fit, error, 1.0) ** 2
        stars = flux.shape[1]
        self.excess = np.zeros(stars)
        self.scatter = self.expected = np.full(stars, np.nan)
        # The first ensemble: every star with the same relative weight.
        level = by_column(np.median, flux, fit)
        self._weight = np.where(fit & (level > 0), 1.0 / level**2, 0.0)
        self.solution = solve(self._flux, self._weight)
        self.precision = np.zeros(stars)
        self._outlier = np.zeros(fit.shape, dtype=bool)
        for _ in range(ROUNDS):
            before, outlier = self.precision, self._outlier
            self._weigh()
            settled = np.all(np.abs(self.precision - before) <= SETTLED * self.precision)
            if settled and np.array_equal(self._outlier, outlier):
                break

    def _weigh(self) -> None:
        """One round: scatter against the others, excess, weights, zero points."""
        model = self.solution.transparency[:, None] * self.solution.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            alone, alone_variance = self._against_others()
            ratio = self._flux / (alone * self.solution.mean)
            own = self._variance / model**2
            expected = own + alone_variance
        known = self._usable & np.isfinite(ratio) & np.isfinite(expected)
        if np.count_nonzero(known.any(axis=1)) >= MIN_FRAMES:
            self.scatter = by_column(median_deviation, ratio, known)
            self.expected = np.sqrt(by_column(np.median, expected, known))
            more = np.nan_to_num(self.scatter**2 - self.expected**2)
            self.excess = np.sqrt(np.maximum(more, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.abs(ratio - by_column(np.median, ratio, known)) / np.sqrt(expected + self.excess**2)
            distance = np.where(known, distance, 0.0)
            # One bad value moves the ensemble and makes the others of its frame look bad: take the worst at a time.
            worst = distance == distance.max(axis=1, keepdims=True)
            self._outlier = (distance > OUTLIER) & (worst | self._outlier)
            total = self._variance + (self.excess * model) ** 2
            self._weight = np.where(self._usable & ~self._outlier & np.isfinite(total), 1.0 / total, 0.0)
            self.precision = np.nan_to_num(1.0 / (by_column(np.median, own, self._usable) + self.excess**2))
        self.solution = solve(self._flux, self._weight, self.solution.transparency)

    def _against_others(self) -> tuple[Array, Array]:
        """Give zero points as each star sees them without its own part, and their relative variance.

        The means stay as they are. The weights of the first round are not inverse variances, hence the variance of a
        weighted mean in full.
        """
        mean = np.nan_to_num(self.solution.mean)
        model = np.nan_to_num(self.solution.transparency)[:, None] * mean
        part, share = self._weight * self._flux * mean, self._weight * mean**2
        noise = (self._weight * mean) ** 2 * (self._variance + (self.excess * model) ** 2)
        rest, part, noise = (sums.sum(axis=1, keepdims=True) - sums for sums in (share, part, noise))
        # What is left of the only star is a rounding error.
        rest[rest < 1e-9 * (rest + share)] = np.nan
        alone = part / rest
        return alone, np.maximum(noise, 0.0) / (rest * alone) ** 2

    def without(self, star: int) -> Solution:
        """Solve without one star; NaN throughout if it is the only one."""
        weight = self._weight.copy()
        weight[:, star] = 0.0
        return solve(self._flux, weight, self.solution.transparency)

    def suspicion(self) -> Array:
        """Scatter of each star over that of a comparison star as bright: its errors, with the median excess of all.

        Zero where no scatter is known.
        """
        usual = np.sqrt(self.expected**2 + np.median(self.excess) ** 2)
        return np.nan_to_num(self.scatter / usual)


def median_deviation(values: Array) -> float:
    """Give a standard deviation that outliers do not widen, from the median absolute deviation."""
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def by_column(statistic: Callable[[Array], Any], values: Array, known: NDArray[np.bool_]) -> Array:
    """Apply a statistic to what is known of each column; NaN for a column of which nothing is."""
    return np.array(
        [statistic(column[ok]) if ok.any() else np.nan for column, ok in zip(values.T, known.T, strict=True)]
    )
