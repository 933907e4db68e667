"""The sky around each star: a clipped statistic of the pixels in a ring, or the map of the background.

Rows of pixels are sorted once by numpy; after that any clip is a pair of places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from albireo import MASKED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Background
    from albireo_aperture.planes import Planes

ROOM = 1 << 22
"""Bytes for the pixels of rings at a time."""

STATISTICS = ("mean", "median", "mode")
"""In the order of the numbers of `albireo_aperture.ring_kernels`."""


@dataclass(frozen=True, eq=False)
class Sky:
    """The sky of each star.

    Attributes
    ----------
    level, error : ndarray of float64, shape (n,)
        In one pixel; NaN where the ring has fewer than 20 pixels that count. The error is zero for a map.
    rms : ndarray of float64, shape (n,)
        Standard deviation of the sky in one pixel.
    """

    level: NDArray[np.float64]
    error: NDArray[np.float64]
    rms: NDArray[np.float64]


def sky_of_rings(
    planes: Planes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ring: tuple[float, float],
    elongation: NDArray[np.float64],
    theta: NDArray[np.float64],
    *,
    clip: float,
    statistic: Literal["mean", "median", "mode"],
) -> Sky:
    """Measure the sky in a ring around each star.

    Parameters
    ----------
    planes : Planes
        Masked pixels and those beyond the image take no part.
    x, y : ndarray, shape (n,)
        Centres in pixels.
    ring : (float, float)
        Inner and outer radius in pixels; of an ellipse the geometric means of the semi-axes.
    elongation, theta : ndarray, shape (n,)
        Axis ratio of the ring, one for a circle, and its position angle in radians.
    clip : float
        Pixels further from the median are left out, in standard deviations.
    statistic : str
        ``mean``, ``median`` or ``mode`` of what is kept.
    """
    from albireo_aperture import ring_kernels

    inner, outer = ring
    # Centres of pixels in an ellipse: its area, give or take those within 0.71 pixel of its edge.
    stretch = float(np.sqrt(elongation.max(initial=1.0)))
    most = int(np.pi * (outer**2 - inner**2 + 0.75 * (outer + inner) * (stretch + 1.0 / stretch))) + 32
    step = max(1, ROOM // (4 * most))
    sky = np.empty((3, len(x)))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        values = np.empty((len(x[part]), most), dtype=np.float32)
        count = np.empty(len(values), dtype=np.int64)
        of_stars = x[part], y[part], inner, outer, elongation[part], theta[part]
        ring_kernels.ring_values(planes.data, planes.flags, np.uint16(MASKED), *of_stars, values, count)
        values.sort(axis=1)
        ring_kernels.clipped_levels(values, count, clip, STATISTICS.index(statistic), sky[:, part])
    return Sky(*sky)


def sky_of_map(background: Background, x: NDArray[np.float64], y: NDArray[np.float64]) -> Sky:
    """Take the map at the pixel of each star, or the nearest one; its own error is not known, and counts as zero."""
    ny, nx = background.level.shape
    column, row = (
        np.clip(np.rint(np.nan_to_num(v, nan=-1.0, posinf=size, neginf=-1.0)), 0, size - 1).astype(np.intp)
        for v, size in ((x, nx), (y, ny))
    )
    level, rms = background.level[row, column], background.rms[row, column]
    return Sky(level.astype(np.float64), np.zeros(len(x)), rms.astype(np.float64))
