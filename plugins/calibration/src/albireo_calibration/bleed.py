"""Trails of saturated stars: charge that ran out of full pixels along the columns.

A pixel of a CCD that is full spills along its column. The trail is as bright as a full pixel or less, down to where
the charge ends. Two things tell it from the star:

* a star is about as bright along the columns as across them, a trail is not: a pixel of the trail stands above the
  pixels on the left and right of the star's centre that lie a quarter of a turn away, and somewhat closer to it. These
  have the wing and the spikes of the star in them;
* a trail has steep sides: it stands above the pixels in its row just beyond the saturated columns.

Of the two pixels on either side the brighter counts. From the saturated pixels outwards, a column belongs to the trail
up to the last pixel where both hold. The search goes on where the light of the star, or of a neighbour, may hide a
trail, and ends at a neighbour in line: a trail does not become brighter outwards. The centre of a star is that of
the rows in which it has most saturated pixels; saturated pixels farther from it along the column than half of these are
trail as well, and so is what saturated pixels of a star enclose in a column: some cameras read full pixels lower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from albireo import Frame, PixelwiseCorrection

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Terms

CONTRAST = 0.5
"""Part of the light of the star by which a trail stands above it at least."""

ROUND = 0.8
"""Least ratio of the axes of a star: what it has along the columns, it has at this part of the distance across them."""

RISE = 0.2
"""Part by which a trail may become brighter outwards, by the noise and the response of its pixels."""

OFF_CENTRE = 1.0
"""How far, in pixels, the centre of a star may be from that of its saturated pixels."""

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution whose median absolute deviation is one."""

SAMPLE = 1 << 18
"""Pixels from which level and noise of the image are taken."""


class Bleed(PixelwiseCorrection, name="bleed"):
    """Flag the trails of saturated stars and the pixels around saturated ones: `Flag.BLEED`, which masks them.

    Works on the flags `Flag.SATURATED` of the raw counts and on the contrast of the trails, which no other correction
    changes much, so that it may stand anywhere. Where amplifiers have different levels it belongs after `overscan`.
    See `albireo_calibration.bleed` for the rule. An image without saturated pixels is left as it is, and so is every
    star that is not saturated, unless it lies in a trail. NaN ends a trail.
    """

    looks_at_pixels: ClassVar[bool] = True

    along: Literal["columns", "rows"] = Field("columns", description="Which way the charge runs in the raw image.")
    sigma: float = Field(
        5.0,
        gt=0,
        description="How far a trail stands above its surroundings at least.",
        json_schema_extra={"unit": "standard deviation"},
    )
    grow: int = Field(
        1,
        ge=0,
        description="Pixels on each side of saturated pixels and trails that are flagged too.",
        json_schema_extra={"unit": "pixel"},
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Find the trails and give their flags."""
        import numpy as np

        from albireo import Flag, Terms, flags_of

        saturated = (flags_of(image) & np.uint16(Flag.SATURATED)) != 0
        if not saturated.any():
            return Terms()
        data = image.data
        trail = np.zeros(saturated.shape, dtype=bool)
        if self.along == "columns":
            _mark(data, saturated, self.sigma, trail)
        else:
            _mark(data.T, saturated.T, self.sigma, trail.T)
        flags = np.zeros(saturated.shape, dtype=np.uint16)
        flags[_grown(saturated | trail, self.grow) & ~saturated | trail] = Flag.BLEED
        note = f"bleed: {np.count_nonzero(saturated)} pixels saturated, {np.count_nonzero(trail)} in their trails"
        return Terms(flags=flags, note=note)


class _Ends(NamedTuple):
    """Where the saturated pixels of a star end in each of its columns, and how many they are; one element for each."""

    star: NDArray[np.intp]
    column: NDArray[np.intp]
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    number: NDArray[np.intp]


class _Cores(NamedTuple):
    """Saturated stars: centre, half of their saturated pixels across, first and last saturated column."""

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    half: NDArray[np.float64]
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def _mark(data: NDArray[np.float32], saturated: NDArray[np.bool_], sigma: float, trail: NDArray[np.bool_]) -> None:
    """Mark the pixels of trails along the columns."""
    import numpy as np

    row, column = np.nonzero(saturated)
    star = _stars(row, column, data.shape[1])
    cores, ends = _measured(star, row, column, data.shape)
    far = np.abs(row - cores.row[star]) > cores.half[star] + 1.0
    trail[row[far], column[far]] = True
    for number in np.flatnonzero(ends.number < ends.high - ends.low + 1):
        enclosed = slice(ends.low[number], ends.high[number] + 1), ends.column[number]
        trail[enclosed] |= ~saturated[enclosed]
    sky, noise = _level(data)
    for step, edge in ((1, ends.high), (-1, ends.low)):
        at, here, ceiling = np.arange(len(edge)), edge.copy(), np.full(len(edge), np.inf)
        last = edge.copy()
        while len(at):
            here = here + step
            inside = (here >= 0) & (here < data.shape[0])
            at, here, ceiling = at[inside], here[inside], ceiling[inside]
            value = data[here, ends.column[at]].astype(np.float64)
            light = _star_light(data, saturated, cores, ends.star[at], here, ends.column[at])
            light = np.where(np.isnan(light), sky, light)
            stands_out = value - light > np.fmax(sigma * noise, CONTRAST * (light - sky))
            rises = value - sky > (1.0 + RISE) * (ceiling - sky) + sigma * noise
            found = stands_out & ~rises
            last[at[found]] = here[found]
            ceiling = np.where(found, ceiling, np.fmin(ceiling, value))
            hidden = ~stands_out & (light - sky > sigma * noise)
            on = np.isfinite(value) & (found | hidden)
            at, here, ceiling = at[on], here[on], ceiling[on]
        for number in np.flatnonzero(last != edge):
            first, final = sorted((edge[number] + step, last[number]))
            trail[first : final + 1, ends.column[number]] = True


def _star_light(
    data: NDArray[np.float32],
    saturated: NDArray[np.bool_],
    cores: _Cores,
    star: NDArray[np.intp],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
) -> NDArray[np.float64]:
    """How bright stars are at some pixels beyond their saturated ones, by what is seen elsewhere; NaN if nothing is."""
    import numpy as np

    dy, dx = row - cores.row[star], column - cores.column[star]
    closer = np.sign(dy) * np.maximum(ROUND * np.abs(dy) - OFF_CENTRE, 0.0)
    turned = [
        _looked_up(data, saturated, cores.row[star] + side * dx, cores.column[star] - side * closer)
        for side in (1.0, -1.0)
    ]
    beside = [_looked_up(data, saturated, row, place) for place in (cores.first[star] - 1, cores.last[star] + 1)]
    return np.asarray(np.fmax(np.fmax(*turned), np.fmax(*beside)))


def _stars(row: NDArray[np.intp], column: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    """Number the saturated pixels by the star they belong to: pixels that touch, by a side or a corner, share one.

    Parameters
    ----------
    row, column : ndarray of int
        In order of rows, then of columns.
    width : int
        Columns of the image.
    """
    import numpy as np

    place = row * (width + 2) + column
    pairs = []
    for offset in (1, width + 1, width + 2, width + 3):  # right, and the three pixels in the row above
        found = np.minimum(np.searchsorted(place, place + offset), len(place) - 1)
        touches = place[found] == place + offset
        pairs.append(np.array([np.flatnonzero(touches), found[touches]]))
    one, other = np.concatenate(pairs, axis=1)
    label = np.arange(len(place))
    while len(one):
        here, there = label[one], label[other]
        np.minimum.at(label, np.maximum(here, there), np.minimum(here, there))
        while not np.array_equal(label, label[label]):
            label = label[label]
        apart = label[one] != label[other]
        one, other = one[apart], other[apart]
    return np.unique(label, return_inverse=True)[1]


def _measured(
    star: NDArray[np.intp], row: NDArray[np.intp], column: NDArray[np.intp], shape: tuple[int, int]
) -> tuple[_Cores, _Ends]:
    """Find where the cores of saturated stars lie and where their columns end."""
    import numpy as np

    number = int(star.max()) + 1
    rows, which, wide = np.unique(star * shape[0] + row, return_inverse=True, return_counts=True)
    owner = rows // shape[0]
    widest = np.zeros(number, dtype=np.intp)
    np.maximum.at(widest, owner, wide)
    core = wide == widest[owner]
    middle = np.bincount(owner[core], (rows % shape[0])[core], number) / np.bincount(owner[core], minlength=number)
    core = core[which]
    centre = np.bincount(star[core], column[core], number) / np.bincount(star[core], minlength=number)
    first, last = np.full(number, shape[1]), np.full(number, -1)
    np.minimum.at(first, star, column)
    np.maximum.at(last, star, column)

    columns, which, count = np.unique(star * shape[1] + column, return_inverse=True, return_counts=True)
    low, high = np.full(len(columns), shape[0]), np.full(len(columns), -1)
    np.minimum.at(low, which, row)
    np.maximum.at(high, which, row)
    cores = _Cores(middle, centre, widest / 2.0, first, last)
    return cores, _Ends(columns // shape[1], columns % shape[1], low, high, count)


def _looked_up(
    data: NDArray[np.float32], saturated: NDArray[np.bool_], row: NDArray[np.generic], column: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Values at the nearest pixels; NaN beyond the image, and infinity where saturated: there a star is brighter."""
    import numpy as np

    y, x = np.rint(row).astype(np.intp), np.rint(column).astype(np.intp)
    inside = (y >= 0) & (y < data.shape[0]) & (x >= 0) & (x < data.shape[1])
    y, x = np.where(inside, y, 0), np.where(inside, x, 0)
    return np.where(inside, np.where(saturated[y, x], np.inf, data[y, x].astype(np.float64)), np.nan)


def _level(data: NDArray[np.float32]) -> tuple[float, float]:
    """Median of an image and the noise of a pixel, from differences of neighbours in a row."""
    import numpy as np

    some = data[:: max(1, data.size // SAMPLE)]
    with np.errstate(invalid="ignore"):
        difference = np.abs(some[:, 1:] - some[:, :-1])
    difference = difference[np.isfinite(difference)]
    noise = MAD_TO_SIGMA * float(np.median(difference)) / 2.0**0.5 if difference.size else 0.0
    known = some[np.isfinite(some)]
    return (float(np.median(known)) if known.size else 0.0), noise


def _grown(where: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Set the pixels around those that are set, in squares."""
    import numpy as np

    grown = where.copy()
    row, column = np.nonzero(where)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            y, x = row + dy, column + dx
            inside = (y >= 0) & (y < where.shape[0]) & (x >= 0) & (x < where.shape[1])
            grown[y[inside], x[inside]] = True
    return grown
