"""How long RIMAS collected light, and when the middle of that was.

The detector is read without being reset: N reads (NFRAMES), one every t seconds (FRTIME). What counts for photometry is
the time between the reads that were subtracted from each other, which depends on the mode (REDXMODE):

=================  ==========================================  =================
mode               pixels                                      effective time
=================  ==========================================  =================
CDS                last read minus first                       (N - 1) t
RAMP               slope of all reads, times N - 1             (N - 1) t
SSR                the last read since the reset               N t
FOWLERn            mean of the last n minus mean of first n    (N - n) t
=================  ==========================================  =================

EXPTIMEE holds the same by the detector server, which takes n = 4 for FOWLER8 and FOWLER16 too; EXPTIME is N t.

All reads together last from the start (DATE-BEG) for N t, and a pixel collects light from its first read to its last,
each read passing over the array in t. The middle for the centre of the array is therefore that of all reads.
"""

from __future__ import annotations

import re
from math import isfinite, nan
from typing import TYPE_CHECKING

from albireo import JD_OF_MJD_ZERO, SECONDS_PER_DAY, iso_to_mjd

if TYPE_CHECKING:
    from albireo import Cards, Frame

__all__ = ["FRAME_TIME", "Timing", "cards_of", "effective_time"]

FRAME_TIME = 2.863
"""Seconds from one read to the next, where the header does not say; from the detector server."""

_FOWLER = re.compile(r"FOWLER[ _-]?(\d+)")


def effective_time(mode: str, reads: float, frame_time: float) -> float:
    """Time in s over which a pixel collected what it shows.

    Parameters
    ----------
    mode : str
        REDXMODE, in any case.
    reads : float
        NFRAMES.
    frame_time : float
        From one read to the next, in s.

    Returns
    -------
    float
        NaN for a mode that has no rule, or fewer reads than the mode needs.
    """
    mode = mode.strip().upper()
    if fowler := _FOWLER.fullmatch(mode):
        lost = int(fowler[1])
        enough = reads >= 2 * lost
    else:
        lost = {"CDS": 1, "RAMP": 1, "SSR": 0}.get(mode, -1)
        enough = lost >= 0 and reads >= 1
    return (reads - lost) * frame_time if enough else nan


class Timing:
    """Exposure time and middle of a frame, with notes on what was doubtful.

    Parameters
    ----------
    cards : Cards
    start : float
        MJD of the first read; NaN if unknown.

    Attributes
    ----------
    exptime : float
        Effective exposure time in s; NaN if the header does not say.
    mid : float
        MJD of the middle; NaN if the header does not say.
    notes : list of str
    """

    def __init__(self, cards: Cards, start: float) -> None:
        self.notes: list[str] = []
        self._mode = str(cards.get("REDXMODE", ""))
        self._reads = cards.number("NFRAMES")
        self._frame_time = cards.number("FRTIME", "TFRAME")
        self.exptime = self._exptime(cards.number("EXPTIMEE"))
        self.mid = self._mid(cards.number("EXPMID"), start, _end(cards))

    def _exptime(self, said: float) -> float:
        frame_time = self._frame_time
        if not frame_time > 0:
            frame_time = FRAME_TIME
        worked_out = effective_time(self._mode, self._reads, frame_time)
        if not isfinite(worked_out):
            if isfinite(said):
                self.notes.append(
                    f"exptime from EXPTIMEE alone: REDXMODE = {self._mode or '(none)'} with NFRAMES = {self._reads:g} "
                    "has no rule to check it by"
                )
            return said
        if frame_time != self._frame_time:
            self.notes.append(f"exptime with reads every {FRAME_TIME:g} s: the header has no FRTIME")
        if isfinite(said) and abs(said - worked_out) > 0.5 * frame_time:
            self.notes.append(
                f"exptime {worked_out:.6g} s by NFRAMES and FRTIME of the mode {self._mode}; EXPTIMEE says {said:.6g}"
            )
        return worked_out

    def _mid(self, said: float, start: float, end: float) -> float:
        if not isfinite(end):
            frame_time = self._frame_time if self._frame_time > 0 else FRAME_TIME
            length = self._reads * frame_time if isfinite(self._reads) else self.exptime
            end = start + length / SECONDS_PER_DAY
        if not (isfinite(start) and isfinite(end)) or start <= said <= end:
            return said
        if isfinite(said):
            self.notes.append("mid is that of first and last read: EXPMID does not lie between them")
        return 0.5 * (start + end)


def _end(cards: Cards) -> float:
    """MJD of the end of the last read; NaN if no card says."""
    end = cards.number("MJD-END", "EXPEND")
    if not isfinite(end):
        end = cards.number("JD-END") - JD_OF_MJD_ZERO
    if not isfinite(end):
        try:
            end = iso_to_mjd(str(cards.get("DATE-END", "")))
        except ValueError:
            return nan
    return end


def cards_of(frame: Frame) -> dict[str, float | int]:
    """Write the cards of an exposure in the mode CDS; the frame time is stretched for a whole number of reads."""
    reads = max(round(frame.exptime / FRAME_TIME), 1) + 1 if frame.exptime > 0 else 1
    step = frame.exptime / (reads - 1) if frame.exptime > 0 else FRAME_TIME
    cards: dict[str, float | int] = {"NFRAMES": reads, "FRTIME": step, "EXPTIMEE": frame.exptime}
    cards["EXPTIME"] = reads * step
    return cards | ({"EXPMID": frame.mid} if isfinite(frame.mid) else {})
