"""Compiled: from a mesh of boxes to a map of the image.

A box without a value takes the mean of its neighbours, a median over neighbours takes out boxes that a large object
fills, and a surface through the centres of the boxes gives the map: a natural cubic spline in both directions, or
straight lines. The spline goes on straight from the centres of the outer boxes to the border of the image, so that a
slope of the sky is followed to there; for the same reason the median sees the mesh reflected at a point beyond its
border.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from albireo_detection.compiling import compiled, part

__all__ = ["draw", "fill", "smooth"]


@compiled("void(float64[:, ::1])")
def fill(mesh: Any) -> None:
    """Give boxes that are NaN the mean of those of the eight around them that have a value, again until none is left.

    Parameters
    ----------
    mesh : ndarray of float64, shape (m, n)
        Changed in place. If no box has a value, nothing happens.
    """
    m, n = mesh.shape
    while True:
        before, left = mesh.copy(), 0
        for i in range(m):
            for j in range(n):
                if not np.isnan(before[i, j]):
                    continue
                near = before[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
                total, number = 0.0, 0
                for value in near.flat:
                    if not np.isnan(value):
                        total += value
                        number += 1
                if number:
                    mesh[i, j] = total / number
                    left += 1
        if left == 0:
            return


@part
def _reflected(mesh: Any, i: int, j: int, odd: bool) -> float:
    """Value of the mesh, continued beyond its border by reflection: at a point if odd, else at a line."""
    m, n = mesh.shape
    v, u = min(abs(i), 2 * (m - 1) - i), min(abs(j), 2 * (n - 1) - j)
    if not (0 <= v < m and 0 <= u < n):
        return np.nan
    if odd and (v != i or u != j):
        border = mesh[min(max(i, 0), m - 1), min(max(j, 0), n - 1)]
        return 2.0 * border - mesh[v, u]
    return mesh[v, u]


@compiled("float64[:, ::1](float64[:, ::1], int64, boolean)")
def smooth(mesh: Any, width: int, odd: bool) -> Any:
    """Take the median of the boxes around each box.

    Parameters
    ----------
    mesh : ndarray of float64, shape (m, n)
    width : int
        Of the window, in boxes; an even one counts as the next odd one.
    odd : bool
        Whether what lies beyond the border continues a slope.
    """
    m, n = mesh.shape
    half = width // 2
    out, near = np.empty((m, n)), np.empty((2 * half + 1) ** 2)
    for i in range(m):
        for j in range(n):
            number = 0
            for v in range(i - half, i + half + 1):
                for u in range(j - half, j + half + 1):
                    value = _reflected(mesh, v, u, odd)
                    if not np.isnan(value):
                        near[number] = value
                        number += 1
            out[i, j] = np.median(near[:number])
    return out


@part
def _curvature(mesh: Any) -> Any:
    """Second derivatives along the columns of a natural spline through equal steps."""
    m, n = mesh.shape
    second, factor = np.zeros((m, n)), np.zeros(m)
    for i in range(1, m - 1):
        pivot = 4.0 - factor[i - 1]
        factor[i] = 1.0 / pivot
        for j in range(n):
            bend = 6.0 * (mesh[i + 1, j] - 2.0 * mesh[i, j] + mesh[i - 1, j])
            second[i, j] = (bend - second[i - 1, j]) / pivot
    for i in range(m - 3, 0, -1):
        for j in range(n):
            second[i, j] -= factor[i] * second[i + 1, j]
    return second


@part
def _place(pixel: int, pixels: int, boxes: int) -> float:
    """Where the centre of a pixel lies, in boxes from the centre of the first one."""
    return (pixel + 0.5) * boxes / pixels - 0.5


@part
def _draw_row(row: Any, values: Any, bends: Any, curved: bool) -> None:
    """Draw a row from the values and second derivatives at the centres: a polynomial from each centre to the next."""
    n, nx = values.size, row.size
    step = np.float32(n / nx)
    for j in range(-1, n):
        begin = 0 if j < 0 else int(np.ceil((j + 0.5) * nx / n - 0.5))
        end = nx if j == n - 1 else int(np.ceil((j + 1.5) * nx / n - 0.5))
        near = max(j, 0)
        value, slope, square, cube = values[near], 0.0, 0.0, 0.0
        if 0 <= j < n - 1:
            slope = values[j + 1] - values[j] - (2.0 * bends[j] + bends[j + 1]) / 6.0
            square, cube = 0.5 * bends[j], (bends[j + 1] - bends[j]) / 6.0
        elif curved and n > 1:
            slope = values[1] - values[0] - bends[1] / 6.0 if j < 0 else values[j] - values[j - 1] + bends[j - 1] / 6.0
        a, b, c, d = np.float32(value), np.float32(slope), np.float32(square), np.float32(cube)
        start = np.float32(_place(begin, nx, n) - near)
        piece = row[begin:end]
        for x in range(piece.size):
            t = start + np.float32(x) * step
            piece[x] = a + t * (b + t * (c + t * d))


@compiled("void(float64[:, ::1], float32[:, ::1], boolean)")
def draw(mesh: Any, out: Any, curved: bool) -> None:
    """Draw a surface through the centres of the boxes.

    Parameters
    ----------
    mesh : ndarray of float64, shape (m, n)
        Boxes of equal size, to a pixel, which fill the image.
    out : ndarray of float32, shape (ny, nx)
        Filled.
    curved : bool
        A spline that goes on straight to the border; else straight lines between the centres, and level beyond, so
        that the map stays between the smallest and the largest value.
    """
    (m, n), ny = mesh.shape, out.shape[0]
    down, right, both = np.zeros((m, n)), np.zeros((m, n)), np.zeros((m, n))
    if curved:
        down = _curvature(mesh)
        right = np.ascontiguousarray(_curvature(np.ascontiguousarray(mesh.T)).T)
        both = np.ascontiguousarray(_curvature(np.ascontiguousarray(down.T)).T)
    values, bends = np.empty(n), np.empty(n)
    for y in range(ny):
        place = _place(y, ny, m)
        if not curved:
            place = min(max(place, 0.0), m - 1.0)
        i = min(max(int(place), 0), max(m - 2, 0))
        k = min(i + 1, m - 1)
        t = place - i if m > 1 else 0.0
        # Weights of the second derivatives; beyond the outer centres they go on with their slope.
        s = min(max(t, 0.0), 1.0)
        p = ((1.0 - s) ** 3 - (1.0 - s)) / 6.0 + (t - s) * (1.0 - 3.0 * (1.0 - s) ** 2) / 6.0
        q = (s**3 - s) / 6.0 + (t - s) * (3.0 * s * s - 1.0) / 6.0
        for j in range(n):
            values[j] = (1.0 - t) * mesh[i, j] + t * mesh[k, j] + p * down[i, j] + q * down[k, j]
            bends[j] = (1.0 - t) * right[i, j] + t * right[k, j] + p * both[i, j] + q * both[k, j]
        _draw_row(out[y], values, bends, curved)
