"""The noise of darks of several exposure times, and how fast most pixels count.

Half the squared difference of two frames of one exposure time t is, on average, the variance of one value. It grows
from a floor in proportion to what the pixel has counted, its rate times t; the bias that a frame may still hold adds
nothing. Floor and slope follow from all such pairs at once by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo_combine.rules import MAD_TO_SIGMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OUTSTANDING = 4.0
"""Widths of the distribution of rates beyond which a pixel is known to count at a rate of its own."""

CLIP = 4.0
"""Differences farther out than this many standard deviations are cosmic rays."""

KEPT = 0.99893
"""Variance of a unit normal distribution cut at plus and minus `CLIP`."""

ROUNDS = 8
"""Rounds of the fit: a variance from differences cut at four standard deviations is settled after four or five."""

MEDIAN_OF_SQUARE = 0.454936
"""Median of the square of a unit normal value."""

LEAST_VARIANCE = 1e-6
"""In the unit of the data squared; keeps the weights of frames without noise finite."""


@dataclass(frozen=True)
class DarkNoise:
    """Expected noise and rate of the pixels of a dark.

    Attributes
    ----------
    floor, slope : float
        Variance of one value: floor, plus slope times what the pixel has counted since the exposure began.
    rate : float
        Median of the rates of all pixels, per second.
    """

    floor: float
    slope: float
    rate: float

    def variance(self, rate: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance of one value after each of some times at each of some rates: shape (times, rates).

        Rates below zero are noise; their variance may sink to a quarter of the floor, so that it is right on average.
        """
        return np.maximum(self.floor + self.slope * rate * times[:, None], 0.25 * self.floor)


def rates(levels: Sequence[NDArray[np.float64]], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slope of the plain line through one value of each exposure time."""
    tau = times - times.mean()
    slopes: NDArray[np.float64] = np.tensordot(tau, np.array(levels), axes=1) / float((tau**2).sum())
    return slopes


def median_rate(rate: NDArray[np.float64]) -> float:
    """Median of the finite rates; zero if there are none."""
    known = rate[np.isfinite(rate)]
    return float(np.median(known)) if known.size else 0.0


def noise_of_pairs(
    pairs: Sequence[tuple[float, NDArray[np.float64], NDArray[np.float64]]], rate: NDArray[np.float64]
) -> DarkNoise:
    """Measure the noise.

    Parameters
    ----------
    pairs : sequence of (float, ndarray, ndarray)
        Exposure time and pixels of two frames, at least one pair.
    rate : ndarray
        Rate of the same pixels, NaN where it is not known.
    """
    known = np.isfinite(rate)
    middle = median_rate(rate)
    width = MAD_TO_SIGMA * median_rate(np.abs(rate - middle))
    # The noise of a rate must not be taken for a level: only those that stand out are used as they are.
    own = np.where(rate - middle > OUTSTANDING * width, rate, max(middle, 0.0))
    level = np.concatenate([(own * time)[known] for time, _, _ in pairs])
    half = np.concatenate([(0.5 * (a - b) ** 2)[known] for _, a, b in pairs])
    level, half = level[np.isfinite(half)], half[np.isfinite(half)]
    if not half.size:
        return DarkNoise(0.0, 0.0, middle)
    low = level <= np.quantile(level, 0.5)
    floor = float(np.median(half[low])) / MEDIAN_OF_SQUARE
    high = level >= np.quantile(level, 0.99)
    reach = float(np.median(level[high]))
    slope = max(float(np.median(half[high])) / MEDIAN_OF_SQUARE - floor, 0.0) / reach if reach > 0 else 0.0
    for _ in range(ROUNDS):
        variance = np.maximum(floor + slope * level, LEAST_VARIANCE)
        good = half <= CLIP**2 * variance
        floor, slope = _line(level[good], half[good] / KEPT, variance[good] ** -2.0)
    return DarkNoise(max(floor, LEAST_VARIANCE), slope, middle)


def _line(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Floor and slope of a line, neither of them negative."""
    total = float(weights.sum())
    mean_x, mean_y = float((weights * x).sum()) / total, float((weights * y).sum()) / total
    spread = float((weights * (x - mean_x) ** 2).sum())
    # What is left of rounding where all levels are one is no spread.
    lever = spread > 1e-12 * total * mean_x**2
    slope = max(float((weights * (x - mean_x) * (y - mean_y)).sum()) / spread, 0.0) if lever else 0.0
    floor = mean_y - slope * mean_x
    if floor < 0 < mean_x:
        return 0.0, mean_y / mean_x
    return floor, slope
