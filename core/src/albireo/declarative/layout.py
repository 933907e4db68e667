"""Where the pixels of a frame lie in its file: parts of an image, and images made of several amplifiers.

The raw image of a mosaic has the lit pixels of all amplifiers in one rectangle, each turned the way it lies on the
detector, and the overscan of each in a strip of its own behind them, beside its rows or below its columns. Corrections
then need not know how a camera lays out its files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from albireo.frames import FrameError, Section, Tile

__all__ = ["Channel", "Mosaic", "mosaic", "parse_section"]

_FITS = re.compile(r"\s*\[\s*(-?\d+)\s*:\s*(-?\d+)\s*,\s*(-?\d+)\s*:\s*(-?\d+)\s*\]\s*")
_ORIGIN = re.compile(r"\s*sx\s+(\d+)\s+sy\s+(\d+)\s+nx\s+(\d+)\s+ny\s+(\d+)\s*")


def parse_section(text: str) -> tuple[Section, bool, bool] | None:
    """Read ``[x1:x2,y1:y2]``, or ``sx 8 sy 16 nx 1024 ny 1024`` as the telescope control of RATIR writes it.

    Returns
    -------
    Section
    bool, bool
        Whether rows, columns run backwards.

    None for a text that is no section.
    """
    if found := _FITS.fullmatch(text):
        x1, x2, y1, y2 = (int(part) for part in found.groups())
        y0, x0, flip_y, flip_x = min(y1, y2) - 1, min(x1, x2) - 1, y2 < y1, x2 < x1
        ny, nx = abs(y2 - y1) + 1, abs(x2 - x1) + 1
    elif found := _ORIGIN.fullmatch(text):
        x0, y0, nx, ny = (int(part) for part in found.groups())
        flip_y = flip_x = False
    else:
        return None
    if min(x0, y0) < 0 or min(nx, ny) < 1:
        return None
    return Section(y0, y0 + ny, x0, x0 + nx), flip_y, flip_x


@dataclass(frozen=True)
class Channel:
    """Where one amplifier's pixels lie in the file, and where on the detector.

    Attributes
    ----------
    name : str
        For messages.
    hdu : int
    image : tuple of int
        Rows and columns of the image in that HDU.
    data : Section
    overscan : Section or None
    place : Section or None
        Unbinned pixels of the detector.
    flip_y, flip_x : bool
        Whether the place is written backwards.
    """

    name: str
    hdu: int
    image: tuple[int, int]
    data: Section
    overscan: Section | None = None
    place: Section | None = None
    flip_y: bool = False
    flip_x: bool = False


@dataclass(frozen=True)
class Mosaic:
    """An image put together: its shape, its tiles, and the data and overscan section of each amplifier in it."""

    shape: tuple[int, int]
    tiles: tuple[Tile, ...]
    sections: tuple[tuple[Section, Section | None], ...]


def mosaic(channels: list[Channel]) -> Mosaic:
    """Put the image of several amplifiers together.

    Raises
    ------
    FrameError
        If amplifiers overlap, or an overscan lies beside none of the pixels of its amplifier.
    """
    first = channels[0]
    if all(c.hdu == first.hdu and c.place is None for c in channels):
        lit = [c.data for c in channels]
        box = Section.around(lit)
        if _area(box) == sum(map(_area, lit)):  # in one piece already
            return Mosaic(first.image, (), tuple((c.data, c.overscan) for c in channels))
    places = _places(channels)
    for index, place in enumerate(places):
        for other, there in zip(channels[:index], places[:index], strict=True):
            if place.common(there) is not None:
                raise FrameError(f"{channels[index].name} and {other.name} read the same pixels of the detector")
    lit_tiles = [
        Tile(c.hdu, c.image, c.data, place, c.flip_y, c.flip_x) for c, place in zip(channels, places, strict=True)
    ]
    box = Section.around(places)
    strips = _strips(channels, places, box)
    dark_tiles = [strip for strip in strips if strip is not None]
    whole = Section.around([box, *(tile.target for tile in dark_tiles)])
    sections = tuple(
        (place, None if strip is None else strip.target) for place, strip in zip(places, strips, strict=True)
    )
    return Mosaic((whole.y1, whole.x1), (*lit_tiles, *dark_tiles), sections)


def _area(section: Section) -> int:
    return section.shape[0] * section.shape[1]


def _places(channels: list[Channel]) -> list[Section]:
    """Give where each amplifier's lit pixels lie in the image, from pixel (0, 0) on."""
    if any(c.place is None for c in channels):
        return _closed_up([c.data for c in channels])
    starts = Section.around([c.place for c in channels if c.place is not None])
    places = []
    for channel in channels:
        assert channel.place is not None
        ny, nx = channel.data.shape
        high, wide = channel.place.shape
        if high % ny or wide % nx:
            raise FrameError(
                f"{channel.name} has {nx} x {ny} lit pixels, which do not fill its place on the detector, "
                f"{channel.place.to_fits()}, at any binning"
            )
        y0, x0 = (channel.place.y0 - starts.y0) * ny // high, (channel.place.x0 - starts.x0) * nx // wide
        places.append(Section(y0, y0 + ny, x0, x0 + nx))
    return places


def _closed_up(sections: list[Section]) -> list[Section]:
    """Move sections together so that nothing lies between them, in the order they have."""

    def moved(starts: list[int], stops: list[int]) -> dict[int, int]:
        new, end, shift = {}, 0, 0
        for start, stop in sorted(set(zip(starts, stops, strict=True))):
            if start >= end:  # a gap in front of it
                shift += start - end
            new[start] = start - shift
            end = max(end, stop)
        return new

    ys = moved([s.y0 for s in sections], [s.y1 for s in sections])
    xs = moved([s.x0 for s in sections], [s.x1 for s in sections])
    return [Section(ys[s.y0], ys[s.y0] + s.shape[0], xs[s.x0], xs[s.x0] + s.shape[1]) for s in sections]


def _strips(channels: list[Channel], places: list[Section], box: Section) -> list[Tile | None]:
    """Give the tile of each overscan: to the right of the lit pixels, or below them where it lies below."""
    right: list[tuple[Section, int]] = []
    below: list[tuple[Section, int]] = []
    strips: list[Tile | None] = []
    for channel, place in zip(channels, places, strict=True):
        dark, lit = channel.overscan, channel.data
        if dark is None:
            strips.append(None)
        elif (dark.x1 <= lit.x0 or lit.x1 <= dark.x0) and dark.y0 <= lit.y0 and lit.y1 <= dark.y1:
            source = Section(lit.y0, lit.y1, dark.x0, dark.x1)
            x0 = max((end for other, end in right if other.y0 < place.y1 and place.y0 < other.y1), default=box.x1)
            target = Section(place.y0, place.y1, x0, x0 + source.shape[1])
            right.append((place, target.x1))
            strips.append(Tile(channel.hdu, channel.image, source, target, channel.flip_y, channel.flip_x))
        elif (dark.y1 <= lit.y0 or lit.y1 <= dark.y0) and dark.x0 <= lit.x0 and lit.x1 <= dark.x1:
            source = Section(dark.y0, dark.y1, lit.x0, lit.x1)
            y0 = max((end for other, end in below if other.x0 < place.x1 and place.x0 < other.x1), default=box.y1)
            target = Section(y0, y0 + source.shape[0], place.x0, place.x1)
            below.append((place, target.y1))
            strips.append(Tile(channel.hdu, channel.image, source, target, channel.flip_y, channel.flip_x))
        else:
            raise FrameError(
                f"the overscan {dark.to_fits()} of {channel.name} lies neither beside all rows nor below all columns "
                f"of its lit pixels {lit.to_fits()}"
            )
    return strips
