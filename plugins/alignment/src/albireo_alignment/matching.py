"""The search for a similarity between two lists of points, from rough to fine, and the test that it is not chance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import log
from typing import TYPE_CHECKING

import numpy as np

from albireo import Transform
from albireo_alignment.chance import FALSE_ALARMS, false_alarms, leverage, share_of_scales
from albireo_alignment.fitting import refine
from albireo_alignment.offsets import frequent_offsets
from albireo_alignment.triangles import candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["match"]

NEIGHBOURS = (5, 10)
"""Neighbours of a star that make triangles with it: at first, and where these do not suffice."""

TRIED = 3
"""Maps by triangles that are refined, those with most votes first."""

SHARED = 0.1
"""Share of the shorter list that must have the most frequent offset in common, and three stars at least."""

PLENTY = 0.3
"""Share of the shorter list that, once matched, makes another search superfluous."""


def match(
    reference: Points,
    image: Points,
    *,
    stars: int,
    tolerance: float,
    largest: float,
    area: float,
    mirrored: bool,
) -> tuple[Transform | None, float]:
    """Find the similarity that matches two lists.

    Parameters
    ----------
    reference, image : ndarray, shape (n, 2) and (m, 2)
        Points in pixels, brightest first.
    stars : int
        How many of the brightest make the guesses; all refine them.
    tolerance : float
        Largest distance of a pair in pixels of the image.
    largest : float
        Largest change of scale, as a ratio either way.
    area : float
        Of the image in square pixels.
    mirrored : bool
        Whether a map may mirror.

    Returns
    -------
    Transform or None
        The best map; None if not even two stars of it match.
    float
        Expected number of maps of unrelated lists that would fit as well, as a natural logarithm: the map is to be
        believed if it is below that of `FALSE_ALARMS`.
    """
    bright, seen = reference[:stars], image[:stars]
    best, least = None, np.inf
    for start in _guesses(bright, seen, tolerance, largest, mirrored):
        found, pairs = refine(bright, seen, start, tolerance, "similarity")
        if found.matched and max(len(reference), len(image)) > stars:
            found, pairs = refine(reference, image, found, tolerance, "similarity", generous=False)
        if not found.matched:
            continue
        chance = false_alarms(
            found.matched,
            found.rms,
            len(image),
            len(reference),
            area,
            fixed=2,
            lever=leverage(image[pairs[:, 1]]),
            share=2.0 if mirrored else 1.0,
        )
        if chance < least or best is None:
            best, least = found, chance
        if least < log(FALSE_ALARMS) and best.matched >= PLENTY * min(len(bright), len(seen)):
            break
    if log(FALSE_ALARMS) <= least < np.inf:
        # Not all of these false maps would have a scale that is allowed; only where it matters is this worked out.
        least += log(max(share_of_scales(bright, seen, largest), np.finfo(float).tiny))
    return best, least


def _guesses(reference: Points, image: Points, tolerance: float, largest: float, mirrored: bool) -> Iterator[Transform]:
    """Give maps to begin with, the cheapest to find first."""
    for count, dx, dy in frequent_offsets(reference, image, tolerance, 1):
        if count >= max(3, SHARED * min(len(reference), len(image))):
            yield Transform.similarity(dx, dy)
    for neighbours in NEIGHBOURS:
        yield from islice(candidates(reference, image, neighbours, largest, tolerance, mirrored=mirrored), TRIED)
