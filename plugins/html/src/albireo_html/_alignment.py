"""How the frames lie on the reference: against time, and the way of the field over the detector."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from albireo_html._chart import Chart, Panel, Series, draw
from albireo_html._night import Night, median
from albireo_html._values import listed, number, plural, texts, unit_of


def alignment_section(night: Night) -> dict[str, Any] | None:
    """Shift, rotation, scale, residual and matches against time, and the drift; None if nothing was aligned.

    Frames that were not used stand as marks at the foot of the first panel.
    """
    if not (night.has("dx") and night.has("dy")):
        return None
    pixel = unit_of(night.table, "dx", "pixel")
    shift = night.panel(f"shift in x ({pixel})", "dx", True)
    panels = [
        Panel(shift.label, [*shift.series, *night.losses()], shift.height),
        night.panel(f"shift in y ({pixel})", "dy", False),
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
    dx, dy = night.values("dx"), night.values("dy")
    facts: dict[str, Any] = {
        "aligned": int(np.isfinite(dx).sum()),
        "total": len(dx),
        "failed": _failed(night),
        "drift": number(float(np.hypot(np.nanmax(dx) - np.nanmin(dx), np.nanmax(dy) - np.nanmin(dy)))),
        "rms": number(median(night.values("align_rms")), 2),
        "matched": f"{median(night.values('matched')):.0f}",
    }
    alt = f"Alignment of {plural(facts['aligned'], 'frame')} against time; the field moved over {facts['drift']} pixel."
    return {"chart": night.draw(panels, alt), "path": _path(night, pixel, facts["drift"]), **facts}


def _failed(night: Night) -> str:
    """Say how many science frames were not used, by stage."""
    stages = Counter(
        f"{fate} in {stage}" for fate, stage in zip(*(texts(night.lost, n) for n in ("fate", "stage")), strict=True)
    )
    return listed([f"{count} {what}" for what, count in stages.most_common()]) if stages else ""


def _path(night: Night, pixel: str, drift: str) -> dict[str, Any] | None:
    """Draw the way of the field over the detector, from the first frame to the last; None for fewer than two frames."""
    dx, dy = night.values("dx"), night.values("dy")
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
