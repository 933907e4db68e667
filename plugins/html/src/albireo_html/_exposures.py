"""Exposures of several detectors at once: which are complete, and what the others lack and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from albireo_html._values import listed, plural, texts

if TYPE_CHECKING:
    from astropy.table import Table


def exposures_section(frames: Table) -> dict[str, Any] | None:
    """Count exposures by the detectors that saw them; None unless several detectors exposed at once.

    An exposure is complete if a frame of each detector was used. A detector that lacks has no frame, or one that was
    left out, for a reason that the table of frames has.
    """
    columns = [texts(frames, name) for name in ("kind", "exposure", "detector", "fate", "stage")]
    found: dict[str, dict[str, str]] = {}
    for kind, exposure, detector, fate, stage in zip(*columns, strict=True):
        if kind == "science" and exposure:
            why = "used" if fate == "used" else f"{fate} in {stage}" if stage else fate
            found.setdefault(exposure, {})[detector] = why
    detectors = sorted({detector for seen in found.values() for detector in seen})
    if len(detectors) < 2:
        return None
    groups: Counter[tuple[str, ...]] = Counter()
    example: dict[tuple[str, ...], str] = {}
    for exposure, seen in sorted(found.items()):
        key = tuple(seen.get(detector, "no frame") for detector in detectors)
        groups[key] += 1
        example.setdefault(key, exposure)
    complete = ("used",) * len(detectors)
    lone = Counter(detectors[key.index("used")] for key in groups.elements() if key.count("used") == 1)
    alone = [f"{count} of {detector}" for detector, count in sorted(lone.items())]
    return {
        "detectors": detectors,
        "verdict": (
            f"{plural(len(found), 'exposure')}; complete in all {len(detectors)} detectors: {groups[complete]}"
            + (f"; alone: {listed(alone)}" if alone else "")
        ),
        "rows": [
            {"count": count, "states": key, "example": example[key]}
            for key, count in sorted(groups.items(), key=lambda item: (item[0] != complete, -item[1], item[0]))
        ],
    }
