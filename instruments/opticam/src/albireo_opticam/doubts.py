"""What a person should know of a frame whose header was understood: guesses, nominal values and contradictions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from albireo import Cards, Frame

__all__ = ["NOMINAL_GAIN", "UNKNOWN", "doubts"]

NOMINAL_GAIN = 1.0
"""What the camera's software writes into every header, whatever the readout, in electron/adu."""

UNKNOWN = "unknown"
"""Name of a camera that nothing tells."""

USUAL = {"u": "C1", "g": "C1", "r": "C2", "i": "C3", "z": "C3"}
"""The camera behind each filter."""

GAIN = (
    "gain 1 e-/adu is nominal (GAIN), and the noise of frames of November 2023 contradicts it (about 0.3): error bars "
    "are wrong unless gain is measured, from pairs of flats, and given under [instrument]"
)
CLOCK = "the start is in whole seconds and not by GPS (UT): for a faster cadence measure the offset of the clock"

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?")
_WHOLE_SECOND = re.compile(r"\d\d:\d\d:\d\d(\.0*)?$")
_UTC = ("", "UTC", "UT", "GMT", "Z")


def doubts(frame: Frame, cards: Cards, serials: Collection[str], measured_gain: bool) -> Iterator[str]:
    """Give a note for each thing that is doubtful about a frame.

    Parameters
    ----------
    frame : Frame
    cards : Cards
    serials : collection of str
        Serial numbers whose camera is known, in lower case.
    measured_gain : bool
        Whether the recipe gives the gain of this camera.
    """
    yield from _camera(frame, cards, serials)
    if not measured_gain and frame.gain == NOMINAL_GAIN:
        yield GAIN
    gps = _MOMENT.search(gpstime := str(cards.get("GPSTIME", "")))
    if gps is None and _WHOLE_SECOND.search(str(cards.get("UT", ""))):
        yield CLOCK
    if gps is not None and (zone := gpstime[gps.end() :].strip()).upper() not in _UTC:
        yield f"GPSTIME = {gpstime!r} is taken as UTC whatever {zone!r} means; else give clock under [instrument]"


def _camera(frame: Frame, cards: Cards, serials: Collection[str]) -> Iterator[str]:
    camera, serial = frame.detector, str(cards.get("SERIALN", ""))
    usual = USUAL.get(frame.filter.lower().rstrip("'"))
    if serial.lower() in serials:
        if usual not in (None, camera):
            yield f"filter {frame.filter} belongs to camera {usual}, but SERIALN = {serial!r} is camera {camera}"
        return
    advice = (
        f'give cameras = {{ "{serial}" = "C1" }}, or C2, C3, under [instrument]' if serial else "SERIALN is missing"
    )
    if camera == UNKNOWN:
        yield f"camera unknown by SERIALN = {serial!r}, FILTER = {frame.filter!r} and folder: {advice}"
    else:
        by = "filter" if camera == usual else "folder"
        yield f"camera {camera} by its {by} alone, as SERIALN = {serial!r} is not known: {advice}"
