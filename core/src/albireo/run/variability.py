"""Whether a star varies more than its photons and its neighbours in brightness explain.

The scatter of constant stars is a smooth function of brightness, the locus: the limit of photons and scintillation, and
above it what the night adds to all stars alike. A star that stands out from the stars as bright as itself is a
candidate for a variable, however far the whole night is from the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["candidates", "excess_over_locus", "point_to_point", "smoothed_scatter", "von_neumann"]

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""

NEIGHBOURS = 20
"""Stars nearest in brightness that make the locus at a star."""

MIN_NEIGHBOURS = 3
MIN_FOR_LINE = 8
"""With fewer stars the locus is not tilted."""

LINE_ROUNDS = 2
FAR = 3.0
"""Stars further from the locus than this many standard deviations do not make it."""

MIN_POINTS = 10
"""With fewer of them nothing is said."""

SIGNIFICANT = 4.0
"""Standard deviations, of the excess of all stars, from which a star is a candidate."""


def point_to_point(values: NDArray[np.float64]) -> float:
    """Robust scatter from differences of neighbours, blind to slow changes: 1.4826 MAD / sqrt(2)."""
    steps = np.diff(values)
    return float(MAD_TO_SIGMA * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2.0)) if steps.size else np.nan


def von_neumann(values: NDArray[np.float64]) -> float:
    """Mean square of the differences of neighbours over the variance (von Neumann 1941, Ann. Math. Stat. 12, 367).

    2 for white noise, with a standard deviation of about ``2 / sqrt(n)``; less for a curve that changes slowly. NaN
    with fewer than three values.
    """
    if values.size < 3 or not (variance := float(np.var(values, ddof=1))) > 0:
        return float("nan")
    return float(np.mean(np.diff(values) ** 2)) / variance


def smoothed_scatter(values: NDArray[np.float64]) -> float:
    """Standard deviation of the running median of three values: single bad points do not widen it.

    For white noise two thirds of the standard deviation. NaN with fewer than ten values.
    """
    if values.size < MIN_POINTS:
        return float("nan")
    return float(np.std(np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)))


def excess_over_locus(
    mag: NDArray[np.float64], ratio: NDArray[np.float64], fit: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Compare each star with the stars as bright.

    Parameters
    ----------
    mag : ndarray, shape (m,)
        Magnitudes of any zero point.
    ratio : ndarray, shape (m,)
        Scatter over what is expected.
    fit : ndarray of bool, shape (m,)
        Stars that may make the locus.

    Returns
    -------
    ndarray, shape (m,)
        The ratio over what those of the twenty stars nearest in magnitude make one expect, the star itself left out;
        NaN with fewer than three. What is expected follows a line in magnitude, so that the brightest star is not
        compared with fainter ones only; of fewer than eight stars it is the median.
    """
    told = np.isfinite(mag) & (ratio > 0) & np.isfinite(ratio)
    known = fit & told
    excess = np.full(len(mag), np.nan)
    order = np.flatnonzero(known)
    order = order[np.argsort(mag[order], kind="stable")]
    for star in np.flatnonzero(told):
        place = int(np.searchsorted(mag[order], mag[star]))
        near = order[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]
        near = near[near != star]
        if len(near) >= MIN_NEIGHBOURS:
            closest = near[np.argsort(np.abs(mag[near] - mag[star]), kind="stable")[:NEIGHBOURS]]
            excess[star] = ratio[star] / np.exp(_expected(mag[closest] - mag[star], np.log(ratio[closest])))
    return excess


def _expected(distance: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Value at distance zero of a line through points; those far off are left out."""
    middle = float(np.median(values))
    if len(values) < MIN_FOR_LINE:
        return middle
    level = middle
    residual = values - middle
    for _ in range(LINE_ROUNDS):
        off = np.abs(residual - np.median(residual))
        near = off <= FAR * MAD_TO_SIGMA * np.median(off)
        x, y = distance[near], values[near]
        if len(x) < MIN_FOR_LINE or not (width := float(((x - x.mean()) ** 2).sum())) > 0:
            return level
        slope = float(((x - x.mean()) * y).sum()) / width
        level = float(y.mean()) - slope * float(x.mean())
        residual = values - level - slope * distance
    return level


def candidates(excess: NDArray[np.float64], points: NDArray[np.int64], fit: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which stars stand out: by four standard deviations of the excess of all stars, robustly taken.

    Of few stars that spread is not well known, so that it is never taken to be less than what so many points leave
    unknown of a scatter.

    Parameters
    ----------
    excess : ndarray, shape (m,)
        From `excess_over_locus`.
    points : ndarray of int, shape (m,)
        How many measurements each star has.
    fit : ndarray of bool, shape (m,)
        Stars that may be candidates.
    """
    known = fit & (excess > 0)
    if not known.any():
        return known
    height = np.full(len(excess), -np.inf)
    height[known] = np.log(excess[known])
    middle = np.median(height[known])
    spread = MAD_TO_SIGMA * np.median(np.abs(height[known] - middle))
    sampling = 1.0 / np.sqrt(np.maximum(points, 1))
    result: NDArray[np.bool_] = height > SIGNIFICANT * np.maximum(spread, sampling)
    return result
