"""Loops over the pixels around each star: shares of pixels in apertures, sums with errors, centroids.

Shares are exact. Libraries give the sum over an aperture; its error needs the share of every pixel, because the
variance of ``sum(w d)`` is ``sum(w**2 V)``. Summing ``w V``, as is common, makes the error of a faint star 4 % too
large at a radius of 4.7 pixels and 22 % at 1.

All functions work on the planes of a whole image and write into arrays that are given. A pixel that is not finite, or
has one of the ``hidden`` bits, takes no part.
"""

from __future__ import annotations

from math import asin, atan2, ceil, cos, exp, isfinite, pi, sin, sqrt
from typing import Any

import numpy as np

from albireo_aperture.engine import compiled

ROUNDING = 1e-9
"""Shares below this are rounding errors of areas that cancel."""

HALF_DIAGONAL = 0.7072
"""From the centre of a pixel to its corners, in pixels, rounded up."""

NO_DATA = np.uint16(32)
"""`albireo.Flag.NO_DATA`, for pixels that are not finite."""

TOUCHED = 0.01
"""Pixels with less than this part of the light of the brightest pixel lend a star no flags."""

WINDOW_SIGMAS = 4.0
"""Radius of the Gaussian window of a centroid, in its standard deviations."""

STEPS = 40
"""Steps that a centroid may take; five are usual."""

CONVERGED = 1e-5
"""A centroid that moves less than this, in pixels, has arrived."""

DIFFERENCE = 0.02
"""Step in pixels for the slope of the moments."""


# --- shares of pixels -------------------------------------------------------------------------------------------------


@compiled
def circle_shares(x: float, y: float, radius: float, reach: int, share: Any) -> None:
    """Fill in the share of each pixel of a stamp that lies in a circle.

    The disc's area left of and below a corner (u, v), counted from its centre with sign, is ``u v`` where the corner
    lies inside the circle, and otherwise ``(h(u) + h(v)) / 2 - pi r**2 / 4`` with
    ``h(t) = t sqrt(r**2 - t**2) + r**2 asin(t / r)``, the integral of the circle up to its edge. Four corners
    make a pixel.

    Parameters
    ----------
    x, y : float
        Centre of the circle, from the centre of the stamp's middle pixel, in pixels.
    radius : float
        In pixels.
    reach : int
        The stamp has ``2 reach + 1`` pixels each way.
    share : ndarray of float64
        Its first ``2 reach + 1`` rows and columns are filled; rows run along y.
    """
    corners = 2 * reach + 2
    edge = np.empty((6, corners))
    u, hu, su, v, hv, sv = edge[0], edge[1], edge[2], edge[3], edge[4], edge[5]
    square = radius * radius
    for i in range(corners):
        for t, h, s, centre in ((u, hu, su, x), (v, hv, sv, y)):
            at = min(max(i - reach - 0.5 - centre, -radius), radius)
            distance = abs(at)
            t[i] = at
            h[i] = distance * sqrt(max(square - at * at, 0.0)) + square * asin(distance / radius)
            s[i] = 0.5 * np.sign(at)  # zero is right: the area between a corner and an axis it lies on is none
    half = 0.5 * pi * square
    rows = np.empty((2, corners))
    for j in range(corners):
        before, now = rows[(j + 1) % 2], rows[j % 2]
        for i in range(corners):
            inside = u[i] * u[i] + v[j] * v[j] <= square
            now[i] = u[i] * v[j] if inside else su[i] * 2.0 * sv[j] * (hu[i] + hv[j] - half)
        if j > 0:
            for i in range(corners - 1):
                area = (now[i + 1] - now[i]) - (before[i + 1] - before[i])
                share[j - 1, i] = area if area > ROUNDING else 0.0


@compiled
def _half_turn(x1: float, y1: float, x2: float, y2: float) -> float:
    """Area of the sector of the unit circle from one direction to another."""
    return 0.5 * atan2(x1 * y2 - y1 * x2, x1 * x2 + y1 * y2)


@compiled
def _edge_area(x1: float, y1: float, x2: float, y2: float) -> float:
    """Area that the unit circle shares with the triangle of its centre and an edge, with the sign of the turn."""
    first, second = x1 * x1 + y1 * y1 - 1.0, x2 * x2 + y2 * y2 - 1.0
    cross = x1 * y2 - y1 * x2
    if first <= 0.0 and second <= 0.0:
        return 0.5 * cross
    dx, dy = x2 - x1, y2 - y1
    length = dx * dx + dy * dy
    along = x1 * dx + y1 * dy
    root = along * along - length * first
    if root <= 0.0:
        return _half_turn(x1, y1, x2, y2)
    root = sqrt(root)
    enter, leave = (-along - root) / length, (-along + root) / length
    if first <= 0.0:
        qx, qy = x1 + leave * dx, y1 + leave * dy
        return 0.5 * (x1 * qy - y1 * qx) + _half_turn(qx, qy, x2, y2)
    if second <= 0.0:
        qx, qy = x1 + enter * dx, y1 + enter * dy
        return _half_turn(x1, y1, qx, qy) + 0.5 * (qx * y2 - qy * x2)
    if enter > 0.0 and leave < 1.0:
        px, py, qx, qy = x1 + enter * dx, y1 + enter * dy, x1 + leave * dx, y1 + leave * dy
        return _half_turn(x1, y1, px, py) + 0.5 * (px * qy - py * qx) + _half_turn(qx, qy, x2, y2)
    return _half_turn(x1, y1, x2, y2)


@compiled
def ellipse_shares(x: float, y: float, a: float, b: float, theta: float, reach: int, share: Any) -> None:
    """Fill in the share of each pixel of a stamp that lies in an ellipse.

    Where the ellipse is the unit circle a pixel is a parallelogram. The area of a polygon in a circle is a sum over
    its edges: of the triangle from the centre to an edge what lies in the circle, with the sign of the turn
    (Green's theorem). Most pixels are wholly inside or outside.

    Parameters
    ----------
    x, y : float
        Centre of the ellipse, from the centre of the stamp's middle pixel, in pixels.
    a, b : float
        Semi-axes in pixels.
    theta : float
        Position angle of ``a`` in radians, counter-clockwise from +x.
    reach, share
        As in `circle_shares`.
    """
    c, s = cos(theta), sin(theta)
    diagonal = HALF_DIAGONAL / min(a, b)
    right_u, right_v, up_u, up_v = 0.5 * c / a, -0.5 * s / b, 0.5 * s / a, 0.5 * c / b
    for j in range(2 * reach + 1):
        dy = j - reach - y
        for i in range(2 * reach + 1):
            dx = i - reach - x
            u, v = (dx * c + dy * s) / a, (dy * c - dx * s) / b
            distance = sqrt(u * u + v * v)
            if distance + diagonal <= 1.0:
                share[j, i] = 1.0
                continue
            share[j, i] = 0.0
            if distance - diagonal >= 1.0:
                continue
            u1, v1, u2, v2 = u - right_u - up_u, v - right_v - up_v, u + right_u - up_u, v + right_v - up_v
            u3, v3, u4, v4 = u + right_u + up_u, v + right_v + up_v, u - right_u + up_u, v - right_v + up_v
            area = _edge_area(u1, v1, u2, v2) + _edge_area(u2, v2, u3, v3)
            area = a * b * (area + _edge_area(u3, v3, u4, v4) + _edge_area(u4, v4, u1, v1))
            if area > ROUNDING:
                share[j, i] = area


# --- sums -------------------------------------------------------------------------------------------------------------


@compiled
def aperture_sums(
    data: Any,
    variance: Any,
    flags: Any,
    hidden: Any,
    level: Any,
    mapped: bool,
    sky: Any,
    x: Any,
    y: Any,
    radii: Any,
    elongation: Any,
    theta: Any,
    sums: Any,
    touched: Any,
    inside: Any,
) -> None:
    """Sum over apertures around each star.

    Parameters
    ----------
    data, variance : ndarray of float32, shape (ny, nx)
    flags : ndarray of uint16, shape (ny, nx)
    hidden : uint16
        Bits of pixels that take no part.
    level : ndarray of float32
        Map of the sky, of the shape of the image if it is ``mapped``.
    mapped : bool
        Whether the sky comes from the map, else from ``sky``.
    sky, x, y, elongation, theta : ndarray of float64, shape (n,)
        Of each star: sky in a pixel, centre, axis ratio of the aperture (one for a circle) and its position angle in
        radians.
    radii : ndarray of float64, shape (k,)
        Geometric means of the semi-axes in pixels.
    sums : ndarray of float64, shape (4, n, k)
        Filled: light above the sky, its variance, the sum of shares times variance, and the area seen in pixels.
    touched : ndarray of uint16, shape (n, k)
        Filled: flags of the pixels that an aperture touches.
    inside : ndarray of bool, shape (n, k)
        Filled: whether the aperture lies in the image. If not, its sums are zero.
    """
    ny, nx = data.shape
    stretched = sqrt(elongation.max()) if len(x) else 1.0
    side = 2 * (ceil(radii.max() * stretched) + 1) + 1
    share = np.empty((side, side))
    for n in range(len(x)):
        stretch = sqrt(elongation[n])
        c, s = cos(theta[n]), sin(theta[n])
        wide, high = sqrt((c * stretch) ** 2 + (s / stretch) ** 2), sqrt((s * stretch) ** 2 + (c / stretch) ** 2)
        for k in range(len(radii)):
            radius = radii[k]
            sums[:, n, k] = 0.0
            touched[n, k] = 0
            right, up = wide * radius, high * radius
            # False also for positions that are not finite.
            inside[n, k] = x[n] - right >= -0.5 and y[n] - up >= -0.5 and x[n] + right <= nx - 0.5
            inside[n, k] = inside[n, k] and y[n] + up <= ny - 0.5
            if not inside[n, k]:
                continue
            column, row = round(x[n]), round(y[n])
            reach = ceil(max(right, up)) + 1
            if elongation[n] == 1.0:
                circle_shares(x[n] - column, y[n] - row, radius, reach, share)
            else:
                a, b = radius * stretch, radius / stretch
                ellipse_shares(x[n] - column, y[n] - row, a, b, theta[n], reach, share)
            light = squared = crossed = seen = 0.0
            bits = np.uint16(0)
            for j in range(2 * reach + 1):
                v = row + j - reach
                for i in range(2 * reach + 1):
                    part = share[j, i]
                    if part == 0.0:
                        continue
                    u = column + i - reach
                    bits |= flags[v, u]
                    if flags[v, u] & hidden:
                        continue
                    value, noise = np.float64(data[v, u]), np.float64(variance[v, u])
                    if not (isfinite(value) and isfinite(noise)):
                        bits |= NO_DATA
                        continue
                    light += part * (value - (np.float64(level[v, u]) if mapped else sky[n]))
                    squared += part * part * noise
                    crossed += part * noise
                    seen += part
            sums[0, n, k], sums[1, n, k], sums[2, n, k], sums[3, n, k] = light, squared, crossed, seen
            touched[n, k] = bits


@compiled
def weighted_sums(
    data: Any,
    variance: Any,
    flags: Any,
    hidden: Any,
    level: Any,
    mapped: bool,
    sky: Any,
    x: Any,
    y: Any,
    shares: Any,
    floor: Any,
    signal: Any,
    sums: Any,
    touched: Any,
) -> None:
    """Sum with weights ``P / (floor + signal P)`` around each star, where ``P`` is its share of light in a pixel.

    Parameters
    ----------
    data, variance, flags, hidden, level, mapped, sky, x, y
        As in `aperture_sums`.
    shares : ndarray of float64, shape (n, 2 reach + 1, 2 reach + 1)
        Of the whole light of a star, in pixels around the one its centre lies in.
    floor, signal : ndarray of float64, shape (n,)
        Of each star: variance of a pixel without its light, and its light.
    sums : ndarray of float64, shape (7, n)
        Filled: light, its variance, the sum of weights times variance, the sum of weights, the sum of squared weights,
        the share of the star's light in pixels that take part, and in pixels beyond the image. Weights are scaled so
        that the flux of the profile itself is one.
    touched : ndarray of uint16, shape (n,)
        Filled: flags of the pixels in the core of the star.
    """
    ny, nx = data.shape
    reach = shares.shape[1] // 2
    for n in range(len(x)):
        sums[:, n] = 0.0
        touched[n] = 0
        if not (-reach - 1 < x[n] < nx + reach and -reach - 1 < y[n] < ny + reach):
            continue
        column, row = round(x[n]), round(y[n])
        core = TOUCHED * shares[n].max()
        light = squared = crossed = weights = area = norm = seen = beyond = 0.0
        bits = np.uint16(0)
        for j in range(2 * reach + 1):
            v = row + j - reach
            for i in range(2 * reach + 1):
                part = shares[n, j, i]
                u = column + i - reach
                if v < 0 or u < 0 or v >= ny or u >= nx:
                    beyond += part
                    continue
                if part >= core:
                    bits |= flags[v, u]
                if flags[v, u] & hidden:
                    continue
                value, noise = np.float64(data[v, u]), np.float64(variance[v, u])
                if not (isfinite(value) and isfinite(noise)):
                    if part >= core:
                        bits |= NO_DATA
                    continue
                weight = part / (floor[n] + signal[n] * part)
                light += weight * (value - (np.float64(level[v, u]) if mapped else sky[n]))
                squared += weight * weight * noise
                crossed += weight * noise
                weights += weight
                area += weight * weight
                norm += weight * part
                seen += part
        if norm > 0.0:
            sums[0, n], sums[1, n], sums[2, n] = light / norm, squared / norm**2, crossed / norm
            sums[3, n], sums[4, n] = weights / norm, area / norm**2
        sums[5, n], sums[6, n] = seen, beyond
        touched[n] = bits


# --- centroids --------------------------------------------------------------------------------------------------------


@compiled
def _gaussian_window(x: float, y: float, sigma: float, reach: int, share: Any) -> None:
    """Fill in a Gaussian window, one at its centre."""
    for j in range(2 * reach + 1):
        share[j, 0] = exp(-0.5 * ((j - reach - y) / sigma) ** 2)
    last = 2 * reach
    for i in range(last, -1, -1):  # the first column holds the factors of the rows until it is its turn
        factor = exp(-0.5 * ((i - reach - x) / sigma) ** 2)
        for j in range(last + 1):
            share[j, i] = share[j, 0] * factor


@compiled
def _moments(stamp: Any, share: Any, x: float, y: float, reach: int) -> tuple[float, float, float]:
    """Sum of a weighted stamp, and its first moments about a centre."""
    total = across = upward = 0.0
    for j in range(2 * reach + 1):
        for i in range(2 * reach + 1):
            light = share[j, i] * stamp[j, i]
            total += light
            across += light * (i - reach - x)
            upward += light * (j - reach - y)
    return total, across, upward


@compiled
def centroids(
    data: Any,
    variance: Any,
    flags: Any,
    hidden: Any,
    level: Any,
    mapped: bool,
    sky: Any,
    x: Any,
    y: Any,
    gaussian: bool,
    width: float,
    tolerance: float,
    places: Any,
    arrived: Any,
) -> None:
    """Find the centre of each star: where the first moments of its light in a window around it vanish.

    The window moves with the centre, by Newton's method. The covariance of the centre is ``J^-1 N J^-T`` with the
    covariance ``N`` of the moments and their slope ``J`` in the position.

    Parameters
    ----------
    data, variance, flags, hidden, level, mapped, sky, x, y
        As in `aperture_sums`; positions are where to begin.
    gaussian : bool
        Whether the window is a Gaussian, else a circle.
    width : float
        Standard deviation of the Gaussian or radius of the circle, in pixels.
    tolerance : float
        A star further than this from where it began has not arrived, in pixels.
    places : ndarray of float64, shape (4, n)
        Filled where a star arrived: x, y and their errors in pixels.
    arrived : ndarray of bool, shape (n,)
        Filled. False also where a pixel of the window is hidden or lies beyond the image.
    """
    ny, nx = data.shape
    extent = WINDOW_SIGMAS * width if gaussian else width
    reach = ceil(extent + 0.5 + tolerance) + 1
    side = 2 * reach + 1
    stamp, noise, share = np.empty((side, side)), np.empty((side, side)), np.empty((side, side))
    for n in range(len(x)):
        arrived[n] = False
        if not (reach <= x[n] < nx - reach - 0.5 and reach <= y[n] < ny - reach - 0.5 and isfinite(sky[n])):
            continue
        column, row = round(x[n]), round(y[n])
        clean = True
        begin_x, begin_y = x[n] - column, y[n] - row
        for j in range(side):
            for i in range(side):
                v, u = row + j - reach, column + i - reach
                value = np.float64(data[v, u]) - (np.float64(level[v, u]) if mapped else sky[n])
                stamp[j, i], noise[j, i] = value, np.float64(variance[v, u])
                if flags[v, u] & hidden or not (isfinite(value) and isfinite(noise[j, i])):
                    near = (i - reach - begin_x) ** 2 + (j - reach - begin_y) ** 2 <= extent**2
                    clean = clean and not near
                    stamp[j, i] = noise[j, i] = 0.0
        if not clean:
            continue
        at_x, at_y = begin_x, begin_y
        for _ in range(STEPS):
            if gaussian:
                _gaussian_window(at_x, at_y, width, reach, share)
            else:
                circle_shares(at_x, at_y, width, reach, share)
            total, across, upward = _moments(stamp, share, at_x, at_y, reach)
            xx = xy = yy = 0.0
            if gaussian:
                for j in range(side):
                    for i in range(side):
                        light = share[j, i] * stamp[j, i] / width**2
                        du, dv = i - reach - at_x, j - reach - at_y
                        xx -= light * du * du
                        xy -= light * du * dv
                        yy -= light * dv * dv
                xx, yy = xx + total, yy + total
            else:
                circle_shares(at_x + DIFFERENCE, at_y, width, reach, share)
                _, right, _ = _moments(stamp, share, at_x + DIFFERENCE, at_y, reach)
                circle_shares(at_x - DIFFERENCE, at_y, width, reach, share)
                _, left, _ = _moments(stamp, share, at_x - DIFFERENCE, at_y, reach)
                circle_shares(at_x, at_y + DIFFERENCE, width, reach, share)
                _, leaning, above = _moments(stamp, share, at_x, at_y + DIFFERENCE, reach)
                circle_shares(at_x, at_y - DIFFERENCE, width, reach, share)
                _, leant, below = _moments(stamp, share, at_x, at_y - DIFFERENCE, reach)
                xx, yy = (left - right) / (2.0 * DIFFERENCE), (below - above) / (2.0 * DIFFERENCE)
                xy = (leant - leaning) / (2.0 * DIFFERENCE)
            det = xx * yy - xy * xy
            if not total > 0.0:
                break
            curved = xx > 0.0 and yy > 0.0 and det > 0.0
            if curved:
                step_x, step_y = (yy * across - xy * upward) / det, (xx * upward - xy * across) / det
            else:  # too far from the star for its slope: the step of a window as wide as the star
                step_x, step_y = 2.0 * across / total, 2.0 * upward / total
            length = sqrt(step_x**2 + step_y**2)
            short = min(1.0, 0.5 * width / length) if length > 0.0 else 1.0
            at_x, at_y = at_x + short * step_x, at_y + short * step_y
            if (at_x - begin_x) ** 2 + (at_y - begin_y) ** 2 > tolerance**2:
                break
            if length < CONVERGED:
                arrived[n] = curved
                break
        if not arrived[n]:
            continue
        if gaussian:
            _gaussian_window(at_x, at_y, width, reach, share)
        else:
            circle_shares(at_x, at_y, width, reach, share)
        nxx = nxy = nyy = 0.0
        for j in range(side):
            for i in range(side):
                spread = share[j, i] ** 2 * noise[j, i]
                du, dv = i - reach - at_x, j - reach - at_y
                nxx += spread * du * du
                nxy += spread * du * dv
                nyy += spread * dv * dv
        places[0, n], places[1, n] = column + at_x, row + at_y
        places[2, n] = sqrt(yy * yy * nxx - 2.0 * yy * xy * nxy + xy * xy * nyy) / det
        places[3, n] = sqrt(xy * xy * nxx - 2.0 * xx * xy * nxy + xx * xx * nyy) / det
