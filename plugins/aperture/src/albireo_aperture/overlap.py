"""How much of each pixel lies in a circle, exactly, for many circles at once.

Libraries give the sum over a circle; its error needs the share of every pixel, because the variance of
``sum(w d)`` is ``sum(w**2 V)``. Summing ``w V``, as is common, makes the error of a faint star 4 % too large at a
radius of 4.7 pixels and 22 % at 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-9
"""Shares below this are rounding errors of areas that cancel."""


def circle_overlap(x: NDArray[np.float64], y: NDArray[np.float64], radius: float, reach: int) -> NDArray[np.float64]:
    """Share of each pixel of a stamp that lies in a circle.

    The disc's area left of and below a corner (u, v), counted from its centre with sign, is ``u v`` where the corner
    lies inside the circle, and otherwise ``(h(u) + h(v)) / 2 - pi r**2 / 4`` with
    ``h(t) = t sqrt(r**2 - t**2) + r**2 asin(t / r)``, the integral of the circle up to its edge. Four corners
    make a pixel.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Centre of the circle, from the centre of the stamp's middle pixel, in pixels.
    radius : float
        In pixels.
    reach : int
        The stamp has ``2 reach + 1`` pixels each way.

    Returns
    -------
    ndarray of float64, shape (n, 2 reach + 1, 2 reach + 1)
        Between 0 and 1; rows run along y.
    """
    edges = np.arange(-reach, reach + 2) - 0.5
    (u, hu), (v, hv) = (_edge_terms(edges - centre[:, None], radius) for centre in (x, y))
    u, hu, v, hv = u[:, None, :], hu[:, None, :], v[:, :, None], hv[:, :, None]
    # np.sign(0) = 0 is right: the area between a corner and an axis it lies on is none.
    outside = 0.5 * np.sign(u) * np.sign(v) * (hu + hv - 0.5 * np.pi * radius**2)
    corner = np.where(u**2 + v**2 <= radius**2, u * v, outside)
    share = np.diff(np.diff(corner, axis=1), axis=2)
    share[share < ROUNDING] = 0.0
    return share


def _edge_terms(t: NDArray[np.float64], radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges cut to the circle's extent, with sign, and ``h`` of their distance."""
    t = np.clip(t, -radius, radius)
    distance = np.abs(t)
    h = distance * np.sqrt(radius**2 - distance**2) + radius**2 * np.arcsin(distance / radius)
    return t, h
