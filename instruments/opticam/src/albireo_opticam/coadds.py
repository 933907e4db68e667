"""Frames that the camera added up from several exposures before it wrote them (EXPCOAD).

EXPOSURE is the time of one of them. Whether the counts in the file are their sum or their mean is documented nowhere,
so that an observer has to say it.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Literal

from albireo import SECONDS_PER_DAY, Cards, Frame, FrameError

__all__ = ["Coadding", "exposures_in", "of_several"]

Coadding = Literal["sum", "mean"]


def exposures_in(frame: Frame, cards: Cards) -> int:
    """Give the number of exposures in a frame; one where EXPCOAD is missing or zero, that is, not filled.

    Raises
    ------
    FrameError
        If the card holds something else.
    """
    raw = cards.get("EXPCOAD", 1)
    try:
        number = float(raw)
    except (TypeError, ValueError):
        number = -1.0
    if number < 0 or not number.is_integer():
        raise FrameError(f"{frame.path}: EXPCOAD = {raw!r} should be the number of exposures in this frame")
    return max(int(number), 1)


def of_several(frame: Frame, number: int, how: Coadding | None) -> Frame:
    """Give the exposure time, middle, and constants of a frame made of several exposures.

    All electrons count: the frame has the read noise of ``number`` reads, and where the mean was written, one count
    stands for ``number`` times as many electrons. Pauses between the exposures are not known and taken as none.

    Parameters
    ----------
    frame : Frame
        As if it were one exposure.
    number : int
    how : {"sum", "mean"} or None
        None if nobody has said.

    Raises
    ------
    FrameError
        If there are several exposures and nobody has said how they were added.
    """
    if number == 1:
        return frame
    if how is None:
        raise FrameError(
            f"{frame.path}: made of {number} exposures (EXPCOAD), and no header says whether counts are their sum or "
            "their mean; write coadds = 'sum' or coadds = 'mean' under [instrument]"
        )
    gain, level = (1, number) if how == "sum" else (number, 1)
    exptime = number * frame.exptime
    return frame.replace(
        exptime=exptime,
        mid=frame.start + 0.5 * exptime / SECONDS_PER_DAY,
        saturation=level * frame.saturation,
        amplifiers=tuple(
            replace(a, gain=gain * a.gain, read_noise=sqrt(number) * a.read_noise) for a in frame.amplifiers
        ),
        notes=(*frame.notes, f"the {how} of {number} exposures, as the recipe says"),
    )
