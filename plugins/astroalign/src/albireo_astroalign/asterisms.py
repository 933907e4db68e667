"""From two lists of points of different cameras to the map between them: any scale, any rotation, either parity.

The method is one of votes. Every triangle of bright stars of one list is compared with every triangle of the other by
the ratios of its sides, which no similarity changes (Groth 1986, AJ 91, 1244). A pair of like triangles says which
similarity would map one onto the other, with the parity by the sense in which its corners follow each other. Pairs by
chance say anything; true ones agree in scale, rotation and shift (Valdes et al. 1995, PASP 107, 1119). The maps with
the most votes are refined with all stars, and the one that matches most is kept if so many matches cannot be chance.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from albireo import Transform
from albireo_astroalign.match import chance_matches, refine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

LIKENESS = 0.008
"""Ratios of sides this close are alike: half a pixel of noise on sides of a hundred pixels and more, and a scale that
differs by a per cent between the axes of a camera."""

SMALLEST_SIDE = 0.15
"""Longest side of a triangle, as a fraction of the extent of its list: the ratios of smaller ones are too uncertain."""

FLATTEST = 0.15
"""Least ratio of the sides, and least height over base: corners of flatter triangles are confused too easily."""

SCALE_CELL, ANGLE_CELL, SHIFT_CELL = 0.015, np.deg2rad(0.8), 0.012
"""How far votes for one map scatter: in log scale, in rotation, and in the place of the middle as a fraction of the
extent."""

CANDIDATES = 25
"""Maps that are tried with all stars, those with most votes first."""

FALSE_ALARMS = 1e-3
"""Expected number of maps by chance that would match as well as one that is accepted."""

FEW, MOST = 30, 50
"""Stars that make triangles at first, and where these do not suffice; like triangles grow with the sixth power."""

ENOUGH_FOR_AFFINE = 10
"""Matched stars from which on six numbers are fitted in place of four."""


def by_votes(reference: Points, image: Points, tolerance: float, largest: float) -> Transform | None:
    """Find the map from one list onto the other.

    Parameters
    ----------
    reference, image : ndarray, shape (n, 2) and (m, 2)
        Points in pixels, brightest first.
    tolerance : float
        Largest distance of a pair in pixels of the image.
    largest : float
        Largest change of scale, as a ratio either way.

    Returns
    -------
    Transform or None
        With rms and number of the matched stars; affine where they are enough. None if no map matches more stars than
        chance would.
    """
    best: Transform | None = None
    for stars in (FEW, MOST):
        for mirrored, start in _candidates(reference[:stars], image[:stars], largest):
            found = _refined(reference, image, start, mirrored, tolerance)
            if best is None or found.matched > best.matched:
                best = found
        if best is not None and best.matched >= needed(reference, image, best, tolerance):
            return best
    return None


def _refined(reference: Points, image: Points, start: Transform, mirrored: bool, tolerance: float) -> Transform:
    # The fit knows proper maps only: mirror the list beforehand and the map afterwards.
    mirror = Transform.similarity(mirrored=mirrored)
    there = np.stack(mirror(reference[:, 0], reference[:, 1]), axis=1)
    found = refine(there, image, start, tolerance, affine=False)
    if found.matched >= ENOUGH_FOR_AFFINE:
        # The optics of two cameras differ by more than a similarity: a per cent between the axes is usual.
        wider = refine(there, image, found, tolerance, affine=True)
        found = wider if wider.matched >= ENOUGH_FOR_AFFINE else found
    return found @ mirror


def needed(reference: Points, image: Points, found: Transform, tolerance: float) -> int:
    """Least number of matches that no map by chance would reach.

    Two pairs of stars make a map. Of all the maps that can be made of two lists, each matches further stars by chance
    as often as a Poisson distribution says; so many are asked for that less than `FALSE_ALARMS` of them are expected to
    match as many (the reasoning of Desolneux, Moisan & Morel 2000, Int. J. Computer Vision 40, 7).
    """
    from scipy.special import pdtrc

    rate = chance_matches(reference, image, found, tolerance)
    maps = len(reference) * (len(reference) - 1.0) * len(image) * (len(image) - 1.0)
    further = np.arange(1, min(len(reference), len(image)) + 1)
    rare = maps * pdtrc(further - 1, rate) < FALSE_ALARMS
    return 2 + int(further[rare][0]) if rare.any() else len(reference) + len(image)


def _candidates(reference: Points, image: Points, largest: float) -> list[tuple[bool, Transform]]:
    """Maps with the most votes, whether they need the reference mirrored first, and the map after that."""
    from scipy.spatial import cKDTree

    ours, theirs = _Triangles(reference), _Triangles(image)
    if not (len(ours.ratios) and len(theirs.ratios)):
        return []
    like = cKDTree(ours.ratios).sparse_distance_matrix(cKDTree(theirs.ratios), LIKENESS, output_type="ndarray")
    like = np.sort(like, order=["i", "j"])
    a, b = like["i"], like["j"]
    mirrored = ours.sense[a] != theirs.sense[b]
    corners, targets = ours.corners[a], theirs.corners[b]
    corners = np.where(mirrored[:, None], -corners.conj(), corners)
    # A similarity is w = c z + d in complex numbers; least squares over the three corners.
    z = corners - corners.mean(axis=1, keepdims=True)
    w = targets - targets.mean(axis=1, keepdims=True)
    c = np.sum(z.conj() * w, axis=1) / np.sum(np.abs(z) ** 2, axis=1)
    d = targets.mean(axis=1) - c * corners.mean(axis=1)
    allowed = np.abs(np.log(np.abs(c))) <= np.log(largest)
    c, d, mirrored = c[allowed], d[allowed], mirrored[allowed]
    middle = reference.mean(axis=0)
    centre = np.where(mirrored, -middle[0] + 1j * middle[1], middle[0] + 1j * middle[1])
    place = (c * centre + d) / (SHIFT_CELL * theirs.extent)
    turn = c / np.abs(c) / ANGLE_CELL
    # Maps of either parity never share a neighbourhood.
    votes = np.stack(
        [np.log(np.abs(c)) / SCALE_CELL, turn.real, turn.imag, place.real, place.imag, 1e3 * mirrored], axis=1
    )
    tree = cKDTree(votes)
    counts = tree.query_ball_point(votes, 1.0, return_length=True)
    found: list[tuple[bool, Transform]] = []
    free = np.ones(len(votes), dtype=bool)
    for row in np.argsort(-counts, kind="stable"):
        if not free[row]:
            continue
        agreeing = np.sort(tree.query_ball_point(votes[row], 1.0))
        free[agreeing] = False
        scale, shift = complex(np.mean(c[agreeing])), complex(np.mean(d[agreeing]))
        matrix = np.array([[scale.real, -scale.imag, shift.real], [scale.imag, scale.real, shift.imag], [0, 0, 1.0]])
        found.append((bool(mirrored[row]), Transform(matrix)))
        if len(found) == CANDIDATES:
            break
    return found


class _Triangles:
    """All triangles of some points that are neither small nor flat.

    Attributes
    ----------
    corners : ndarray of complex, shape (k, 3)
        Opposite to the longest, the middle and the shortest side.
    ratios : ndarray, shape (k, 2)
        Middle and shortest side over the longest.
    sense : ndarray of bool
        Whether the corners follow each other counter-clockwise.
    extent : float
        Diagonal of the rectangle around the points.
    """

    def __init__(self, points: Points) -> None:
        z = points[:, 0] + 1j * points[:, 1]
        self.extent = float(np.hypot(*(points.max(axis=0) - points.min(axis=0))))
        index = np.array(list(combinations(range(len(z)), 3)), dtype=np.intp).reshape(-1, 3)
        corners = z[index]
        sides = np.abs(corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]])
        order = np.argsort(-sides, axis=1, kind="stable")
        sides, corners = np.take_along_axis(sides, order, axis=1), np.take_along_axis(corners, order, axis=1)
        u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        double_area = (u.conj() * v).imag
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = sides[:, 1:] / sides[:, :1]
            height = np.abs(double_area) / sides[:, 0] ** 2
        good = (sides[:, 0] > SMALLEST_SIDE * self.extent) & (ratios[:, 1] > FLATTEST) & (height > FLATTEST)
        self.corners, self.ratios, self.sense = corners[good], ratios[good], double_area[good] > 0
