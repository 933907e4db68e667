"""A smooth surface through the medians of boxes of an image, with its error: a polynomial or a spline of two axes.

The surface is a sum over products of functions of y and functions of x, fitted by least squares. Functions are Legendre
polynomials, of which products of a total degree up to a limit are taken, or cubic B-splines on evenly spaced knots. The
scatter of the boxes about the surface gives the covariance C of the coefficients, and with the products phi at a pixel
its variance ``phi C phi``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo import FrameError
from albireo_combine.rules import MAD_TO_SIGMA
from albireo_combine.surface import Surface, box_centres, box_medians

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

OUTLIER = 4.0
"""Widths of the scatter beyond which a box does not take part."""

ROUNDS = 4
"""Rounds of the fit."""

SPARE = 2
"""Boxes that are needed for each coefficient."""


def fit_smooth(
    data: NDArray[np.floating], box: int, *, degree: int, knots: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Fit.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Pixels that are not finite take no part.
    box : int
        Side of a box in pixels.
    degree : int
        Total degree of a polynomial.
    knots : int
        Intervals of a cubic spline along each axis; 0 for a polynomial.

    Returns
    -------
    surface, variance : ndarray of float64, shape (ny, nx)
    boxes : int
        How many took part.

    Raises
    ------
    FrameError
        If there are too few boxes for the surface.
    """
    grid = box_medians(data, box)
    shape = (data.shape[0], data.shape[1])
    centres = [box_centres(size, box) for size in shape]
    functions = [_spline(size, knots) if knots else _legendre(size, degree) for size in shape]
    down, across = (function(at) for function, at in zip(functions, centres, strict=True))
    pairs = [(p, q) for p in range(down.shape[1]) for q in range(across.shape[1]) if knots or p + q <= degree]
    design = np.stack([np.outer(down[:, p], across[:, q]).ravel() for p, q in pairs], axis=1)
    values = grid.ravel()
    kept = np.isfinite(values)
    for _ in range(ROUNDS):
        if kept.sum() < SPARE * len(pairs):
            raise FrameError(
                f"{kept.sum()} boxes of {box} pixels are too few for a smooth surface with {len(pairs)} coefficients; "
                "give a smaller box, or a lower degree or fewer knots"
            )
        coefficients = np.linalg.lstsq(design[kept], values[kept], rcond=None)[0]
        off = np.abs(values - design @ coefficients)
        width = MAD_TO_SIGMA * float(np.median(off[kept]))
        kept = np.isfinite(values) & (off <= OUTLIER * width)
    variance = float((off[kept] ** 2).sum()) / (kept.sum() - len(pairs))
    covariance = variance * np.linalg.pinv(design[kept].T @ design[kept])
    of_boxes = np.einsum("ij,jk,ik->i", design, covariance, design).reshape(grid.shape)
    matrix = np.zeros((down.shape[1], across.shape[1]))
    matrix[tuple(np.array(pairs).T)] = coefficients
    pixels = [function(np.arange(size, dtype=np.float64)) for function, size in zip(functions, shape, strict=True)]
    surface: NDArray[np.float64] = pixels[0] @ matrix @ pixels[1].T
    return surface, np.maximum(Surface(of_boxes, shape)(), 0.0), int(kept.sum())


def _legendre(size: int, degree: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Legendre polynomials up to a degree over an axis of so many pixels: shape (positions, degree + 1)."""

    def functions(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.polynomial.legendre.legvander(2.0 * (at + 0.5) / size - 1.0, degree).astype(np.float64)

    return functions


def _spline(size: int, knots: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Cubic B-splines with so many intervals over an axis: shape (positions, knots + 3)."""
    from scipy.interpolate import BSpline

    inner = np.linspace(-0.5, size - 0.5, knots + 1)
    whole = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])

    def functions(at: NDArray[np.float64]) -> NDArray[np.float64]:
        dense: NDArray[np.float64] = BSpline.design_matrix(at, whole, 3).toarray()
        return dense

    return functions
