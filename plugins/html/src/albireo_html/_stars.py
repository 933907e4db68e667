"""All stars of the night: scatter against flux with what photons allow, variable candidates, comparison stars."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_html._bands import VARIABLE, Band, varies
from albireo_html._chart import Chart, Panel, Series, draw
from albireo_html._noise import noise_chart, snr_chart
from albireo_html._values import MMAG, number, plural, scatter, texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_html._measurements import Group

LABELS = 20
"""Most variable candidates that get a label in a chart; the table has them all."""


def stars_section(found: list[Band], groups: Sequence[Group]) -> list[dict[str, Any]]:
    """One block for each band: the photon-limit chart, noise, signal to noise, and tables of stars."""
    return [
        {
            "name": band.name,
            "method": band.method,
            "stars": len(band.table),
            "chart": draw(_chart(band)),
            "spoilt": int(np.count_nonzero(band.spoilt & (np.nan_to_num(band.ratio) > VARIABLE) & ~varies(band))),
            "judged": band.judged,
            "mag": "mag" in band.table.colnames,
            "excess": "excess" in band.table.colnames,
            "noise": noise_chart(band),
            "snr": snr_chart(band, groups),
            "comparisons": _rows(
                band, np.flatnonzero(band.comparisons)[np.argsort(-band.column("comparison")[band.comparisons])]
            ),
            "candidates": _rows(band, band.candidates),
        }
        for band in found
    ]


def _rows(band: Band, rows: NDArray[np.int64]) -> list[dict[str, str]]:
    names, ids, ratio = texts(band.table, "name"), band.ids, band.ratio
    mag, excess = band.column("mag"), band.column("excess")
    flux, spread, expected, weight, points = (
        band.column(name) for name in ("flux", "scatter", "expected", "comparison", "points")
    )
    return [
        {
            "id": ids[row],
            "name": names[row],
            "flux": number(float(flux[row])),
            "mag": number(float(mag[row]), 4),
            "scatter": scatter(spread[row]),
            "scatter_key": f"{spread[row]:.3e}",
            "expected": scatter(expected[row]),
            "expected_key": f"{expected[row]:.3e}",
            "ratio": number(float(ratio[row]), 2),
            "excess": number(float(excess[row]), 2),
            "weight": number(float(weight[row]), 3),
            "points": number(float(points[row]), 1) if not isfinite(points[row]) else str(int(points[row])),
        }
        for row in rows.tolist()
    ]


def _chart(band: Band) -> Chart:
    flux, spread, ids = band.column("flux"), band.column("scatter") * MMAG, band.ids
    names = [f"star {star} {name}".strip() for star, name in zip(ids, texts(band.table, "name"), strict=True)]
    target, candidate = band.targets, varies(band)
    comparison = band.comparisons & ~target
    spoilt = band.spoilt & ~(target | comparison)
    series = []
    limit = band.column("limit") * MMAG
    known = np.isfinite(limit).any()
    line = _expected(flux, limit if known else band.column("expected") * MMAG)
    if line is not None:
        series.append(Series(*line, "photon limit" if known else "expected error", "ink", style="line", size=1.5))
    for what, label, hue, style, size in (
        (~(target | candidate | comparison | spoilt), "other stars", "grey", "dots", 5.0),
        (spoilt, "saturated or at the edge", "grey", "rings", 6.0),
        (comparison, "comparison stars", "blue", "rings", 9.0),
        (candidate & ~target & ~comparison, _candidates_label(band), "red", "dots", 7.0),
        (target, "targets", "gold", "dots", 10.0),
    ):
        if what.any():
            picked = [name for name, ok in zip(names, what, strict=True) if ok]
            series.append(Series(flux[what], spread[what], label, hue, style=style, size=size, names=picked))
    target_names = texts(band.table, "name")
    marks = [(flux[row], spread[row], target_names[row]) for row in np.flatnonzero(target).tolist()]
    marks += [(flux[row], spread[row], ids[row]) for row in band.candidates[:LABELS].tolist() if not target[row]]
    drawable = [mark for mark in marks if mark[0] > 0 and mark[1] > 0]
    panel = Panel("scatter (mmag)", series, 340, log=True, marks=drawable, whole=True)
    found = plural(len(band.candidates), "variable candidate")
    first = ", ".join(ids[row] for row in band.candidates[:LABELS])
    alt = (
        f"Scatter against flux of {plural(len(flux), 'star')} in {band.name}, with the expected error as a line. "
        f"{found}{': ' if first else ''}{first}."
    )
    return Chart([panel], "median flux (electron)", alt, log=True)


def _candidates_label(band: Band) -> str:
    return "variable candidates" if band.judged else f"scatter > {VARIABLE:g} × expected"


def _expected(
    flux: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Draw a line through the expected errors; None for fewer than four stars or if their fluxes are all alike.

    The square of a relative error is a constant floor, the photons of the star, which go with 1/flux, and the noise
    below it, which goes with 1/flux² (Howell 2006, Handbook of CCD Astronomy, section 4.4). The three amounts are
    fitted to the relative errors by least squares, none of them negative.
    """
    good = (flux > 0) & (expected > 0) & np.isfinite(flux) & np.isfinite(expected)
    f, variance = flux[good], expected[good] ** 2
    if f.size < 4 or f.max() < 1.2 * f.min():
        return None
    middle = float(np.median(f))

    def terms(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([np.ones_like(x), middle / x, (middle / x) ** 2]).T

    design = terms(f) / variance[:, None]
    best, least = np.zeros(3), np.inf
    for used in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
        amount = np.zeros(3)
        amount[used] = np.linalg.lstsq(design[:, used], np.ones(f.size), rcond=None)[0]
        misfit = float(np.sum((design @ amount - 1) ** 2))
        if (amount >= 0).all() and misfit < least:
            best, least = amount, misfit
    grid = np.geomspace(f.min(), f.max(), 60)
    return grid, np.sqrt(terms(grid) @ best)
