"""All stars of the night: scatter against flux with what photons allow, variable candidates, comparison stars."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Flag
from albireo_html._chart import Chart, Panel, Series, draw
from albireo_html._curves import Curve
from albireo_html._values import MMAG, floats, number, plural, scatter, texts

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

VARIABLE = 3.0
"""A star that scatters by more than so many times its expected error is a candidate."""

SPOILING = int(Flag.SATURATED | Flag.BLEED | Flag.EDGE)
"""What a star must not have in any frame to be a candidate."""

LABELS = 20
"""Most variable candidates that get a label in a chart; the table has them all."""

BEST = 10
"""The best stars whose median scatter stands for the night."""


@dataclass(frozen=True)
class Band:
    """The stars of one field in one filter by one method and aperture; fields of one sky have stars in common."""

    name: str
    field: str
    sky: str
    method: str
    table: Table

    def column(self, name: str) -> NDArray[np.float64]:
        """Give a column as floats."""
        return floats(self.table, name)

    @property
    def ids(self) -> list[str]:
        """Identities, as written in the catalogue."""
        return texts(self.table, "source")

    @property
    def targets(self) -> NDArray[np.bool_]:
        """Which stars are targets."""
        return np.array([bool(name) for name in texts(self.table, "name")], dtype=bool)

    @property
    def comparisons(self) -> NDArray[np.bool_]:
        """Which stars are comparison stars."""
        return self.column("comparison") > 0

    @property
    def ratio(self) -> NDArray[np.float64]:
        """Scatter over expected error."""
        expected = self.column("expected")
        return self.column("scatter") / np.where(expected > 0, expected, np.nan)

    @property
    def spoilt(self) -> NDArray[np.bool_]:
        """Which stars scatter for a reason that is not theirs: saturation, or an aperture beyond the edge."""
        return (np.nan_to_num(self.column("flags")).astype(np.int64) & SPOILING) != 0

    @property
    def candidates(self) -> NDArray[np.int64]:
        """Rows of variable candidates, the most conspicuous first."""
        ratio = np.where(self.spoilt, 0, np.nan_to_num(self.ratio))
        rows = np.flatnonzero(ratio > VARIABLE)
        return rows[np.argsort(-ratio[rows], kind="stable")]

    @property
    def best(self) -> float:
        """Median scatter of the best stars, targets apart; NaN without any."""
        values = self.column("scatter")[~self.targets]
        values = np.sort(values[np.isfinite(values)])[:BEST]
        return float(np.median(values)) if values.size else float("nan")


def bands(stars: Table, shown: list[Curve]) -> list[Band]:
    """Group the stars, and take of each group the method and aperture of the light curve on the page.

    Where there is no light curve, that with the smallest scatter of the best stars is taken.
    """
    keys = [texts(stars, name) for name in ("field", "sky", "target", "detector", "filter", "method")]
    aperture = floats(stars, "aperture")
    groups: dict[tuple[str, ...], dict[str, list[int]]] = {}
    for row, (*key, method) in enumerate(zip(*keys, strict=True)):
        how = method + (f", r = {aperture[row]:g} pixel" if isfinite(aperture[row]) else "")
        groups.setdefault(tuple(key), {}).setdefault(how, []).append(row)
    on_page = {(curve.field, str(curve.meta("FILTER"))): curve.method for curve in shown}
    found = []
    for (field, sky, target, detector, band), ways in groups.items():
        title = " · ".join(filter(None, (target, band, detector))) or "all stars"
        choices = [Band(title, field, sky, how, stars[rows]) for how, rows in ways.items()]
        same = [one for one in choices if one.method == on_page.get((field, band))]
        found.append(same[0] if same else min(choices, key=lambda one: np.nan_to_num(one.best, nan=np.inf)))
    return found


def stars_section(found: list[Band]) -> list[dict[str, Any]]:
    """One block for each band: the photon-limit chart and the tables of comparison stars and candidates."""
    return [
        {
            "name": band.name,
            "method": band.method,
            "stars": len(band.table),
            "chart": draw(_chart(band)),
            "spoilt": int(np.count_nonzero(band.spoilt & (np.nan_to_num(band.ratio) > VARIABLE))),
            "comparisons": _rows(
                band, np.flatnonzero(band.comparisons)[np.argsort(-band.column("comparison")[band.comparisons])]
            ),
            "candidates": _rows(band, band.candidates),
        }
        for band in found
    ]


def _rows(band: Band, rows: NDArray[np.int64]) -> list[dict[str, str]]:
    names, ids, ratio = texts(band.table, "name"), band.ids, band.ratio
    flux, spread, expected, weight, points = (
        band.column(name) for name in ("flux", "scatter", "expected", "comparison", "points")
    )
    return [
        {
            "id": ids[row],
            "name": names[row],
            "flux": number(float(flux[row])),
            "scatter": scatter(spread[row]),
            "scatter_key": f"{spread[row]:.3e}",
            "expected": scatter(expected[row]),
            "expected_key": f"{expected[row]:.3e}",
            "ratio": number(float(ratio[row]), 2),
            "weight": number(float(weight[row]), 3),
            "points": number(float(points[row]), 1) if not isfinite(points[row]) else str(int(points[row])),
        }
        for row in rows.tolist()
    ]


def _chart(band: Band) -> Chart:
    flux, spread, ids = band.column("flux"), band.column("scatter") * MMAG, band.ids
    names = [f"star {star} {name}".strip() for star, name in zip(ids, texts(band.table, "name"), strict=True)]
    target, candidate = band.targets, np.zeros(len(flux), dtype=bool)
    candidate[band.candidates] = True
    comparison = band.comparisons & ~target
    spoilt = band.spoilt & ~(target | comparison)
    series = []
    line = _expected(flux, band.column("expected") * MMAG)
    if line is not None:
        series.append(Series(*line, "expected error", "ink", style="line", size=1.5))
    for what, label, hue, style, size in (
        (~(target | candidate | comparison | spoilt), "other stars", "grey", "dots", 5.0),
        (spoilt, "saturated or at the edge", "grey", "rings", 6.0),
        (comparison, "comparison stars", "blue", "rings", 9.0),
        (candidate & ~target & ~comparison, f"scatter > {VARIABLE:g} × expected", "red", "dots", 7.0),
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
