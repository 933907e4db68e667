"""Compiled: connected pixels are parted at their peaks, and the parts are measured.

Every pixel belongs to the peak that the steepest way up leads to. Two such basins touch at a saddle, the highest pair
of neighbours across their border. Saddles are looked at from the highest down: the lower of two peaks stays a source of
its own if it rises above the saddle by more than noise does, and if the light above the saddle is a good share of all
the light of what is connected (the contrast of Source Extractor, taken at the saddle and not at one of so many levels).
Else it becomes part of the higher one.

What the wing of a brighter source lifted above the threshold is no source (the cleaning of Source Extractor).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from albireo_detection.compiling import compiled, part

__all__ = ["climb", "measure_parts", "part_basins", "wing_pieces"]

NUMBER, FLUX, PEAK, PEAK_X, PEAK_Y, X, Y, XX, YY, XY, FLAGS, CUT, SHARPNESS = range(13)
"""Columns of the table of parts."""

COLUMNS = SHARPNESS + 1

WING = 2.5
"""Exponent of the Moffat profile that stands for the wing of a source: as shallow as that of any star."""

PIXEL = 1.0 / 12.0
"""Second moment of a pixel, so that a single row has an area."""

SLIGHT = 0.02
"""Share of the threshold below which a wing lifts nothing."""

LARGEST = np.float32(np.finfo(np.float32).max)
ZERO = np.float32(0.0)


@compiled("int64[::1](float32[::1], int32[:, ::1])")
def climb(values: Any, links: Any) -> Any:
    """Tell for each pixel the number of the peak that the steepest way up leads to; of equal ones the first counts."""
    n = values.size
    peak = np.empty(n, dtype=np.int64)
    for i in range(n):
        best = i
        for k in range(8):
            j = links[i, k]
            if j >= 0 and (values[j] > values[best] or (values[j] == values[best] and j < best)):
                best = j
        peak[i] = best
    for i in range(n):
        top = i
        while peak[top] != top:
            top = peak[top]
        j = i
        while peak[j] != top:
            peak[j], j = top, peak[j]
    return peak


@part
def _root(parent: Any, k: int) -> int:
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@part
def _borders(values: Any, links: Any, basin: Any, solid: Any) -> Any:
    """Pairs of basins that touch, with their saddles, the highest first."""
    n = 0
    for i in range(values.size):
        for k in range(8):
            j = links[i, k]
            n += j > i and basin[j] != basin[i]
    low, high = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    level = np.empty(n, dtype=np.float32)
    n = 0
    for i in range(values.size):
        for k in range(8):
            j = links[i, k]
            if j > i and basin[j] != basin[i]:
                low[n], high[n] = min(basin[i], basin[j]), max(basin[i], basin[j])
                level[n] = LARGEST if solid[i] and solid[j] else min(values[i], values[j])
                n += 1
    order = np.argsort(-level, kind="mergesort")
    return low[order], high[order], level[order]


@compiled(
    "int64[::1](float32[::1], int32[:, ::1], int64[::1], int64[::1], int64[::1], float32[::1], boolean[::1], float64)"
)
def part_basins(
    values: Any, links: Any, basin: Any, peaks: Any, component: Any, depth: Any, solid: Any, contrast: float
) -> Any:
    """Put basins together that are no sources of their own.

    Parameters
    ----------
    values : ndarray of float32, shape (pixels,)
        Filtered.
    links : ndarray of int32, shape (pixels, 8)
    basin : ndarray of int64, shape (pixels,)
        Number of the basin of each pixel.
    peaks : ndarray of int64, shape (n,)
        The pixel of the peak of each basin.
    component : ndarray of int64, shape (n,)
        What is connected has one number.
    depth : ndarray of float32, shape (n,)
        What a peak must rise above a saddle.
    solid : ndarray of bool, shape (pixels,)
        Basins that touch in two such pixels are one in any case.
    contrast : float
        Share of the light.

    Returns
    -------
    ndarray of int64, shape (n,)
        For each basin the one that it is put to.
    """
    n = peaks.size
    total = np.zeros(np.max(component) + 1)
    first = np.zeros(n + 1, dtype=np.int64)
    for i in range(values.size):
        total[component[basin[i]]] += values[i]
        first[basin[i] + 1] += 1
    first = np.cumsum(first)
    order, filled = np.empty(values.size, dtype=np.int64), first[:-1].copy()
    for i in range(values.size):
        order[filled[basin[i]]] = i
        filled[basin[i]] += 1
    parent, last, following = np.arange(n), np.arange(n), np.full(n, -1)
    low, high, levels = _borders(values, links, basin, solid)
    for k in range(levels.size):
        level = levels[k]
        one, two = _root(parent, low[k]), _root(parent, high[k])
        if one == two:
            continue
        if values[peaks[two]] > values[peaks[one]]:
            one, two = two, one
        if values[peaks[two]] - level > depth[two]:
            wanted, light, member = contrast * total[component[two]], 0.0, two
            while member >= 0 and light < wanted:
                for i in order[first[member] : first[member + 1]]:
                    light += max(values[i] - level, ZERO)
                member = following[member]
            if light >= wanted:
                continue
        parent[two] = one
        following[last[one]], last[one] = two, last[two]
    for k in range(n):
        parent[k] = _root(parent, k)
    return parent


@part
def _signal(data: Any, level: Any, rms: Any, flags: Any, hidden: Any, y: int, x: int) -> float:
    """Image above the background; zero where it means nothing and beyond the image."""
    if not (0 <= y < data.shape[0] and 0 <= x < data.shape[1]) or flags[y, x] & hidden:
        return 0.0
    value = float(data[y, x]) - float(level[y, x])
    return value if abs(value) <= LARGEST and rms[y, x] > ZERO else 0.0


@compiled(
    "float64[:, ::1](float32[:, ::1], float32[:, ::1], float32[:, ::1], uint16[:, ::1], uint16, int64[::1], "
    "int64[::1], int64[::1], int64, int64)"
)
def measure_parts(
    data: Any, level: Any, rms: Any, flags: Any, hidden: Any, row: Any, column: Any, which: Any, number: int, near: int
) -> Any:
    """Measure parts on their own pixels.

    Parameters
    ----------
    data, level, rms : ndarray of float32, shape (ny, nx)
    flags : ndarray of uint16, shape (ny, nx)
    hidden : uint16
    row, column, which : ndarray of int64, shape (pixels,)
        Place and part of each pixel.
    number : int
        Of parts.
    near : int
        How far around a pixel flags count.

    Returns
    -------
    ndarray of float64, shape (number, 13)
        Number of pixels, flux, highest pixel and its x and y, centre, second moments (pixels that are negative do not
        enter these), flags, one if the border of the image cuts it, share of the highest pixel in the 3 x 3 around it.
    """
    ny, nx = data.shape
    out = np.zeros((number, COLUMNS))
    weight = np.zeros(number)
    bits = np.zeros(number, dtype=np.uint16)
    for i in range(which.size):
        k, y, x = which[i], row[i], column[i]
        value = _signal(data, level, rms, flags, hidden, y, x)
        if out[k, NUMBER] == 0.0 or value > out[k, PEAK]:
            out[k, PEAK], out[k, PEAK_X], out[k, PEAK_Y] = value, x, y
        out[k, NUMBER] += 1.0
        out[k, FLUX] += value
        positive = max(value, 0.0)
        weight[k] += positive
        out[k, X] += positive * x
        out[k, Y] += positive * y
        for v in range(max(y - near, 0), min(y + near + 1, ny)):
            for u in range(max(x - near, 0), min(x + near + 1, nx)):
                bits[k] |= flags[v, u]
        if y == 0 or x == 0 or y == ny - 1 or x == nx - 1:
            out[k, CUT] = 1.0
    for k in range(number):
        out[k, X] /= weight[k]
        out[k, Y] /= weight[k]
        out[k, FLAGS] = bits[k]
        y0, x0, total = int(out[k, PEAK_Y]), int(out[k, PEAK_X]), 0.0
        for y in range(y0 - 1, y0 + 2):
            for x in range(x0 - 1, x0 + 2):
                total += _signal(data, level, rms, flags, hidden, y, x)
        out[k, SHARPNESS] = out[k, PEAK] / total if total > 0.0 else np.inf
    for i in range(which.size):
        k = which[i]
        positive = max(_signal(data, level, rms, flags, hidden, row[i], column[i]), 0.0) / weight[k]
        dx, dy = column[i] - out[k, X], row[i] - out[k, Y]
        out[k, XX] += positive * dx * dx
        out[k, YY] += positive * dy * dy
        out[k, XY] += positive * dx * dy
    return out


@compiled("boolean[::1](float32[::1], int64[::1], float64[:, ::1], float64, int64)")
def wing_pieces(values: Any, which: Any, parts: Any, limit: float, area: int) -> Any:
    """Tell which parts would not be above the threshold without the wing of a brighter one.

    The wing is a Moffat profile through the peak of the part and through the threshold at the border of an ellipse with
    its axes and its number of pixels.

    Parameters
    ----------
    values : ndarray of float32, shape (pixels,)
        Filtered.
    which : ndarray of int64, shape (pixels,)
        Part of each pixel.
    parts : ndarray of float64, shape (n, 13)
        As `measure_parts` gives it.
    limit : float
        The threshold.
    area : int
        Pixels that must be above it.
    """
    n = parts.shape[0]
    highest = np.zeros((n, area), dtype=np.float32)  # of each part, the last one is to be above the threshold
    for i in range(which.size):
        top = highest[which[i]]
        k = area - 1
        if values[i] > top[k]:
            while k > 0 and top[k - 1] < values[i]:
                top[k] = top[k - 1]
                k -= 1
            top[k] = values[i]
    order = np.argsort(-parts[:, FLUX], kind="mergesort")
    drop = np.zeros(n, dtype=np.bool_)
    for place in range(n):
        j = order[place]
        if drop[j]:
            continue
        peak, xx, yy, xy = float(highest[j, 0]), parts[j, XX] + PIXEL, parts[j, YY] + PIXEL, parts[j, XY]
        root = np.sqrt(xx * yy - xy * xy)
        core = parts[j, NUMBER] / np.pi / ((peak / limit) ** (1.0 / WING) - 1.0)
        # The faintest that could be dropped is just above the threshold: beyond here no one is.
        reach = np.sqrt(core * (peak / (SLIGHT * limit)) ** (1.0 / WING) * max(xx, yy) / root)
        for other in range(place + 1, n):
            k = order[other]
            dx, dy = parts[k, X] - parts[j, X], parts[k, Y] - parts[j, Y]
            if abs(dy) > reach or abs(dx) > reach:
                continue
            square = (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / root
            wing = peak * (1.0 + square / core) ** -WING
            drop[k] |= wing > highest[k, area - 1] - limit
    return drop
