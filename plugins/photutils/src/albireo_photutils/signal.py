"""What both finders look at, and what they say of a source besides its place and shape.

The image is divided by its noise map first, so that one threshold holds everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo import MASKED, Flag, flags_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background


def significance(image: CCDData, background: Background) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Image above the background in units of its noise, and where it means nothing.

    Saturated pixels and bleed trails take part, or a bright star would be a ring. Other masked pixels, and those
    without a finite value or a positive noise, are zero and hidden.
    """
    signal = np.subtract(image.data, background.level, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        signal /= background.rms
    hidden = (flags_of(image) & np.uint16(MASKED & ~(Flag.SATURATED | Flag.BLEED))) != 0
    hidden |= ~np.isfinite(signal) | ~(background.rms > 0)
    signal[hidden] = 0.0
    return signal, hidden


def sharpness(signal: NDArray[np.float32], row: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.float64]:
    """Share of a pixel in the 3 x 3 pixels around it: 1 for a hot pixel; infinite where their sum is not positive."""
    around = np.pad(signal.astype(np.float64), 1)
    near = np.arange(3)
    box = around[(row[:, None] + near)[:, :, None], (column[:, None] + near)[:, None, :]]
    total = box.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, signal[row, column] / total, np.inf)


def box_flags(flags: NDArray[np.uint16], boxes: NDArray[np.intp]) -> NDArray[np.uint16]:
    """All bits in each box, with `Flag.EDGE` where it reaches the border of the image.

    Parameters
    ----------
    flags : ndarray of uint16, shape (ny, nx)
    boxes : ndarray, shape (n, 4)
        First and last row, first and last column; may reach beyond the image.
    """
    ny, nx = flags.shape
    found = np.zeros(len(boxes), dtype=np.uint16)
    for index, (y0, y1, x0, x1) in enumerate(boxes.tolist()):
        found[index] = np.bitwise_or.reduce(flags[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1], axis=None)
    y0, y1, x0, x1 = boxes.T
    cut = (y0 <= 0) | (x0 <= 0) | (y1 >= ny - 1) | (x1 >= nx - 1)
    found[cut] |= np.uint16(Flag.EDGE)
    return found
