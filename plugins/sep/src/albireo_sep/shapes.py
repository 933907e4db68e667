"""Centres and shapes of stars by moments under a round Gaussian window.

Isophotal moments stop at the detection threshold: they make faint stars look small. A Gaussian window has no such
edge, and what it does to a Gaussian star is known: covariances add as inverses, so that the star's own follows from
the measured one (Bernstein & Jarvis 2002, AJ 123, 583, section 3; Kaiser, Squires & Broadhurst 1995, ApJ 449, 460).
Iterating the centre of the window onto the centre of the star gives the windowed position of Source Extractor, which
is close to what a fit of the profile would give.

All stars are measured at once: a round window is a product of one factor in x and one in y, so that the moments of a
stamp are two small matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

SMALLEST_WINDOW = 0.9
"""Sigma in pixels: sums over pixel centres stand for integrals down to here, with an error below 0.1 %."""

NARROW = 0.7
"""Window over star for the shape. A narrow window keeps to the core, where the half-maximum lies, so that the wings
of a real star (Moffat) widen it by 3 to 6 % only; under a window as wide as the star it would be 8 to 13 %."""

WINDOW_REACH = 4.0
"""Half-width of a stamp in units of the window's sigma."""

BRIGHTEST = 50
"""Stars that set the width of the window."""

PASSES = 4
"""Rounds of centring; a Gaussian star is centred to 0.001 pixel after three."""

CHUNK = 1 << 21
"""Pixels of all stamps that are held at a time."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Centres (pixels) and covariances of the profiles (pixels squared) of stars; NaN where there is no result."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]

    @property
    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Give both semi-axes (standard deviations, pixels) and the angle of the longer (radians, from +x to +y)."""
        mean, difference = 0.5 * (self.xx + self.yy), 0.5 * (self.xx - self.yy)
        spread = np.hypot(difference, self.xy)
        theta = 0.5 * np.arctan2(self.xy, difference)
        return np.sqrt(mean + spread), np.sqrt(mean - spread), theta

    @property
    def fwhm(self) -> NDArray[np.float64]:
        """Geometric mean full width at half maximum in pixels, of the profile as the pixels sample it."""
        return FWHM_PER_SIGMA * (self.xx * self.yy - self.xy**2) ** 0.25


def measure(signal: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], sigma: float) -> Shapes:
    """Measure stars.

    Parameters
    ----------
    signal : ndarray of float32, shape (ny, nx)
        Image without background; unusable pixels are zero.
    x, y : ndarray, shape (n,)
        First guess of the centres in pixels, brightest star first.
    sigma : float
        First guess of the width of a star (standard deviation in pixels).

    Returns
    -------
    Shapes
        NaN for a star whose window moved by more than its own width or whose moments are those of no peak.
    """
    few = slice(0, BRIGHTEST)
    for _ in range(2):
        widths = _measure(signal, x[few], y[few], sigma).fwhm
        if not np.isfinite(widths).any():
            break
        sigma = float(np.nanmedian(widths)) / FWHM_PER_SIGMA
    side = 2 * _reach(sigma) + 1
    size = max(1, CHUNK // side**2)
    parts = [_measure(signal, x[i : i + size], y[i : i + size], sigma) for i in range(0, len(x), size)]
    return Shapes(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y", "xx", "yy", "xy")))


def _reach(sigma: float) -> int:
    return int(np.ceil(WINDOW_REACH * max(sigma, SMALLEST_WINDOW)))


def _measure(signal: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], sigma: float) -> Shapes:
    wide = max(sigma, SMALLEST_WINDOW)
    narrow = max(NARROW * sigma, SMALLEST_WINDOW)
    reach = _reach(sigma)
    grid = np.arange(-reach, reach + 1)
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    ny, nx = signal.shape
    rows, columns = row[:, None] + grid, column[:, None] + grid
    stamps = signal[np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]].astype(np.float64)
    inside_y, inside_x = (rows >= 0) & (rows < ny), (columns >= 0) & (columns < nx)

    cx, cy = x - column, y - row
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(PASSES):
            _, mx, my, xx, yy, xy = _moments(stamps, grid, cx, cy, inside_x, inside_y, wide)
            # The window pulls the centroid towards its own centre; undo that for a star of this shape.
            sxx, syy, sxy = _without_window(xx, yy, xy, wide)
            cx = cx + mx + (sxx * mx + sxy * my) / wide**2
            cy = cy + my + (sxy * mx + syy * my) / wide**2
        flux, mx, my, xx, yy, xy = _moments(stamps, grid, cx, cy, inside_x, inside_y, narrow)
        xx, yy, xy = _without_window(xx, yy, xy, narrow)
        good = (flux > 0) & (xx > 0) & (yy > 0) & (xx * yy > xy**2)
        good &= np.hypot(cx + column - x, cy + row - y) < 2.0 * wide
    columns_out = (cx + column, cy + row, xx, yy, xy)
    return Shapes(*(np.where(good, values, np.nan) for values in columns_out))


def _moments(
    stamps: NDArray[np.float64],
    grid: NDArray[np.int_],
    cx: NDArray[np.float64],
    cy: NDArray[np.float64],
    inside_x: NDArray[np.bool_],
    inside_y: NDArray[np.bool_],
    window: float,
) -> tuple[NDArray[np.float64], ...]:
    """Sum, first moments and central second moments under a window centred on ``cx``, ``cy``."""
    factors = []
    for centre, inside in ((cx, inside_x), (cy, inside_y)):
        offset = grid - centre[:, None]
        weight = np.exp(-0.5 * (offset / window) ** 2) * inside
        factors.append(np.stack([weight, weight * offset, weight * offset**2], axis=1))
    sums = factors[1] @ stamps @ factors[0].transpose(0, 2, 1)
    flux = sums[:, 0, 0]
    mx, my = sums[:, 0, 1] / flux, sums[:, 1, 0] / flux
    return flux, mx, my, sums[:, 0, 2] / flux - mx**2, sums[:, 2, 0] / flux - my**2, sums[:, 1, 1] / flux - mx * my


def _without_window(
    xx: NDArray[np.float64], yy: NDArray[np.float64], xy: NDArray[np.float64], window: float
) -> tuple[NDArray[np.float64], ...]:
    """Covariance of a Gaussian whose product with the window has the given one: the inverses subtract."""
    determinant = xx * yy - xy**2
    ixx, iyy, ixy = yy / determinant - window**-2, xx / determinant - window**-2, -xy / determinant
    inverse = ixx * iyy - ixy**2
    return iyy / inverse, ixx / inverse, -ixy / inverse
