"""Smooth curves through the levels of the lines of an overscan: least squares, clipped, with the variance of the fit.

A line that is made of n pixels has the weight n. With the design matrix A, the weights W and the noise s of one pixel,
the curve at a place with basis a is ``a c`` with ``c = (A' W A)^-1 A' W y`` and the variance ``s**2 a (A' W A)^-1 a'``
(linear least squares; Press et al., Numerical Recipes, section 15.4). Where lines scatter about the curve by more than
the noise of their pixels explains, s is taken from that scatter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["curve_through", "parameters"]

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is one."""

CLIP_SIGMAS = 4.0
"""Lines farther than this from the curve do not shape it."""

ROUNDS = 20
"""Rounds of clipping at most."""

QUANTUM = 0.5
"""Least noise of a pixel that lines are clipped by, in adu: that of whole counts with little noise."""

SINGULAR = 1e-10
"""Directions of less weight than this, relative to the best, are not told by the lines: the curve is flat there."""


def parameters(kind: Literal["polynomial", "spline"], order: int) -> int:
    """Count what a curve is made of: its degree for a polynomial, its inner knots for a cubic spline are given."""
    return order + 1 if kind == "polynomial" else order + 4


def curve_through(
    levels: NDArray[np.float64],
    number: NDArray[np.int64],
    noise: float,
    lines: NDArray[np.float64],
    kind: Literal["polynomial", "spline"],
    order: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a curve to levels of lines, without those that stand off it.

    Parameters
    ----------
    levels : ndarray, shape (n,)
        Level of each line, which lie one apart; NaN where it has none.
    number : ndarray of int, shape (n,)
        Pixels that made each level.
    noise : float
        Standard deviation of the level of a line of one pixel.
    lines : ndarray, shape (m,)
        Where to evaluate, counted from the first of ``levels``. Beyond the first and the last known level the curve
        keeps its value there.
    kind : {"polynomial", "spline"}
    order : int
        Degree of the polynomial, or inner knots of a cubic spline with even pieces.

    Returns
    -------
    level, variance : ndarray, shape (m,)

    Raises
    ------
    ValueError
        If fewer lines are left than the curve has parameters, and one more.
    """
    known = np.flatnonzero(np.isfinite(levels))
    least = parameters(kind, order) + 1
    if len(known) < least:
        raise ValueError(f"{len(known)} lines have a level, at least {least} are needed")
    first, last = float(known[0]), float(known[-1])

    def basis(places: NDArray[np.float64]) -> NDArray[np.float64]:
        t = (np.clip(places, first, last) - first) / max(last - first, 1.0)
        if kind == "spline":
            return _splines(t, order)
        return np.asarray(np.polynomial.chebyshev.chebvander(2.0 * t - 1.0, order), dtype=np.float64)

    design = basis(known.astype(np.float64))
    weight = number[known].astype(np.float64)
    middle = float(np.median(levels[known]))
    offset = levels[known] - middle
    kept = np.ones(len(known), dtype=bool)
    for _ in range(ROUNDS):
        weighted = design[kept] * weight[kept, None]
        covariance = np.linalg.pinv(weighted.T @ design[kept], rcond=SINGULAR, hermitian=True)
        coefficients = covariance @ (weighted.T @ offset[kept])
        residual = (offset - design @ coefficients) * np.sqrt(weight)
        scale = max(MAD_TO_SIGMA * float(np.median(np.abs(residual[kept]))), QUANTUM)
        before, kept = kept, np.abs(residual) <= CLIP_SIGMAS * scale
        if kept.sum() < least:
            raise ValueError(f"{kept.sum()} lines lie near one curve, at least {least} are needed")
        if np.array_equal(kept, before):
            break
    scatter = float((residual[before] ** 2).sum()) / (int(before.sum()) - parameters(kind, order))
    curve = basis(lines)
    variance = ((curve @ covariance) * curve).sum(axis=1)
    return middle + curve @ coefficients, max(noise**2, scatter) * variance


def _splines(t: NDArray[np.float64], knots: int) -> NDArray[np.float64]:
    """Cubic B-splines with even knots on the interval from zero to one (de Boor 1978, chapter IX), shape (n, k)."""
    u = np.abs(t[:, None] * (knots + 1) - np.arange(-1, knots + 3))
    return np.where(u < 1.0, 2.0 / 3.0 - u**2 + 0.5 * u**3, np.where(u < 2.0, (2.0 - u) ** 3 / 6.0, 0.0))
