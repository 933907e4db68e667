"""What a header says: `Frame`, one image of one detector, and `Frames`, a night of them.

A frame is the only thing the rest of Albireo knows of a file: an instrument turns header keywords into the
quantities below, once, and no algorithm ever sees a keyword. Frames are immutable, cheap to pickle and carry
no pixels, so that selection, matching and planning need none.

This module is the ground floor: it imports nothing of Albireo and nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from math import isfinite, nan
from os import PathLike
from pathlib import PurePath
from typing import Any, overload

__all__ = [
    "CALIBRATION_KINDS",
    "JD_OF_MJD_ZERO",
    "KINDS",
    "MASTER_KINDS",
    "SECONDS_PER_DAY",
    "Amplifier",
    "Frame",
    "FrameError",
    "Frames",
    "Section",
    "Tile",
    "iso_to_mjd",
    "mjd_to_iso",
    "told_of",
]

KINDS = ("science", "bias", "dark", "flat", "sky", "other", "unknown")
"""What a frame can be. ``sky`` is a field beside the target, for the background of infrared images; ``other`` is a
known kind that no reduction uses (focus, pointing, comparison lamp)."""

CALIBRATION_KINDS = ("bias", "dark", "flat", "sky")
"""The kinds of frame that are taken to be combined into masters."""

MASTER_KINDS = (*CALIBRATION_KINDS, "fringe", "illumination", "bad")
"""The kinds of master: those of calibration frames, and those that are made from frames of other kinds. ``fringe`` is
the interference pattern of the night sky, ``illumination`` what a flat leaves of the large-scale response, ``bad`` a
map of bad pixels."""

SECONDS_PER_DAY = 86400.0
JD_OF_MJD_ZERO = 2400000.5
"""Julian date at which the modified Julian date is zero."""
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_LEAP_SECOND = re.compile(r"(T\d\d:?\d\d:?)60")
_SECTION = re.compile(r"^\s*\[\s*(-?\d+)\s*:\s*(-?\d+)\s*,\s*(-?\d+)\s*:\s*(-?\d+)\s*\]\s*$")


class FrameError(Exception):
    """A frame cannot take part. The run lists it with this message and goes on.

    Raise it wherever one frame is at fault: an unreadable file, no stars to align, a value that is missing.
    The message is read by an observer: say what is wrong with this frame and what would be right.
    """


def told_of(error: Exception, *paths: str | PathLike[str]) -> str:
    """Say an error about a file where the file is named already: its bare name stands for its path.

    Parameters
    ----------
    error : Exception
    *paths : path
        As the message may have it; the longest first.
    """
    text = str(error)
    for path in paths:
        text = text.replace(f"{path} ", "the file ").replace(str(path), PurePath(path).name)
    return text


@dataclass(frozen=True, slots=True)
class Section:
    """A rectangle of pixels, zero-based and half-open: rows ``y0:y1``, columns ``x0:x1``."""

    y0: int
    y1: int
    x0: int
    x1: int

    def __post_init__(self) -> None:
        if not (0 <= self.y0 < self.y1 and 0 <= self.x0 < self.x1):
            raise ValueError(
                f"section rows {self.y0}:{self.y1}, columns {self.x0}:{self.x1} is empty or outside the image; "
                "it needs 0 <= start < stop on both axes"
            )

    @classmethod
    def from_fits(cls, text: str) -> Section:
        """Read a FITS section such as ``[27:3095,3:3078]`` (one-based, inclusive, x first).

        Raises
        ------
        ValueError
            If the text is not a FITS section or the section is empty.
        """
        match = _SECTION.match(text)
        if match is None:
            raise ValueError(f"{text!r} is not a FITS section; expected the form '[x1:x2,y1:y2]'")
        x1, x2, y1, y2 = (int(part) for part in match.groups())
        return cls(y1 - 1, y2, x1 - 1, x2)

    def to_fits(self) -> str:
        """Write the section as FITS does: one-based, inclusive, x first."""
        return f"[{self.x0 + 1}:{self.x1},{self.y0 + 1}:{self.y1}]"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.y1 - self.y0, self.x1 - self.x0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The index that cuts this section out of an array."""
        return (slice(self.y0, self.y1), slice(self.x0, self.x1))

    def part(self, inner: Section) -> Section:
        """Give the section that ``inner``, counted from the first pixel of this one, is of the whole image."""
        return Section(self.y0 + inner.y0, self.y0 + inner.y1, self.x0 + inner.x0, self.x0 + inner.x1)

    def common(self, other: Section) -> Section | None:
        """Give the pixels that both sections have; None if there are none."""
        y0, y1 = max(self.y0, other.y0), min(self.y1, other.y1)
        x0, x1 = max(self.x0, other.x0), min(self.x1, other.x1)
        return Section(y0, y1, x0, x1) if y0 < y1 and x0 < x1 else None

    @classmethod
    def around(cls, sections: Sequence[Section]) -> Section:
        """Give the smallest section that holds all of some."""
        return cls(
            min(s.y0 for s in sections),
            max(s.y1 for s in sections),
            min(s.x0 for s in sections),
            max(s.x1 for s in sections),
        )

    def within(self, shape: tuple[int, int]) -> bool:
        """Whether the section lies inside an image of this shape (rows, columns)."""
        return self.y1 <= shape[0] and self.x1 <= shape[1]


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of an image in a file, and where it lies in the raw image of a frame.

    Files may hold an image in pieces (an HDU for each amplifier, an overscan between two halves of a chip), or two
    images in one piece (a filter over each half). The raw image of a frame is put together from tiles.

    Attributes
    ----------
    hdu : int
        Index of the HDU in the file.
    image : tuple of int
        Rows and columns of the image in that HDU.
    source : Section
        Which pixels of that image.
    target : Section
        Where they lie in the raw image of the frame; as large as ``source``.
    flip_y, flip_x : bool
        Whether rows, columns are read in reverse order: amplifiers in opposite corners read towards themselves.
    """

    hdu: int
    image: tuple[int, int]
    source: Section
    target: Section
    flip_y: bool = False
    flip_x: bool = False

    def __post_init__(self) -> None:
        if self.source.shape != self.target.shape:
            raise ValueError(
                f"a tile takes {self.source.to_fits()} of HDU {self.hdu} to {self.target.to_fits()}, another size"
            )
        if not self.source.within(self.image):
            raise ValueError(
                f"a tile takes {self.source.to_fits()} of HDU {self.hdu}, an image of "
                f"{self.image[1]} x {self.image[0]} pixels"
            )


class _Record:
    """Equality of records in which an unknown number (NaN) equals another unknown one, on every version of Python."""

    __slots__ = ()

    def _values(self) -> tuple[Any, ...]:
        values = (getattr(self, entry.name) for entry in fields(self))  # type: ignore[arg-type]
        return tuple(None if value != value else value for value in values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Record) or type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())


@dataclass(frozen=True, slots=True, eq=False)
class Amplifier(_Record):
    """One readout channel: the pixels it reads and its noise.

    Attributes
    ----------
    data : Section
        The light-sensitive pixels of this channel in the raw image.
    overscan : Section or None
        The columns or rows read without light.
    gain : float
        Electrons per adu.
    read_noise : float
        Electrons (rms).
    name : str
    """

    data: Section
    overscan: Section | None = None
    gain: float = nan
    read_noise: float = nan
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Frame(_Record):
    """One image of one detector, as its instrument understands the header.

    Attributes
    ----------
    path : str
        The file, absolute. It is only ever opened for reading.
    hdu : int
        Index of the header-data unit that holds the pixels.
    instrument, detector : str
        Names of the camera and of the chip; the detector is empty where there is only one.
    kind : str
        One of `KINDS`.
    variant : str
        A finer kind that must not be mixed with others, such as ``sky`` and ``dome`` for flats.
    filter, target : str
        Empty where the header says nothing. A filter name is text even if it looks like a number.
    exptime : float
        Exposure time in s; NaN if unknown.
    start, mid : float
        UTC as modified Julian date at the start and the middle of the exposure; NaN if unknown.
    ra, dec : float
        Pointing, ICRS, in degrees; NaN if unknown or a placeholder.
    airmass : float
        NaN if unknown.
    temperature : float
        Detector temperature in deg C; NaN if unknown.
    scale : float
        Pixel scale in arcsec per pixel of this frame (binning included); NaN if unknown.
    shape : tuple of int
        Rows and columns of the raw image.
    tiles : tuple of Tile
        How the raw image is put together from the file; empty where it is the image of ``hdu`` as it stands.
    amplifiers : tuple of Amplifier
        At least one.
    saturation : float
        Raw adu at and above which a pixel has lost its linearity; NaN if unknown.
    linearity : tuple of float
        Coefficients c0, c1, ... that turn counts x above the bias into linear counts x (c0 + c1 x + c2 x^2 + ...);
        empty where the camera counts as linear.
    dark_current : float
        Electrons per second and pixel of this frame, for cameras without dark frames; NaN if unknown.
    site : tuple of float or None
        Longitude (east, deg), latitude (deg), height (m).
    diameter : float
        Clear diameter of the telescope's aperture in m, for scintillation; NaN if unknown.
    spared : tuple of str
        Kinds of master that this detector does without, such as the bias of differences of reads.
    setup : tuple of (str, str)
        What calibrations must share with this frame: binning, subframe, readout mode, dichroic.
    exposure : str
        Shared by frames of several detectors that opened together; empty if nothing is known of others.
    name : str
        Short name, unique in a run: the path below the data folder, with HDU and detector where needed.
    notes : tuple of str
        What a person should know of how these values came about, for the report.
    """

    path: str
    hdu: int = 0
    instrument: str = ""
    detector: str = ""
    kind: str = "unknown"
    variant: str = ""
    filter: str = ""
    target: str = ""
    exptime: float = nan
    start: float = nan
    mid: float = nan
    ra: float = nan
    dec: float = nan
    airmass: float = nan
    temperature: float = nan
    scale: float = nan
    shape: tuple[int, int] = (0, 0)
    tiles: tuple[Tile, ...] = ()
    amplifiers: tuple[Amplifier, ...] = ()
    saturation: float = nan
    linearity: tuple[float, ...] = ()
    dark_current: float = nan
    site: tuple[float, float, float] | None = None
    diameter: float = nan
    spared: tuple[str, ...] = ()
    setup: tuple[tuple[str, str], ...] = ()
    exposure: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"frame kind {self.kind!r} is none of {', '.join(KINDS)}")
        if not self.name:
            object.__setattr__(self, "name", self.path)

    @property
    def gain(self) -> float:
        """Electrons per adu of the first amplifier; NaN if unknown."""
        return self.amplifiers[0].gain if self.amplifiers else nan

    @property
    def read_noise(self) -> float:
        """Read noise of the first amplifier in electrons; NaN if unknown."""
        return self.amplifiers[0].read_noise if self.amplifiers else nan

    @property
    def lit(self) -> Section:
        """The light-sensitive part of the raw image: the smallest rectangle with the data of all amplifiers.

        The whole image where the frame has no amplifier.
        """
        if not self.amplifiers:
            return Section(0, self.shape[0], 0, self.shape[1])
        return Section.around([amplifier.data for amplifier in self.amplifiers])

    @property
    def has_position(self) -> bool:
        """Whether the pointing is known."""
        return isfinite(self.ra) and isfinite(self.dec)

    def fact(self, name: str) -> Any:
        """Give an attribute by name, or one setting of the set-up as ``setup.binning``, empty if there is none.

        Raises
        ------
        AttributeError
            If frames have no such attribute.
        """
        whole, _, part = name.partition(".")
        if part and whole == "setup":
            return dict(self.setup).get(part, "")
        return getattr(self, name)

    def replace(self, **changes: Any) -> Frame:
        """Return a copy with other values."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Frame:
        """Build a frame from what `to_dict` gave, also after a trip through JSON."""
        known = dict(values)
        known["shape"] = tuple(known["shape"])
        known["linearity"] = tuple(known["linearity"])
        known["spared"] = tuple(known["spared"])
        known["tiles"] = tuple(
            Tile(
                **{
                    **tile,
                    "image": tuple(tile["image"]),
                    "source": Section(**tile["source"]),
                    "target": Section(**tile["target"]),
                }
            )
            for tile in known["tiles"]
        )
        known["setup"] = tuple(tuple(pair) for pair in known["setup"])
        known["notes"] = tuple(known["notes"])
        known["site"] = None if known["site"] is None else tuple(known["site"])
        known["amplifiers"] = tuple(
            Amplifier(
                **{
                    **amplifier,
                    "data": Section(**amplifier["data"]),
                    "overscan": None if amplifier["overscan"] is None else Section(**amplifier["overscan"]),
                }
            )
            for amplifier in known["amplifiers"]
        )
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Frames:
    """An immutable collection of frames.

    Examples
    --------
    >>> night = Frames([Frame("a.fits", kind="flat", filter="r"), Frame("b.fits", kind="science", filter="r")])
    >>> len(night.where(kind="flat"))
    1
    >>> list(night.by("kind"))
    [('flat',), ('science',)]
    """

    _frames: tuple[Frame, ...] = field(default=())

    def __init__(self, frames: Iterable[Frame] = ()) -> None:
        object.__setattr__(self, "_frames", tuple(frames))

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Frame | Frames:
        picked = self._frames[index]
        return Frames(picked) if isinstance(picked, tuple) else picked

    def __contains__(self, frame: object) -> bool:
        return frame in self._frames

    def __add__(self, other: Iterable[Frame]) -> Frames:
        return Frames((*self._frames, *other))

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(group)} {kind}" for (kind,), group in self.by("kind").items())
        return f"<Frames: {counts or 'none'}>"

    def where(self, **facts: Any) -> Frames:
        """Frames whose attributes have the given values.

        Parameters
        ----------
        **facts
            Attribute name and what it must be: a value, a list, tuple or set of values, or a function of the value
            that returns true or false. An unknown value (NaN) is equal to none; ask for it with a function.

        Raises
        ------
        AttributeError
            If frames have no such attribute.
        """
        return Frames(f for f in self._frames if all(_agrees(getattr(f, name), want) for name, want in facts.items()))

    def by(self, *names: str) -> dict[tuple[Any, ...], Frames]:
        """Group by the values of attributes, in order of first appearance; unknown values (NaN) make one group.

        Parameters
        ----------
        *names : str
            As for `Frame.fact`.
        """
        groups: dict[tuple[Any, ...], list[Frame]] = {}
        for frame in self._frames:
            values = (frame.fact(name) for name in names)
            # Every NaN differs from every other, and as keys they are only equal if they are one object.
            groups.setdefault(tuple(nan if value != value else value for value in values), []).append(frame)
        return {key: Frames(group) for key, group in groups.items()}

    def sorted(self, *names: str) -> Frames:
        """Sort by attributes, unknown (NaN) values last; equal frames are ordered by name."""

        def key(frame: Frame) -> tuple[Any, ...]:
            values = [getattr(frame, name) for name in names]
            return (*((value != value, 0 if value != value else value) for value in values), frame.name)

        return Frames(sorted(self._frames, key=key))

    def remarks(self) -> dict[str, int]:
        """Count the frames that carry each note."""
        counts: dict[str, int] = {}
        for frame in self._frames:
            for note in frame.notes:
                counts[note] = counts.get(note, 0) + 1
        return counts

    def values(self, name: str) -> list[Any]:
        """One attribute of every frame, in order."""
        return [getattr(frame, name) for frame in self._frames]


FRAME_FIELDS = tuple(f.name for f in fields(Frame))


def _agrees(value: Any, want: Any) -> bool:
    if isinstance(want, Callable):  # type: ignore[arg-type]
        return bool(want(value))
    if isinstance(want, Collection) and not isinstance(want, str | bytes):
        return value == want or any(value == one for one in want)
    return bool(value == want)


def iso_to_mjd(text: str) -> float:
    """Modified Julian date of an ISO 8601 date and time.

    Parameters
    ----------
    text : str
        ``2017-12-20T01:33:43.5``, with ``T`` or a blank, with or without fraction, time or UTC offset
        (``Z``, ``-0700``, ``-07:00``). Without an offset the time is taken as UTC.

    Returns
    -------
    float
        Modified Julian date, UTC; resolution 1 microsecond.

    Raises
    ------
    ValueError
        If the text is not such a date.
    """
    cleaned = text.strip().replace(" ", "T", 1)
    cleaned, leaps = _LEAP_SECOND.subn(r"\g<1>59", cleaned)  # a leap second, or a clock that rounds up
    try:
        moment = datetime.fromisoformat(cleaned)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment + timedelta(seconds=leaps) - _MJD_EPOCH) / timedelta(days=1)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a date of the form 2017-12-20T01:33:43.5") from None


def mjd_to_iso(mjd: float) -> str:
    """Write a modified Julian date as ISO 8601 to the millisecond; empty for NaN and for years outside 1 to 9999."""
    if not isfinite(mjd):
        return ""
    try:
        moment = _MJD_EPOCH + timedelta(days=mjd) + timedelta(microseconds=500)
    except OverflowError:
        return ""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
