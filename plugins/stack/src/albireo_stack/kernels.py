"""Compiled kernels: one frame onto the grid of the stack.

A row of the grid is a straight line through the frame. Along it, places where the columns of the frame follow each
other, in one row, with no masked pixel near, make runs. Within a run every step is the same for all pixels, and the
compiler turns it into vector instructions. Where a masked pixel or the edge is near, each pixel is made by itself.

The functions release the global lock, so that frames run on threads.
"""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np

from albireo import kernel
from albireo_stack.interpolation import STEPS

__all__ = ["mark_near", "warp"]

LOST = np.float32(0.01)
"""Weight of masked neighbours that the others may take over; with more, the pixel has no value."""

BLOCK = 128
"""Longest run: its buffers stay in the first-level cache."""

NO_DATA = np.uint16(32)
"""`albireo.Flag.NO_DATA`, as the compiled code needs it."""


@kernel("void(boolean[:, ::1], int64, uint8[:, ::1])")
def mark_near(masked: Any, taps: int, near: Any) -> None:
    """Mark where the first of the taps must not lie, for a masked pixel or the edge is among them."""
    ny, nx = masked.shape
    for y in range(ny):
        beyond = y + taps > ny
        for x in range(nx):
            near[y, x] = beyond or x + taps > nx
    for y in range(ny):
        for x in range(nx):
            if masked[y, x]:
                for row in range(max(0, y - taps + 1), y + 1):
                    for column in range(max(0, x - taps + 1), x + 1):
                        near[row, column] = 1


@kernel(
    "void(float32[:, ::1], float32[:, ::1], boolean[:, ::1], uint16[:, ::1], uint8[:, ::1], float32[:, ::1],"
    " float64[:, ::1], float32, float32[:, ::1], float32[:, ::1], uint16[:, ::1])"
)
def warp(
    data: Any,
    variance: Any,
    masked: Any,
    flags: Any,
    near: Any,
    table: Any,
    matrix: Any,
    scale: Any,
    out: Any,
    out_variance: Any,
    why: Any,
) -> None:
    """Interpolate a frame at the places of a grid.

    Parameters
    ----------
    data, variance : ndarray of float32, shape (ny, nx)
        Masked pixels hold zero.
    masked, flags : ndarray of bool and of uint16, shape (ny, nx)
    near : ndarray of uint8, shape (ny, nx)
        From `mark_near`.
    table : ndarray of float32, shape (STEPS + 1, taps)
        From `albireo_stack.interpolation.weights_table`.
    matrix : ndarray, shape (3, 3)
        From pixels of the grid to those of the frame.
    scale : float
        Multiplies values, its square variances.
    out, out_variance : ndarray of float32, shape (rows, columns)
        Filled; NaN where there is no value.
    why : ndarray of uint16, shape (rows, columns)
        Gets the flags of the frame where there is no value.
    """
    ny, nx = data.shape
    rows, columns = out.shape
    taps = table.shape[1]
    before = taps // 2 - 1
    square = scale * scale
    first = np.empty(columns, dtype=np.int64)
    top = np.empty(columns, dtype=np.int64)
    phase_x = np.empty(columns, dtype=np.int64)
    phase_y = np.empty(columns, dtype=np.int64)
    wx = np.empty((taps, BLOCK), dtype=np.float32)
    wy = np.empty((taps, BLOCK), dtype=np.float32)
    sums = np.empty(BLOCK, dtype=np.float32)
    squares = np.empty(BLOCK, dtype=np.float32)
    line = np.empty(BLOCK, dtype=np.float32)
    line_squares = np.empty(BLOCK, dtype=np.float32)
    zero = np.float32(0.0)
    for y in range(rows):
        u0, v0 = matrix[0, 1] * y + matrix[0, 2], matrix[1, 1] * y + matrix[1, 2]
        for x in range(columns):
            u, v = matrix[0, 0] * x + u0, matrix[1, 0] * x + v0
            # To the nearest phase first: a place that is whole but for rounding is whole.
            s, t = floor(u * STEPS + 0.5), floor(v * STEPS + 0.5)
            left, low = floor(s / STEPS), floor(t / STEPS)
            first[x], top[x] = np.int64(left) - before, np.int64(low) - before
            phase_x[x], phase_y[x] = np.int64(s - left * STEPS), np.int64(t - low * STEPS)
        x = 0
        while x < columns:
            i, j = first[x], top[x]
            n = 0
            if i >= 0 and j >= 0 and i < nx and j < ny:
                limit = min(BLOCK, columns - x, nx - i)
                while n < limit and first[x + n] == i + n and top[x + n] == j and near[j, i + n] == 0:
                    n += 1
            if n == 0:
                # A masked pixel or the edge is near: tap by tap.
                total, total_square, good, lost, inside = zero, zero, zero, zero, True
                for k in range(taps):
                    for m in range(taps):
                        w = table[phase_y[x], k] * table[phase_x[x], m]
                        if w == zero:
                            continue
                        row, column = j + k, i + m
                        if row < 0 or row >= ny or column < 0 or column >= nx:
                            inside = False
                        elif masked[row, column]:
                            lost += abs(w)
                        else:
                            total += w * data[row, column]
                            total_square += w * w * variance[row, column]
                            good += w
                if inside and lost <= LOST:
                    out[y, x] = scale * total / good
                    out_variance[y, x] = square * total_square / (good * good)
                else:
                    out[y, x] = np.nan
                    out_variance[y, x] = np.nan
                    row = j + before + (phase_y[x] > STEPS // 2)
                    column = i + before + (phase_x[x] > STEPS // 2)
                    if 0 <= row < ny and 0 <= column < nx:
                        why[y, x] |= flags[row, column]
                    else:
                        why[y, x] |= NO_DATA
                x += 1
                continue
            for k in range(n):
                for m in range(taps):
                    wx[m, k] = table[phase_x[x + k], m]
                    wy[m, k] = table[phase_y[x + k], m]
            sums[:n] = zero
            squares[:n] = zero
            for k in range(taps):
                line[:n] = zero
                line_squares[:n] = zero
                for m in range(taps):
                    pixels, noise, w = data[j + k, i + m :], variance[j + k, i + m :], wx[m]
                    for p in range(n):
                        line[p] += w[p] * pixels[p]
                        line_squares[p] += w[p] * w[p] * noise[p]
                w = wy[k]
                for p in range(n):
                    sums[p] += w[p] * line[p]
                    squares[p] += w[p] * w[p] * line_squares[p]
            for p in range(n):
                out[y, x + p] = scale * sums[p]
                out_variance[y, x + p] = square * squares[p]
            x += n
