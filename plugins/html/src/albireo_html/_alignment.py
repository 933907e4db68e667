"""How the frames lie on the reference: against time, and the way of the field over the detector.

Shifts are those of the middle of the image. The table of frames has those of pixel (0, 0), which a rotation about the
middle, as of a mount that was flipped at the meridian, moves across the detector although the field stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Transform
from albireo_html._chart import Chart, Panel, Series, draw
from albireo_html._night import Night, median
from albireo_html._values import listed, number, plural, texts, unit_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def alignment_section(night: Night, shapes: Mapping[str, tuple[int, int]]) -> dict[str, Any] | None:
    """Shift, rotation, scale, residual and matches against time, and the drift; None if nothing was aligned.

    Frames that were not used stand as marks at the foot of the first panel. ``shapes`` are those of the reference
    images, by field.
    """
    fields = texts(night.table, "field")
    shift = _shifts(night, fields, shapes)
    aligned = np.isfinite(shift).all(axis=1)
    if not aligned.any():
        return None
    pixel = unit_of(night.table, "dx", "pixel")
    panels = [
        Panel(f"shift in x ({pixel})", [*night.series(shift[:, 0], True), *night.losses()], 110),
        Panel(f"shift in y ({pixel})", night.series(shift[:, 1], False), 110),
    ]
    if night.has("rotation"):
        panels.append(night.panel(f"rotation ({unit_of(night.table, 'rotation', 'deg')})", "rotation", False))
    if night.has("scale"):
        panels.append(
            Panel("scale − 1 (parts per million)", night.series((night.values("scale") - 1) * 1e6, False), 110)
        )
    for label, name in (("residual, rms (pixel)", "align_rms"), ("matched stars", "matched")):
        if night.has(name):
            panels.append(night.panel(label, name, False))
    of = np.array(fields)
    spans = [np.ptp(shift[aligned & (of == field)], axis=0) for field in np.unique(of[aligned])]
    facts: dict[str, Any] = {
        "aligned": int(aligned.sum()),
        "total": len(night),
        "failed": _failed(night),
        "drift": number(max(float(np.hypot(*span)) for span in spans)),
        "rms": number(median(night.values("align_rms")), 2),
        "matched": f"{median(night.values('matched')):.0f}",
    }
    alt = f"Alignment of {plural(facts['aligned'], 'frame')} against time; the field moved over {facts['drift']} pixel."
    return {"chart": night.draw(panels, alt), "path": _path(night, shift, pixel, facts["drift"]), **facts}


def _shifts(night: Night, fields: list[str], shapes: Mapping[str, tuple[int, int]]) -> NDArray[np.float64]:
    """Give how far the middle of the reference image of each frame lies from there in the frame.

    Returns
    -------
    ndarray, shape (frames, 2)
        In x and y, in pixels; NaN for a frame that was not aligned.
    """
    numbers = np.column_stack([night.values(name) for name in ("dx", "dy", "rotation", "scale")])
    shift = np.full((len(night), 2), np.nan)
    for row, (field, similarity) in enumerate(zip(fields, numbers, strict=True)):
        if field in shapes and np.isfinite(similarity).all():
            middle = 0.5 * (np.array(shapes[field][::-1]) - 1)
            shift[row] = np.array(Transform.similarity(*similarity.tolist())(*middle)) - middle
    return shift


def _failed(night: Night) -> str:
    """Say how many science frames were not used, by stage."""
    stages = Counter(
        f"{fate} in {stage}" for fate, stage in zip(*(texts(night.lost, n) for n in ("fate", "stage")), strict=True)
    )
    return listed([f"{count} {what}" for what, count in stages.most_common()]) if stages else ""


def _path(night: Night, shift: NDArray[np.float64], pixel: str, drift: str) -> dict[str, Any] | None:
    """Draw the way of the field over the detector, from the first frame to the last; None for fewer than two frames."""
    dx, dy = shift.T
    if np.isfinite(dx).sum() < 2:
        return None
    series = []
    for band, hue in night.colour.items():
        where = [row for row, name in enumerate(night.bands) if name == band and np.isfinite(dx[row])]
        if not where:
            continue
        names = [night.names[row] for row in where]
        label = band if len(night.colour) > 1 else ""
        series.append(Series(dx[where], dy[where], "", hue, style="line", size=1.0, faint=True))
        series.append(Series(dx[where], dy[where], label, hue, size=3.5, names=names))
        series.append(Series(dx[where[:1]], dy[where[:1]], "", hue, style="rings", size=10.0))
    alt = f"The way of the field over the detector: {drift} pixel from end to end. The first frame has a ring."
    return draw(Chart([Panel(f"shift in y ({pixel})", series, 260, whole=True)], f"shift in x ({pixel})", alt))
