"""The sky around each star: a clipped statistic of the pixels in a ring.

Rows are sorted once; after that any clip is a pair of positions, and its median, mean and width follow from the
sorted values and their running sums. All stars are clipped together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from albireo import MASKED

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_PIXELS = 20
"""Fewer pixels than this make no sky."""

ROUNDS = 10
"""Rounds of clipping; four are usual."""

LOWER_SIGMA = 0.1587
"""Share of a normal distribution below one standard deviation under its median."""


def ring_pixels(
    data: NDArray[np.float32],
    flags: NDArray[np.uint16],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ring: tuple[float, float],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Take the pixels whose centres lie in a ring around each star.

    Parameters
    ----------
    data, flags : ndarray, shape (ny, nx)
    x, y : ndarray, shape (n,)
        Centres in pixels.
    ring : (float, float)
        Inner and outer radius in pixels.

    Returns
    -------
    values : ndarray of float32, shape (n, m)
    usable : ndarray of bool, shape (n, m)
        False for pixels that are masked, not finite, or beyond the image or the ring.
    """
    ny, nx = data.shape
    reach = int(np.ceil(ring[1])) + 1
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(dx, dy)
    # A centre is up to 0.71 pixel from the pixel it is rounded to.
    near = (distance > ring[0] - 0.71) & (distance < ring[1] + 0.71)
    dy, dx = dy[near], dx[near]
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    rows, columns = row[:, None] + dy, column[:, None] + dx
    usable = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
    squared = (dx - (x - column)[:, None]) ** 2 + (dy - (y - row)[:, None]) ** 2
    usable &= (squared >= ring[0] ** 2) & (squared <= ring[1] ** 2)
    at = np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)
    values = data[at]
    usable &= ((flags[at] & np.uint16(MASKED)) == 0) & np.isfinite(values)
    return values, usable


def clipped_sky(
    values: NDArray[np.float32], usable: NDArray[np.bool_], clip: float, statistic: Literal["mean", "median"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Level of the sky and its error, row by row.

    The first clip takes its width from the lower side of the distribution, which neighbouring stars do not widen; the
    following ones take the standard deviation of what is left.

    Parameters
    ----------
    values : ndarray of float32, shape (n, m)
    usable : ndarray of bool, same shape
        Values that take part; they must be finite.
    clip : float
        Half-width of what is kept about the median, in standard deviations.
    statistic : str
        ``mean`` or ``median`` of what is kept.

    Returns
    -------
    level, error : ndarray, shape (n,)
        NaN where fewer than 20 values are usable. The error is ``std / sqrt(kept)``, times ``sqrt(pi / 2)`` for a
        median.
    """
    level, error = np.full(len(values), np.nan), np.full(len(values), np.nan)
    count = np.count_nonzero(usable, axis=1)
    enough = count >= MIN_PIXELS
    if not enough.any():
        return level, error
    values, usable, high = values[enough], usable[enough], count[enough]
    rows, low = np.arange(len(values)), np.zeros_like(high)
    ordered = np.sort(np.where(usable, values, np.float32(np.inf)), axis=1)

    def median() -> NDArray[np.float64]:
        return 0.5 * (ordered[rows, (low + high - 1) // 2].astype(np.float64) + ordered[rows, (low + high) // 2])

    # Sums of squares about a number near the mean keep their digits.
    origin = median()
    offset = ordered - origin[:, None]
    offset[~np.isfinite(offset)] = 0.0
    start = np.zeros((len(values), 1))
    sums = np.hstack([start, np.cumsum(offset, axis=1)])
    squares = np.hstack([start, np.cumsum(offset**2, axis=1)])

    def moments() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        kept = high - low
        mean = (sums[rows, high] - sums[rows, low]) / kept
        square = (squares[rows, high] - squares[rows, low]) / kept
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0) * kept / (kept - 1))

    lower_side = origin - ordered[rows, (LOWER_SIGMA * (high - 1)).astype(np.intp)]
    width = np.where(lower_side > 0, lower_side, moments()[1])
    for _ in range(ROUNDS):
        middle = median()[:, None]
        reach = clip * width[:, None]
        new_low = np.maximum(low, np.count_nonzero(ordered < middle - reach, axis=1))
        new_high = np.minimum(high, np.count_nonzero(ordered <= middle + reach, axis=1))
        if np.array_equal(new_low, low) and np.array_equal(new_high, high):
            break
        low, high = new_low, new_high
        width = moments()[1]
    mean, deviation = moments()
    error_of_mean = deviation / np.sqrt(high - low)
    if statistic == "median":
        level[enough], error[enough] = median(), error_of_mean * np.sqrt(0.5 * np.pi)
    else:
        level[enough], error[enough] = origin + mean, error_of_mean
    return level, error
