"""Stars against each other: a comparison star against the ensemble of the others, weighted as the curve was.

A ratio is drawn as the light curve of the target is: a measurement with a flag is a ring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from albireo_html._chart import Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_html._measurements import Fluxes


def against_others(
    star: int, flux: Fluxes, err: Fluxes, weights: Mapping[int, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Divide a star by the weighted mean of the others, each relative to its own median.

    Parameters
    ----------
    star : int
        It may be one of the comparison stars, and is left out of their mean then.
    flux, err : dict of int to ndarray, shape (frames,)
    weights : mapping of int to float
        Of the comparison stars.

    Returns
    -------
    tuple of ndarray, or None
        The ratio, with a median of one, and the error that the star's own flux gives it. A frame in which a comparison
        star is missing is compared with the others. None if there is nothing to divide, or nothing to divide by.
    """
    others = [other for other in flux if other != star and weights.get(other, 0) > 0]
    if star not in flux or not others:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.array([flux[other] / np.nanmedian(flux[other]) for other in others])
        weight = np.where(np.isfinite(parts), np.array([[weights[other]] for other in others]), 0.0)
        reference = np.nansum(weight * np.nan_to_num(parts), axis=0) / weight.sum(axis=0)
        ratio = flux[star] / reference
        if not np.isfinite(ratio).any():
            return None
        ratio /= np.nanmedian(ratio)
        return ratio, ratio * err[star] / flux[star]


def ratio_series(
    time: NDArray[np.float64],
    ratio: NDArray[np.float64],
    err: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    size: float,
    key: str,
) -> list[Series]:
    """Draw a ratio with dots of a size, and rings where it is flagged; ``key`` is that of the light curve."""
    series = []
    marked = flagged & np.isfinite(ratio)
    for what, label, style, width in ((~flagged, "", "dots", size), (marked, "flagged", "rings", size + 2.0)):
        if what.any():
            names = [str(row) for row in np.flatnonzero(what).tolist()]
            series.append(Series(time[what], ratio[what], label, "grey", err[what], style, width, names, key))
    return series
