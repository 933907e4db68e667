"""The most frequent offsets between two lists of points: where the camera only drifted, nothing more is needed.

Every point of one list is compared with every point of the other. Wrong pairs give offsets all over the field, the
right ones all give the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["Limit", "frequent_offsets", "within"]

Limit = tuple[float, float] | float | None
"""Largest offset: its length, or that in x and y; None for any."""


def frequent_offsets(
    reference: Points, image: Points, tolerance: float, number: int, limit: Limit = None
) -> list[tuple[int, float, float]]:
    """Find the offsets that most pairs of points share.

    Parameters
    ----------
    reference, image : ndarray, shape (n, 2) and (m, 2)
        Points in pixels; time goes with n m.
    tolerance : float
        Offsets this close count as the same, in pixels.
    number : int
        How many to give at most.
    limit : float or (float, float), optional
        Longest offset to look for.

    Returns
    -------
    list of (int, float, float)
        How many pairs share it, and the offset of image minus reference; the most frequent first. Empty if none is
        within the limit.
    """
    offsets = (image[None, :, :] - reference[:, None, :]).reshape(-1, 2)
    offsets = offsets[within(offsets, limit)]
    if not len(offsets):
        return []
    # Cells as wide as the tolerance. The three by three around an offset have all that are the same as it; those of
    # one row follow each other in a sorted list.
    cells = np.floor(offsets / tolerance).astype(np.int64)
    cells -= cells.min(axis=0) - 1
    width = int(cells[:, 0].max()) + 2
    own = cells[:, 0] + cells[:, 1] * width
    order = np.argsort(own, kind="stable")
    keys = own[order]
    counts = np.zeros(len(keys), dtype=np.intp)
    for row in (keys - width, keys, keys + width):
        counts += np.searchsorted(keys, row + 2) - np.searchsorted(keys, row - 1)
    found: list[tuple[int, float, float]] = []
    free = np.ones(len(keys), dtype=bool)
    while len(found) < number and free.any():
        top = int(np.argmax(np.where(free, counts, 0)))
        near = (np.abs(cells[order] - cells[order[top]]) <= 1).all(axis=1)
        dx, dy = np.median(offsets[order[near]], axis=0)
        found.append((int(counts[top]), float(dx), float(dy)))
        free &= ~near
    return found


def within(offsets: Points, limit: Limit) -> NDArray[np.bool_]:
    """Tell which offsets, shape (n, 2), are within a limit."""
    if isinstance(limit, tuple):
        return np.asarray((np.abs(offsets) <= limit).all(axis=1))
    return np.hypot(offsets[:, 0], offsets[:, 1]) <= (np.inf if limit is None else limit)
