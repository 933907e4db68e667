"""Which half of an infrared array has the target, by where the telescope was told to put it.

An aperture is a place in the focal plane. ``ZJcenter`` puts the target on the halves Z and J, which lie on one side,
so that Y and H see the sky beside it; ``YHcenter`` the other way round. Others centre the optical cameras.
"""

from __future__ import annotations

import re
from typing import Literal

from albireo import Frame

__all__ = ["APERTURES", "aperture_of", "role", "with_aperture"]

APERTURES = {
    "rcenter": (0.0, 0.0),
    "icenter": (0.0, 0.0),
    "ricenter": (0.0, 0.0),
    "riZJcenter": (1.2, 0.0),
    "riYHcenter": (-1.8, 0.0),
    "ZJcenter": (2.2, 0.7),
    "YHcenter": (-3.2, 0.7),
}
"""Where the target lies east and north of the optical axis, in arcmin (PhotoPipe; ZJ and YH agree with headers)."""

SIDES = {"Z": "ZJ", "J": "ZJ", "Y": "YH", "H": "YH"}
"""Half to its side."""

_NOTE = re.compile(r"aperture (\w+)")


def role(aperture: str, half: str) -> Literal["target", "sky", "unknown", ""]:
    """Say what a half looks at; empty for a filter that is no half."""
    if half not in SIDES:
        return ""
    side = next((side for side in ("ZJ", "YH") if side in aperture), "")
    if not side:
        return "unknown"
    return "target" if SIDES[half] == side else "sky"


def with_aperture(frame: Frame, aperture: str, beside: Literal["sky", "science"]) -> Frame:
    """Give a science frame the kind that follows from its aperture, and a note of it.

    Parameters
    ----------
    frame : Frame
    aperture : str
        Empty if the header has none.
    beside : {"sky", "science"}
        What a half beside the target is.
    """
    seen = role(aperture, frame.filter)
    said = {
        "": "",
        "target": ": this half has the target",
        "sky": ": this half looks beside the target",
        "unknown": ": which half has the target is not known",
    }[seen]
    note = f"aperture {aperture}{said}" if aperture else f"no aperture (STRRQAP){said}"
    notes = (*(old for old in frame.notes if not _NOTE.match(old)), note)
    return frame.replace(kind=beside if seen == "sky" else "science", notes=notes)


def aperture_of(frame: Frame) -> str:
    """Give the aperture that a frame was noted to have; that of the optical cameras if it has none.

    Raises
    ------
    ValueError
        If the frame is of the kind ``sky`` and this aperture does not make it one.
    """
    found = next((match[1] for note in frame.notes if (match := _NOTE.match(note))), "ricenter")
    if frame.kind == "sky" and role(found, frame.filter) != "sky":
        raise ValueError(f"RATIR takes no sky frames with {frame.detector} and the aperture {found}")
    return found
