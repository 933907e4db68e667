"""Centres and shapes of stars by moments under a round Gaussian window.

Isophotal moments stop at the detection threshold: they make faint stars look small. A Gaussian window has no such
edge, and what it does to a Gaussian star is known: covariances add as inverses, so that the star's own follows from
the measured one (Bernstein & Jarvis 2002, AJ 123, 583, section 3; Kaiser, Squires & Broadhurst 1995, ApJ 449, 460).
Iterating the centre of the window onto the centre of the star gives the windowed position of Source Extractor, which
is close to what a fit of the profile would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_detection.detect import Planes

__all__ = ["FWHM_PER_SIGMA", "Shapes", "axes", "measure"]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

BRIGHTEST = 50
"""Stars that set the width of the window."""


def axes(
    xx: NDArray[np.float64], yy: NDArray[np.float64], xy: NDArray[np.float64], smallest: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give semi-axes (standard deviations, at least ``smallest``) and the angle of the longer one.

    The angle is in radians from +x towards +y, from -pi/2 to pi/2.
    """
    mean, difference = 0.5 * (xx + yy), 0.5 * (xx - yy)
    spread = np.hypot(difference, xy)
    a, b = (np.sqrt(np.maximum(square, smallest**2)) for square in (mean + spread, mean - spread))
    return a, b, 0.5 * np.arctan2(xy, difference)


@dataclass(frozen=True, eq=False)
class Shapes:
    """Centres (pixels), semi-axes (pixels), angles (radians) and widths (pixels); NaN where there is no result."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    theta: NDArray[np.float64]
    fwhm: NDArray[np.float64]

    @classmethod
    def of(cls, table: NDArray[np.float64]) -> Shapes:
        """Make them from centres and moments."""
        x, y, xx, yy, xy = table.T
        return cls(x, y, *axes(xx, yy, xy), FWHM_PER_SIGMA * (xx * yy - xy**2) ** 0.25)


def measure(planes: Planes, x: NDArray[np.float64], y: NDArray[np.float64], sigma: float) -> Shapes:
    """Measure stars.

    Parameters
    ----------
    planes : Planes
    x, y : ndarray, shape (n,)
        First guess of the centres in pixels, those that set the width of the window first.
    sigma : float
        First guess of the width of a star (standard deviation in pixels).
    """
    from albireo_detection.window_kernels import windowed

    for _ in range(2):
        widths = Shapes.of(windowed(*planes, x[:BRIGHTEST].copy(), y[:BRIGHTEST].copy(), sigma)).fwhm
        if not np.isfinite(widths).any():
            break
        sigma = float(np.nanmedian(widths)) / FWHM_PER_SIGMA
    return Shapes.of(windowed(*planes, x, y, sigma))
