"""The planes that a search works on: a copy of the image with a margin, and what may be of a ray in it.

What takes part:

* Masked pixels, those that are not numbers, and those that see no light are holes: they take the median of the good
  pixels among the 25 around them, in two rounds, so that everything a good pixel's tests look at has a value. They are
  no rays.
* Saturated pixels keep their value, so that a star keeps its top. A saturated star is no place to look for rays: its
  pixels and those up to four away are left alone. Saturated pixels that touch each other are of a star if the 5 x 5
  median around one of them is above a tenth of its own height over the sky, or if one is flagged as bleeding. Others
  may be of a ray that filled them.
* Beyond the edge the image is mirrored, the outermost pixel repeated. A star cut by the edge does not become sharper by
  this; a ray on the edge loses some of its contrast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from albireo import MASKED, Flag, flags_of, variance_of
from albireo_lacosmic.engine import Engine
from albireo_lacosmic.rules import PAD, reached, square

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["Planes", "mirror"]

SAMPLE = 1 << 16
"""Pixels from which the level of the image is taken."""

STAR_FRACTION = 0.1
"""Of the height of a saturated pixel: a median around it above this is that of a star, which is wide."""

STAR_REACH = 4
"""Pixels around a saturated star that are left alone."""

OTHER = np.uint16(MASKED & ~(Flag.SATURATED | Flag.BLEED))
"""Flags of pixels whose value says nothing. That of a pixel full of light still says that it is bright."""

INNER = (slice(PAD, -PAD), slice(PAD, -PAD))
"""The image within its margin."""


@dataclass(frozen=True, eq=False)
class Planes:
    """Working planes, each with a margin of `PAD` pixels on every side.

    Attributes
    ----------
    pixels, variance : ndarray of float32
        Changed by a search: what is of a ray is filled from its neighbours.
    hole : ndarray of bool
        From where no value is taken: masked pixels, rays once they are found, the margin.
    closed : ndarray of bool
        What cannot be of a ray: masked pixels, saturated stars, the margin.
    level, noise_level : float
        Median of the good pixels and of their variance.
    engine : Engine
    """

    pixels: NDArray[np.float32]
    variance: NDArray[np.float32]
    hole: NDArray[np.bool_]
    closed: NDArray[np.bool_]
    level: float
    noise_level: float
    engine: Engine

    @classmethod
    def of(cls, picture: CCDData, lit: NDArray[np.bool_] | None, engine: Engine) -> Planes | None:
        """Make the planes of an image that has a variance; None if it has no good pixel.

        Parameters
        ----------
        picture : CCDData
        lit : ndarray of bool, optional
            Pixels that see light; others, such as an overscan, are holes.
        engine : Engine
        """
        noise = variance_of(picture)
        assert noise is not None, "the stage has looked"
        flags = flags_of(picture)
        masked = (flags & np.uint16(MASKED)) != 0 if picture.mask is None else picture.mask
        good = np.isfinite(picture.data)
        good &= noise >= 0  # NaN is not
        good &= noise < np.inf
        if lit is not None:
            good &= lit
        full = np.empty(0, dtype=np.int64)
        if masked.any():
            full = np.flatnonzero(good & masked & ((flags & np.uint16(MASKED)) != 0) & ((flags & OTHER) == 0))
            good &= ~masked
            good.reshape(-1)[full] = True
        step = max(1, good.size // SAMPLE)
        if not good.reshape(-1)[::step].any():
            step = 1
        if not good.any():
            return None
        sample = good.reshape(-1)[::step]
        level, noise_level = (float(np.median(plane.reshape(-1)[::step][sample])) for plane in (picture.data, noise))
        hole = np.ones([size + 2 * PAD for size in good.shape], dtype=np.bool_)
        np.logical_not(good, out=hole[INNER])
        planes = cls(_padded(picture.data), _padded(noise), hole, hole.copy(), level, noise_level, engine)
        planes._fill_holes(np.flatnonzero(~good))
        if full.size:
            planes._close_stars(full, (flags.reshape(-1)[full] & np.uint16(Flag.BLEED)) != 0)
        return planes

    @property
    def columns(self) -> int:
        """Columns, with the margin."""
        return int(self.pixels.shape[1])

    def inside(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in these planes of places in the image."""
        row, column = np.divmod(places, self.columns - 2 * PAD)
        return np.asarray((row + PAD) * self.columns + column + PAD)

    def outside(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in the image of places in these planes."""
        row, column = np.divmod(places, self.columns)
        return np.asarray((row - PAD) * (self.columns - 2 * PAD) + column - PAD)

    def fill(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give places the median of the good pixels among the 25 around, and of their variance.

        Returns
        -------
        ndarray of int64
            How many good pixels each has around. Those without any get the level of the image.
        """
        numbers = np.empty(0, dtype=np.int64)
        for plane, level in ((self.pixels, self.level), (self.variance, self.noise_level)):
            values, numbers = self.engine.medians(plane, places, square(2, self.columns), self.hole)
            plane.reshape(-1)[places] = np.where(numbers > 0, values, np.float32(level))
            mirror(plane)
        return numbers

    def _fill_holes(self, places: NDArray[np.int64]) -> None:
        """Fill the holes of the image, from the good pixels beside them inwards."""
        places = self.inside(places)
        filled = self.fill(places) > 0
        if not filled.all():
            nearer = self.hole.copy()
            nearer.reshape(-1)[places[filled]] = False
            replace(self, hole=nearer).fill(places[~filled])

    def _close_stars(self, full: NDArray[np.int64], bleeding: NDArray[np.bool_]) -> None:
        """Close what is of a saturated star or near it."""
        places = self.inside(full)
        around, _ = self.engine.medians(self.pixels, places, square(2, self.columns))
        wide = around - self.level > STAR_FRACTION * (self.pixels.reshape(-1)[places] - self.level)
        stars = places[_touching(places, wide | bleeding, self.columns)]
        self.closed.reshape(-1)[reached(stars, STAR_REACH, self.columns)] = True


def _touching(places: NDArray[np.int64], chosen: NDArray[np.bool_], columns: int) -> NDArray[np.bool_]:
    """Which places, given in order, hang together with a chosen one: the trail of a star with its core."""
    group = np.arange(places.size)
    pairs = []
    for step in (1, columns - 1, columns, columns + 1):
        other = np.minimum(np.searchsorted(places, places + step), places.size - 1)
        here = np.flatnonzero(places[other] == places + step)
        pairs.append((here, other[here]))
    one, two = np.concatenate(pairs, axis=1)
    while True:
        lowest = group.copy()
        np.minimum.at(lowest, one, group[two])
        np.minimum.at(lowest, two, group[one])
        lowest = lowest[lowest]  # the group of the group: long trails take few rounds
        if np.array_equal(lowest, group):
            break
        group = lowest
    found = np.zeros(places.size, dtype=np.bool_)
    found[group[chosen]] = True
    return np.asarray(found[group])


def mirror(plane: NDArray[np.float32]) -> None:
    """Repeat the outermost pixels of the image in the margin, mirrored at its edge."""
    beyond = np.arange(PAD)
    for side in (plane, plane.T):
        size = side.shape[0] - 2 * PAD
        source = np.minimum(beyond % (2 * size), 2 * size - 1 - beyond % (2 * size))  # an image may be smaller than PAD
        side[PAD - 1 - beyond] = side[PAD + source]
        side[PAD + size + beyond] = side[PAD + size - 1 - source]


def _padded(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Copy a plane into one with a margin."""
    padded = np.empty([size + 2 * PAD for size in plane.shape], dtype=np.float32)
    padded[INNER] = plane
    mirror(padded)
    return padded
