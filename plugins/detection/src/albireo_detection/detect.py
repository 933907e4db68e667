"""From an image and its background to parts: connected pixels above a threshold, parted at their peaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from albireo import MASKED, Flag, FrameError, flags_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background

__all__ = ["Planes", "covered", "find_parts", "gaussian"]

HIDDEN = np.uint16(MASKED & ~(Flag.SATURATED | Flag.BLEED))
"""Flags of pixels that count as sky. Saturated pixels and bleed trails take part, or a bright star would be a ring."""

DEPTH = 1.5
"""Standard deviations of the filtered image, photons of the star included, that a peak must rise above a saddle. Less
parts broad stars at their noise; more leaves close pairs together. The share of the light does the rest."""

MOST = 0.5
"""Share of the pixels above the threshold beyond which an image has no sources that could be told from each other."""

MASK_THRESHOLD, MASK_FWHM, MASK_AREA = 4.0, 2.5, 5
"""What counts as a source where sources are to be masked: standard deviations, filter and pixels."""


class Planes(NamedTuple):
    """What kernels see of an image: contiguous, and of the types that they are compiled for."""

    data: NDArray[np.float32]
    level: NDArray[np.float32]
    rms: NDArray[np.float32]
    flags: NDArray[np.uint16]
    hidden: np.uint16

    @classmethod
    def of(cls, image: CCDData, background: Background) -> Planes:
        """Take the planes of an image and its background."""
        data, level, rms = (
            np.ascontiguousarray(plane, dtype=np.float32) for plane in (image.data, background.level, background.rms)
        )
        return cls(data, level, rms, np.ascontiguousarray(flags_of(image)), HIDDEN)


def gaussian(fwhm: float) -> NDArray[np.float32]:
    """Taps of a Gaussian that reaches to about 1.2 FWHM across, with the sum one; one tap for no filter."""
    if fwhm == 0:
        return np.ones(1, dtype=np.float32)
    half = max(1, round(0.6 * fwhm))
    profile = np.exp(-4.0 * np.log(2.0) * (np.arange(-half, half + 1) / fwhm) ** 2)
    return (profile / profile.sum()).astype(np.float32)


def find_parts(
    planes: Planes, variance: NDArray[np.float32] | None, threshold: float, fwhm: float, area: int, contrast: float
) -> NDArray[np.float64]:
    """Find parts and measure them.

    Parameters
    ----------
    planes : Planes
    variance : ndarray of float32, shape (ny, nx), optional
        With the photon noise of stars, which tells what peaks inside a star mean. The noise of the background counts
        without.
    threshold : float
        Standard deviations of the filtered background: those of a pixel times the sum of the squares of the taps,
        the noise of white noise after the filter along both axes.
    fwhm : float
        Of the filter in pixels; 0 for none.
    area : int
        Pixels that must be connected.
    contrast : float
        Share of the light that a part must have.

    Returns
    -------
    ndarray of float64
        As `albireo_detection.part_kernels.measure_parts` gives it.

    Raises
    ------
    FrameError
        If half of the image is above the threshold.
    """
    from albireo_detection import part_kernels, run_kernels

    taps = gaussian(fwhm)
    noise = float(np.sum(taps.astype(np.float64) ** 2))
    most = int(MOST * planes.data.size)
    runs, values = run_kernels.find_runs(*planes, taps, np.float32(threshold * noise), most)
    if values.size > most:
        raise FrameError(
            f"more than half of the pixels lie above {threshold:g} standard deviations of the background, too many to "
            "make sources of them; look whether the background suits the frame, or raise the threshold"
        )
    runs, values = _large_enough(runs, values, area)
    if not values.size:
        return np.empty((0, part_kernels.COLUMNS))
    labels, _ = run_kernels.label_runs(runs)
    length = runs[:, 2] - runs[:, 1]
    row = np.repeat(runs[:, 0], length)
    column = np.arange(values.size) - np.repeat(runs[:, 3] - runs[:, 1], length)
    links = run_kernels.link_pixels(runs, values.size)
    peaks, basin = np.unique(part_kernels.climb(values, links), return_inverse=True)
    component = np.repeat(labels, length)[peaks]
    if peaks.size > component.max() + 1:
        y, x = row[peaks], column[peaks]
        depth = np.full(peaks.size, DEPTH * noise)
        if variance is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                photons = np.sqrt(variance[y, x]) / planes.rms[y, x]
            depth *= np.fmax(photons, 1.0)
        solid = (planes.flags[row, column] & np.uint16(Flag.SATURATED | Flag.BLEED)) != 0
        merged = part_kernels.part_basins(
            values, links, basin, peaks, component, depth.astype(np.float32), solid, contrast
        )
        _, basin = np.unique(merged[basin], return_inverse=True)
    number = int(basin.max()) + 1
    parts = part_kernels.measure_parts(*planes, row, column, basin, number, 0 if taps.size > 1 else 1)
    return parts[~part_kernels.wing_pieces(values, basin, parts, threshold * noise, area)]


def covered(image: CCDData, background: Background, reach: int) -> NDArray[np.bool_]:
    """Give a mask of the sources of an image and of the pixels this near to them."""
    from albireo_detection import run_kernels

    planes, taps = Planes.of(image, background), gaussian(MASK_FWHM)
    limit = np.float32(MASK_THRESHOLD * np.sum(taps.astype(np.float64) ** 2))
    runs, values = run_kernels.find_runs(*planes, taps, limit, planes.data.size)
    mask = np.zeros(image.shape, dtype=np.bool_)
    run_kernels.paint_runs(_large_enough(runs, values, MASK_AREA)[0], reach, mask)
    return mask


def _large_enough(
    runs: NDArray[np.int64], values: NDArray[np.float32], area: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Keep the runs, and the values of their pixels, of what has enough pixels."""
    from albireo_detection import run_kernels

    labels, number = run_kernels.label_runs(runs)
    length = runs[:, 2] - runs[:, 1]
    keep = np.bincount(labels, weights=length, minlength=number)[labels] >= area
    if keep.all():
        return runs, values
    kept = runs[keep].copy()
    kept[:, 3] = np.concatenate([[0], np.cumsum(length[keep])[:-1]])
    return kept, values[np.repeat(keep, length)]
