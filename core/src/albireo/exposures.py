"""Which frames of several detectors were exposed at once, from the times in their headers.

Frames belong together if each overlaps with each other one by more than half of the shorter exposure. The frames of a
camera are gone through in order of their starts. A frame joins the running exposure with the latest start with whose
frames it overlaps so; where there is none, it begins an exposure of its own. A detector takes one frame at a time: when
it begins the next one, the exposure it took part in is over. So at most one exposure for each detector is running, and
the cost is that of sorting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from albireo.frames import SECONDS_PER_DAY, Frame, Frames, mjd_to_iso

__all__ = ["group_by_overlap", "unique_name"]

BIAS_APART = 1.0
"""Seconds that frames without an exposure time may start apart; such frames have no interval to overlap."""


@dataclass(eq=False)
class _Exposure:
    """An exposure that is running, and its frames."""

    name: str
    frames: list[Frame] = field(default_factory=list)


def group_by_overlap(frames: Frames) -> Frames:
    """Give frames of different detectors that were exposed at once the same `Frame.exposure`.

    The kinds of the frames do not matter. Frames with an exposure time overlap by more than half of the shorter one;
    frames of zero exposure time (bias) go with others of the kind that start within a second. A frame without partners
    gets an exposure of its own.

    Parameters
    ----------
    frames : Frames
        In any order, which does not matter for the result. A frame that has an exposure already keeps it; one whose
        start or exposure time is not known gets none.

    Returns
    -------
    Frames
        The same frames in the same order. An exposure is called by its earliest start, ISO to the millisecond; a second
        one with that start gets a number.

    Examples
    --------
    >>> lags = {"C1": 0.0, "C2": 1e-5}
    >>> pair = [Frame(f"{d}.fits", detector=d, start=60000.0 + lag, exptime=60.0) for d, lag in lags.items()]
    >>> group_by_overlap(Frames(pair)).values("exposure")
    ['2023-02-25T00:00:00.000', '2023-02-25T00:00:00.000']
    """
    names = {frame.exposure for frame in frames if frame.exposure}
    cameras: dict[str, list[int]] = {}
    for row, frame in enumerate(frames):
        if not frame.exposure and isfinite(frame.start) and isfinite(frame.exptime):
            cameras.setdefault(frame.instrument, []).append(row)
    found = frames.values("exposure")
    for rows in cameras.values():
        running: dict[str, _Exposure] = {}
        for row in sorted(rows, key=lambda row: _order(frames[row])):
            frame = frames[row]
            over = running.get(frame.detector)
            running = {detector: exposure for detector, exposure in running.items() if exposure is not over}
            joined = max(
                (e for e in running.values() if all(_at_once(frame, other) for other in e.frames)),
                key=lambda e: _order(e.frames[0]),
                default=None,
            )
            exposure = joined or _Exposure(unique_name(mjd_to_iso(frame.start), names))
            exposure.frames.append(frame)
            running[frame.detector] = exposure
            found[row] = exposure.name
    return Frames(f.replace(exposure=name) if name else f for f, name in zip(frames, found, strict=True))


def _order(frame: Frame) -> tuple[float, str, str, str, int]:
    return (frame.start, frame.detector, frame.name, frame.path, frame.hdu)


def _at_once(one: Frame, other: Frame) -> bool:
    shorter = min(one.exptime, other.exptime)
    if shorter <= 0:
        return one.exptime == other.exptime and abs(one.start - other.start) * SECONDS_PER_DAY <= BIAS_APART
    begin = max(one.start, other.start)
    overlap = min(f.exptime - (begin - f.start) * SECONDS_PER_DAY for f in (one, other))
    return overlap > 0.5 * shorter


def unique_name(name: str, taken: set[str]) -> str:
    """Make a name one of its own by a number, and note that it is taken."""
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    taken.add(unique)
    return unique
