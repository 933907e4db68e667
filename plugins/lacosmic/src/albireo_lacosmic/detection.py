"""L.A.Cosmic: van Dokkum 2001, PASP 113, 1420, sections 3.1 to 3.3.

The noise of a pixel is the root of the 5 x 5 median of the variance: what it would be without a ray. With each pixel
divided into 2 x 2, the Laplacian of the image is taken there, negative values are set to zero, and the four are
averaged again: L. For a pixel d, the subpixel at the corner between its neighbours u and l has 2 d - u - l, so that no
larger image has to be made. Then

* the sharpness is ``S = L / (2 noise)``, and the excess ``S' = S - median5(S)``, without what is curved on larger
  scales;
* the fine structure is ``F = (median3(I) - median7(median3(I))) / noise``, at least 0.01: that of a star is large,
  that of a ray is not.

A pixel is of a ray if ``S' > sigclip`` and ``S' / F > objlim`` (so van Dokkum's program; the paper writes ``L / F``).
A neighbour of such a pixel needs only ``S' > sigclip``, and a neighbour of these ``S' > sigfrac sigclip``.

A ray is then filled from its neighbours, and in the next round what it had outshone is found: the inside of a thick
track, its fainter end. Few pixels of a frame are sharp, so one pass finds these, and all else is done for them alone.
The tests of a pixel see no farther than `PAD` pixels, so that after the first round only what is that near to a change
is tested again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo_lacosmic.planes import Planes
from albireo_lacosmic.rules import FAINTEST, PAD, TINY, reached, square

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Limits", "find_rays"]

MARGIN = 0.999
"""On the square of the limit in the first pass, for what rounding may do."""

BATCH = 1 << 14
"""Places worked on together; the windows of their windows take some MB."""


@dataclass(frozen=True)
class Limits:
    """Limits of the tests."""

    sigclip: float
    sigfrac: float
    objlim: float


def find_rays(planes: Planes, limits: Limits, iterations: int) -> tuple[NDArray[np.int64], int]:
    """Find the pixels of cosmic rays.

    Parameters
    ----------
    planes : Planes
        Changed: rays are holes afterwards, filled from their neighbours.
    limits : Limits
    iterations : int
        Rounds at most.

    Returns
    -------
    rays : ndarray of int64
        Places, in order.
    rounds : int
        How many rounds found something.
    """
    hole, closed = planes.hole.reshape(-1), planes.closed.reshape(-1)
    rays = np.empty(0, dtype=np.int64)
    sharp = np.float32(MARGIN * (2.0 * limits.sigclip) ** 2)
    candidates = planes.engine.screen(planes.pixels, planes.variance, planes.closed, sharp)
    for done in range(iterations):
        found = np.setdiff1d(_search(planes, candidates, limits), rays, assume_unique=True)
        if not found.size:
            return rays, done
        rays = np.union1d(rays, found)
        hole[found] = True
        # What was filled before, from pixels that turn out to be of a ray, is filled anew.
        changed = np.intersect1d(reached(found, 2, planes.columns), rays, assume_unique=True)
        planes.fill(changed)
        candidates = reached(changed, PAD, planes.columns)
        candidates = candidates[~closed[candidates]]
    return rays, iterations


def _search(planes: Planes, candidates: NDArray[np.int64], limits: Limits) -> NDArray[np.int64]:
    """Find candidates that pass both tests, and neighbours that pass the weaker ones."""
    closed, sigclip = planes.closed.reshape(-1), np.float32(limits.sigclip)
    sharpness = _sharpness(planes, candidates)
    places, sharpness = candidates[sharpness > sigclip], sharpness[sharpness > sigclip]
    fine = _fine(planes, places)
    contrasted = sharpness / fine > np.float32(limits.objlim)  # the excess is not larger, and takes longer
    places, fine = places[contrasted], fine[contrasted]
    excess = _excess(planes, places)
    found = places[(excess > sigclip) & (excess / fine > np.float32(limits.objlim))]
    for limit in (sigclip, np.float32(limits.sigfrac * limits.sigclip)):
        near = np.setdiff1d(reached(found, 1, planes.columns), found, assume_unique=True)
        near = near[~closed[near]]
        found = np.concatenate([found, near[_excess(planes, near) > limit]])
    return found


def _noise(planes: Planes, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Noise that pixels would have without a ray."""
    variance, _ = planes.engine.medians(planes.variance, places, square(2, planes.columns))
    return np.sqrt(np.maximum(variance, TINY))


def _sharpness(planes: Planes, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """S: the Laplacian over twice the noise."""
    pixels, columns, zero = planes.pixels.reshape(-1), planes.columns, np.float32(0.0)
    double = np.float32(2.0) * pixels[places]
    up, down, left, right = (pixels[places + step] for step in (-columns, columns, -1, 1))
    curved = np.maximum(double - up - left, zero) + np.maximum(double - up - right, zero)
    curved += np.maximum(double - down - left, zero) + np.maximum(double - down - right, zero)
    return np.asarray(np.float32(0.25) * curved / (np.float32(2.0) * _noise(planes, places)))


def _excess(planes: Planes, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """S': the sharpness above the median of the 5 x 5 pixels around."""
    found = np.empty(places.size, dtype=np.float32)
    for start in range(0, places.size, BATCH):
        windows = places[start : start + BATCH, None] + square(2, planes.columns)
        sharpness = _sharpness(planes, windows.reshape(-1)).reshape(windows.shape)
        found[start : start + BATCH] = sharpness[:, 12] - _row_medians(planes, sharpness)
    return found


def _fine(planes: Planes, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """F: the fine structure over the noise."""
    found = np.empty(places.size, dtype=np.float32)
    for start in range(0, places.size, BATCH):
        windows = places[start : start + BATCH, None] + square(3, planes.columns)
        smooth, _ = planes.engine.medians(planes.pixels, windows.reshape(-1), square(1, planes.columns))
        smooth = smooth.reshape(windows.shape)
        found[start : start + BATCH] = smooth[:, 24] - _row_medians(planes, smooth)
    return np.asarray(np.maximum(found / _noise(planes, places), FAINTEST))


def _row_medians(planes: Planes, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row."""
    number, length = values.shape
    found, _ = planes.engine.medians(values, np.arange(0, number * length, length), np.arange(length))
    return found
