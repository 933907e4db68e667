"""Where the telescope pointed: which frames show one field, and which fields of two detectors show the same sky."""

from __future__ import annotations

from collections.abc import Iterable
from math import asin, cos, degrees, isfinite, radians, sin, sqrt

from albireo.frames import Frame, Frames

__all__ = ["is_same_sky", "separation", "split_by_pointing"]

LINK = 0.5
"""Frames nearer than this fraction of the smaller side of the field share at least half of it along each axis."""

COMMON = 2.0 / 3.0
"""Centres of two detectors nearer than this fraction of the mean of their smaller sides: at least about a third of the
field is common along each axis."""

STEPS = 20
"""Cells of the sky for each `LINK`, so that the thousand frames of a night that tracked well count as few."""


def separation(one: Frame, other: Frame) -> float:
    """Angle between the pointings of two frames in degrees; NaN if one is not known."""
    a, b = _direction(one), _direction(other)
    return degrees(2.0 * asin(min(1.0, 0.5 * _chord(a, b))))


def is_same_sky(one: Frame, other: Frame) -> bool | None:
    """Whether two frames of different detectors show the same sky by their pointings; None if that is not known."""
    sides = [side for side in (_side(one), _side(other)) if isfinite(side)]
    if not (sides and one.has_position and other.has_position):
        return None
    return separation(one, other) < COMMON * sum(sides) / len(sides)


def split_by_pointing(frames: Frames) -> list[Frames]:
    """Part frames of one detector whose pointings are so far apart that they show different fields.

    Frames nearer to each other than half the smaller side of the field belong together, and so do frames that others
    link (single linkage): dithers stay together, and so does a field that drifts. A frame whose pointing is not known
    goes with the frame next to it in time; where the size of the field is not known, all belong together.

    Parameters
    ----------
    frames : Frames
        Of one detector, target and setup, in order of time.

    Returns
    -------
    list of Frames
        In order of their first frames; the frames of each in their order.
    """
    sides = [side for side in map(_side, frames) if isfinite(side)]
    placed = [row for row, frame in enumerate(frames) if frame.has_position]
    if not (sides and placed):
        return [frames]
    labels: dict[int, int] = {}
    for label, rows in enumerate(_linked(frames, placed, 2.0 * sin(0.5 * radians(LINK * min(sides))))):
        labels.update(dict.fromkeys(rows, label))
    parts: dict[int, list[Frame]] = {}
    for row, frame in enumerate(frames):
        nearest = row if row in labels else min(placed, key=lambda p: _apart(frame, frames[p]))
        parts.setdefault(labels[nearest], []).append(frame)
    return [Frames(part) for part in parts.values()]


def _linked(frames: Frames, rows: Iterable[int], reach: float) -> list[list[int]]:
    """Single-linkage clusters of pointings, as chords of the unit sphere.

    Frames in one small cell of the sky count as one, which stands where the first of them does: links between cells are
    therefore good to the size of a cell.
    """
    cells: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        cells.setdefault(tuple(round(v * STEPS / reach) for v in _direction(frames[row])), []).append(row)
    order = sorted(cells)
    places = [_direction(frames[cells[cell][0]]) for cell in order]
    root = list(range(len(order)))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    first = 0
    for node, cell in enumerate(order):
        while order[first][0] < cell[0] - STEPS - 1:
            first += 1
        for other in range(first, node):
            if _chord(places[node], places[other]) < reach:
                root[find(node)] = find(other)
    clusters: dict[int, list[int]] = {}
    for node, cell in enumerate(order):
        clusters.setdefault(find(node), []).extend(cells[cell])
    return list(clusters.values())


def _direction(frame: Frame) -> tuple[float, float, float]:
    ra, dec = radians(frame.ra), radians(frame.dec)
    return (cos(dec) * cos(ra), cos(dec) * sin(ra), sin(dec))


def _chord(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    return sqrt(sum((u - v) ** 2 for u, v in zip(a, b, strict=True)))


def _side(frame: Frame) -> float:
    """Smaller side of the light-sensitive image in degrees; NaN if it is not known."""
    return min(frame.lit.shape) * frame.scale / 3600.0


def _apart(one: Frame, other: Frame) -> tuple[bool, float]:
    """How far two frames are apart in time; unknown times last."""
    days = abs(one.start - other.start)
    return (not isfinite(days), days if isfinite(days) else 0.0)
