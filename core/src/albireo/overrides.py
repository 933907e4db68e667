"""Decisions made by hand: which frames a person wants in or out, in a file that replays.

The file is TOML, so that it can be read, edited, and kept with the recipe::

    [[override]]
    frame = "flat-0007.fits"
    decision = "drop"
    reason = "the dome was closing"
    author = "E. Halley"
    time = "2023-11-22T09:14:05"

Only ``frame`` and ``decision`` must be there. The last entry for a frame counts, so that a pattern may come first and
its exceptions after it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Literal, cast

import tomli
import tomli_w

from albireo.frames import Frame
from albireo.toml_lines import line_of, lines_of

__all__ = ["Override", "Overrides", "OverridesError", "is_called", "remove_override", "write_override"]

DECISIONS = ("drop", "keep")
TABLE = "override"
OPENING = "# Frames that a person decided about. The last entry for a frame counts.\n"
_PACKING = re.compile(r"\.(fz|gz|bz2|xz|Z)(?=$|:|\[)")


class OverridesError(ValueError):
    """A file of decisions cannot be understood; the message names the file and every entry at fault."""


@dataclass(frozen=True, slots=True)
class Override:
    """One decision about a frame, or about all frames of a pattern.

    Attributes
    ----------
    frame : str
        See `is_called`.
    decision : str
        ``drop`` or ``keep``.
    reason, author : str
        In free words; may be empty.
    time : str
        When it was decided, ISO, UTC; may be empty.
    """

    frame: str
    decision: Literal["drop", "keep"]
    reason: str = ""
    author: str = ""
    time: str = ""

    def __str__(self) -> str:
        """Say it for the table of frames: what was decided, by whom and why."""
        done = "dropped" if self.decision == "drop" else "kept"
        by = f" ({self.author})" if self.author else ""
        return f"{done} by hand{by}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Overrides:
    """The decisions of a file, in its order."""

    entries: tuple[Override, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Overrides:
        """Read a file of decisions; none if there is no such file.

        Raises
        ------
        OverridesError
            If the file cannot be read, with every entry that is wrong.
        """
        return _parsed(_text_of(Path(path)), Path(path))

    def decisions(self, frames: Iterable[Frame]) -> dict[str, Override]:
        """Give the decision that counts for each frame, by its name; frames without one are not in it."""
        found: dict[str, Override] = {}
        for frame in frames:
            for entry in reversed(self.entries):
                if is_called(frame, entry.frame):
                    found[frame.name] = entry
                    break
        return found


def is_called(frame: Frame, pattern: str) -> bool:
    """Whether a person means this frame.

    Parameters
    ----------
    frame : Frame
    pattern : str
        The name of the frame, or of its file (then every image in it is meant), with or without its folders and the
        ending of a packed file. ``*`` stands for any text, ``?`` for one letter.
    """
    names = _names(frame.name, frame.path)
    if pattern in names:
        return True
    if "*" not in pattern and "?" not in pattern:
        return False
    literal = pattern.replace("[", "[[]")  # a bracket counts the images of a file
    return any(fnmatchcase(name, literal) for name in names)


def write_override(path: str | Path, override: Override) -> None:
    """Add a decision to a file, in place of earlier ones for exactly the same frame or pattern.

    Other entries and comments stay as they are. The file is made if it does not exist, and is never seen half
    written. A decision without a time gets the present one.

    Raises
    ------
    OverridesError
        If the file holds something else; it is left as it was.
    """
    if not override.frame:
        raise OverridesError("a decision needs the name of a frame")
    file = Path(path).resolve()  # where it is a link, what it points to is replaced
    facts = {entry.name: getattr(override, entry.name) for entry in fields(override)}
    facts["time"] = override.time or datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00")
    block = f"[[{TABLE}]]\n" + tomli_w.dumps({key: value for key, value in facts.items() if value})
    before = _without(_text_of(file), override.frame, file).rstrip()
    _save((f"{before}\n" if before else OPENING) + f"\n{block}", file)


def remove_override(path: str | Path, frame: str) -> None:
    """Take back what a file says of exactly this frame or pattern; other entries and comments stay as they are.

    Raises
    ------
    OverridesError
        If the file holds something else; it is left as it was.
    """
    file = Path(path).resolve()
    before = _text_of(file)
    text = _without(before, frame, file)
    if text != before:
        _save(text, file)


def _save(text: str, path: Path) -> None:
    from albireo.images import atomic_path

    _parsed(text, path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise OverridesError(f"the decisions in {path} cannot be read: {error}") from error


def _parsed(text: str, path: Path) -> Overrides:
    try:
        tables = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise OverridesError(f"{path} is not valid TOML: {error}") from None
    places = lines_of(text)
    problems = [f"there is no table [{name}]; write [[{TABLE}]]" for name in tables if name != TABLE]
    entries = tables.get(TABLE, [])
    if not isinstance(entries, list):
        problems.append(f"write [[{TABLE}]] with two brackets: there may be several")
        entries = []
    for row, entry in enumerate(entries):
        said = _faults(entry)
        if said:
            line = line_of(places, (TABLE, row))
            problems.append(f"entry {row + 1} (line {line}): {', '.join(said)}")
    if problems:
        raise OverridesError(f"{path}: {'; '.join(problems)}")
    return Overrides(tuple(_made(entry) for entry in entries))


def _faults(entry: Any) -> list[str]:
    """Everything that is wrong with one entry."""
    if not isinstance(entry, Mapping):
        return [f"{entry!r} is not a table with frame and decision"]
    keys = [key.name for key in fields(Override)]
    said = []
    for key in entry:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            said.append(f"there is no key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"keys: {keys}"))
        elif not isinstance(entry[key], str) and not (key == "time" and isinstance(entry[key], date)):
            said.append(f"{key} must be a text, not {entry[key]!r}")
    if not entry.get("frame"):
        said.append("frame is missing: the name of a frame or file")
    if entry.get("decision") not in DECISIONS:
        said.append(
            f"decision must be 'drop' or 'keep', not {entry['decision']!r}"
            if "decision" in entry
            else "decision is missing: 'drop' or 'keep'"
        )
    return said


def _made(entry: Mapping[str, Any]) -> Override:
    given = {key: value.isoformat() if isinstance(value, date) else value for key, value in entry.items()}
    return Override(**cast(dict[str, Any], given))


def _without(text: str, frame: str, path: Path) -> str:
    """Take the entries for a frame out of a text, and nothing else: a comment before the next entry belongs to that."""
    entries = _parsed(text, path).entries
    places = lines_of(text)
    if entries and (TABLE, 0) not in places:
        raise OverridesError(f"{path} holds a list in one value; write each decision as a table [[{TABLE}]]")
    lines = text.split("\n")
    for row in reversed(range(len(entries))):
        if entries[row].frame != frame:
            continue
        start = places[TABLE, row] - 1
        stop = places.get((TABLE, row + 1), len(lines) + 1) - 1
        while not lines[stop - 1].strip() or lines[stop - 1].lstrip().startswith("#"):
            stop -= 1
        while start and not lines[start - 1].strip():
            start -= 1
        del lines[start:stop]
    return "\n".join(lines)


@lru_cache(maxsize=4096)
def _names(name: str, path: str) -> frozenset[str]:
    """Every way to name a frame in full."""
    file = PurePath(path).name
    folder = name[: name.rfind("/") + 1]
    full = {name, name[len(folder) :], file, folder + file}
    return frozenset(full | {_PACKING.sub("", one) for one in full})
