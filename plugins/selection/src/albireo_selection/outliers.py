"""Values that stand out of a series that changes slowly.

Airmass, moonlight and focus change the numbers of good frames too. Each value is therefore held against a straight
line through its neighbours in time, fitted as the median of all slopes between them (Theil 1950; Sen 1968, Journal of
the American Statistical Association 63, 1379), which up to 29 % of bad neighbours do not turn. The scatter is the
median absolute deviation of all values from their lines, scaled to a standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

FEWEST = 5
"""Values that a scatter can be told from."""


@dataclass(frozen=True)
class Deviations:
    """How a series lies about what is expected.

    Attributes
    ----------
    expected : ndarray, shape (n,)
    sigma : float
        Zero if it cannot be told: there are too few values, or more than half lie exactly on their lines.
    """

    expected: NDArray[np.float64]
    sigma: float


def deviations(times: NDArray[np.float64], values: NDArray[np.float64], neighbours: int) -> Deviations:
    """Say what each value is expected to be, and how far values lie from that.

    Parameters
    ----------
    times : ndarray, shape (n,)
        In ascending order; NaN where unknown, then the order counts as the time.
    values : ndarray, shape (n,)
        Finite.
    neighbours : int
        How many values nearest in time the line goes through; with zero, the median of all values is expected.
    """
    import numpy as np

    if len(values) < FEWEST:
        return Deviations(np.full(len(values), np.nan), 0.0)
    if neighbours:
        when = times if np.isfinite(times).all() else np.arange(len(values), dtype=np.float64)
        expected = np.array([_from_neighbours(when, values, row, neighbours) for row in range(len(values))])
    else:
        expected = np.full(len(values), np.median(values))
    return Deviations(expected, MAD_TO_SIGMA * float(np.median(np.abs(values - expected))))


def _from_neighbours(times: NDArray[np.float64], values: NDArray[np.float64], row: int, neighbours: int) -> float:
    """Value at the time of a row of the line through the others that are nearest in time."""
    import numpy as np

    away = np.abs(times - times[row])
    away[row] = np.inf
    near = np.sort(np.argsort(away, kind="stable")[: min(neighbours, len(values) - 1)])
    t, v = times[near] - times[row], values[near]
    first, second = np.triu_indices(len(near), 1)
    apart = t[second] > t[first]
    slope = np.median((v[second] - v[first])[apart] / (t[second] - t[first])[apart]) if apart.any() else 0.0
    return float(np.median(v - slope * t))
