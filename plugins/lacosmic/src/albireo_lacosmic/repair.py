"""Values for pixels that were hit, from their good neighbours, with a variance that sums can use."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import numpy as np

from albireo_lacosmic.rules import square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_lacosmic.planes import Planes

__all__ = ["repaired"]


def repaired(
    planes: Planes, places: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Give pixels the median of the good ones among the 25 around each.

    The median of n values of variance V has about ``pi V / (2 n)``. But a sum over the pixel and its neighbours then
    counts these twice in part: with m such pixels beside each other, each adds ``2 V + m V pi / (2 n)`` to the variance
    of the sum. This is what they are given, so that the error of a sum over an aperture is right. It holds where the
    image is flat on this scale; at the core of a star the value itself is too low.

    Parameters
    ----------
    planes : Planes
        Their holes must include the places.
    places : ndarray of int64

    Returns
    -------
    values, variances : ndarray of float32
    known : ndarray of bool
        False where no pixel around is good; the value means nothing there.
    """
    number = planes.fill(places)
    hit = np.zeros(planes.hole.size, dtype=np.bool_)
    hit[places] = True
    window = places[:, None] + square(2, planes.columns)
    near = np.where(planes.hole.reshape(-1)[window], np.float32(0.0), planes.variance.reshape(-1)[window])
    shared = np.maximum(number, 1)
    mean = near.sum(axis=1, dtype=np.float64) / shared
    variances = mean * (2.0 + 0.5 * pi * hit[window].sum(axis=1) / shared)
    return planes.pixels.reshape(-1)[places], variances.astype(np.float32), number > 0
