"""A library of masters over many nights: what was made where, and how far it may be trusted.

The library is one file, ``library.sqlite``, that points at masters in the folders of the runs that made them; nothing
is copied. An entry keeps a few of the frames a master was made from, so that the rules that choose among the masters of
a night choose among those of other nights too, and the corrections its frames had, because a master serves only frames
that were corrected in the same way. An entry whose file is gone, or was replaced, is passed over and named.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

from albireo.frames import Frame, Frames

__all__ = ["DOUBTFUL", "GOOD", "VERDICTS", "Entry", "Library", "LibraryError", "mean_start", "witnesses"]

GOOD, DOUBTFUL, BAD = "good", "doubtful", "bad"
VERDICTS = (GOOD, DOUBTFUL, BAD)
"""``doubtful`` is a master that differs from the one before it; it serves only where there is no good one."""

FORMAT = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS masters (
    key TEXT PRIMARY KEY, path TEXT, size INTEGER, mtime_ns INTEGER, name TEXT, kind TEXT, chain TEXT,
    number INTEGER, start REAL, frames TEXT, verdict TEXT, remark TEXT, good_from REAL, good_until REAL
);
"""


class LibraryError(Exception):
    """A library cannot be used, or has no such entry."""


@dataclass(frozen=True)
class Entry:
    """One master of some night.

    Attributes
    ----------
    key : str
        Key of the product, as in its header under ALBKEY.
    path : Path
        The file, absolute.
    name, kind : str
        As in the run that made it.
    chain : str
        The corrections its frames had, with their options.
    number : int
        How many frames it was made from.
    frames : Frames
        Some of them: see `witnesses`.
    start : float
        Mean start of its frames as MJD; NaN if unknown.
    verdict : str
        One of `VERDICTS`.
    remark : str
        What the comparison with the master before it found, or what a person wrote.
    good_from, good_until : float
        Start of frames it may serve, as MJD.
    size, mtime_ns : int
        The file when it was entered.
    """

    key: str
    path: Path
    name: str
    kind: str
    chain: str
    number: int
    frames: Frames
    start: float = nan
    verdict: str = GOOD
    remark: str = ""
    good_from: float = -inf
    good_until: float = inf
    size: int = 0
    mtime_ns: int = 0

    @property
    def short(self) -> str:
        """What a person calls the entry by."""
        return self.key[:8]

    def covers(self, frame: Frame) -> bool:
        """Whether the frame was taken while the master is valid; a frame of unknown time is taken to be."""
        return not isfinite(frame.start) or self.good_from <= frame.start <= self.good_until

    def age(self, frame: Frame) -> float:
        """Days between the master and a frame; infinite if one of the times is not known."""
        days = abs(self.start - frame.start)
        return days if isfinite(days) else inf

    def trouble(self) -> str:
        """Say what is wrong with the file; empty if it is the one that was entered."""
        try:
            state = self.path.stat()
        except OSError:
            return "its file is gone"
        if (state.st_size, state.st_mtime_ns) == (self.size, self.mtime_ns):
            return ""
        from albireo.frames import FrameError
        from albireo.headers import read_header

        try:
            _, header = read_header(self.path)
        except FrameError as error:
            return str(error)
        return "" if header.get("ALBKEY") == self.key else "its file was made anew by another run"


class Library:
    """The library in a folder; it is made when the first master is entered.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    LibraryError
        If the file is there and no library, or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "library.sqlite"
        if folder.exists() and not folder.is_dir():
            raise LibraryError(f"{folder} is a file; a library of masters needs a folder")
        self.entries()  # complains now rather than in the middle of a run

    def entries(self, kind: str = "") -> list[Entry]:
        """Give all entries, or those of one kind, in order of time."""
        if not self.file.exists():
            return []
        where = "WHERE kind = ?" if kind else ""
        with self._open() as db:
            rows = db.execute(f"SELECT * FROM masters {where} ORDER BY start, key", (kind,) if kind else ()).fetchall()
        return [_entry(row) for row in rows]

    def find(self, short: str) -> Entry:
        """Give the entry whose key begins so.

        Raises
        ------
        LibraryError
            If there is none, or more than one.
        """
        found = [entry for entry in self.entries() if entry.key.startswith(short)] if short else []
        if len(found) != 1:
            what = "no master" if not found else f"{len(found)} masters"
            raise LibraryError(f"{what} in {self.folder} with the name {short!r}; `albireo library` lists them")
        return found[0]

    def enter(self, entry: Entry) -> None:
        """Enter a master, in the state its file has now; an older entry of the same file is replaced.

        Raises
        ------
        LibraryError
            If the library cannot be written.
        """
        state = entry.path.stat()
        entry = replace(entry, size=state.st_size, mtime_ns=state.st_mtime_ns)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(f"the folder {self.folder} cannot be made: {error.strerror}") from error
        with self._open() as db:
            db.execute("DELETE FROM masters WHERE path = ? AND key != ?", (str(entry.path), entry.key))
            db.execute(f"INSERT OR REPLACE INTO masters VALUES ({', '.join('?' * 14)})", _row(entry))

    def change(self, short: str, **changes: Any) -> Entry:
        """Change verdict, remark or validity of an entry, and give it back.

        Raises
        ------
        LibraryError
            If there is no such entry.
        """
        entry = replace(self.find(short), **changes)
        with self._open() as db:
            db.execute(f"INSERT OR REPLACE INTO masters VALUES ({', '.join('?' * 14)})", _row(entry))
        return entry

    def forget(self, short: str) -> Entry:
        """Take an entry out; the file stays.

        Raises
        ------
        LibraryError
            If there is no such entry.
        """
        entry = self.find(short)
        with self._open() as db:
            db.execute("DELETE FROM masters WHERE key = ?", (entry.key,))
        return entry

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self.file, timeout=30.0)
            try:
                with db:  # one transaction
                    (version,) = db.execute("PRAGMA user_version").fetchone()
                    if version not in (0, FORMAT):
                        raise LibraryError(f"{self.file} was made by another version of Albireo")
                    db.execute(_SCHEMA)
                    db.execute(f"PRAGMA user_version = {FORMAT}")
                    yield db
            finally:
                db.close()
        except sqlite3.DatabaseError as error:
            raise LibraryError(f"{self.file} cannot be used as a library of masters: {error}") from error


def witnesses(frames: Frames) -> Frames:
    """Choose the frames that stand for those of a master: first, middle and last of each exposure time."""
    chosen: dict[str, Frame] = {}
    for group in frames.sorted("start").by("exptime").values():
        for index in (0, len(group) // 2, len(group) - 1):
            chosen[group[index].name] = group[index]
    return Frames(chosen.values())


def mean_start(frames: Iterable[Frame]) -> float:
    """Give the mean start of frames as MJD; NaN if none is known."""
    starts = [frame.start for frame in frames if isfinite(frame.start)]
    return sum(starts) / len(starts) if starts else nan


def _row(entry: Entry) -> tuple[Any, ...]:
    def known(value: float) -> float | None:
        return value if isfinite(value) else None

    return (
        *(entry.key, str(entry.path), entry.size, entry.mtime_ns, entry.name, entry.kind, entry.chain, entry.number),
        *(known(entry.start), json.dumps([frame.to_dict() for frame in entry.frames]), entry.verdict, entry.remark),
        *(known(entry.good_from), known(entry.good_until)),
    )


def _entry(row: Sequence[Any]) -> Entry:
    key, path, size, mtime_ns, name, kind, chain, number, start, frames, verdict, remark, first, last = row
    return Entry(
        key=key,
        path=Path(path),
        name=name,
        kind=kind,
        chain=chain,
        number=number,
        frames=Frames(Frame.from_dict(values) for values in json.loads(frames)),
        start=nan if start is None else start,
        verdict=verdict,
        remark=remark,
        good_from=-inf if first is None else first,
        good_until=inf if last is None else last,
        size=size,
        mtime_ns=mtime_ns,
    )
