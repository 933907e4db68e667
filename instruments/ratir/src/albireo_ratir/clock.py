"""When an exposure began: RATIR's cards are right for some channels and epochs, and nonsense for others.

The CCDs have the start of the exposure in DATE-OBS; SDATE, a snapshot of the telescope, precedes it by up to 6 s in
2013 and agrees with it in 2019. DATE-OBS of the infrared arrays of 2013 can be anything, so that SDATE counts there.
Moments of different meaning cannot tell what was exposed at once; the names of files have one meaning in all channels.
"""

from __future__ import annotations

import re
from math import isfinite, nan
from pathlib import Path

from albireo import SECONDS_PER_DAY, Cards, Frame, iso_to_mjd

__all__ = ["exposed", "named_start"]


EARLIEST, LATEST = -1.0, 60.0
"""Seconds after SDATE within which DATE-OBS is believed."""

INFRARED_DOUBT = 8
"""Seconds by which stamps of one infrared exposure differ (2019)."""

_STAMP = re.compile(r"\d{8}T\d{6}(?=C[0-3][bdfo])")


def exposed(frame: Frame, cards: Cards, infrared: bool, later: float) -> Frame:
    """Give a frame its start and middle, and say how sure they are.

    Parameters
    ----------
    frame : Frame
        With the first start that its cards or its name give.
    cards : Cards
    infrared : bool
    later : float
        Seconds from SDATE to the true start of an infrared exposure.
    """
    opened, stamped = _moment(cards.get("DATE-OBS")), _moment(cards.get("SDATE"))
    start, notes = frame.start, list(frame.notes)
    apart = (opened - stamped) * SECONDS_PER_DAY
    if infrared:
        start = (stamped if isfinite(stamped) else start) + later / SECONDS_PER_DAY
        notes.append(f"the start of an infrared exposure is uncertain by about {INFRARED_DOUBT} s: its stamps differ")
    elif isfinite(apart) and not EARLIEST <= apart <= LATEST:
        start = stamped
        notes.append(f"start from SDATE: DATE-OBS = {cards.get('DATE-OBS')!r} lies {apart:.0f} s from it")
    if isfinite(start) and not (isfinite(opened) or isfinite(stamped)):
        notes.append("start from the file name, which is 1 to 13 s early")
    return frame.replace(start=start, mid=start + 0.5 * frame.exptime / SECONDS_PER_DAY, notes=tuple(notes))


def named_start(frame: Frame) -> float:
    """Give the moment in the name of a file, which was the command to expose; else the start of the frame."""
    found = _STAMP.search(Path(frame.path).name)
    return _moment(found[0]) if found else frame.start


def _moment(value: object) -> float:
    try:
        return iso_to_mjd(str(value))
    except ValueError:
        return nan
