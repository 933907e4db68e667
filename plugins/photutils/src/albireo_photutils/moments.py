"""Centres, shapes and light of stars by moments under a round Gaussian window.

The centres of photutils' finders are moments of the pixels above the threshold, or a fit to the sums along rows and
columns; both change with the threshold or the width of the kernel, and faint stars come out too small. Under a Gaussian
window there is no such edge. Inverse covariances add in a product of Gaussians, so that the covariance of the star
follows from the measured one (Bernstein & Jarvis 2002, AJ 123, 583, section 3), and so do its centre and its light. All
are exact for a Gaussian star. The widths are those of the image as sampled, the pixel included.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Covariance: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    """Along x, along y, and of both."""

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

SMALLEST_WINDOW = 0.9
"""Sigma in pixels: sums over pixel centres stand for integrals down to here, with an error below 0.1 %."""

NARROW = 0.7
"""Window over star for the shape: it keeps to the core, and the wings of a real star widen it by 3 to 6 % only."""

REACH = 4.0
"""Half-width of a stamp in units of the window's sigma."""

BRIGHTEST = 50
"""Stars that set the width of the window."""

ROUNDS = 4
"""Of centring; a Gaussian star is centred to 0.001 pixel after three."""

CHUNK = 1 << 21
"""Pixels of all stamps that are held at a time."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What was measured of each star; NaN where there is no peak, or it lies further off than the window is wide.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        Centre in pixels.
    flux : ndarray
        Light of the Gaussian with these moments, in the unit of the signal.
    xx, yy, xy : ndarray
        Covariance in pixels squared.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]

    @property
    def fwhm(self) -> NDArray[np.float64]:
        """Geometric mean full width at half maximum in pixels."""
        return FWHM_PER_SIGMA * (self.xx * self.yy - self.xy**2) ** 0.25


def axes(
    xx: NDArray[np.float64], yy: NDArray[np.float64], xy: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Semi-axes (one standard deviation) and the angle of the longer, in radians from +x to +y, of a covariance."""
    mean, difference = 0.5 * (xx + yy), 0.5 * (xx - yy)
    spread = np.hypot(difference, xy)
    return np.sqrt(mean + spread), np.sqrt(np.maximum(mean - spread, 0.0)), 0.5 * np.arctan2(xy, difference)


def measure(signal: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], sigma: float) -> Moments:
    """Measure stars.

    Parameters
    ----------
    signal : ndarray of float32, shape (ny, nx)
        Image without background; unusable pixels are zero.
    x, y : ndarray, shape (n,)
        First guess of the centres in pixels, brightest star first.
    sigma : float
        First guess of the width of a star (standard deviation in pixels).
    """
    for _ in range(2):
        widths = _measure(signal, x[:BRIGHTEST], y[:BRIGHTEST], sigma).fwhm
        if not np.isfinite(widths).any():
            break
        sigma = float(np.nanmedian(widths)) / FWHM_PER_SIGMA
    size = max(1, CHUNK // (2 * _reach(sigma) + 1) ** 2)
    parts = [_measure(signal, x[i : i + size], y[i : i + size], sigma) for i in range(0, max(1, len(x)), size)]
    return Moments(*(np.concatenate([getattr(part, entry.name) for part in parts]) for entry in fields(Moments)))


def _reach(sigma: float) -> int:
    return int(np.ceil(REACH * max(sigma, SMALLEST_WINDOW)))


def _measure(signal: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], sigma: float) -> Moments:
    wide, narrow = max(sigma, SMALLEST_WINDOW), max(NARROW * sigma, SMALLEST_WINDOW)
    reach = _reach(sigma)
    grid = np.arange(-reach, reach + 1)
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    ny, nx = signal.shape
    rows, columns = row[:, None] + grid, column[:, None] + grid
    stamps = signal[np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]].astype(np.float64)
    stamps *= ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]

    cx, cy = x - column, y - row
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(ROUNDS):
            _, mx, my, seen = _sums(stamps, grid, cx, cy, wide)
            # The window pulls the centroid towards its own centre; undo that for a star of this shape.
            xx, yy, xy, _ = _without_window(seen, wide)
            cx = cx + mx + (xx * mx + xy * my) / wide**2
            cy = cy + my + (xy * mx + yy * my) / wide**2
        flux, _, _, seen = _sums(stamps, grid, cx, cy, narrow)
        xx, yy, xy, gain = _without_window(seen, narrow)
        good = (flux > 0) & (xx > 0) & (yy > 0) & (xx * yy > xy**2)
        good &= np.hypot(cx + column - x, cy + row - y) < 2.0 * wide
        return Moments(*(np.where(good, v, np.nan) for v in (cx + column, cy + row, flux * gain, xx, yy, xy)))


def _sums(
    stamps: NDArray[np.float64],
    grid: NDArray[np.int_],
    cx: NDArray[np.float64],
    cy: NDArray[np.float64],
    window: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], Covariance]:
    """Sum, first moments and central second moments under a window centred on ``cx``, ``cy``.

    A round window is a product of one factor in x and one in y, so that all moments are two small matrix products.
    """
    factors = []
    for centre in (cx, cy):
        offset = grid - centre[:, None]
        weight = np.exp(-0.5 * (offset / window) ** 2)
        factors.append(np.stack([weight, weight * offset, weight * offset**2], axis=1))
    sums = factors[1] @ stamps @ factors[0].transpose(0, 2, 1)
    flux = sums[:, 0, 0]
    mx, my = sums[:, 0, 1] / flux, sums[:, 1, 0] / flux
    xx, yy, xy = (sums[:, i, j] / flux - mi * mj for i, j, mi, mj in ((0, 2, mx, mx), (2, 0, my, my), (1, 1, mx, my)))
    return flux, mx, my, (xx, yy, xy)


def _without_window(seen: Covariance, window: float) -> tuple[NDArray[np.float64], ...]:
    """Covariance (xx, yy, xy) of a Gaussian whose product with the window has the given one, and their ratio in light.

    The product's light is that of the star times the root of the ratio of the determinants.
    """
    xx, yy, xy = seen
    determinant = xx * yy - xy**2
    ixx, iyy, ixy = yy / determinant - window**-2, xx / determinant - window**-2, -xy / determinant
    inverse = ixx * iyy - ixy**2
    return iyy / inverse, ixx / inverse, -ixy / inverse, 1.0 / np.sqrt(inverse * determinant)
