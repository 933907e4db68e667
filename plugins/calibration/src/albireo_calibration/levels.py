"""Levels of many pixels of which some belong to stars."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ONE_SIGMA = 0.15865525393145707
"""Share of a normal distribution below minus one standard deviation."""

ROUNDS = 20
"""Rounds of clipping at most."""


def clipped_median(ordered: NDArray[np.float64], clip: float) -> tuple[float, float]:
    """Median of values without the outliers, and its variance.

    The width for the clipping is that of the lower side, where no star is. The variance is pi / 2 times that of a mean.

    Parameters
    ----------
    ordered : ndarray, shape (n,)
        Sorted, finite, at least one.
    clip : float
        Values farther from the median than so many standard deviations are outliers.
    """
    low, high = 0, len(ordered)
    for _ in range(ROUNDS):
        centre = float(ordered[(low + high) // 2])
        sigma = centre - float(ordered[low + int(ONE_SIGMA * (high - low))])
        left = int(ordered.searchsorted(centre - clip * sigma, "left"))
        right = int(ordered.searchsorted(centre + clip * sigma, "right"))
        if (left, right) == (low, high):
            break
        low, high = left, right
    return centre, pi / 2.0 * sigma**2 / (high - low)
