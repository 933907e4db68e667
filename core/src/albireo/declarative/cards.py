"""What a header says, card by card: values without the oddities of writers, and facts that no card holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albireo.headers import as_float, as_text

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from albireo.definition import Condition

__all__ = ["Cards", "agrees", "file_facts", "matched", "named", "quoted", "same"]


class Cards:
    """The cards of an image: its own header, and behind it the primary header of the file.

    Texts come without surrounding blanks and with single blanks inside. A card that is not there, is undefined, is
    empty or breaks the standard beyond reading has the value None.

    Parameters
    ----------
    headers : sequence of Header
        The first that has a value counts.
    facts : mapping of str to str or callable, optional
        What stands where a keyword may stand, in small letters; see `albireo.definition`.
    """

    def __init__(
        self, headers: Sequence[Header | Mapping[str, Any]], facts: Mapping[str, str | Callable[[], str]] | None = None
    ) -> None:
        self.headers, self.facts = headers, facts or {}

    def get(self, key: str, default: Any = None) -> Any:
        """Give the value of a card or fact; ``default`` where there is none."""
        fact = self.facts.get(key)
        if fact is not None:
            return (fact if isinstance(fact, str) else fact()) or default
        for header in self.headers:
            value = _value(header, key)
            if value is not None:
                return value
        return default

    def number(self, *keys: str, default: float = nan) -> float:
        """Give the first of some cards that holds a finite number, also one written as text."""
        numbers = (as_float(self.get(key)) for key in keys)
        return next((number for number in numbers if number is not None), default)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def every(self, key: str) -> Iterator[Any]:
        """Give the value of every card of this name: some writers use one keyword for two things."""
        for header in self.headers:
            count = getattr(header, "count", None)  # a plain mapping has one value for each key
            if count is not None and key in header and count(key) > 1:
                values = (_cleaned(header[key, number]) for number in range(count(key)))  # type: ignore[index]
                yield from (value for value in values if value is not None)
            elif (value := _value(header, key)) is not None:
                yield value


def _value(header: Header | Mapping[str, Any], key: str) -> Any:
    from astropy.io.fits import VerifyError

    try:
        value = header.get(key)
    except VerifyError:  # a card that breaks the standard beyond what can be read
        return None
    return _cleaned(value)


def _cleaned(value: Any) -> Any:
    from astropy.io.fits.card import Undefined

    if isinstance(value, str):
        return " ".join(value.split()) or None
    return None if isinstance(value, Undefined) else value


def file_facts(path: Path, hdu: int, shape: tuple[int, int]) -> dict[str, str | Callable[[], str]]:
    """Give the facts that are known before any card is read."""
    return {"file": path.name, "folder": path.parent.name, "hdu": str(hdu), "size": f"{shape[1]}x{shape[0]}"}


def matched(pattern: str, text: str) -> str | None:
    """Give what the group of a regular expression holds, or all it matches; None if it does not."""
    found = re.search(pattern, text)
    return None if found is None else found[found.re.groups]


def same(value: Any, want: Any) -> bool:
    """Compare a card with what a definition says: numbers as numbers, texts with ``*`` and without regard to case."""
    if isinstance(want, bool) or isinstance(value, bool):
        return value is want or str(value).upper()[:1] == str(want).upper()
    if isinstance(want, int | float):
        return as_float(value) == want
    return fnmatchcase(as_text(value).lower(), " ".join(want.lower().split()))


def agrees(cards: Cards, condition: Condition) -> bool:
    """Whether every card of a condition has one of its values."""
    return all(
        (value := cards.get(key)) is not None and any(same(value, want) for want in wants)
        for key, wants in condition.items()
    )


def named(path: Path, pattern: str) -> bool:
    """Whether a file has a name like this; a pattern with a '/' is held against the whole path."""
    name = path.as_posix() if "/" in pattern else path.name
    return not pattern or fnmatchcase(name.lower(), pattern.lower())


def quoted(value: Any) -> str:
    """Show a value in a message."""
    return "(none)" if value is None else repr(value)
