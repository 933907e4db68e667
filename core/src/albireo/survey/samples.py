"""The sample files of a camera: their headers as plain cards, and which of them have a size in common.

Cards are read once and kept as plain values. Cards that an extension lacks come from the primary header, as they do for
a camera that is described by a table.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albireo.frames import FrameError, told_of
from albireo.headers import as_float, as_text, walk_headers
from albireo.survey.findings import plural

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["Sample", "Samples", "SurveyError", "read_samples"]

_FITS = re.compile(r".+\.(fits?|fts)(\.fz|\.gz)?|.+\.fz", re.IGNORECASE)
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}|[A-Z0-9_-]+( [A-Z0-9_-]+)+")

# How the file is built is no property of the camera.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|TFIELDS|T(TYPE|FORM|UNIT|NULL)\d+|BZERO|BSCALE|BLANK"
    r"|CHECKSUM|DATASUM|EXTNAME|EXTVER|COMMENT|HISTORY|CONTINUE|END|"
)
_PACKED = re.compile(
    r"Z(IMAGE|SIMPLE|EXTEND|TILE\d|CMPTYPE|NAME\d|VAL\d|BITPIX|NAXIS\d?|EXTNAME|QUANTIZ|DITHER0|HECKSUM)"
)


class SurveyError(ValueError):
    """The samples do not suffice; the message says what is missing and what to do."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One file.

    Attributes
    ----------
    path : Path
    name : str
        Path below the folder of the samples.
    hdus : tuple of int
        Indices of the HDUs with images; several where each holds the pixels of one amplifier.
    shape : tuple of int
        Rows and columns of the first image.
    converter : float
        Largest count that the file can hold; infinite for floating point.
    cards : dict
        Keyword to value; texts without surrounding blanks, and none that are empty.
    comments : dict
        Keyword to comment.
    empty : frozenset of str
        Keywords that are there without a value.
    units : tuple of dict
        Cards of each image HDU by itself, where there are several.
    """

    path: Path
    name: str
    hdus: tuple[int, ...]
    shape: tuple[int, int]
    converter: float
    cards: Mapping[str, Any]
    comments: Mapping[str, str]
    empty: frozenset[str] = frozenset()
    units: tuple[Mapping[str, Any], ...] = ()

    @property
    def size(self) -> str:
        """NAXIS1 x NAXIS2, as definitions write it."""
        return f"{self.shape[1]}x{self.shape[0]}"


@dataclass(frozen=True, eq=False)
class Samples:
    """All sample files of a camera, sorted by name.

    Attributes
    ----------
    folder : Path
    files : tuple of Sample
    unread : tuple of (str, str)
        Files that cannot be read, each with the reason.
    """

    folder: Path
    files: tuple[Sample, ...]
    unread: tuple[tuple[str, str], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.files)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Keywords that any file has, in the order in which they first come."""
        found: dict[str, None] = {}
        for sample in self.files:
            found.update(dict.fromkeys(sample.cards))
        return tuple(found)

    def only(self, files: Sequence[Sample]) -> Samples:
        """Give some of the files."""
        return Samples(self.folder, tuple(files))

    def values(self, key: str) -> list[Any]:
        """Give the value of a card in every file; None where it has none."""
        return [sample.cards.get(key) for sample in self.files]

    def numbers(self, key: str) -> list[float | None]:
        """Give a card as numbers; None where it is none."""
        return [as_float(value) for value in self.values(key)]

    def texts(self, key: str) -> list[str]:
        """Give a card as texts; empty where it has no value."""
        return [as_text(value) for value in self.values(key)]

    def distinct(self, key: str) -> list[Any]:
        """Give the different values of a card, the commonest first."""
        return [value for value, _ in Counter(v for v in self.values(key) if v is not None).most_common()]

    def coverage(self, key: str) -> float:
        """Which part of the files has a value."""
        return sum(value is not None for value in self.values(key)) / len(self.files)

    def constant(self, key: str) -> Any:
        """Give the value that a card has in every file; None if there is no such value."""
        distinct = self.distinct(key)
        return distinct[0] if len(distinct) == 1 and self.coverage(key) == 1.0 else None

    def comment(self, key: str) -> str:
        """Give the comment of a card in small letters, from the first file that has one."""
        return next((text.lower() for s in self.files if (text := s.comments.get(key, ""))), "")

    def sizes(self) -> list[tuple[str, int]]:
        """Give the sizes of the images with the number of files, the commonest first."""
        return Counter(sample.size for sample in self.files).most_common()


def read_samples(folder: Path) -> Samples:
    """Read the headers of all FITS files below a folder.

    Parameters
    ----------
    folder : path
        Searched with all folders in it. Files may be gzipped or packed by tiles.

    Raises
    ------
    SurveyError
        If there is no such folder, or no image in it.
    """
    home = Path(folder)
    if not home.is_dir():
        what = "is a file" if home.exists() else "does not exist"
        raise SurveyError(f"{home} {what}; give the folder with the sample files")
    paths = sorted(path for path in home.rglob("*") if path.is_file() and _FITS.fullmatch(path.name))
    files: list[Sample] = []
    unread: list[tuple[str, str]] = []
    for path in paths:
        name = path.relative_to(home).as_posix()
        try:
            files.append(_read(path, name))
        except (FrameError, OSError) as error:
            unread.append((name, told_of(error, path)))
    if not files:
        told = f"; none of {plural(len(paths), 'file')} can be read, the first: {unread[0][1]}" if unread else ""
        raise SurveyError(
            f"there are no FITS images below {home}{told}. Files should end in .fits, .fit, .fts, .fz or .gz"
        )
    return Samples(home, tuple(files), tuple(unread))


def _read(path: Path, name: str) -> Sample:
    primary: Header | None = None
    images: list[tuple[int, Header]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cards that break the standard in ways that do no harm
        for index, header, image in walk_headers(path):
            if primary is None:
                primary = header
            if image and header.get("NAXIS") == 2 and header["NAXIS1"] > 0 and header["NAXIS2"] > 0:
                images.append((index, header))
        if not images:
            raise FrameError("it holds no image of two dimensions")
        assert primary is not None
        index, header = images[0]
        sources = [primary] if index == 0 else [primary, header]
        cards: dict[str, Any] = {}
        comments: dict[str, str] = {}
        empty: set[str] = set()
        for source in sources:
            _collect(source, cards, comments, empty)
        units: list[dict[str, Any]] = []
        if len(images) > 1:
            for _, unit in images:
                own: dict[str, Any] = {}
                _collect(unit, own, {}, set())
                units.append(own)
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        return Sample(
            path,
            name,
            tuple(index for index, _ in images),
            shape,
            _converter(header),
            cards,
            comments,
            frozenset(empty - set(cards)),
            tuple(units),
        )


def _collect(header: Header, cards: dict[str, Any], comments: dict[str, str], empty: set[str]) -> None:
    """Add the cards of a header that describe an exposure; those of an extension count more than the primary's."""
    from astropy.io.fits import VerifyError
    from astropy.io.fits.card import Undefined

    packed = bool(header.get("ZIMAGE"))
    for card in header.cards:
        key = card.keyword
        if _STRUCTURE.fullmatch(key) or (packed and _PACKED.fullmatch(key)) or not _KEYWORD.fullmatch(key):
            continue
        try:
            value = card.value
        except VerifyError:  # a card that breaks the standard beyond what can be read
            continue
        if isinstance(value, str):
            value = " ".join(value.split())
        if value is None or value == "" or isinstance(value, Undefined) or value != value:
            empty.add(key)
            continue
        if not isinstance(value, bool | int | float | str):
            continue
        cards[key] = value
        comments[key] = card.comment


def _converter(header: Header) -> float:
    bits = int(header["BITPIX"])
    if bits < 0:
        return float("inf")
    top = 2.0 ** (bits - 1) - 1 if bits > 8 else 255.0
    return float(top * float(header.get("BSCALE", 1.0)) + float(header.get("BZERO", 0.0)))
