"""Comparison stars one by one: each against the ensemble of the others, and the target against each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from albireo_html._chart import Panel
from albireo_html._curves import Axes, Curve, flux_bounds
from albireo_html._ratios import against_others, ratio_series
from albireo_html._values import floats, scatter, texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_html._measurements import Measured, Measurements

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
        found = measured.of(curve, names, {*weights, curve.source})
        heaviest = sorted((star for star in weights if star in found.flux), key=lambda star: -weights[star])[:MOST]
        pairs = [_pair(curve.source, star, found) for star in heaviest]
        ensembles = [_of(star, found, weights) for star in heaviest]
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


class _Ratio(NamedTuple):
    """A star and its ratio in every frame, with the error, and where it is flagged."""

    star: int
    ratio: NDArray[np.float64]
    err: NDArray[np.float64]
    flagged: NDArray[np.bool_]


def _of(star: int, measured: Measured, weights: dict[int, float]) -> _Ratio | None:
    found = against_others(star, measured.flux, measured.err, weights)
    return None if found is None else _Ratio(star, *found, measured.flagged[star])


def _pair(target: int, star: int, measured: Measured) -> _Ratio | None:
    """Divide the target by one star; error and flags are those of both."""
    flux, err, flagged = measured
    if target not in flux or target == star:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = flux[target] / flux[star]
        if not np.isfinite(ratio).any():
            return None
        ratio /= np.nanmedian(ratio)
        error = ratio * np.hypot(err[target] / flux[target], err[star] / flux[star])
        return _Ratio(star, ratio, error, flagged[target] | flagged[star])


def _panels(label: str, ratios: Sequence[_Ratio | None], time: NDArray[np.float64], key: str) -> list[Panel]:
    """Draw ratios on axes of the same length, so that a restless star stands out."""
    good = [ratio for ratio in ratios if ratio is not None]
    if not good:
        return []
    bounds = flux_bounds(np.concatenate([one.ratio for one in good]), np.concatenate([one.err for one in good]))
    return [
        Panel(
            f"{label.format(one.star)} · scatter {scatter(_scatter(one.ratio))}",
            ratio_series(time, one.ratio, one.err, one.flagged, 3.0, key),
            70,
            bounds=bounds,
        )
        for one in good
    ]


def _scatter(ratio: NDArray[np.float64]) -> float:
    """Robust scatter from point to point, as the run gives it for light curves."""
    steps = np.diff(ratio[np.isfinite(ratio)])
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2.0)) if steps.size else float("nan")
