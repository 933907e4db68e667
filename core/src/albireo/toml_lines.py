"""Where a key stands in a TOML text: the line numbers that the parser does not keep."""

from __future__ import annotations

import re
from typing import Any

import tomli

__all__ = ["Path", "line_of", "lines_of"]

Path = tuple["str | int", ...]
"""Keys and list positions from the root, such as ``("photometry", 0, "radius")``."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def lines_of(text: str) -> dict[Path, int]:
    """Give the line (from one) of every table and key of a valid TOML text."""
    lines = text.replace("\r\n", "\n").split("\n")  # TOML knows no other ends of lines
    places: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    number = 0
    while number < len(lines):
        line = lines[number]
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            name = _resolve(_split(header[2]), counts)
            if header[1] == "[[":
                index = counts.get(name, 0)
                counts[name] = index + 1
                name = (*name, index)
            table = name
            _note(places, table, number + 1)
        elif key:
            _note(places, (*table, *_split(key[1])), number + 1)
            number = _end_of_value(lines, number)
        number += 1
    return places


def _note(places: dict[Path, int], path: Path, line: int) -> None:
    """Remember the line of a path, and of the tables that a dotted name makes on the way."""
    for length in range(1, len(path)):
        places.setdefault(path[:length], line)
    places[path] = line


def line_of(places: dict[Path, int], path: Path) -> int:
    """Give the line of a path, or of the nearest thing around it; zero if there is none."""
    while path:
        for place in (path, (*path, 0)):  # an array of tables begins at its first element
            if place in places:
                return places[place]
        path = path[:-1]
    return 0


def _split(dotted: str) -> Path:
    parsed: Any = tomli.loads(f"{dotted} = 0")
    path: list[str] = []
    while isinstance(parsed, dict):
        ((key, parsed),) = parsed.items()
        path.append(key)
    return tuple(path)


def _resolve(path: Path, counts: dict[Path, int]) -> Path:
    """Insert the position of the latest element wherever a path goes through an array of tables."""
    full: Path = ()
    for position, part in enumerate(path):
        full = (*full, part)
        if position < len(path) - 1 and full in counts:
            full = (*full, counts[full] - 1)
    return full


def _end_of_value(lines: list[str], start: int) -> int:
    """Find the last line of a value: the first at which the assignment is complete TOML."""
    for end in range(start, len(lines)):
        try:
            tomli.loads("\n".join(lines[start : end + 1]))
        except tomli.TOMLDecodeError:
            continue
        return end
    return start
