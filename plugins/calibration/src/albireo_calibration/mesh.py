"""The level of the sky over an image: a level in each box of a mesh, and a smooth surface through them.

In a box, pixels are clipped about their median until none is left out any more. The level is the mode,
``2.5 median - 1.5 mean``, where the two differ by less than 0.3 standard deviations, else the median (Bertin & Arnouts
1996, A&AS, 117, 393, section 4). Boxes with too few pixels take the mean of their neighbours. A median over 3 x 3
boxes then removes those that a bright star or a galaxy fills; at the edges the mesh is continued point-symmetrically
for it, so that a gradient stays what it is. Between the centres of the boxes runs a natural bicubic spline, beyond them
its straight continuation.
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 10
"""Rounds of clipping at most."""

CROWDED = 0.3
"""Distance of mean and median in standard deviations from which on stars make the mode worthless."""

LEAST = 0.25
"""A box with a smaller part of its pixels left has no level."""

MEDIAN_FACTOR = pi / 2.0
"""Variance of the median of normal values over that of their mean."""

MODE_FACTOR = 2.5**2 * MEDIAN_FACTOR - 2.0 * 2.5 * 1.5 + 1.5**2
"""The same for the mode: median and mean have the covariance of two means."""

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is one."""


class Mesh(NamedTuple):
    """Levels of boxes.

    Attributes
    ----------
    levels, variances : ndarray of float64, shape (rows, columns)
    y, x : ndarray of float64
        Centres of the rows and columns of boxes in pixels.
    """

    levels: NDArray[np.float64]
    variances: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]


def measure_mesh(data: NDArray[np.float32], good: NDArray[np.bool_], box: int, clip: float) -> Mesh | None:
    """Measure the level of the sky in boxes.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    good : ndarray of bool
        Pixels that take part.
    box : int
        Side of a box in pixels; boxes are made a little larger or smaller to fill the image.
    clip : float
        Pixels farther than this from the median of a box, in standard deviations, take no part.

    Returns
    -------
    Mesh or None
        None if no box has enough good pixels.
    """
    y, x = (_edges(size, box) for size in data.shape)
    levels = np.full((len(y) - 1, len(x) - 1), np.nan)
    variances = np.full(levels.shape, np.nan)
    for row in range(levels.shape[0]):
        for column in range(levels.shape[1]):
            part = slice(y[row], y[row + 1]), slice(x[column], x[column + 1])
            values = data[part][good[part]]
            if values.size >= max(1.0, LEAST * good[part].size):
                levels[row, column], variances[row, column] = sky_level(np.sort(values).astype(np.float64), clip)
    if not np.isfinite(levels).any():
        return None
    return Mesh(_without_peaks(_filled(levels)), _filled(variances), _centres(y), _centres(x))


def surface(mesh: Mesh, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lay a smooth surface through a mesh; give it and its variance for every pixel.

    The variance takes the levels of the boxes as independent.
    """
    down, across = (_spline(*pair) for pair in ((mesh.y, shape[0]), (mesh.x, shape[1])))
    level = down @ mesh.levels.astype(np.float32) @ across.T
    variance = np.square(down) @ mesh.variances.astype(np.float32) @ np.square(across).T
    return level, variance


def sky_level(ordered: NDArray[np.float64], clip: float) -> tuple[float, float]:
    """Level of sorted values of which some belong to stars, and its variance."""
    low, high = 0, len(ordered)
    for _ in range(ROUNDS):
        kept = ordered[low:high]
        median = float(kept[len(kept) // 2])
        # The lower side only: no star is there.
        sigma = MAD_TO_SIGMA * (median - float(kept[len(kept) // 4]))
        left, right = ordered.searchsorted((median - clip * sigma, median + clip * sigma), "left")
        if (left, right) == (low, high) or left == right:
            break
        low, high = int(left), int(right)
    mean = float(kept.mean())
    of_mean = float(kept.var()) / len(kept)
    if abs(mean - median) < CROWDED * sigma:
        return 2.5 * median - 1.5 * mean, MODE_FACTOR * of_mean
    return median, MEDIAN_FACTOR * of_mean


def _edges(size: int, box: int) -> NDArray[np.int64]:
    return np.linspace(0, size, max(1, round(size / box)) + 1).round().astype(np.int64)


def _centres(edges: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (edges[1:] + edges[:-1] - 1), dtype=np.float64)


def _filled(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give boxes without a level the mean of their neighbours, from those that have one outwards."""
    levels = levels.copy()
    while (missing := ~np.isfinite(levels)).any():
        around = _windows(np.pad(levels, 1, constant_values=np.nan))[missing]
        known = np.isfinite(around)
        count = known.sum(axis=1)
        sums = np.where(known, around, 0.0).sum(axis=1)
        levels[missing] = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return levels


def _without_peaks(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the median over 3 x 3 boxes; beyond the edges the mesh is mirrored in the point of its edge."""
    padded = levels
    for axis, pad in enumerate((((1, 1), (0, 0)), ((0, 0), (1, 1)))):
        if levels.shape[axis] > 1:
            padded = np.pad(padded, pad, mode="reflect", reflect_type="odd")
        else:
            padded = np.pad(padded, pad, mode="edge")
    middle: NDArray[np.float64] = np.median(_windows(padded), axis=-1)
    return middle


def _windows(padded: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 3 x 3 values around each inner one, shape (rows, columns, 9)."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return windows.reshape(*windows.shape[:2], 9)


def _spline(nodes: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Matrix that takes values at nodes to those of a natural cubic spline at 0, 1, ..., size - 1."""
    n = len(nodes)
    if n == 1:
        return np.ones((size, 1), dtype=np.float32)
    step = np.diff(nodes)
    slopes = np.diff(np.eye(n), axis=0) / step[:, None]
    system, right = np.eye(n), np.zeros((n, n))
    for i in range(1, n - 1):
        system[i, i - 1 : i + 2] = step[i - 1], 2.0 * (step[i - 1] + step[i]), step[i]
        right[i] = 6.0 * (slopes[i] - slopes[i - 1])
    bends = np.linalg.solve(system, right)  # second derivatives at the nodes
    place = np.arange(size)
    left = np.clip(np.searchsorted(nodes, place) - 1, 0, n - 2)
    b = (place - nodes[left]) / step[left]
    a = 1.0 - b
    matrix = np.zeros((size, n))
    matrix[place, left], matrix[place, left + 1] = a, b
    scale = (step[left] ** 2 / 6.0)[:, None]
    matrix += scale * (_bent(a)[:, None] * bends[left] + _bent(b)[:, None] * bends[left + 1])
    return matrix.astype(np.float32)


def _bent(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a second derivative in a cubic spline, ``u**3 - u``, and its tangents outside 0 to 1."""
    return np.where(u < 0, -u, np.where(u > 1, 2.0 * (u - 1.0), u**3 - u))
