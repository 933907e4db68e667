"""Level and noise of the sky in boxes that fill an image; the estimator of Source Extractor.

Bertin & Arnouts 1996 (A&AS 117, 393, section 3): the numbers of a box are clipped at three standard deviations around
their median until nothing changes, and the level is Pearson's estimate of the mode, 2.5 median - 1.5 mean, unless the
box is so crowded that the mean lies 0.3 standard deviations from the median, where it is the median. Other than there,
the standard deviation is corrected for what the clipping takes from a normal distribution (1.4 %), and the first guess
comes from the lower quartile, which stars do not lift. The skewness of counted photons, which the estimate takes for
crowding, is given back (`photon_skew`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import FrameError

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["CLIP", "MIN_PIXELS", "Boxes", "measure", "photon_skew", "too_few", "usable_mask"]

CLIP = 3.0
"""Standard deviations from the median beyond which a pixel is no sky."""

MIN_PIXELS = 100
"""Fewer usable pixels than this tell nothing of a sky level and its noise."""

MIN_SHARE = 0.25
"""Share of the pixels of a box that must be usable, unless no box has so many."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Level and noise of boxes of equal size, to a pixel, which fill an image: shape (m, n), finite."""

    level: NDArray[np.float64]
    sigma: NDArray[np.float64]


def usable_mask(image: CCDData) -> NDArray[np.bool_]:
    """Give the mask of an image, of shape (ny, 0) if it has none."""
    if image.mask is None:
        return np.empty((image.shape[0], 0), dtype=np.bool_)
    return np.ascontiguousarray(image.mask, dtype=np.bool_)


def too_few(usable: int, pixels: int) -> FrameError:
    """Say that an image has too few usable pixels."""
    return FrameError(
        f"no sky can be estimated: {usable} usable pixels of {pixels} looked at, at least {MIN_PIXELS} are "
        "needed; the others are masked or not numbers"
    )


def measure(plane: NDArray[np.float32], mask: NDArray[np.bool_], box: int, step: int = 1) -> Boxes:
    """Measure boxes.

    Parameters
    ----------
    plane : ndarray of float32, shape (ny, nx)
        Pixels that are not finite are left out.
    mask : ndarray of bool, shape (ny, nx) or (ny, 0)
        Pixels to leave out.
    box : int
        Width and height, rounded so that boxes of one size fill the image.
    step : int
        Take every row, or each so many.

    Raises
    ------
    FrameError
        If there are fewer than 100 usable pixels.
    """
    from albireo_detection import box_kernels, map_kernels

    rows, columns = (_edges(length, box) for length in plane.shape)
    shape = rows.size - 1, columns.size - 1
    level, sigma, usable = np.empty(shape), np.empty(shape), np.empty(shape, dtype=np.int64)
    pixels = np.ascontiguousarray(plane, dtype=np.float32)
    box_kernels.box_statistics(pixels, mask, rows, columns, step, CLIP, level, sigma, usable)
    if usable.sum() < MIN_PIXELS:
        raise too_few(int(usable.sum()), -(-plane.shape[0] // step) * plane.shape[1])
    area = plane.size / (step * usable.size)
    poor = usable < min(MIN_SHARE * area, 0.5 * float(usable.max()))
    for mesh in (level, sigma):
        mesh[poor] = np.nan
        map_kernels.fill(mesh)
    return Boxes(level, sigma)


def photon_skew(image: CCDData, level: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what the skewness of counted photons takes from the estimate of the mode, in electrons.

    The third moment of a Poisson distribution is its variance, so that its median lies 1/6 of an electron below its
    mean (Kendall & Stuart 1977, The Advanced Theory of Statistics 1, section 2.11: mean - median = skewness sigma / 6),
    and Pearson's estimate of the mode 2.5 times as far. Read noise makes it less by the share of the photons in the
    variance, averaging over frames by their number. Zero for an image that does not say that its noise is that of
    photons: one without a variance, or in other units than electrons.

    Parameters
    ----------
    image : CCDData
    level, sigma : ndarray
        In electrons.
    """
    if str(image.unit) != "electron" or image.uncertainty is None:
        return np.zeros_like(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = level / sigma**2
        share = np.where(share > 1.0, 1.0 / share, share)
    return 2.5 / 6.0 * np.clip(np.nan_to_num(share), 0.0, 1.0)


def _edges(length: int, box: int) -> NDArray[np.int64]:
    """Where boxes begin and the last one ends."""
    count = max(1, round(length / box))
    return np.rint(np.linspace(0, length, count + 1)).astype(np.int64)
