"""Statistics of the pixels in a ring around each star, clipped, for all stars at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo_photutils.versions import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_PIXELS = 20
"""Fewer pixels than this make no sky."""

CHUNK = 1 << 21
"""Pixels of all rings that are held at a time."""


def clipped_mean(
    plane: NDArray[np.float64],
    hidden: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ring: tuple[float, float],
    clip: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and its error of the pixels whose centres lie in a ring, clipped about their median.

    Parameters
    ----------
    plane : ndarray, shape (ny, nx)
    hidden : ndarray of bool, same shape
        Pixels that take no part.
    x, y : ndarray, shape (n,)
        Centres in pixels; finite.
    ring : (float, float)
        Inner and outer radius in pixels.
    clip : float
        Half-width of what is kept, in standard deviations; ten rounds.

    Returns
    -------
    mean, error : ndarray, shape (n,)
        In the unit of the plane; NaN where fewer than 20 pixels are left. The error is ``std / sqrt(kept)``.
    """
    reach = int(np.ceil(ring[1])) + 1
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(dx, dy)
    # A centre is up to 0.71 pixel from the pixel it is rounded to.
    near = (distance > ring[0] - 0.71) & (distance < ring[1] + 0.71)
    dx, dy = dx[near], dy[near]
    size = max(1, CHUNK // len(dx))
    parts = [
        _clipped_mean(plane, hidden, x[i : i + size], y[i : i + size], dx, dy, ring, clip)
        for i in range(0, max(1, len(x)), size)
    ]
    mean, error = (np.concatenate(values) for values in zip(*parts, strict=True))
    return mean, error


def _clipped_mean(
    plane: NDArray[np.float64],
    hidden: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    dx: NDArray[np.int_],
    dy: NDArray[np.int_],
    ring: tuple[float, float],
    clip: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from astropy.stats import sigma_clip

    ny, nx = plane.shape
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    columns, rows = column[:, None] + dx, row[:, None] + dy
    squared = (columns - x[:, None]) ** 2 + (rows - y[:, None]) ** 2
    usable = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    usable &= (squared >= ring[0] ** 2) & (squared <= ring[1] ** 2)
    at = np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)
    values = np.where(usable & ~hidden[at], plane[at], np.nan)
    with quiet():
        kept = sigma_clip(values, sigma=clip, maxiters=10, axis=1, masked=False, copy=False)
        count = np.count_nonzero(np.isfinite(kept), axis=1)
        mean, deviation = np.nanmean(kept, axis=1), np.nanstd(kept, axis=1, ddof=1)
        enough = count >= MIN_PIXELS
        return np.where(enough, mean, np.nan), np.where(enough, deviation / np.sqrt(count), np.nan)
