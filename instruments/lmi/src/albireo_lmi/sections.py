"""Where light and overscan lie in a full frame whose header does not say.

Known is the frame binned 2 x 2, 3128 x 3080 pixels: light in ``[27:3095,3:3078]``, overscan in ``[3100:3125,3:3078]``.
The chip and the pixels read before it scale with the binning, so that light at other binnings lies in the whole pixels
inside of the same part of the chip. The overscan begins as far behind the light as it does there and ends three pixels
before the edge. Nothing but that comparison supports these sections; those of a header count more.
"""

from __future__ import annotations

from math import ceil, floor

from albireo import Section

__all__ = ["ROWS", "full_frame_sections"]

ROWS = 6160
"""Rows of the chip."""

LIGHT_X, LIGHT_Y = (52, 6190), (4, 6156)
"""First and last edge of the light in unbinned pixels of the raw frame, twice that of the frame binned 2 x 2."""

GAP, MARGIN = 4, 3
"""Pixels between light and overscan, and between overscan and the edge of the frame, binned."""

LEAST = 8
"""Columns that make an overscan."""

BINNINGS = (1, 2, 3, 4)


def full_frame_sections(shape: tuple[int, int], binning: int) -> tuple[Section, Section] | None:
    """Give light and overscan of a full frame; None if this is none.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the raw image.
    binning : int
        The same along both axes.
    """
    ny, nx = shape
    if binning not in BINNINGS or not ROWS // binning <= ny <= ceil(ROWS / binning):
        return None
    x0, x1 = ceil(LIGHT_X[0] / binning), floor(LIGHT_X[1] / binning)
    y0, y1 = ceil(LIGHT_Y[0] / binning), floor(LIGHT_Y[1] / binning)
    dark0, dark1 = x1 + GAP, nx - MARGIN
    if dark1 - dark0 < LEAST:
        return None
    return Section(y0, y1, x0, x1), Section(y0, y1, dark0, dark1)
