"""The pixels around stars, and the noise that is to be expected in them.

The variance of an image is made from the counts of each pixel, noise included. Weights made of it favour pixels that
came out low, and a fit with them is too faint: by about one electron in each pixel it uses (Humphrey, Liu & Buote 2009,
ApJ 693, 822). So the part of the variance that follows the counts is taken out of it here, star by star, and put back
for the counts that a model expects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import MASKED, flags_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["Cuts", "cut"]

FAR = -1e6
"""A place in pixels that is outside every image."""


@dataclass(frozen=True, eq=False)
class Cuts:
    """Square pieces of an image around n stars.

    Attributes
    ----------
    index : ndarray of intp, shape (n, side, side)
        Of each pixel in the flattened image; pixels beyond the image have that of another.
    inside : ndarray of bool, same shape
        Whether the pixel is one of the image.
    usable : ndarray of bool, same shape
        Inside, neither masked nor NaN, and with a variance.
    light : ndarray of float64, same shape
        Above the background, in the unit of the image; zero where it is not usable.
    floor : ndarray of float64, same shape
        Variance without the light of stars; one where it is not usable.
    gain : ndarray, shape (n,)
        Variance for each unit of light: one for an image in electrons with a flat of one.
    flags : ndarray of uint16, shape (n, side, side)
        Zero beyond the image.
    dx, dy : ndarray, shape (n,)
        Place of the star, from the centre of the middle pixel, in pixels.
    """

    index: NDArray[np.intp]
    inside: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    light: NDArray[np.float64]
    floor: NDArray[np.float64]
    gain: NDArray[np.float64]
    flags: NDArray[np.uint16]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]

    @property
    def reach(self) -> int:
        """Pixels on each side of the middle one."""
        return self.light.shape[1] // 2

    def within(self, radius: float) -> NDArray[np.bool_]:
        """Tell which pixels have their centre within a circle around the star."""
        grid = np.arange(-self.reach, self.reach + 1)
        x, y = (grid - self.dx[:, None]) ** 2, (grid - self.dy[:, None]) ** 2
        return np.asarray(x[:, None, :] + y[:, :, None] <= radius**2)


def cut(
    picture: CCDData,
    level: NDArray[np.float32],
    variance: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    reach: int,
) -> Cuts:
    """Cut squares out of an image.

    Parameters
    ----------
    picture : CCDData
    level, variance : ndarray, shape of the image
        Of the background, and of each pixel.
    x, y : ndarray, shape (n,)
        Centres; what is not finite lies outside.
    reach : int
        Squares have ``2 reach + 1`` pixels along each side.
    """
    ny, nx = picture.shape
    # Far outside is as good as nowhere, and keeps the integers small.
    x, y = (np.clip(np.nan_to_num(v, nan=FAR, posinf=FAR, neginf=FAR), FAR, -FAR) for v in (x, y))
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    grid = np.arange(-reach, reach + 1)
    columns, rows = column[:, None] + grid, row[:, None] + grid
    there = ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]
    index = np.clip(rows, 0, ny - 1)[:, :, None] * nx + np.clip(columns, 0, nx - 1)[:, None, :]
    data = picture.data.ravel()[index].astype(np.float64)
    sky = level.ravel()[index].astype(np.float64)
    noise = variance.ravel()[index].astype(np.float64)
    flags = flags_of(picture).ravel()[index]
    flags[~there] = 0
    usable = there & ((flags & np.uint16(MASKED)) == 0) & np.isfinite(data) & np.isfinite(sky) & (noise > 0)
    for values, fill in ((data, 0.0), (sky, 0.0), (noise, 1.0)):
        values[~usable] = fill
    gain = _gain(data, noise, usable)[:, None, None]
    # A flat that differs from pixel to pixel must not make the floor under a bright star negative.
    lowest = noise.min(axis=(1, 2), keepdims=True)
    floor = np.maximum(noise - gain * (np.maximum(data, 0.0) - np.maximum(sky, 0.0)), lowest)
    return Cuts(index, there, usable, data - sky, floor, gain[:, 0, 0], flags, x - column, y - row)


def _gain(data: NDArray[np.float64], noise: NDArray[np.float64], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Slope of the variance against the counts, star by star; zero where the variance does not follow them."""
    weight = (usable & (data > 0)).astype(np.float64)
    count = np.maximum(weight.sum(axis=(1, 2)), 1.0)[:, None, None]
    value = (data - (weight * data).sum(axis=(1, 2), keepdims=True) / count) * weight
    spread = (value * data).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (value * noise).sum(axis=(1, 2)) / spread
    return np.where(spread > 0, np.maximum(np.nan_to_num(slope), 0.0), 0.0)
