"""A master dark that was fitted to several exposure times, and what it says of any other.

Such a master holds a straight line for each pixel, D(t) = D(T0) + r (t - T0): its data are D(T0) with their variance,
the planes ``RATE``, ``RATEVAR`` and ``RATECOV`` are r per second, its variance, and the covariance of D(T0) and r. The
card ``EXPTIME`` is T0; ``TMIN`` and ``TMAX`` are the shortest and the longest exposure time that it was fitted to.
"""

from __future__ import annotations

from functools import lru_cache
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from albireo import planes_of
from albireo_calibration.planes import variance_plane

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    Planes = tuple[NDArray[np.float32], NDArray[np.float32]]


def is_fitted(master: CCDData) -> bool:
    """Whether a master dark holds a line in exposure time."""
    return "RATE" in planes_of(master)


def fitted_range(master: CCDData) -> tuple[float, float]:
    """Shortest and longest exposure time that a master was fitted to, in s; NaN if it does not say."""
    return float(master.meta.get("TMIN", nan)), float(master.meta.get("TMAX", nan))


def dark_rate(master: CCDData) -> NDArray[np.float32]:
    """Counts per second of each pixel in the dark."""
    rate: NDArray[np.float32] = planes_of(master)["RATE"]
    return rate


@lru_cache(maxsize=2)
def dark_at(master: CCDData, exptime: float) -> Planes:
    """Give the dark of an exposure time and its variance; a line without variances is taken as exact.

    With d = t - T0 the variance is ``V + 2 d RATECOV + d**2 RATEVAR``. The planes are remembered for the last two
    masters and exposure times, because a night has many frames of each: they must not be changed.
    """
    planes = planes_of(master)
    ahead = np.float32(exptime - float(master.meta["EXPTIME"]))
    data = dark_rate(master) * ahead
    data += master.data
    variance = np.zeros(master.shape, dtype=np.float32)
    if "RATEVAR" in planes:
        np.multiply(planes["RATEVAR"], ahead, out=variance)
    if "RATECOV" in planes:
        variance += np.float32(2.0) * planes["RATECOV"]
    variance *= ahead
    variance += variance_plane(master)
    return data, np.maximum(variance, np.float32(0.0), out=variance)  # rounding, where a line is known very well
