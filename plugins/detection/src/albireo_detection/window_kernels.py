"""Compiled: moments of stars under a round Gaussian window; see `albireo_detection.shapes`."""

from __future__ import annotations

from typing import Any

import numpy as np

from albireo_detection.compiling import compiled, part

__all__ = ["windowed"]

SMALLEST_WINDOW = 0.9
"""Sigma in pixels: sums over pixel centres stand for integrals down to here, with an error below 0.1 %."""

NARROW = 0.7
"""Window over star for the shape. A narrow window keeps to the core, where the half-maximum lies, so that the wings
of a real star (Moffat) widen it by 3 to 6 % only; under a window as wide as the star it would be 8 to 13 %."""

REACH = 4.0
"""Half-width of a stamp in units of the window's sigma."""

PASSES = 4
"""Rounds of centring; a Gaussian star is centred to 0.001 pixel after three."""

LARGEST = np.float32(np.finfo(np.float32).max)
ZERO = np.float32(0.0)


@part
def _moments(stamp: Any, cx: float, cy: float, window: float, wx: Any) -> Any:
    """First moments from a centre, and central second moments, under a window on that centre."""
    side = stamp.shape[0]
    narrow = -0.5 / (window * window)
    for j in range(side):
        wx[j] = np.exp(narrow * (j - cx) ** 2)
    total, mx, my, xx, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(side):
        dy = i - cy
        s, sx, sxx = 0.0, 0.0, 0.0
        for j in range(side):
            value, dx = wx[j] * stamp[i, j], j - cx
            s += value
            sx += value * dx
            sxx += value * dx * dx
        w = np.exp(narrow * dy * dy)
        total += w * s
        mx += w * sx
        my += w * s * dy
        xx += w * sxx
        xy += w * sx * dy
        yy += w * s * dy * dy
    mx, my = mx / total, my / total
    return total, mx, my, xx / total - mx * mx, yy / total - my * my, xy / total - mx * my


@part
def _without_window(xx: float, yy: float, xy: float, window: float) -> Any:
    """Covariance of a Gaussian whose product with the window has the given one: the inverses subtract."""
    determinant, inverse = xx * yy - xy * xy, 1.0 / (window * window)
    ixx, iyy, ixy = yy / determinant - inverse, xx / determinant - inverse, -xy / determinant
    determinant = ixx * iyy - ixy * ixy
    return iyy / determinant, ixx / determinant, -ixy / determinant


@part
def _fill_holes(stamp: Any, hole: Any, cx: float, cy: float) -> None:
    """Give holes the value that lies opposite, as seen from the centre; zero if that is a hole too."""
    side = stamp.shape[0]
    for i in range(side):
        for j in range(side):
            if hole[i, j]:
                v, u = round(2.0 * cy - i), round(2.0 * cx - j)
                stamp[i, j] = stamp[v, u] if 0 <= v < side and 0 <= u < side and not hole[v, u] else 0.0


@compiled(
    "float64[:, ::1](float32[:, ::1], float32[:, ::1], float32[:, ::1], uint16[:, ::1], uint16, float64[::1], "
    "float64[::1], float64)"
)
def windowed(data: Any, level: Any, rms: Any, flags: Any, hidden: Any, x: Any, y: Any, sigma: float) -> Any:
    """Centre stars and measure their shapes.

    Parameters
    ----------
    data, level, rms : ndarray of float32, shape (ny, nx)
    flags : ndarray of uint16, shape (ny, nx)
    hidden : uint16
        Bits of flags for pixels that are not looked at. These, and what lies beyond the image, take the value of the
        pixel opposite.
    x, y : ndarray, shape (n,)
        First guess of the centres.
    sigma : float
        Width of a star (standard deviation in pixels).

    Returns
    -------
    ndarray of float64, shape (n, 5)
        x, y, and the moments xx, yy, xy without the window. NaN where the window moved by more than its own width, or
        the moments are those of no peak.
    """
    ny, nx = data.shape
    wide, narrow = max(sigma, SMALLEST_WINDOW), max(NARROW * sigma, SMALLEST_WINDOW)
    reach = int(np.ceil(REACH * wide))
    side = 2 * reach + 1
    stamp, hole, wx = np.empty((side, side)), np.empty((side, side), dtype=np.bool_), np.empty(side)
    out = np.full((x.size, 5), np.nan)
    for k in range(x.size):
        x0, y0, holes = round(x[k]) - reach, round(y[k]) - reach, 0
        for i in range(side):
            for j in range(side):
                v, u = y0 + i, x0 + j
                good = 0 <= v < ny and 0 <= u < nx
                if good:
                    value = float(data[v, u]) - float(level[v, u])
                    good = abs(value) <= LARGEST and rms[v, u] > ZERO and not flags[v, u] & hidden
                    stamp[i, j] = value
                hole[i, j] = not good
                holes += not good
        cx, cy = x[k] - x0, y[k] - y0
        for _ in range(PASSES):
            if holes:
                _fill_holes(stamp, hole, cx, cy)
            _, mx, my, xx, yy, xy = _moments(stamp, cx, cy, wide, wx)
            # The window pulls the centroid towards its own centre; undo that for a star of this shape.
            sxx, syy, sxy = _without_window(xx, yy, xy, wide)
            cx += mx + (sxx * mx + sxy * my) / (wide * wide)
            cy += my + (sxy * mx + syy * my) / (wide * wide)
            if not np.hypot(cx + x0 - x[k], cy + y0 - y[k]) < 2.0 * wide:
                break
        if not np.hypot(cx + x0 - x[k], cy + y0 - y[k]) < 2.0 * wide:
            continue
        if holes:
            _fill_holes(stamp, hole, cx, cy)
        total, _, _, xx, yy, xy = _moments(stamp, cx, cy, narrow, wx)
        xx, yy, xy = _without_window(xx, yy, xy, narrow)
        if total > 0.0 and xx > 0.0 and yy > 0.0 and xx * yy > xy * xy:
            out[k] = cx + x0, cy + y0, xx, yy, xy
    return out
