"""From a rough map to the best one: pair all stars under the map, fit it to the pairs, and repeat.

A pair is two stars that are each other's nearest neighbours under the map, within a tolerance. Least squares over the
pairs gives the next map; pairs far off are left out, by the median of all distances. This is iterated closest point
matching (Besl & McKay 1992, IEEE Trans. PAMI 14, 239) with mutual neighbours, for which two or three rounds are usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from albireo import Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["Model", "fit", "refine"]

Model: TypeAlias = Literal["shift", "similarity", "affine"]

FIXED: dict[Model, int] = {"shift": 1, "similarity": 2, "affine": 3}
"""Pairs that fix a map of each kind."""

ROUNDS = 12
"""Rounds of pairing and fitting at most."""

GENEROUS = 3.0
"""In the first round pairs may be this many times the tolerance apart: a guess from few stars is off far from them."""

OUTLIER = 4.0
"""Pairs further off than this many times the scatter, taken from the median distance, are left out."""

SMALLEST_CLIP = 0.1
"""Pixels: pairs this close are never outliers, however well the others agree."""

MEDIAN_OF_RAYLEIGH = 1.1774
"""Median distance of points that scatter by one in each axis."""

SMALL = 10_000
"""Up to this number of distances all of them are quicker than a tree."""


def refine(
    reference: Points, image: Points, start: Transform, tolerance: float, model: Model, *, generous: bool = True
) -> tuple[Transform, NDArray[np.intp]]:
    """Pair and fit until the pairs stay the same.

    Parameters
    ----------
    reference, image : ndarray, shape (n, 2) and (m, 2)
        Points in pixels.
    start : Transform
        May mirror. Right to a few times the tolerance.
    tolerance : float
        Largest distance of a pair, in pixels of the image.
    model : {'shift', 'similarity', 'affine'}
    generous : bool
        Whether the start is so rough that the first pairs may be further apart.

    Returns
    -------
    Transform
        With rms and number of the pairs; ``matched`` is zero if fewer are left than fix a map.
    ndarray of int, shape (k, 2)
        The pairs, as rows of the reference and the image.
    """
    nearest = _Neighbours(image)
    found, pairs = start, np.empty((0, 2), dtype=np.intp)
    for reach in [GENEROUS * tolerance] * generous + [tolerance] * ROUNDS:
        new = _pairs_under(reference, nearest, found, reach)
        if len(new) < FIXED[model]:
            return Transform(found.matrix, float("nan"), 0), new
        if reach == tolerance and np.array_equal(new, pairs):
            break
        pairs = new
        found = fit(reference[pairs[:, 0]], image[pairs[:, 1]], model, mirrored=start.mirrored)
    return found, pairs


def _pairs_under(reference: Points, nearest: _Neighbours, transform: Transform, reach: float) -> NDArray[np.intp]:
    """Mutual nearest neighbours within reach, without outliers, in the order of the reference."""
    moved = np.stack(transform(reference[:, 0], reference[:, 1]), axis=1)
    first, second, distance = nearest.mutual(moved, reach)
    if len(first):
        scatter = float(np.median(distance)) / MEDIAN_OF_RAYLEIGH
        near = distance <= max(OUTLIER * scatter, SMALLEST_CLIP)
        first, second = first[near], second[near]
    return np.stack([first, second], axis=1)


class _Neighbours:
    """Nearest neighbours among some points."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.tree: Any = None

    def mutual(self, others: Points, reach: float) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Rows of the others and of the points that are each other's nearest within reach, and their distances."""
        if len(others) * len(self.points) <= SMALL:
            squares = (others[:, :1] - self.points[:, 0]) ** 2 + (others[:, 1:] - self.points[:, 1]) ** 2
            nearest = squares.argmin(axis=1)
            distance = np.sqrt(squares[np.arange(len(others)), nearest])
            near = np.flatnonzero(distance <= reach)
            near = near[squares.argmin(axis=0)[nearest[near]] == near]
            return near, nearest[near], distance[near]
        from scipy.spatial import cKDTree

        if self.tree is None:
            self.tree = cKDTree(self.points)
        distance, nearest = self.tree.query(others, distance_upper_bound=reach)
        near = np.flatnonzero(np.isfinite(distance))
        if len(near):
            _, back = cKDTree(others).query(self.points[nearest[near]])
            near = near[back == near]
        return near, nearest[near], distance[near]


def fit(reference: Points, image: Points, model: Model, *, mirrored: bool = False) -> Transform:
    """Least squares over pairs, about their middle so that the numbers stay small.

    Parameters
    ----------
    reference, image : ndarray, shape (k, 2)
        Paired points.
    model : {'shift', 'similarity', 'affine'}
    mirrored : bool
        Parity of a similarity; a shift has none, and an affine map follows the points.
    """
    number = len(reference)
    centre, target = reference.sum(axis=0) / number, image.sum(axis=0) / number
    u, v = reference - centre, image - target
    if model == "affine":
        linear = np.linalg.lstsq(u, v, rcond=None)[0].T
    elif model == "similarity":
        # A similarity is one complex number: v = c u, with c = sum(conj(u) v) / sum(|u|^2).
        flip = -1.0 if mirrored else 1.0
        z, w = flip * u[:, 0] + 1j * u[:, 1], v[:, 0] + 1j * v[:, 1]
        squares = float(np.vdot(z, z).real)
        c = complex(np.vdot(z, w)) / squares if squares > 0 else 1.0 + 0j
        linear = np.array([[flip * c.real, -c.imag], [flip * c.imag, c.real]])
    else:
        linear = np.eye(2)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = target - linear @ centre
    residual = v - u @ linear.T
    return Transform(matrix, float(np.sqrt(np.vdot(residual, residual) / number)), number)
