"""Maps between two lists of points by like triangles: any shift, rotation and scale, and either parity.

Triangles of neighbouring stars of one list are compared with those of the other by the ratios of their sides, which no
similarity changes (Groth 1986, AJ 91, 1244). Neighbours, because they survive where fields overlap in part, and because
their number grows with that of the stars alone. Two like triangles say which map would carry one onto the other. Maps
by chance say anything; the true ones agree in scale, rotation and shift (Valdes et al. 1995, PASP 107, 1119). The maps
with most votes are given back with the pairs of stars that voted for them.

How alike two triangles must be follows from how many there are: about as many pairs are let through by chance as there
are triangles, and the most alike of them are looked at. Few stars may so have large errors, and many stars cost hardly
more time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from albireo import Transform
from albireo_alignment.fitting import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["candidates"]

CHANCE_PAIRS = 1.0
"""Like triangles by chance to let through for each triangle, about."""

LOOKED_AT = 10
"""Pairs of triangles, the most alike first, that are looked at, times the square of the number of neighbours."""

LEAST_ALIKE, MOST_ALIKE = 0.05, 0.003
"""Bounds of the difference of ratios of like triangles: beyond the first even few are no use, below the second noise
tells true ones apart."""

SHORTEST, FLATTEST = 0.1, 0.05
"""Least ratio of the sides, and least height over base: corners of other triangles are confused too easily."""

SCALE_CELL, ANGLE_CELL, PLACE_CELL = 0.02, 0.02, 0.015
"""How far votes for one map scatter: in log scale, in rotation (radians), and in the place of the middle of the list as
a fraction of the extent."""

MANY = 8
"""Stars from which on a map needs two votes: three stars in eight would be chance."""

PARITY_STEP = 1e3
"""Separates mirrored votes from others further than any cell reaches."""


def candidates(
    reference: Points, image: Points, neighbours: int, largest: float, tolerance: float, *, mirrored: bool
) -> Iterator[Transform]:
    """Find the maps with most votes.

    Parameters
    ----------
    reference, image : ndarray, shape (n, 2) and (m, 2)
        Points in pixels.
    neighbours : int
        A triangle has a star and two of this many nearest neighbours.
    largest : float
        Largest change of scale, as a ratio either way; may be infinite.
    tolerance : float
        Largest rms residual of the corners of a triangle, in pixels of the image.
    mirrored : bool
        Whether maps that mirror are looked for as well.

    Yields
    ------
    Transform
        Similarities, most votes first; fitted to all pairs of stars that voted. Where there are many stars, a map with
        a single vote is not given.
    """
    from scipy.spatial import cKDTree

    ours, theirs = _Triangles(reference, neighbours), _Triangles(image, neighbours)
    a, b = _like(ours, theirs, largest, mirrored, LOOKED_AT * neighbours**2)
    if not len(a):
        return
    flipped = ours.sense[a] != theirs.sense[b]
    corners, targets = ours.corners[a], theirs.corners[b]
    corners = np.where(flipped[:, None], -corners.conj(), corners)
    # A similarity is w = c z + d in complex numbers; least squares over the three corners.
    z = corners - corners.mean(axis=1, keepdims=True)
    w = targets - targets.mean(axis=1, keepdims=True)
    c = np.sum(z.conj() * w, axis=1) / np.sum(np.abs(z) ** 2, axis=1)
    rms = np.sqrt(np.mean(np.abs(w - c[:, None] * z) ** 2, axis=1))
    size = np.abs(c)
    fits = (rms <= tolerance) & (size > 0)
    fits[fits] = np.abs(np.log(size[fits])) <= np.log(largest)
    if not fits.any():
        return
    a, b, c, flipped, size = a[fits], b[fits], c[fits], flipped[fits], size[fits]
    middle = reference.mean(axis=0)
    centre = np.where(flipped, -middle[0], middle[0]) + 1j * middle[1]
    place = (targets[fits].mean(axis=1) + c * (centre - corners[fits].mean(axis=1))) / (PLACE_CELL * theirs.extent)
    turn = c / size / ANGLE_CELL
    votes = np.stack(
        [np.log(size) / SCALE_CELL, turn.real, turn.imag, place.real, place.imag, PARITY_STEP * flipped], axis=1
    )
    tree = cKDTree(votes)
    counts = tree.query_ball_point(votes, 1.0, return_length=True)
    least = 1 if min(len(reference), len(image)) < MANY else 2
    free = counts >= least
    for row in np.argsort(-counts, kind="stable"):
        if not free[row]:
            continue
        agreeing = np.sort(tree.query_ball_point(votes[row], 1.0))
        free[agreeing] = False
        first, second = ours.stars[a[agreeing]].ravel(), theirs.stars[b[agreeing]].ravel()
        yield fit(reference[first], image[second], "similarity", mirrored=bool(flipped[row]))


def _like(
    ours: _Triangles, theirs: _Triangles, largest: float, mirrored: bool, most: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of triangles that are alike in the ratios of their sides, in size and in parity; the most alike of them."""
    from scipy.spatial import cKDTree

    nothing = np.empty(0, dtype=np.intp)
    if not (len(ours.ratios) and len(theirs.ratios)):
        return nothing, nothing
    # The two ratios fill a quarter of the unit square, a box of half-width d covers 4 d^2 of it.
    expected = 16.0 * len(ours.ratios) * len(theirs.ratios) * (1.0 if mirrored else 0.5)
    wanted = CHANCE_PAIRS * max(len(ours.ratios), len(theirs.ratios))
    alike = float(np.clip(np.sqrt(wanted / expected), MOST_ALIKE, LEAST_ALIKE))
    size = alike / np.log(largest) if np.isfinite(largest) else 0.0
    parity = 0.0 if mirrored else 1.0
    first, second = (np.column_stack([t.ratios, size * np.log(t.longest), parity * t.sense]) for t in (ours, theirs))
    like = cKDTree(first).sparse_distance_matrix(cKDTree(second), alike, p=np.inf, output_type="ndarray")
    like = like[np.lexsort((like["j"], like["i"], like["v"]))[:most]]
    return like["i"].astype(np.intp), like["j"].astype(np.intp)


class _Triangles:
    """Triangles of neighbouring points that are not flat.

    Attributes
    ----------
    stars : ndarray of int, shape (k, 3)
        Corners as rows of the list: opposite to the longest, the middle and the shortest side.
    corners : ndarray of complex, shape (k, 3)
        Their places.
    ratios : ndarray, shape (k, 2)
        Middle and shortest side over the longest.
    longest : ndarray, shape (k,)
        The longest side in pixels.
    sense : ndarray of bool, shape (k,)
        Whether the corners follow each other counter-clockwise.
    extent : float
        Diagonal of the rectangle around the points.
    """

    def __init__(self, points: Points, neighbours: int) -> None:
        z = points[:, 0] + 1j * points[:, 1]
        self.extent = float(np.hypot(*np.ptp(points, axis=0)))
        index = _neighbourhoods(points, neighbours)
        corners = z[index]
        sides = np.abs(corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]])
        order = np.argsort(-sides, axis=1, kind="stable")
        sides, corners = np.take_along_axis(sides, order, axis=1), np.take_along_axis(corners, order, axis=1)
        u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        double_area = (u.conj() * v).imag
        # Two stars in one place make a triangle that is left out.
        longest = np.where(sides[:, 0] > 0, sides[:, 0], np.inf)
        ratios, height = sides[:, 1:] / longest[:, None], np.abs(double_area) / longest**2
        good = (ratios[:, 1] > SHORTEST) & (height > FLATTEST)
        self.stars = np.take_along_axis(index, order, axis=1)[good]
        self.corners, self.ratios, self.longest = corners[good], ratios[good], longest[good]
        self.sense = double_area[good] > 0


def _neighbourhoods(points: Points, neighbours: int) -> NDArray[np.intp]:
    """Every point with two of its nearest neighbours, each set of three once; shape (k, 3)."""
    from scipy.spatial import cKDTree

    n = len(points)
    near = min(neighbours + 1, n)
    if near < 3:
        return np.empty((0, 3), dtype=np.intp)
    _, around = cKDTree(points).query(points, near)
    choices = np.array(list(combinations(range(1, near), 2)))
    first = np.repeat(around[:, :1], len(choices), axis=1)
    threes = np.sort(np.stack([first, around[:, choices[:, 0]], around[:, choices[:, 1]]], axis=2).reshape(-1, 3))
    keys = np.unique((threes[:, 0] * n + threes[:, 1]) * n + threes[:, 2])
    return np.stack([keys // n**2, keys // n % n, keys % n], axis=1)
