"""Conditions through the night: seeing, shape, sky and its noise, transparency and airmass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_html._chart import Panel
from albireo_html._night import Night, median
from albireo_html._values import number, unit_of

if TYPE_CHECKING:
    from albireo_html._curves import Curve

QUANTITIES = (
    ("fwhm", "FWHM", "pixel"),
    ("elongation", "elongation", ""),
    ("sky", "sky", "electron"),
    ("sky_rms", "noise of the sky in one pixel", "electron"),
    ("sky_gradient", "sky over the image, 95th − 5th percentile", "electron"),
)
"""Columns of the table of frames, what they are, and their units where the table has none."""


def conditions_section(night: Night, shown: Sequence[Curve]) -> dict[str, Any] | None:
    """Draw what is known against time; None if nothing is."""
    panels: list[Panel] = []
    for name, label, unit in QUANTITIES:
        if night.has(name):
            unit = unit_of(night.table, name, unit)
            panels.append(night.panel(f"{label} ({unit})" if unit else label, name, not panels))
    panels.extend(_transparency(night, shown))
    if night.has("airmass"):
        panels.append(night.panel("airmass", "airmass", not panels))
    if not panels:
        return None
    fwhm = median(night.values("fwhm"))
    labels = ", ".join(panel.label for panel in panels)
    alt = f"Conditions of the night against time: {labels}. Median FWHM {number(fwhm)} pixel."
    return {"chart": night.draw(panels, alt), "fwhm": number(fwhm)}


def _transparency(night: Night, shown: Sequence[Curve]) -> list[Panel]:
    """Frame zero points of the differential step, on the frames' own times."""
    row_of = {name: row for row, name in enumerate(night.names)}
    values = np.full(len(night.names), np.nan)
    for curve in shown:
        for name, value in curve.transparency.items():
            if name in row_of:
                values[row_of[name]] = value
    if not np.isfinite(values).any():
        return []
    return [Panel("transparency, relative", night.series(values, False), 110)]
