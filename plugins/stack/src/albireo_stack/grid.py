"""Which pixels a stack has: those of the reference, what all frames show, or what any shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from albireo import FrameError, Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Grid", "common", "overlaps", "union"]

Polygon: TypeAlias = "list[tuple[float, float]]"

ROUNDING = 1e-6
"""Of a position, in pixels: less than this beyond the edge is on it."""


@dataclass(frozen=True)
class Grid:
    """A rectangle of whole pixels of the reference, perhaps beyond its edges.

    Attributes
    ----------
    x0, y0 : int
        The pixel of the reference that is the first of the grid.
    shape : tuple of int
        Rows and columns.
    outline : tuple of (float, float)
        Corners of a convex polygon, in pixels of the reference, outside of which the stack has no values; empty for no
        such limit.
    """

    x0: int
    y0: int
    shape: tuple[int, int]
    outline: tuple[tuple[float, float], ...] = ()

    def matrix(self, transform: Transform) -> NDArray[np.float64]:
        """Give the map from pixels of the grid to pixels of a frame."""
        return transform.matrix @ Transform.similarity(self.x0, self.y0).matrix

    def outside(self) -> NDArray[np.bool_]:
        """Mark the pixels that lie outside of the outline."""
        result = np.zeros(self.shape, dtype=np.bool_)
        x = self.x0 + np.arange(self.shape[1], dtype=np.float64)
        y = self.y0 + np.arange(self.shape[0], dtype=np.float64)[:, None]
        for (ax, ay), (bx, by) in zip(self.outline, (*self.outline[1:], *self.outline[:1]), strict=True):
            length = np.hypot(bx - ax, by - ay)
            if length > 0.0:
                result |= (bx - ax) * (y - ay) - (by - ay) * (x - ax) < -ROUNDING * length
        return result


def _edges(shape: tuple[int, int]) -> Polygon:
    """Centres of the pixels in the corners, counter-clockwise."""
    ny, nx = shape
    return [(0.0, 0.0), (nx - 1.0, 0.0), (nx - 1.0, ny - 1.0), (0.0, ny - 1.0)]


def _footprint(transform: Transform, shape: tuple[int, int], margin: int = 0) -> Polygon:
    """Where the corners of a frame lie on the reference, counter-clockwise, without a margin of the frame."""
    back = transform.inverse()
    ny, nx = shape
    inner = [(x + margin, y + margin) for x, y in _edges((ny - 2 * margin, nx - 2 * margin))]
    corners = [(float(x), float(y)) for x, y in (back(*corner) for corner in inner)]
    return corners[::-1] if transform.mirrored else corners


def _clipped(polygon: Polygon, window: Polygon) -> Polygon:
    """Cut a convex polygon with another (Sutherland and Hodgman 1974, Comm. ACM 17, 32)."""
    for (ax, ay), (bx, by) in zip(window, [*window[1:], window[0]], strict=True):
        side = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in polygon]
        kept: Polygon = []
        for number, (point, here) in enumerate(zip(polygon, side, strict=True)):
            before, there = polygon[number - 1], side[number - 1]
            if (here >= 0.0) != (there >= 0.0):
                part = there / (there - here)
                kept.append((before[0] + part * (point[0] - before[0]), before[1] + part * (point[1] - before[1])))
            if here >= 0.0:
                kept.append(point)
        polygon = kept
    return polygon


def overlaps(transform: Transform, shape: tuple[int, int]) -> bool:
    """Whether a frame shows a part of the reference, which has the same shape."""
    return len(_clipped(_edges(shape), _footprint(transform, shape))) > 2


def _is_whole(transform: Transform) -> bool:
    """Whether it is a shift by whole pixels, for which no neighbours are needed."""
    return np.allclose(transform.matrix, np.rint(transform.matrix), rtol=0, atol=1e-9) and np.array_equal(
        np.rint(transform.matrix[:2, :2]), np.eye(2)
    )


def common(transforms: Sequence[Transform], shape: tuple[int, int], margin: int) -> Grid:
    """Give the box around what the reference and all frames show.

    Parameters
    ----------
    transforms : sequence of Transform
    shape : tuple of int
        Of the reference.
    margin : int
        How far from the edge of a frame interpolation has all neighbours.

    Raises
    ------
    FrameError
        If there is nothing that all show.
    """
    polygon = _edges(shape)
    for transform in transforms:
        polygon = _clipped(polygon, _footprint(transform, shape, 0 if _is_whole(transform) else margin))
    if len(polygon) < 3:
        raise FrameError('there is nothing that all frames show; use area = "reference" or "union"')
    x, y = np.array(polygon).T
    x0, y0 = (int(np.ceil(axis.min() - ROUNDING)) for axis in (x, y))
    x1, y1 = (int(np.floor(axis.max() + ROUNDING)) for axis in (x, y))
    return Grid(x0, y0, (y1 - y0 + 1, x1 - x0 + 1), tuple(polygon))


def union(transforms: Sequence[Transform], shape: tuple[int, int]) -> Grid:
    """Give the box around all that any frame shows."""
    corners = [corner for transform in transforms for corner in _footprint(transform, shape)]
    x, y = np.array([*corners, *_edges(shape)]).T
    x0, y0 = (int(np.ceil(axis.min() - ROUNDING)) for axis in (x, y))
    x1, y1 = (int(np.floor(axis.max() + ROUNDING)) for axis in (x, y))
    return Grid(x0, y0, (y1 - y0 + 1, x1 - x0 + 1))
