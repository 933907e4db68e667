"""The two steps that take time, in plain numpy: where rays may be, and medians of windows.

A place is a position in a flattened plane. Planes have a margin of `PAD` pixels on every side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo_lacosmic.rules import PAD, TINY

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["medians", "screen"]

BATCH = 1 << 14
"""Windows sorted together: those of 49 pixels take 3 MB."""


def screen(
    pixels: NDArray[np.float32], variance: NDArray[np.float32], closed: NDArray[np.bool_], limit: np.float32
) -> NDArray[np.int64]:
    """Find places where the square of the Laplacian is above a limit times the median variance; and some more.

    In place of the 5 x 5 median of the variance stands the smallest of the medians of the five columns. It costs
    little, and is not larger: 15 of the 25 values are at least as large as that.

    Parameters
    ----------
    pixels, variance : ndarray of float32, shape (ny, nx)
    closed : ndarray of bool, shape (ny, nx)
        Where not to look.
    limit : float32

    Returns
    -------
    ndarray of int64
        Places, in order.
    """
    inner = slice(PAD, -PAD)
    rows = [variance[PAD - 2 + k : variance.shape[0] - PAD - 2 + k] for k in range(5)]
    columns = np.sort(np.stack(rows), axis=0)[2]
    floor = np.min([columns[:, PAD - 2 + k : columns.shape[1] - PAD - 2 + k] for k in range(5)], axis=0)
    here, zero = np.float32(2.0) * pixels[inner, inner], np.float32(0.0)
    up, down = pixels[PAD - 1 : -PAD - 1, inner], pixels[PAD + 1 : 1 - PAD, inner]
    left, right = pixels[inner, PAD - 1 : -PAD - 1], pixels[inner, PAD + 1 : 1 - PAD]
    curved = np.maximum(here - up - left, zero) + np.maximum(here - up - right, zero)
    curved += np.maximum(here - down - left, zero) + np.maximum(here - down - right, zero)
    curved *= np.float32(0.25)
    passed = np.zeros(pixels.shape, dtype=np.bool_)
    passed[inner, inner] = curved * curved > limit * np.maximum(floor, TINY)
    return np.flatnonzero(passed & ~closed)


def medians(
    plane: NDArray[np.float32],
    places: NDArray[np.int64],
    steps: NDArray[np.int64],
    hole: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Take the median of a window around each place.

    Parameters
    ----------
    plane : ndarray of float32
        Without NaN.
    places : ndarray of int64, shape (n,)
    steps : ndarray of int64
        From a place to the pixels of its window.
    hole : ndarray of bool, optional
        Like the plane: values that do not count.

    Returns
    -------
    medians : ndarray of float32, shape (n,)
        NaN where no value counts.
    numbers : ndarray of int64, shape (n,)
        Of the values that count.
    """
    found, numbers = np.empty(places.size, dtype=np.float32), np.full(places.size, steps.size, dtype=np.int64)
    for start in range(0, places.size, BATCH):
        some = slice(start, start + BATCH)
        window = places[some, None] + steps
        values = plane.reshape(-1)[window]
        if hole is not None:
            holes = hole.reshape(-1)[window]
            values[holes] = np.inf
            numbers[some] -= holes.sum(axis=1)
        values.sort(axis=1)
        each, number = np.arange(len(values)), numbers[some]
        below, above = (
            values[each, np.maximum(number - 1, 0) // 2],
            values[each, np.minimum(number // 2, steps.size - 1)],
        )
        found[some] = np.where(number > 0, np.float32(0.5) * (below + above), np.float32(np.nan))
    return found, numbers
