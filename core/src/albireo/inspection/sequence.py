"""Times: gaps, frames out of order, frames that cannot both be, and exposures of several detectors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from math import floor, isfinite
from pathlib import PurePath
from statistics import median

from albireo.frames import SECONDS_PER_DAY, Frame, Frames, mjd_to_iso
from albireo.inspection.finding import Finding, about, each_part, listed, of_detector
from albireo.roles import Instrument

__all__ = ["gaps", "incomplete_exposures", "nights", "order_of_names", "overlaps"]

GAP = 4.0
"""A pause is a gap if it lasts longer than this many times the usual step from frame to frame."""

LEAST = 4
"""Frames that a sequence needs before its usual step is known."""

DAYTIME = 10.0 / 24.0
"""Where the telescope stands is not known, a pause of this many days separates two nights."""

CLOCK = 1.0
"""Seconds by which the clocks and shutters of cameras may be off."""


def gaps(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Say where the sequence of a target was interrupted."""
    for (detector, target), group in _timed(frames.where(kind="science")).by("detector", "target").items():
        pairs = [pair for night in _nights(_files(group)) for pair in pairwise(night)]
        if len(pairs) < LEAST - 1:
            continue
        usual = median(b.start - a.start for a, b in pairs)
        found = [(_end(a), b.start) for a, b in pairs if b.start - _end(a) > GAP * usual]
        if not found:
            continue
        begin, end = max(found, key=lambda gap: gap[1] - gap[0])
        count = "a gap" if len(found) == 1 else f"{len(found)} gaps, the longest"
        yield about(
            "note",
            f"{target or 'science'}{of_detector(detector)}: {count} of {_lasting(end - begin)} from "
            f"{mjd_to_iso(begin)[:19]} to {mjd_to_iso(end)[11:19]}; the usual step is {_lasting(usual)}",
            group,
        )


def nights(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Count the nights, where there are several."""
    timed = _timed(frames)
    groups = _nights(timed)
    if len(groups) > 1:
        words = [f"{mjd_to_iso(group[0].start)[:10]} ({len(group)})" for group in groups]
        yield about("note", f"frames of {len(groups)} nights: {listed(words, 6)}", timed)


def overlaps(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Name frames of one detector that were open at the same time, which no camera can do."""
    for (detector,), group in _timed(frames).by("detector").items():
        same: list[Frame] = []
        crossed: list[Frame] = []
        for first, second in pairwise(_files(group)):
            if not max(_length(first), _length(second)) > 0:
                continue  # clocks of whole seconds give many bias frames the same time
            if abs(second.start - first.start) * SECONDS_PER_DAY < 1e-3:
                same += [first, second]
            elif (_end(first) - second.start) * SECONDS_PER_DAY > CLOCK:
                crossed += [first, second]
        for concerned, what in ((same, "start at the same moment"), (crossed, "are open at the same time")):
            if concerned:
                names = list(dict.fromkeys(frame.name for frame in concerned))
                text = f"frames{of_detector(detector)} {what}: {listed(names)}; copies, or times that are wrong"
                yield Finding("warning", text, tuple(names))


def order_of_names(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Name frames whose running numbers and times are in another order."""
    series: dict[tuple[str, str, str], list[Frame]] = {}
    for frame in _timed(frames):
        path = PurePath(frame.path)
        series.setdefault((str(path.parent), re.sub(r"\d+", "#", path.name), frame.detector), []).append(frame)
    early: list[Frame] = []
    for group in series.values():
        ordered = sorted(
            _files(Frames(group)), key=lambda f: [int(n) for n in re.findall(r"\d+", PurePath(f.path).name)]
        )
        early += [b for a, b in pairwise(ordered) if (a.start - b.start) * SECONDS_PER_DAY > CLOCK]
    if early:
        names = listed([frame.name for frame in early])
        yield about("warning", f"earlier than the frame before them by name: {names}; was the clock set back?", early)


def incomplete_exposures(frames: Frames, camera: Instrument) -> Iterator[Finding]:
    """Count the exposures that all detectors took part in."""
    science = frames.where(kind="science")
    detectors = sorted({frame.detector for frame in science})
    if len(detectors) < 2:
        return
    alone = science.where(exposure="")
    exposures = science.where(exposure=bool).by("exposure")
    lacking: dict[tuple[str, ...], list[Frame]] = {}
    for group in exposures.values():
        missing = tuple(name for name in detectors if name not in group.values("detector"))
        if missing:
            lacking.setdefault(missing, []).extend(group)
    complete = len(exposures) - sum(len(Frames(group).by("exposure")) for group in lacking.values())
    plural = "s" * (len(exposures) != 1)
    text = f"{len(exposures)} exposure{plural} of {', '.join(detectors)}: {complete} complete"
    words = [f"{len(Frames(group).by('exposure'))} without {', '.join(names)}" for names, group in lacking.items()]
    if alone:
        words.append(f"{len(alone)} frame{'s belong' if len(alone) > 1 else ' belongs'} to none")
    concerned = [*alone, *(frame for group in lacking.values() for frame in group)]
    yield about("warning" if words else "note", "; ".join([text, *words]), concerned or science)


def _nights(frames: Frames) -> list[list[Frame]]:
    """Cut frames at noon of the telescope, or where it is not known at long pauses; in order of time."""
    groups: list[list[Frame]] = []
    last: Frame | None = None
    for frame in frames.sorted("start"):
        if last is None or _apart(last, frame):
            groups.append([])
        groups[-1].append(frame)
        last = frame
    return groups


def _apart(first: Frame, second: Frame) -> bool:
    if first.site is None:
        return second.start - first.start >= DAYTIME
    noon = first.site[0] / 360.0 - 0.5  # local mean noon falls on a whole number
    return floor(second.start + noon) > floor(first.start + noon)


def _timed(frames: Frames) -> Frames:
    return Frames(f for f in frames if isfinite(f.start))


def _files(frames: Frames) -> Frames:
    """Sort by start, with one frame of each file: parts of a detector expose together."""
    first = next(iter(each_part(frames).values()), Frames())
    return first.sorted("start")


def _length(frame: Frame) -> float:
    return frame.exptime if isfinite(frame.exptime) else 0.0


def _end(frame: Frame) -> float:
    return frame.start + _length(frame) / SECONDS_PER_DAY


def _lasting(days: float) -> str:
    seconds = days * SECONDS_PER_DAY
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    return f"{seconds / 60.0:.0f} min" if seconds >= 600.0 else f"{seconds / 60.0:.1f} min"
