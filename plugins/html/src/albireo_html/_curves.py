"""Light curves of the targets, one chart a target, with a check star below each filter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Flag
from albireo_html._bakeoff import is_clear, read_winners
from albireo_html._chart import Chart, Panel, Series, draw, hues
from albireo_html._ratios import against_others, ratio_series
from albireo_html._values import floats, listed, plural, robust_range, scatter, texts
from albireo_html._ways import Place, Way, method_text

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

    from albireo import Results
    from albireo_html._measurements import Measurements

BINS = 40
"""Bins over a light curve; drawn where they hold at least `PER_BIN` points on average."""

PER_BIN = 5


@dataclass(frozen=True, eq=False)
class Curve:
    """A light curve of the run with what its table says of itself.

    Its file is ``path`` in the run folder, to which ``base`` leads from the page.
    """

    table: Table
    path: str
    base: str
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
    def source(self) -> int:
        """The number of the star in the catalogue."""
        return int(self.meta("SOURCE", 0))

    @property
    def field(self) -> str:
        """The field it was measured in."""
        return str(self.meta("FIELD"))

    @property
    def method(self) -> str:
        """Method and aperture."""
        return method_text(str(self.meta("METHOD")), float(self.meta("APERTURE", np.nan)))

    @property
    def place(self) -> Place:
        """Field, filter and detector."""
        return self.field, str(self.meta("FILTER")), str(self.meta("DETECTOR"))

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
    """Give the chosen light curve of each target, field and filter; ``base`` leads from the page to the run folder."""
    ensembles = run.summary["ensembles"]
    return [
        Curve(table, path, base, _transparency(table, ensembles))
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


class Clock:
    """Time since a start, in the unit that suits the length of the run."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end
        self.unit, self.factor = ("hours", 24.0) if not end - start > 3 else ("days", 1.0)

    def __call__(self, days: NDArray[np.float64]) -> NDArray[np.float64]:
        """Time since the start."""
        return (days - self.start) * self.factor


class Axes:
    """The axis of time that all light curves of a page share.

    Parameters
    ----------
    curves : sequence of Curve
        Those that are drawn.
    """

    def __init__(self, curves: Sequence[Curve]) -> None:
        times = np.concatenate([floats(curve.table, "time") for curve in curves] or [np.empty(0)])
        finite = times[np.isfinite(times)]
        start, end = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        self.clock = Clock(start, end)
        system = str(curves[0].meta("TIMESYS", "time")).replace("_", " ") if curves else "time"
        self.label = f"{self.clock.unit} since {system} {start:.5f}"
        ends = self.clock(np.array([start, end]))
        margin = 0.03 * float(ends[1] - ends[0]) or 0.5
        self.bounds = float(ends[0]) - margin, float(ends[1]) + margin

    def chart(self, panels: Sequence[Panel], alt: str) -> dict[str, Any]:
        """Draw panels above this axis."""
        return draw(Chart(panels, self.label, alt, bounds=self.bounds, group="curves"))


def keyed(shown: Sequence[Curve]) -> dict[str, Curve]:
    """Give the curves that are drawn a key each, by which a click finds what is known of a point."""
    return {f"c{number}": curve for number, curve in enumerate(shown) if curve.points}


def curves_section(
    run: Results,
    curves: Sequence[Curve],
    shown: Mapping[str, Curve],
    targets: set[str],
    measured: Measurements,
    ways: Mapping[Place, Sequence[Way]],
) -> list[dict[str, Any]]:
    """One block for each target: chart, a table of all ways to measure it, and where the bake-off differs.

    A star that is only drawn because there is no target gets no check star.
    """
    colour = hues([curve.band for curve in curves])
    axes = Axes(list(shown.values()))
    at_once = {str(table.meta["OBJECT"]) for table in run.bands}
    files, winners = set(run.summary["files"]), read_winners(run)
    blocks = []
    for name in dict.fromkeys(curve.name for curve in curves):
        every = [curve for curve in curves if curve.name == name]
        mine = {key: curve for key, curve in shown.items() if curve.name == name}
        rows = [_rows(curve, ways.get(curve.place, ()), files) for curve in every]
        check = measured if name in targets else None
        blocks.append(
            {
                "name": name,
                "chart": _chart(name, mine, colour, axes, check, name in at_once) if mine else None,
                "rows": [row for part in rows for row in part],
                "chosen": any(len(part) > 1 for part in rows),
                "differs": [
                    text
                    for curve in every
                    if (text := _differs(curve, ways.get(curve.place, ()), winners.get((curve.place, curve.source))))
                ],
            }
        )
    return blocks


def _rows(curve: Curve, ways: Sequence[Way], files: Collection[str]) -> list[dict[str, Any]]:
    """Give a row for each way in which the star of a curve was measured, with the table of that way."""
    stem = curve.path.removesuffix(".ecsv")
    drawn = _drawn(curve, ways)
    rows = []
    for way in ways:
        served = way.stars.get(curve.source)
        if served is None:
            continue
        file = f"{stem}_{way.label}.ecsv"
        rows.append(
            {
                "band": curve.band,
                "method": way.method,
                "points": served.points,
                "scatter": scatter(served.scatter),
                "scatter_key": f"{served.scatter:.3e}",
                "expected": scatter(served.expected),
                "expected_key": f"{served.expected:.3e}",
                "comparisons": way.comparisons,
                "quality": scatter(way.quality),
                "quality_key": f"{way.quality:.3e}",
                "path": f"{curve.base}/{file if file in files and way is not drawn else curve.path}",
                "shown": way is drawn,
            }
        )
    return rows


def _drawn(curve: Curve, ways: Sequence[Way]) -> Way | None:
    """Find the way of a curve; of two with the same method and aperture that which scatters as the curve does."""
    same = [way for way in ways if way.method == curve.method and curve.source in way.stars]
    return min(same, key=lambda way: abs(way.stars[curve.source].scatter - curve.scatter), default=None)


def _differs(curve: Curve, ways: Sequence[Way], winner: str | None) -> str:
    """Say where the star of a curve scatters less by a way that is not drawn; empty where it does not."""
    best = next((way for way in ways if way.label == winner), None)
    drawn = _drawn(curve, ways)
    if best is None or drawn is None or best is drawn:
        return ""
    least, here = best.stars[curve.source], drawn.stars[curve.source]
    sure = "" if is_clear(here.scatter / least.scatter, least.points) else ", which is no clear difference"
    return (
        f"By the scatter of {curve.name} itself in {curve.band}, as the bake-off goes, {best.method} is best: "
        f"{scatter(least.scatter)} against {scatter(here.scatter)} of the one that is drawn{sure} with "
        f"{plural(least.points, 'point')}."
    )


def _chart(
    name: str,
    curves: Mapping[str, Curve],
    colour: dict[str, str],
    axes: Axes,
    measured: Measurements | None,
    at_once: bool,
) -> dict[str, Any]:
    clock = axes.clock
    several = at_once and len(curves) > 1
    panels, sentences = [_bands_panel(curves, colour, clock)] if several else [], []
    for key, curve in curves.items():
        hue = colour[curve.band]
        panels.append(_curve_panel(curve, key, hue, clock))
        check = _check_panel(curve, key, clock, measured)
        if check is not None:
            panels.append(check)
        sentences.append(
            f"{curve.band}: {plural(curve.points, 'point')}, "
            f"scatter {scatter(curve.scatter)}, expected {scatter(curve.expected)}"
        )
    return axes.chart(panels, f"Light curve of {name} against {clock.unit}. {'; '.join(sentences)}.")


def _curve_panel(curve: Curve, key: str, hue: str, clock: Clock) -> Panel:
    table = curve.table
    time, flux, err = floats(table, "time"), floats(table, "flux"), floats(table, "flux_err")
    flagged = floats(table, "flags") > 0
    unit = str(curve.meta("UNIT"))
    series = []
    binned = _binned(time, flux, err, ~flagged)
    for what, label, style, size in ((~flagged, "", "dots", 4.5), (flagged, "flagged", "rings", 6)):
        if what.any():
            names = rows(np.flatnonzero(what))
            x, pale = clock(time[what]), binned is not None
            series.append(Series(x, flux[what], label, hue, err[what], style, size, names, key, faint=pale))
    if binned is not None:
        t, f, e = binned
        series.append(Series(clock(t), f, f"mean of about {max(1, round(len(time) / BINS))}", hue, e, "dots", 7))
    label = f"{f'flux ({unit})' if unit else 'relative flux'} · {curve.band} · {curve.method}"
    return Panel(label, series, 230, bounds=flux_bounds(flux, err), opens=True)


def rows(numbers: NDArray[np.int64]) -> list[str]:
    """Name points by their rows in the table of their light curve."""
    return [str(number) for number in numbers.tolist()]


def _bands_panel(curves: Mapping[str, Curve], colour: dict[str, str], clock: Clock) -> Panel:
    """All bands over each other, each relative to its own median, so that their shapes can be compared."""
    series, every = [], []
    for key, curve in curves.items():
        flux = floats(curve.table, "flux")
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = flux / np.nanmedian(flux)
        x, names = clock(floats(curve.table, "time")), rows(np.arange(len(flux)))
        series.append(Series(x, relative, curve.band, colour[curve.band], None, "dots", 4.5, names, key))
        every.append(relative)
    bounds = robust_range(np.concatenate(every))
    return Panel("flux over its median, all bands at once", series, 230, bounds=bounds, opens=True)


def flux_bounds(flux: NDArray[np.float64], err: NDArray[np.float64]) -> tuple[float, float]:
    """Bounds of a panel that show nearly all points with their error bars."""
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


def _check_panel(curve: Curve, key: str, clock: Clock, measured: Measurements | None) -> Panel | None:
    """Plot the heaviest comparison star against the others: what shows here as well is not the target's."""
    if measured is None or len(curve.comparisons) < 2:
        return None
    weights = curve.comparisons
    check = max(weights, key=lambda star: weights[star])
    stars = measured.of(curve, texts(curve.table, "frame"), weights)
    found = against_others(check, stars.flux, stars.err, weights)
    if found is None:
        return None
    ratio, error = found
    time = clock(floats(curve.table, "time"))
    series = ratio_series(time, ratio, error, stars.flagged[check], 3.5, key)
    others = plural(len(stars.flux) - 1, "other comparison star")
    return Panel(f"check star {check} against {others}", series, 90, bounds=flux_bounds(ratio, error))


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
