"""Whether a match of two lists can be chance: how many as good would be expected of unrelated fields.

Two lists of n and m unrelated points in an area A have ``C(n, k) C(m, k) k!`` ways to pair k points of the one with k
of the other. A map with as many free numbers as b pairs have always fits b of them. The remaining k - b points of the
image must then lie where the map puts them. Their residuals from a least-squares fit have 2 (k - b) degrees of
freedom; the residuals whose sum of squares is at most S fill the fraction ``(pi S / A)^(k - b) / (k - b)!`` of the
places that the points could have, times the leverage of the pairs that fix the map. The product is the number of false
matches to expect, and so an upper limit on the probability of one (Markov's inequality; the reasoning "a contrario" of
Desolneux, Moisan & Morel 2000, Int. J. Computer Vision 40, 7, and Moisan & Stival 2004, ibid. 57, 201). Neither a least
number of stars nor a least share of matched stars has to be chosen: three stars in the right places are evidence where
the lists are short, thirty are none where each list has thousands in a crowded field.

The number assumes fields of even density. Points that are listed twice, or hot pixels that every frame has, are not
unrelated.
"""

from __future__ import annotations

from math import inf, lgamma, log, pi
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["FALSE_ALARMS", "area_of", "false_alarms", "leverage", "share_of_scales"]

FALSE_ALARMS = 1e-3
"""A map is accepted if fewer false ones than this are expected of two unrelated fields."""

POSITION_ERROR = 0.05
"""Pixels in each axis: positions are never taken to agree better than finders measure them."""


def false_alarms(
    matched: int, rms: float, here: int, there: int, area: float, *, fixed: int, lever: float, share: float
) -> float:
    """Natural logarithm of the expected number of maps of unrelated lists that fit as well.

    Parameters
    ----------
    matched : int
        Pairs k.
    rms : float
        Root mean square distance of the pairs from the map, in pixels of the image.
    here, there : int
        Points of the image and of the reference, m and n.
    area : float
        Of the image, in square pixels.
    fixed : int
        Pairs b that fix a map: two for a similarity, one for a shift.
    lever : float
        Volume of the residuals of the further points about a map through b pairs, over that about the best map.
    share : float
        Fraction of the maps through b pairs that would be allowed at all; twice as much where they may mirror.

    Returns
    -------
    float
        Infinite if the map fits no more pairs than fix it.
    """
    further = matched - fixed
    if further < 1 or area <= 0 or not lever > 0:
        return inf
    squares = matched * max(rms**2, 2.0 * POSITION_ERROR**2)
    pairings = _log_choices(there, matched) + _log_choices(here, matched) + lgamma(matched + 1)
    volume = further * log(pi * squares / area) - lgamma(further + 1)
    # The number of pairs was not known beforehand either.
    return pairings + volume + log(lever) + log(share) + log(min(here, there))


def _log_choices(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def leverage(points: Points) -> float:
    """Give the leverage of a similarity on some points: k sum |z - mean|^2 / D^2, with their largest distance D."""
    off = points - points.mean(axis=0)
    squares = np.sum(off**2, axis=1)
    widest = float(np.max(np.sum((points - points[np.argmax(squares)]) ** 2, axis=1)))
    return len(points) * float(squares.sum()) / widest if widest > 0 else inf


def area_of(*lists: Points) -> float:
    """Give the area of the smallest upright rectangle around some lists of points."""
    points = np.concatenate(lists)
    return float(np.prod(np.ptp(points, axis=0)))


def share_of_scales(reference: Points, image: Points, largest: float) -> float:
    """Fraction of all pairs of stars of either list whose distances differ by no more than a ratio."""
    if not np.isfinite(largest):
        return 1.0
    ours, theirs = _log_distances(reference), _log_distances(image)
    if not (len(ours) and len(theirs)):
        return 1.0
    low, high = (np.searchsorted(theirs, ours + sign * log(largest)) for sign in (-1, 1))
    return float((high - low).sum() / (len(ours) * len(theirs)))


def _log_distances(points: Points) -> NDArray[np.float64]:
    first, second = np.triu_indices(len(points), 1)
    distance = np.hypot(*(points[first] - points[second]).T)
    return np.sort(np.log(distance[distance > 0]))
