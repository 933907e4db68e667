"""The background of a reference image as a picture, as the run's own stage sees it."""

from __future__ import annotations

from typing import Any

import numpy as np

from albireo_html._picture import colour, linear, shrink
from albireo_html._reference import Reference
from albireo_html._values import number

SIDE = 300
"""Longest side in pixels: a background has no fine detail."""


def background_picture(reference: Reference) -> dict[str, Any]:
    """Draw the level from its lowest to its highest value; ``why`` says why it cannot be drawn."""
    if reference.background is None:
        return {"picture": None, "why": reference.why}
    background, unit = reference.background, str(reference.image.unit)
    small = shrink(np.asarray(background.level, dtype=np.float32), SIDE)
    finite = small[np.isfinite(small)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    facts = [
        ("level", f"{number(background.median, 5)} {unit}"),
        ("noise of one pixel", f"{number(background.median_rms)} {unit}"),
        ("5th to 95th percentile", f"{number(background.gradient)} {unit}"),
        ("difference over the noise", number(background.gradient / background.median_rms, 2)),
    ]
    return {"picture": colour(linear(small, low, high), low, high), "unit": unit, "facts": facts, "why": ""}
