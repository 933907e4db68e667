"""Compiled: pixels above a threshold in the filtered image, as runs along rows, and how they hang together.

One pass over the image makes all: a row becomes the image above the background in units of its noise, is filtered along
x into a ring of as many rows as the filter is wide, and the ring is filtered along y. What lies above the limit is kept
as runs with their filtered values; no plane is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from albireo_detection.compiling import compiled, part, reordered

__all__ = ["find_runs", "label_runs", "link_pixels"]

PIECE = 64
"""Pixels of a row that are looked at together for one above the limit."""

LARGEST = np.float32(np.finfo(np.float32).max)
ZERO, ONE = np.float32(0.0), np.float32(1.0)

ROW, START, STOP, FIRST = range(4)
"""Columns of a table of runs: row, first column, column after the last, and number of its first pixel in the list."""

LEFT, RIGHT, UP, DOWN = 0, 1, 2, 5
"""Neighbours of a pixel; three of each of the last two, from left to right."""


@part
def _significance(data: Any, level: Any, rms: Any, flags: Any, hidden: Any, out: Any) -> None:
    """Image above the background in units of its noise; zero where it means nothing."""
    for x in range(out.size):
        value = (data[x] - level[x]) / rms[x]
        good = (abs(value) <= LARGEST) & (rms[x] > ZERO) & ((flags[x] & hidden) == 0)
        out[x] = value if good else ZERO


@part
def _along(row: Any, taps: Any, out: Any) -> None:
    """Filter a row that has as many zeros on either side as the filter reaches."""
    reach, nx = taps.size // 2, out.size
    middle = row[reach : reach + nx]
    weight = taps[reach]
    for x in range(nx):
        out[x] = weight * middle[x]
    for k in range(1, reach + 1):
        left, right, weight = row[reach - k : reach - k + nx], row[reach + k : reach + k + nx], taps[reach + k]
        for x in range(nx):
            out[x] += weight * (left[x] + right[x])


@part
def _across(ring: Any, y: int, taps: Any, out: Any) -> None:
    """Filter the rows of a ring around row ``y``."""
    size = taps.size
    reach = size // 2
    middle, weight = ring[y % size], taps[reach]
    for x in range(out.size):
        out[x] = weight * middle[x]
    for k in range(1, reach + 1):
        up, down, weight = ring[(y - k) % size], ring[(y + k) % size], taps[reach + k]
        for x in range(out.size):
            out[x] += weight * (up[x] + down[x])


@reordered
def _above(values: Any, limit: Any) -> Any:
    """Count the values above a limit."""
    number = ZERO
    for x in range(values.size):
        number += ONE if values[x] > limit else ZERO
    return number


@part
def _twice(array: Any, used: int) -> Any:
    """Make an array longer, with what is used of it."""
    longer = np.empty((2 * array.shape[0], *array.shape[1:]), dtype=array.dtype)
    longer[:used] = array[:used]
    return longer


@compiled(
    "Tuple((int64[:, ::1], float32[::1]))(float32[:, ::1], float32[:, ::1], float32[:, ::1], uint16[:, ::1], uint16, "
    "float32[::1], float32, int64)"
)
def find_runs(data: Any, level: Any, rms: Any, flags: Any, hidden: Any, taps: Any, limit: Any, most: int) -> Any:
    """Find runs of pixels above a limit.

    Parameters
    ----------
    data, level, rms : ndarray of float32, shape (ny, nx)
        Pixels without a positive noise, and those that are not finite, count as sky.
    flags : ndarray of uint16, shape (ny, nx)
    hidden : uint16
        Bits of flags for pixels that count as sky.
    taps : ndarray of float32, shape (2 r + 1,)
        The filter along either axis, symmetric. Beyond the image there is sky.
    limit : float32
        In standard deviations of a pixel, after the filter.
    most : int
        Pixels after which the search ends.

    Returns
    -------
    runs : ndarray of int64, shape (n, 4)
        In order of rows and columns: row, first column, column after the last, number of the first pixel.
    values : ndarray of float32, shape (pixels,)
        Filtered, of the pixels of all runs in turn.
    """
    ny, nx = data.shape
    size = taps.size
    reach = size // 2
    row = np.zeros(nx + 2 * reach, dtype=np.float32)
    ring = np.zeros((size, nx), dtype=np.float32)
    filtered = np.empty(nx, dtype=np.float32)
    runs, values = np.empty((1024, 4), dtype=np.int64), np.empty(16384, dtype=np.float32)
    n, pixels = 0, 0
    for ahead in range(ny + reach):
        if ahead < ny:
            _significance(data[ahead], level[ahead], rms[ahead], flags[ahead], hidden, row[reach : reach + nx])
            _along(row, taps, ring[ahead % size])
        else:
            ring[ahead % size] = ZERO
        y = ahead - reach
        if y < 0:
            continue
        _across(ring, y, taps, filtered)
        x = 0
        while x < nx:
            if x % PIECE == 0 and _above(filtered[x : x + PIECE], limit) == ZERO:
                x += PIECE
                continue
            if not filtered[x] > limit:
                x += 1
                continue
            start = x
            while x < nx and filtered[x] > limit:
                x += 1
            if n == runs.shape[0]:
                runs = _twice(runs, n)
            while pixels + x - start > values.size:
                values = _twice(values, pixels)
            runs[n, ROW], runs[n, START], runs[n, STOP], runs[n, FIRST] = y, start, x, pixels
            values[pixels : pixels + x - start] = filtered[start:x]
            n += 1
            pixels += x - start
        if pixels > most:
            break
    return runs[:n].copy(), values[:pixels].copy()


@part
def _root(parent: Any, k: int) -> int:
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@compiled("Tuple((int64[::1], int64))(int64[:, ::1])")
def label_runs(runs: Any) -> Any:
    """Number what hangs together, by corners too.

    Returns
    -------
    labels : ndarray of int64, shape (n,)
        From zero, in order of the first pixel.
    number : int
    """
    n = runs.shape[0]
    parent = np.arange(n)
    above = 0
    for k in range(n):
        while above < k and runs[above, ROW] < runs[k, ROW] - 1:
            above += 1
        while above < k and runs[above, ROW] == runs[k, ROW] - 1 and runs[above, STOP] < runs[k, START]:
            above += 1
        other = above
        while other < k and runs[other, ROW] == runs[k, ROW] - 1 and runs[other, START] <= runs[k, STOP]:
            one, two = _root(parent, other), _root(parent, k)
            parent[max(one, two)] = min(one, two)
            other += 1
    labels, number = np.empty(n, dtype=np.int64), 0
    for k in range(n):
        root = _root(parent, k)
        if root == k:
            labels[k] = number
            number += 1
        else:
            labels[k] = labels[root]
    return labels, number


@compiled("int32[:, ::1](int64[:, ::1], int64)")
def link_pixels(runs: Any, pixels: int) -> Any:
    """Tell the neighbours of each pixel: shape (pixels, 8), their numbers, -1 where there is none above the limit."""
    links = np.full((pixels, 8), -1, dtype=np.int32)
    above = 0
    for k in range(runs.shape[0]):
        y, start, stop, first = runs[k]
        for i in range(first, first + stop - start - 1):
            links[i, RIGHT] = i + 1
            links[i + 1, LEFT] = i
        while above < k and runs[above, ROW] < y - 1:
            above += 1
        while above < k and runs[above, ROW] == y - 1 and runs[above, STOP] < start:
            above += 1
        other = above
        while other < k and runs[other, ROW] == y - 1 and runs[other, START] <= stop:
            for shift in range(-1, 2):
                for x in range(max(start, runs[other, START] - shift), min(stop, runs[other, STOP] - shift)):
                    mine, theirs = first + x - start, runs[other, FIRST] + x + shift - runs[other, START]
                    links[mine, UP + 1 + shift] = theirs
                    links[theirs, DOWN + 1 - shift] = mine
            other += 1
    return links


@compiled("void(int64[:, ::1], int64, boolean[:, ::1])")
def paint_runs(runs: Any, reach: int, mask: Any) -> None:
    """Set a mask where runs are and as far around as ``reach``."""
    ny, nx = mask.shape
    for k in range(runs.shape[0]):
        y, start, stop = runs[k, ROW], runs[k, START], runs[k, STOP]
        for step in range(-reach, reach + 1):
            if 0 <= y + step < ny:
                side = int(np.sqrt(float(reach * reach - step * step)))
                mask[y + step, max(start - side, 0) : min(stop + side, nx)] = True
