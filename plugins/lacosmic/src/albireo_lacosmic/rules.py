"""Constants of L.A.Cosmic, and how places in planes are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAD = 4
"""Pixels beyond the edge that the tests of a pixel look at: 2 for the surroundings and 2 for the noise there, or 3 and
1 for the fine structure."""

FAINTEST = np.float32(0.01)
"""Least fine structure in units of the noise, so that a contrast is not infinite. As in van Dokkum's own program."""

TINY = np.float32(1e-30)
"""Least variance: an image that claims to have no noise must not divide by zero."""


def square(reach: int, columns: int) -> NDArray[np.int64]:
    """Steps to the pixels of a square in a flattened plane with so many columns, row by row; the middle one is zero."""
    near = np.arange(-reach, reach + 1, dtype=np.int64)
    return np.asarray(near[:, None] * columns + near).reshape(-1)


def reached(places: NDArray[np.int64], reach: int, columns: int) -> NDArray[np.int64]:
    """Places of the squares around some places, each once, in order."""
    every = np.sort((places[:, None] + square(reach, columns)).reshape(-1))
    first = np.ones(every.size, dtype=np.bool_)
    np.not_equal(every[1:], every[:-1], out=first[1:])
    return every[first]
