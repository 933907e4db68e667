"""Interpolation: fill in flagged pixels from good ones on either side.

A pixel takes its value from the straight line between the nearest good pixels to its left and right, or below and
above, whichever are closer together; the mean of both where they are equally close. So a bad column is filled in along
the rows, a bad row along the columns, and a single pixel from its four neighbours. A straight line keeps a gradient of
the sky as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import Correction, Frame

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

Reason = Literal["bad", "hot", "low_response", "no_data", "cosmic_ray"]


class Interpolate(Correction, name="interpolate"):
    """Replace flagged pixels by straight lines between their good neighbours; they are no longer masked.

    A pixel is replaced if its only flags that mask are among ``flags``; one that is saturated too stays masked.
    `Flag.NO_DATA` goes along with another of them, as where a dead pixel was divided by its flat. A replaced pixel
    loses these flags and gets `Flag.INTERPOLATED`. One without good pixels on two opposite sides within ``reach`` stays
    as it is. No value is taken from pixels that are masked, missing or interpolated. See
    `albireo_calibration.interpolate` for the rule. At a star the line cuts off the peak; the flag tells which sources
    have such pixels.

    The variance makes the error of a sum over a filled pixel and its neighbours right. Neighbour i of variance V_i,
    which gives the weight w_i to this pixel and ``c_i`` to all pixels it fills together, counts ``1 + c_i`` times in
    such a sum, and ``(1 + c_i)**2 V_i`` is shared out as ``w_i (2 + c_i) V_i`` to each. For the noise of the pixel by
    itself that is too much: a filled pixel tells nothing that its neighbours do not.

    Runs on an image in electrons, whose variance is known. Put it after `flat`, so that neighbours compare.
    """

    needs = frozenset({"electron"})

    flags: tuple[Reason, ...] = Field(("bad", "hot", "low_response"), description="Which flagged pixels to fill in.")
    reach: int = Field(
        3, ge=1, description="How far a good pixel may be on either side.", json_schema_extra={"unit": "pixel"}
    )

    def correct(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> CCDData:
        """Fill in the flagged pixels of an image.

        Parameters
        ----------
        image : CCDData
            NaN pixels that are not filled in stay NaN, with `Flag.NO_DATA`.
        frame, masters
            Not used.
        """
        import numpy as np

        from albireo import MASKED, Flag, flags_of, variance_of
        from albireo import image as new_image

        data, variance, flags = image.data.copy(), variance_of(image), flags_of(image).copy()
        flags[~np.isfinite(data)] |= np.uint16(Flag.NO_DATA)
        chosen = np.uint16(sum(Flag[name.upper()] for name in set(self.flags)))
        cleared = chosen | np.uint16(Flag.NO_DATA)
        good = flags & np.uint16(MASKED | Flag.INTERPOLATED) == 0
        row, column = np.nonzero((flags & chosen != 0) & (flags & np.uint16(MASKED) & ~cleared == 0))
        pixel, source, weight = _lines(good, row, column, self.reach)
        filled = np.unique(pixel)
        place = row[filled], column[filled]
        data[place] = np.bincount(pixel, weight * data.ravel()[source], len(row))[filled]
        if variance is not None:
            taken = np.bincount(source, weight, 0)
            share = weight * (2.0 + taken[source]) * variance.ravel()[source]
            variance = variance.copy()
            variance[place] = np.bincount(pixel, share, len(row))[filled]
        flags[place] = flags[place] & ~cleared | np.uint16(Flag.INTERPOLATED)
        note = f"interpolate: {len(filled)} pixels filled in, {len(row) - len(filled)} without good neighbours"
        meta = {**image.meta, "HISTORY": [*image.meta.get("HISTORY", ()), note]}
        return new_image(data, str(image.unit), variance=variance, flags=flags, meta=meta)


def _lines(
    good: NDArray[np.bool_], row: NDArray[np.intp], column: NDArray[np.intp], reach: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Find what each pixel is made of.

    Returns
    -------
    pixel, source : ndarray of int
        Which of the given pixels takes a part of which pixel of the flattened image.
    weight : ndarray of float
        How large a part; those of a pixel sum to one.
    """
    import numpy as np

    left, right = (_nearest(good, row, column, (0, step), reach) for step in (-1, 1))
    below, above = (_nearest(good, row, column, (step, 0), reach) for step in (-1, 1))
    across, along = left + right, below + above  # infinite where a side is missing
    best = np.minimum(across, along)
    share = [np.where((span == best) & np.isfinite(best), 1.0, 0.0) for span in (across, along)]
    number = share[0] + share[1]
    width = good.shape[1]
    parts = []
    for part, here, opposite, stride in (
        (share[0], left, right, -1),
        (share[0], right, left, 1),
        (share[1], below, above, -width),
        (share[1], above, below, width),
    ):
        at = np.flatnonzero(part)
        weight = part[at] / number[at] * opposite[at] / (here[at] + opposite[at])
        parts.append((at, row[at] * width + column[at] + stride * here[at].astype(np.intp), weight))
    pixel, source, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pixel, source, weight


def _nearest(
    good: NDArray[np.bool_], row: NDArray[np.intp], column: NDArray[np.intp], step: tuple[int, int], reach: int
) -> NDArray[np.float64]:
    """Distance to the nearest good pixel in one direction; infinity where there is none within reach."""
    import numpy as np

    distance = np.full(len(row), np.inf)
    for far in range(reach, 0, -1):
        y, x = row + far * step[0], column + far * step[1]
        inside = (y >= 0) & (y < good.shape[0]) & (x >= 0) & (x < good.shape[1])
        distance[inside & good[np.where(inside, y, 0), np.where(inside, x, 0)]] = far
    return distance
