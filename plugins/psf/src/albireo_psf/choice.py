"""Which stars tell the shape of a star: bright, alone, whole, and of the common width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Sources

__all__ = ["choose", "neighbours"]

CANDIDATES = 4
"""How many times as many bright sources are looked at as stars are wanted."""

CLOSE = 2.0
"""Within so many widths a neighbour blends with a star."""

FAINT = 0.02
"""Flux of a neighbour, relative to the star's, below which it does not matter within `CLOSE`."""

WIDTH = 0.25
"""Relative difference from the median width: cosmic rays are narrower, galaxies and blends wider."""


def choose(sources: Sources, shape: tuple[int, int], reach: int, wanted: int) -> NDArray[np.intp]:
    """Pick stars to fit.

    Parameters
    ----------
    sources : Sources
        With fluxes and widths.
    shape : (int, int)
        Rows and columns of the image.
    reach : int
        Pixels around a star that must lie within the image.
    wanted : int
        At most so many, the brightest.

    Returns
    -------
    ndarray of intp
        Indices into the sources, brightest first. Fewer than wanted, or none, where there are no more. Sources with a
        flag (saturated, cut by the edge, on bad pixels) are not among them.
    """
    ny, nx = shape
    whole = (sources.x >= reach) & (sources.y >= reach) & (sources.x <= nx - 1 - reach) & (sources.y <= ny - 1 - reach)
    good = np.flatnonzero(whole & (sources.flags == 0) & (sources.flux > 0) & (sources.fwhm > 0))
    bright = good[np.argsort(-sources.flux[good], kind="stable")[: CANDIDATES * wanted]]
    if not len(bright):
        return bright
    common = float(np.median(sources.fwhm[bright]))
    distance, other = _distances(sources, bright)
    blended = (distance < CLOSE * common) & (other > FAINT * sources.flux[bright][:, None])
    usual = np.abs(sources.fwhm[bright] - common) < WIDTH * common
    alone = bright[usual & ~blended.any(axis=1)]
    return alone[:wanted]


def neighbours(
    sources: Sources, stars: NDArray[np.intp], x: NDArray[np.float64], y: NDArray[np.float64], radius: float, reach: int
) -> NDArray[np.bool_]:
    """Mark pixels around stars that belong to another source.

    Parameters
    ----------
    sources : Sources
    stars : ndarray of intp, shape (n,)
        Indices of the stars.
    x, y : ndarray, shape (n,)
        Middle pixels of their squares.
    radius : float
        Pixels around a neighbour of the star's own brightness; a fainter one has a smaller circle, of half that at
        least.
    reach : int

    Returns
    -------
    ndarray of bool, shape (n, 2 reach + 1, 2 reach + 1)
    """
    grid = np.arange(-reach, reach + 1)
    marked = np.zeros((len(stars), len(grid), len(grid)), dtype=bool)
    distance, other = _distances(sources, stars)
    with np.errstate(invalid="ignore"):
        near = (distance < 1.5 * reach + 2.0 * radius) & (other > 0)
    for star, neighbour in np.argwhere(near):
        ratio = float(np.clip(other[star, neighbour] / sources.flux[stars[star]], 1e-3, 1e2))
        circle = radius * max(0.5, 1.0 + 0.5 * np.log10(ratio))
        dx, dy = (grid + c - p for c, p in ((x[star], sources.x[neighbour]), (y[star], sources.y[neighbour])))
        marked[star] |= dx[None, :] ** 2 + dy[:, None] ** 2 < circle**2
    return marked


def _distances(sources: Sources, stars: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From each star to every source in pixels, infinite to itself, and the fluxes of the sources."""
    distance = np.hypot(sources.x[stars][:, None] - sources.x, sources.y[stars][:, None] - sources.y)
    distance[np.arange(len(stars)), stars] = np.inf
    return np.nan_to_num(distance, nan=np.inf), np.broadcast_to(np.nan_to_num(sources.flux), distance.shape)
