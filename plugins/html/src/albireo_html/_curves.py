"""Light curves of the targets, one chart a target, with a check star below each filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Flag
from albireo_html._chart import Chart, Panel, Series, draw, hues
from albireo_html._values import floats, listed, plural, robust_range, scatter, texts

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

    from albireo import Results

BINS = 40
"""Bins over a light curve; drawn where they hold at least `PER_BIN` points on average."""

PER_BIN = 5


@dataclass(frozen=True, eq=False)
class Curve:
    """A light curve of the run with what its table says of itself."""

    table: Table
    path: str
    transparency: dict[str, float] = field(default_factory=dict)
    """What the sky let through in each frame, as far as a curve step found it."""

    def meta(self, key: str, default: Any = "") -> Any:
        """Give an entry of the table's meta."""
        return self.table.meta.get(key, default)

    @property
    def name(self) -> str:
        """The target, or the number of the star."""
        return str(self.meta("OBJECT")) or f"star {self.meta('SOURCE', '?')}"

    @property
    def band(self) -> str:
        """Filter, with the detector where there is one."""
        return " · ".join(filter(None, (str(self.meta("FILTER")), str(self.meta("DETECTOR"))))) or "no filter"

    @property
    def field(self) -> str:
        """The field it was measured in."""
        return str(self.meta("FIELD"))

    @property
    def method(self) -> str:
        """Method and aperture."""
        aperture = float(self.meta("APERTURE", np.nan))
        return str(self.meta("METHOD")) + (f", r = {aperture:g} pixel" if isfinite(aperture) else "")

    @property
    def points(self) -> int:
        """Number of points with a flux."""
        return int(np.isfinite(floats(self.table, "flux")).sum())

    @property
    def scatter(self) -> float:
        """Robust point-to-point scatter, relative."""
        return float(self.meta("SCATTER", np.nan))

    @property
    def expected(self) -> float:
        """Median error, relative."""
        return float(self.meta("EXPECTED", np.nan))

    @property
    def comparisons(self) -> dict[int, float]:
        """Weights of the comparison stars."""
        return {int(star): float(weight) for star, weight in dict(self.meta("COMPARISONS", {})).items() if weight > 0}


def read_curves(run: Results, base: str) -> list[Curve]:
    """Give all light curves; ``base`` leads from the page to the run folder."""
    ensembles = run.summary["ensembles"]
    return [
        Curve(table, f"{base}/{path}", _transparency(table, ensembles))
        for table, path in zip(run.curves, run.summary["curves"], strict=True)
        if len(table)
    ]


def _transparency(table: Table, ensembles: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Find what a curve's ensemble noted of the sky, by frame."""
    keys = ("FILTER", "DETECTOR", "METHOD", "APERTURE")
    # A method without an aperture has NaN there, which the record of the run writes as None.
    wanted = [None if value != value else value for value in map(table.meta.get, keys)]
    frames = set(texts(table, "frame"))
    for ensemble in ensembles:
        if [ensemble[key.lower()] for key in keys] != wanted or not frames <= set(ensemble["frames"]):
            continue
        for step in ensemble["steps"].values():
            known = zip(ensemble["frames"], step.get("transparency", ()), strict=False)
            return {frame: value for frame, value in known if value is not None}
    return {}


def chosen(curves: list[Curve]) -> list[Curve]:
    """Of each target, field and band, the curve with the smallest scatter: the one the page shows."""
    best: dict[tuple[str, str, str], Curve] = {}
    for curve in curves:
        key = (curve.name, curve.field, curve.band)
        if key not in best or _rank(curve) < _rank(best[key]):
            best[key] = curve
    return list(best.values())


def _rank(curve: Curve) -> float:
    return curve.scatter if isfinite(curve.scatter) else np.inf


class Clock:
    """Time since a start, in the unit that suits the length of the run."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end
        self.unit, self.factor = ("hours", 24.0) if not end - start > 3 else ("days", 1.0)

    def __call__(self, days: NDArray[np.float64]) -> NDArray[np.float64]:
        """Time since the start."""
        return (days - self.start) * self.factor


def curves_section(run: Results, curves: list[Curve], targets: set[str]) -> list[dict[str, Any]]:
    """One block for each target: chart, and a table of all its curves.

    A star that is only drawn because there is no target gets no check star.
    """
    shown = chosen(curves)
    colour = hues([curve.band for curve in shown])
    checked = {star for curve in shown if curve.name in targets for star in curve.comparisons}
    measured = _Measurements(run, checked) if checked else None
    at_once = {str(table.meta["OBJECT"]) for table in run.bands}
    blocks = []
    for name in dict.fromkeys(curve.name for curve in shown):
        mine = [curve for curve in shown if curve.name == name]
        drawable = [curve for curve in mine if curve.points]
        check = measured if name in targets else None
        blocks.append(
            {
                "name": name,
                "chart": draw(_chart(name, drawable, colour, check, name in at_once)) if drawable else None,
                "rows": [_row(curve, curve in mine) for curve in curves if curve.name == name],
            }
        )
    return blocks


def _row(curve: Curve, shown: bool) -> dict[str, Any]:
    return {
        "band": curve.band,
        "method": curve.method,
        "points": curve.points,
        "scatter": scatter(curve.scatter),
        "expected": scatter(curve.expected),
        "comparisons": len(curve.comparisons),
        "path": curve.path,
        "shown": shown,
    }


def _chart(
    name: str, curves: list[Curve], colour: dict[str, str], measured: _Measurements | None, at_once: bool
) -> Chart:
    times = np.concatenate([floats(curve.table, "time") for curve in curves])
    finite = times[np.isfinite(times)]
    start, end = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    clock = Clock(start, end)
    system = str(curves[0].meta("TIMESYS", "time")).replace("_", " ")
    panels, sentences = [_bands_panel(curves, colour, clock)] if at_once and len(curves) > 1 else [], []
    for curve in curves:
        hue = colour[curve.band]
        panels.append(_curve_panel(curve, hue, clock))
        check = _check_panel(curve, hue, clock, measured)
        if check is not None:
            panels.append(check)
        sentences.append(
            f"{curve.band}: {plural(curve.points, 'point')}, "
            f"scatter {scatter(curve.scatter)}, expected {scatter(curve.expected)}"
        )
    xlabel = f"{clock.unit} since {system} {start:.5f}"
    return Chart(panels, xlabel, f"Light curve of {name} against {clock.unit}. {'; '.join(sentences)}.")


def _curve_panel(curve: Curve, hue: str, clock: Clock) -> Panel:
    table = curve.table
    time, flux, err = floats(table, "time"), floats(table, "flux"), floats(table, "flux_err")
    flagged = floats(table, "flags") > 0
    names = texts(table, "frame")
    unit = str(curve.meta("UNIT"))
    series = []
    binned = _binned(time, flux, err, ~flagged)
    for what, label, style in ((~flagged, "", "dots"), (flagged, "flagged", "rings")):
        if what.any():
            picked = [name for name, ok in zip(names, what, strict=True) if ok]
            series.append(
                Series(
                    clock(time[what]),
                    flux[what],
                    label,
                    hue,
                    err[what],
                    style,
                    4.5 if style == "dots" else 6,
                    picked,
                    faint=binned is not None,
                )
            )
    if binned is not None:
        t, f, e = binned
        series.append(Series(clock(t), f, f"mean of about {max(1, round(len(time) / BINS))}", hue, e, "dots", 7))
    label = f"{f'flux ({unit})' if unit else 'relative flux'} · {curve.band} · {curve.method}"
    return Panel(label, series, 230, bounds=_flux_bounds(flux, err))


def _bands_panel(curves: list[Curve], colour: dict[str, str], clock: Clock) -> Panel:
    """All bands over each other, each relative to its own median, so that their shapes can be compared."""
    series, every = [], []
    for curve in curves:
        table = curve.table
        flux = floats(table, "flux")
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = flux / np.nanmedian(flux)
        names = texts(table, "frame")
        series.append(
            Series(clock(floats(table, "time")), relative, curve.band, colour[curve.band], None, "dots", 4.5, names)
        )
        every.append(relative)
    return Panel("flux over its median, all bands at once", series, 230, bounds=robust_range(np.concatenate(every)))


def _flux_bounds(flux: NDArray[np.float64], err: NDArray[np.float64]) -> tuple[float, float]:
    low, high = robust_range(flux)
    typical = float(np.nanmedian(err)) if np.isfinite(err).any() else 0.0
    return low - typical, high + typical


def _binned(
    time: NDArray[np.float64], flux: NDArray[np.float64], err: NDArray[np.float64], use: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Weighted means over equal spans of time, with their errors; None if there are too few points to gain by it."""
    good = use & np.isfinite(time) & np.isfinite(flux) & (err > 0)
    if good.sum() < BINS * PER_BIN // 2:
        return None
    t, f, w = time[good], flux[good], err[good] ** -2.0
    edges = np.linspace(t.min(), t.max(), BINS + 1)
    which = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, BINS - 1)
    count, weight = np.bincount(which, minlength=BINS), np.bincount(which, w, minlength=BINS)
    full = count >= 2
    total = weight[full]
    mean_time = t[0] + np.bincount(which, w * (t - t[0]), minlength=BINS)[full] / total
    mean_flux = np.bincount(which, w * f, minlength=BINS)[full] / total
    error = 1 / np.sqrt(total)
    return mean_time, mean_flux, error


def _check_panel(curve: Curve, hue: str, clock: Clock, measured: _Measurements | None) -> Panel | None:
    """Plot the heaviest comparison star against the others: what shows here as well is not the target's."""
    if measured is None or len(curve.comparisons) < 2:
        return None
    weights = curve.comparisons
    check = max(weights, key=lambda star: weights[star])
    names = texts(curve.table, "frame")
    flux, err = measured.of(curve, names)
    others = [star for star in flux if star != check]
    if check not in flux or not others:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = {star: values / np.nanmedian(values) for star, values in flux.items()}
        parts = np.array([relative[star] for star in others])
        weight = np.where(np.isfinite(parts), np.array([[weights[star]] for star in others]), 0.0)
        reference = np.nansum(weight * np.nan_to_num(parts), axis=0) / weight.sum(axis=0)
        ratio = relative[check] / reference
        ratio /= np.nanmedian(ratio)
        error = ratio * err[check] / flux[check]
    if not np.isfinite(ratio).any():
        return None
    bounds = _flux_bounds(ratio, error)
    time = clock(floats(curve.table, "time"))
    series = Series(time, ratio, "", "grey", error, "dots", 3.5, names)
    return Panel(
        f"check star {check} against {plural(len(others), 'other comparison star')}", [series], 90, bounds=bounds
    )


class _Measurements:
    """Measured fluxes of the comparison stars by source, frame, method and aperture."""

    def __init__(self, run: Results, stars: set[int]) -> None:
        every = run.photometry
        table = every[np.isin(np.asarray(every["source"]), list(stars))]
        self.source = np.asarray(table["source"])
        self.aperture = floats(table, "aperture")
        self.flux, self.err = floats(table, "flux"), floats(table, "flux_err")
        self.method, self.frame = np.array(texts(table, "method")), texts(table, "frame")

    def of(
        self, curve: Curve, names: list[str]
    ) -> tuple[dict[int, NDArray[np.float64]], dict[int, NDArray[np.float64]]]:
        """Flux and error of each comparison star of a curve in the frames of the curve; NaN where there is none."""
        aperture = float(curve.meta("APERTURE", np.nan))
        rows = np.isin(self.source, list(curve.comparisons)) & (self.method == str(curve.meta("METHOD")))
        if isfinite(aperture):
            rows &= np.isclose(self.aperture, aperture)
        where = {name: row for row, name in enumerate(names)}
        flux: dict[int, NDArray[np.float64]] = {}
        err: dict[int, NDArray[np.float64]] = {}
        for index in np.flatnonzero(rows).tolist():
            row = where.get(self.frame[index])
            if row is not None:
                star = int(self.source[index])
                flux.setdefault(star, np.full(len(names), np.nan))[row] = self.flux[index]
                err.setdefault(star, np.full(len(names), np.nan))[row] = self.err[index]
        return {star: values for star, values in flux.items() if np.isfinite(values).any()}, err


def saturated(curve: Curve) -> int:
    """Count points whose aperture holds saturated pixels."""
    return int(np.count_nonzero(np.nan_to_num(floats(curve.table, "flags")).astype(np.int64) & int(Flag.SATURATED)))


def sentence(curves: list[Curve]) -> str:
    """Say how good the light curves of one target are, which it has in one or more bands."""
    parts = [
        f"{scatter(curve.scatter)} in {curve.band}"
        + (f" ({scatter(curve.expected)} expected)" if isfinite(curve.expected) else "")
        for curve in curves
        if isfinite(curve.scatter)
    ]
    return f"{curves[0].name} scatters by {listed(parts)}" if parts else f"the scatter of {curves[0].name} is unknown"
