"""The large-scale shape of an image: medians of boxes, and straight lines between their centres.

A surface is a few hundred numbers, so that one for each frame of a stack can be kept while the pixels go by in strips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENOUGH = 0.2
"""Fraction of the pixels of a box that must have a value for its median to count."""


@dataclass(frozen=True)
class Surface:
    """A smooth surface over an image.

    Attributes
    ----------
    grid : ndarray of float64
        Values at the centres of the boxes, rows and columns of boxes; finite.
    shape : tuple of int
        Of the image.
    """

    grid: NDArray[np.float64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, data: NDArray[np.floating], box: int) -> Surface:
        """Measure the surface of an image; pixels that are not finite take no part.

        Boxes with too few pixels get the mean of those beside them. Where no box has enough the surface is NaN.

        Parameters
        ----------
        data : ndarray, shape (ny, nx)
        box : int
            Side of a box in pixels, about: all boxes of an image are of nearly one size.
        """
        return cls(_filled(box_medians(data, box)), (data.shape[0], data.shape[1]))

    def __call__(self, rows: slice | None = None) -> NDArray[np.float64]:
        """Give the surface over some rows of the image, or all."""
        down, across = (_between(size, count) for size, count in zip(self.shape, self.grid.shape, strict=True))
        values: NDArray[np.float64] = (down if rows is None else down[rows]) @ self.grid @ across.T
        return values


def box_medians(data: NDArray[np.floating], box: int) -> NDArray[np.float64]:
    """Medians of the boxes of an image; NaN where too few pixels of a box are finite."""
    rows, columns = (np.array_split(np.arange(size), max(1, round(size / box))) for size in data.shape)
    grid = np.full((len(rows), len(columns)), np.nan)
    for j, row in enumerate(rows):
        band = data[row[0] : row[-1] + 1]
        for i, column in enumerate(columns):
            cell = band[:, column[0] : column[-1] + 1]
            good = cell[np.isfinite(cell)]
            if good.size >= max(1.0, ENOUGH * cell.size):
                grid[j, i] = np.median(good)
    return grid


def box_centres(size: int, box: int) -> NDArray[np.float64]:
    """Centres of the boxes along one axis, in pixels."""
    return np.array([part.mean() for part in np.array_split(np.arange(size), max(1, round(size / box)))])


def _filled(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill unknown values from their known neighbours, from the edge of the gap inwards."""
    while np.isnan(grid).any() and np.isfinite(grid).any():
        padded = np.pad(grid, 1, constant_values=np.nan)
        ny, nx = grid.shape
        around = np.array([padded[j : j + ny, i : i + nx] for j in range(3) for i in range(3)])
        known = np.isfinite(around)
        sums, counts = np.where(known, around, 0.0).sum(axis=0), known.sum(axis=0)
        grid = np.where(np.isnan(grid) & (counts > 0), sums / np.maximum(counts, 1), grid)
    return grid


def _between(size: int, count: int) -> NDArray[np.float64]:
    """By what the values at the centres of ``count`` boxes are multiplied to give each of ``size`` pixels.

    Beyond the outermost centres the lines go on.
    """
    if count == 1:
        return np.ones((size, 1))
    centres = np.array([part.mean() for part in np.array_split(np.arange(size), count)])
    pixels = np.arange(size)
    left = np.clip(np.searchsorted(centres, pixels, "right") - 1, 0, count - 2)
    fraction = (pixels - centres[left]) / (centres[left + 1] - centres[left])
    weights = np.zeros((size, count))
    weights[pixels, left] = 1.0 - fraction
    weights[pixels, left + 1] = fraction
    return weights
