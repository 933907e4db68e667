"""Names of files: a date, the filter, nine digits that the three cameras share, and a letter for the kind.

``231122g200143431o.fit`` was written by the night of 2023-11-22 through g. The digits read like the clock of a computer
(20:01:43.431) but belong to no time zone; they are equal in frames that were triggered together, and nothing else is
taken from them.
"""

from __future__ import annotations

import re

from albireo import Frame, mjd_to_iso

__all__ = ["file_name", "trigger"]

_WRITTEN = re.compile(r"(?P<date>\d{6})[A-Za-z']*?(?P<digits>\d{9})[a-z]?\.fit")
_RENAMED = re.compile(r"(?P<date>\d{6}) C\d \S+ (?P<digits>\d{9})\.fit")
_LETTERS = {"science": "o", "flat": "f", "bias": "b", "dark": "d"}
"""``o`` is seen in real names; the others are inferred."""


def trigger(*names: str) -> str:
    """Give date and digits of the first name that has them, such as ``231122-200143431``; empty if none has.

    Parameters
    ----------
    *names : str
        File names, as the camera writes them or as ``YYMMDD C1 g 200143431.fits``.
    """
    for name in names:
        found = _WRITTEN.match(name) or _RENAMED.match(name)
        if found is not None:
            return f"{found['date']}-{found['digits']}"
    return ""


def file_name(frame: Frame) -> str:
    """Give the name under which the camera would write a frame; its digits are the UTC of the start."""
    day, _, clock = mjd_to_iso(frame.start).partition("T")
    known = re.fullmatch(r"(\d{6})-(\d{9})", frame.exposure)
    date, digits = known.groups() if known else (day[2:].replace("-", ""), re.sub(r"[:.]", "", clock))
    return f"{date}{frame.filter}{digits}{_LETTERS.get(frame.kind, 'x')}.fit"
