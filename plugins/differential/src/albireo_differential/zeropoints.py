"""Frame zero points and star means from many light curves, by weighted least squares.

The flux of a constant star ``s`` in frame ``f`` is ``T_f m_s``: the transparency of the frame times the mean of the
star. Both are found by turns until they stay the same, each from the other by linear least squares with the weight of
each single measurement. A star that is missing in some frames just has no weight there; unlike in a sum of comparison
stars, its coming and going makes no step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ROUNDS = 500
PRECISION = 1e-9
"""The solution has converged when no zero point changes by more than this share."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Zero points of the frames and means of the stars.

    Attributes
    ----------
    transparency, transparency_err : ndarray, shape (n,)
        With a median of one; NaN for a frame without a measurement, or without light.
    mean : ndarray, shape (m,)
        In the unit of the flux; NaN for a star without a measurement.
    """

    transparency: Array
    transparency_err: Array
    mean: Array


def solve(flux: Array, weight: Array, start: Array | None = None) -> Solution:
    """Solve for zero points and means.

    Parameters
    ----------
    flux : ndarray, shape (n, m)
        Frames by stars; values without weight may be anything finite.
    weight : ndarray, shape (n, m)
        Inverse variance; zero where there is no measurement.
    start : ndarray, shape (n,), optional
        First guess of the zero points.

    Returns
    -------
    Solution
    """
    weighted = weight * flux
    total = weight.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        transparency = np.ones(len(flux)) if start is None else np.where(np.isfinite(start), start, 1.0)
        seen = (weight > 0).any(axis=1)
        for _ in range(ROUNDS):
            mean = np.where(total > 0, (transparency @ weighted) / (transparency**2 @ weight), 0.0)
            new = (weighted @ mean) / (weight @ mean**2)
            new /= np.median(new[seen]) if seen.any() else 1.0
            new[~seen] = 1.0
            moved = float(np.max(np.abs(new - transparency), initial=0.0))
            transparency = new
            if not moved > PRECISION:
                break
        error = 1.0 / np.sqrt(weight @ mean**2)
        seen &= transparency > 0
    return Solution(
        np.where(seen, transparency, np.nan), np.where(seen, error, np.nan), np.where(total > 0, mean, np.nan)
    )
