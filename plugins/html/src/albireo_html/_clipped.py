"""Points that were left out of light curves as outliers, as the step that left them out noted it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from albireo import Results

STEP, STARS = "clip", "stars"
"""The step that notes outliers, and under which name: for each star the names of its frames."""

MOST = 500
"""Most points that are listed."""


def clipped_section(run: Results) -> dict[str, Any] | None:
    """List light curve, star and frame of every outlier of the run; None if there is none."""
    rows = [
        {"curve": _name(ensemble), "frame": frame, "star": star}
        for ensemble in run.summary["ensembles"]
        for star, frames in ensemble["steps"].get(STEP, {}).get(STARS, {}).items()
        for frame in frames
    ]
    return {"count": len(rows), "rows": rows[:MOST]} if rows else None


def _name(ensemble: Mapping[str, Any]) -> str:
    aperture = ensemble["aperture"]
    radius = "" if aperture is None else f", r = {aperture:.3g} pixel"
    band = " · ".join(filter(None, (ensemble["filter"], ensemble["detector"]))) or "no filter"
    return f"{ensemble['field']} · {band} · {ensemble['method']}{radius}"
