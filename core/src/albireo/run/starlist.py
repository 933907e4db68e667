"""One list of stars for all cameras that look at the same sky: star 7 is the same star in every band.

A star has a place on the primary camera, and on every other by the map from the one to the other. Where a camera has
detected it, the detection is its place there; a detection and a star are the same if each is the other's nearest and
they lie within `CatalogueOptions.match_radius`. The list begins with the stars of the primary by brightness, goes on
with those that only other cameras see, and ends with what a recipe names and nobody detected. A source that the edge of
an image cuts lies elsewhere than its star: it makes no star and is no place, unless a recipe names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo.images import Flag
from albireo.recipe import CatalogueOptions
from albireo.sources import Sources, Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StarList", "View", "good_stars"]

SAME_PLACE = 0.5
"""Pixels: two places without a detection that are this close are one."""


EDGE = 1.5
"""FWHM from the edge of an image within which a star has lost light, and its centre is drawn inwards."""


@dataclass(frozen=True, eq=False)
class View:
    """What one camera sees.

    Attributes
    ----------
    found : Sources
        Of its calibrated reference frame.
    fwhm, sky_rms : float
        Of that frame; the noise of the sky in electrons per pixel.
    shape : tuple of int
        Rows and columns of that frame.
    transform : Transform
        From pixels of the primary's reference frame to pixels of this one.
    """

    found: Sources
    fwhm: float
    sky_rms: float
    shape: tuple[int, int]
    transform: Transform

    def holds(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether places lie on this camera's image."""
        ny, nx = self.shape
        return (x >= -0.5) & (x <= nx - 0.5) & (y >= -0.5) & (y <= ny - 0.5)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which sources are not cut by the edge of the image."""
        found, (ny, nx) = self.found, self.shape
        margin = EDGE * self.fwhm - 0.5 if np.isfinite(self.fwhm) else 0.0
        inside = (found.x >= margin) & (found.x <= nx - 1 - margin) & (found.y >= margin) & (found.y <= ny - 1 - margin)
        whole: NDArray[np.bool_] = inside & ((found.flags & np.uint16(Flag.EDGE)) == 0)
        return whole


def good_stars(view: View, min_snr: float) -> NDArray[np.intp]:
    """Rows of the whole sources that are bright enough to be measured, brightest first.

    The signal-to-noise ratio is that of Howell's equation with the sky under a circle of one FWHM radius.
    """
    found = view.found
    order = np.argsort(-found.flux, kind="stable")
    flux, fwhm = found.flux[order], found.fwhm[order]
    area = np.pi * np.where(np.isfinite(fwhm), fwhm, view.fwhm) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = flux / np.sqrt(np.maximum(flux, 0) + area * view.sky_rms**2)
    return order[view.whole[order] & np.isfinite(flux) & (flux > 0) & ~(snr < min_snr)]


class StarList:
    """The stars to measure on several cameras, numbered from one.

    Parameters
    ----------
    views : sequence of View
        The primary first.
    options : CatalogueOptions
    first : int
        Number of the first star.
    detected : bool
        Whether the list begins with what was detected; else it is empty, to be filled by `place`.
    """

    def __init__(
        self, views: Sequence[View], options: CatalogueOptions, first: int = 1, *, detected: bool = True
    ) -> None:
        self.views, self.first = views, first
        self.numbers: list[int] = []
        self.radius = options.match_radius
        self.x, self.y = np.empty(0), np.empty(0)
        self.own = np.empty((len(views), 0), dtype=np.intp)
        """Row of each star among the sources of each view; -1 where it has none."""
        self.named: set[tuple[int, int]] = set()
        """View and star of what a recipe places on that view."""
        for number, view in enumerate(views if detected else ()):
            rows = good_stars(view, options.min_snr)[: options.max_sources]
            known, found = _Places(*self._on(number)), view.found
            new = [r for r in rows.tolist() if known.nearest(found.x[r], found.y[r], self.radius) is None]
            self._append(number, found.x[new], found.y[new])
        for number, view in enumerate(views):
            self.own[number] = _pairs(*self._on(number), view, self.radius)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def next(self) -> int:
        """Number of the next star that is added."""
        return max((self.first - 1, *self.numbers)) + 1

    def place(self, number: int, x: float, y: float, identity: int | None = None) -> int:
        """Give the identity of what lies at a place, adding it to the list if need be.

        Parameters
        ----------
        number : int
            The view in whose pixels the place is given.
        x, y : float
        identity : int, optional
            What to call a star that is added; the next number if left out.
        """
        found = self.views[number].found
        row = _Places(found.x, found.y).nearest(x, y, self.radius)
        if row is not None:
            (stars,) = np.nonzero(self.own[number] == row)
            star = int(stars[0]) if stars.size else None
            x, y = float(found.x[row]), float(found.y[row])
        else:
            star = self._undetected(number, x, y)
        if star is None:
            star = len(self)
            self._append(number, np.array([x]), np.array([y]), identity)
            for other, view in enumerate(self.views):
                there = view.transform(self.x[star], self.y[star])
                match = _Places(view.found.x, view.found.y).nearest(float(there[0]), float(there[1]), self.radius)
                if match is not None and match not in self.own[other]:
                    self.own[other, star] = match
        self.named.add((number, star))
        return self.numbers[star]

    def sources(self, number: int) -> Sources:
        """Give the stars to measure on one camera: those on its image, where it sees them or should.

        What is not detected has no number but its identity and place. What a recipe places on this camera is in the
        list though it may lie outside.
        """
        view = self.views[number]
        x, y = self._on(number)
        named = np.array([(number, star) in self.named for star in range(len(self))], dtype=bool)
        row = self.own[number]
        kept = np.flatnonzero((row >= 0) | view.holds(x, y) | named)
        detected = row[kept] >= 0
        columns = {}
        for name, column in view.found.columns().items():
            blank = np.full(len(kept), 0 if column.dtype.kind in "iu" else np.nan, dtype=column.dtype)
            blank[detected] = column[row[kept][detected]]
            columns[name] = blank
        columns["x"] = np.where(detected, columns["x"], x[kept])
        columns["y"] = np.where(detected, columns["y"], y[kept])
        columns["id"] = np.array(self.numbers, dtype=np.int64)[kept]
        return Sources.make(**columns)[np.argsort(columns["id"], kind="stable")]

    def _on(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the stars lie on a camera by its map."""
        return self.views[number].transform(self.x, self.y)

    def _append(self, number: int, x: NDArray[np.float64], y: NDArray[np.float64], identity: int | None = None) -> None:
        """Add stars at places on a camera."""
        begin = self.next if identity is None else identity
        self.numbers += range(begin, begin + len(x))
        on_primary = self.views[number].transform.inverse()(x, y)
        self.x, self.y = np.append(self.x, on_primary[0]), np.append(self.y, on_primary[1])
        self.own = np.append(self.own, np.full((len(self.views), len(x)), -1), axis=1)

    def _undetected(self, number: int, x: float, y: float) -> int | None:
        """Find the star at a place where this camera has detected none."""
        there = self._on(number)
        unseen = self.own[number] < 0
        seen_elsewhere = (self.own >= 0).any(axis=0)
        reach = np.where(seen_elsewhere, self.radius, SAME_PLACE)
        distance = np.where(unseen, np.hypot(there[0] - x, there[1] - y), np.inf)
        near = np.flatnonzero(distance <= reach)
        return int(near[np.argmin(distance[near])]) if near.size else None


class _Places:
    """Places in order of x, so that a search looks at few of them."""

    def __init__(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        self.order = np.argsort(x, kind="stable")
        self.x, self.y = x[self.order], y[self.order]

    def nearest(self, x: float, y: float, radius: float) -> int | None:
        """Find the place nearest to a point, within a radius."""
        low, high = np.searchsorted(self.x, (x - radius, np.nextafter(x + radius, np.inf)))
        distance = np.hypot(self.x[low:high] - x, self.y[low:high] - y)
        near = np.flatnonzero(distance <= radius)
        return int(self.order[low + near[np.argmin(distance[near])]]) if near.size else None


def _pairs(x: NDArray[np.float64], y: NDArray[np.float64], view: View, radius: float) -> NDArray[np.intp]:
    """Row of the detection that belongs to each star: mutual nearest neighbours within the radius; -1 for none."""
    rows = np.full(len(x), -1, dtype=np.intp)
    whole, found = np.flatnonzero(view.whole), view.found
    stars, detections = _Places(x, y), _Places(found.x[whole], found.y[whole])
    for star in range(len(x)):
        place = detections.nearest(x[star], y[star], radius)
        if place is not None and stars.nearest(found.x[whole[place]], found.y[whole[place]], radius) == star:
            rows[star] = whole[place]
    return rows
