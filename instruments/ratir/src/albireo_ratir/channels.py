"""Which of the four cameras wrote a frame, by everything that tells; and who made the file."""

from __future__ import annotations

import re
from pathlib import Path

from albireo import Cards, Frame, FrameError

__all__ = ["INFRARED", "channel", "is_cut", "kind_by_name", "require_one_channel"]

INFRARED = ("C2", "C3")
"""Arrays of two halves, read by differences."""

SERIALS = {"PL0212309": "C0", "PL0154809": "C1"}

LETTERS = {"b": "bias", "d": "dark", "f": "flat", "o": "science"}
"""What the letter behind the channel in the name of a file says of its frame."""

_NAME = re.compile(r"(?P<made>[a-z]*)\d{8}T\d{6}(?P<channel>C[0-3])(?P<letter>[bdfo])(?P<cut>_\w+)?(?=\.|$)")


def channel(detector: str) -> str:
    """Give the camera of a detector: ``C2`` for the half ``C2Z``."""
    return detector[:2]


def kind_by_name(path: Path) -> str:
    """Give the kind of frame that the name of a raw file says; empty if it is no such name."""
    found = _NAME.match(path.name)
    return LETTERS[found["letter"]] if found and not found["made"] else ""


def is_cut(frame: Frame) -> bool:
    """Whether other software cut the frame out of a raw one, by its size or name: ``20190904T021717C2f_Y.fits``."""
    found = _NAME.match(Path(frame.path).name)
    named = bool(found and not found["made"] and found["cut"])
    return named or any(tile.image == frame.shape for tile in frame.tiles)


def require_one_channel(cards: Cards, path: Path) -> None:
    """See that everything that tells the channel tells the same one.

    Raises
    ------
    FrameError
        If it does not; which one is right cannot be known.
    """
    named = _NAME.match(path.name)
    said = {
        "CCD_NAME": _plain(cards.get("CCD_NAME")),
        "INSTRUME": _plain(cards.get("INSTRUME")),
        "the file name": named["channel"] if named else "",
        "CCD_SER": SERIALS.get(str(cards.get("CCD_SER")), ""),
    }
    told = {source: name for source, name in said.items() if name}
    if len(set(told.values())) > 1:
        listed = ", ".join(f"{source} says {name}" for source, name in told.items())
        raise FrameError(f"{path}: the channel is not clear: {listed}; mend the card or the name that is wrong")
    if not told:
        raise FrameError(
            f"{path}: the channel is not known; CCD_NAME, INSTRUME, CCD_SER or a file name such as "
            "20130716T110553C1o.fits should tell C0, C1, C2 or C3"
        )


def _plain(value: object) -> str:
    text = str(value or "")
    return text if re.fullmatch(r"C[0-3]", text) else ""
