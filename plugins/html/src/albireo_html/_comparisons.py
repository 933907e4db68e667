"""Comparison stars one by one: each against the ensemble of the others, and the target against each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_html._chart import Panel, Series
from albireo_html._curves import Axes, Curve, flux_bounds, rows
from albireo_html._ratios import against_others
from albireo_html._values import floats, scatter, texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_html._measurements import Fluxes, Measurements

MOST = 12
"""Comparison stars that are drawn, the heaviest."""


def comparisons_section(shown: Mapping[str, Curve], targets: set[str], measured: Measurements) -> list[dict[str, Any]]:
    """One block for each light curve of a target that has at least two comparison stars."""
    axes = Axes(list(shown.values()))
    blocks = []
    for key, curve in shown.items():
        weights = curve.comparisons
        if curve.name not in targets or len(weights) < 2:
            continue
        names = texts(curve.table, "frame")
        flux, err = measured.of(curve, names, {*weights, curve.source})
        heaviest = sorted((star for star in weights if star in flux), key=lambda star: -weights[star])[:MOST]
        pairs = [_pair(curve.source, star, flux, err) for star in heaviest]
        ensembles = [_of(star, flux, err, weights) for star in heaviest]
        time = axes.clock(floats(curve.table, "time"))
        panels = [
            *_panels(f"{curve.name} / star {{}}", pairs, time, key),
            *_panels("star {} / the others", ensembles, time, key),
        ]
        if panels:
            alt = f"Comparison stars of {curve.name} in {curve.band} against each other, and {curve.name} against each."
            blocks.append(
                {
                    "name": curve.name,
                    "band": curve.band,
                    "drawn": len(heaviest),
                    "total": len(weights),
                    "chart": axes.chart(panels, alt),
                }
            )
    return blocks


_Ratio = tuple[int, "NDArray[np.float64]", "NDArray[np.float64]"]


def _of(star: int, flux: Fluxes, err: Fluxes, weights: dict[int, float]) -> _Ratio | None:
    found = against_others(star, flux, err, weights)
    return None if found is None else (star, *found)


def _pair(target: int, star: int, flux: Fluxes, err: Fluxes) -> _Ratio | None:
    """Divide the target by one star; the error is that of both."""
    if target not in flux or target == star:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = flux[target] / flux[star]
        if not np.isfinite(ratio).any():
            return None
        ratio /= np.nanmedian(ratio)
        return star, ratio, ratio * np.hypot(err[target] / flux[target], err[star] / flux[star])


def _panels(label: str, ratios: Sequence[_Ratio | None], time: NDArray[np.float64], key: str) -> list[Panel]:
    """Draw ratios on axes of the same length, so that a restless star stands out."""
    good = [ratio for ratio in ratios if ratio is not None]
    if not good:
        return []
    names = rows(np.arange(len(time)))
    bounds = flux_bounds(np.concatenate([ratio for _, ratio, _ in good]), np.concatenate([err for _, _, err in good]))
    return [
        Panel(
            f"{label.format(star)} · scatter {scatter(_scatter(ratio))}",
            [Series(time, ratio, "", "grey", err, "dots", 3.0, names, key)],
            70,
            bounds=bounds,
        )
        for star, ratio, err in good
    ]


def _scatter(ratio: NDArray[np.float64]) -> float:
    """Robust scatter from point to point, as the run gives it for light curves."""
    steps = np.diff(ratio[np.isfinite(ratio)])
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2.0)) if steps.size else float("nan")
