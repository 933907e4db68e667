"""The page as a whole: what a person should know first, and the sections in the order of the questions."""

from __future__ import annotations

import os
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from albireo_html._alignment import alignment_section
from albireo_html._animation import write_animations
from albireo_html._bakeoff import bakeoff_section
from albireo_html._bands import BEST, VARIABLE, Band, bands
from albireo_html._cadence import cadence_section
from albireo_html._chart import BREADTH, SPAN
from albireo_html._clipped import clipped_section
from albireo_html._comparisons import comparisons_section
from albireo_html._conditions import conditions_section
from albireo_html._curves import Curve, curves_section, keyed, read_curves, saturated, sentence
from albireo_html._cutouts import write_cutouts
from albireo_html._exposures import exposures_section
from albireo_html._fields import fields_section
from albireo_html._frames import FATES, counts, reasons, rows
from albireo_html._masters import caption, masters_section
from albireo_html._measurements import Measurements
from albireo_html._methods import methods, timing
from albireo_html._night import Night
from albireo_html._picture import gradient
from albireo_html._points import CUT, flag_names, points
from albireo_html._reference import shapes
from albireo_html._stars import stars_section
from albireo_html._values import DASH, duration, grouped, number, plural, scatter, texts
from albireo_html._ways import read_ways

if TYPE_CHECKING:
    from albireo import Results


def render(run: Results, folder: Path, max_rows: int, animation: int, sheets: list[str]) -> str:
    """Give the page as text, and write what it loads when asked into ``folder``.

    Links to products are relative to ``folder``, ``sheets`` are pages in it; ``max_rows`` and ``animation`` are the
    options of the report.
    """
    base = Path(os.path.relpath(run.folder, folder)).as_posix()
    frames = run.frames
    shown = read_curves(run, base)
    found = bands(run.stars, shown) if (run.folder / "stars.ecsv").exists() else []
    targets = {name for band in found for name in texts(band.table, "name") if name}
    wanted = [curve for curve in shown if curve.name in targets]
    keys = keyed(shown)
    stars = {star for curve in wanted for star in (*curve.comparisons, curve.source)}
    measured = Measurements(run.folder / "photometry.fits", frames, stars)
    night = Night(frames)
    table = counts(frames)
    environment = Environment(
        loader=PackageLoader("albireo_html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"grouped": grouped, "number": number, "plural": plural}
    environment.globals |= {
        "span": SPAN,
        "breadth": BREADTH,
        "cut": CUT,
        "flags": flag_names(),
        "gradient": gradient(),
        "caption": caption,
        "fates": FATES,
        "limit": f"{VARIABLE:g}",
    }
    conditions = conditions_section(night, shown)
    sizes, ways = shapes(run), read_ways(run)
    return environment.get_template("index.html").render(
        base=base,
        summary=run.summary,
        title=run.summary["title"] or "Untitled run",
        verdict=_verdict(table, wanted, shown, found),
        warnings=_warnings(run.summary["warnings"], table, wanted),
        remarks=run.summary["notes"],
        tiles=_tiles(run, table, wanted, found, conditions, night),
        curves=curves_section(run, shown, keys, targets, measured, ways),
        comparisons=comparisons_section(keys, targets, measured),
        points=points(keys, write_cutouts(run, folder)),
        stars=stars_section(found, measured.groups()),
        clipped=clipped_section(run),
        bakeoff=bakeoff_section(run, ways),
        cadence=cadence_section(night),
        exposures=exposures_section(frames),
        counts=table,
        total=len(frames),
        reasons=reasons(frames),
        rows=rows(frames, max_rows),
        sheets=sheets,
        masters=masters_section(run),
        alignment=alignment_section(night, sizes),
        animations=write_animations(run, folder, animation, found, sizes),
        conditions=conditions,
        science=len(night),
        fields=fields_section(run, found),
        methods=methods(run, wanted),
        timing=timing(run),
        seconds=duration(float(run.summary["seconds"])),
        recipe=run.recipe,
    )


def _science(table: list[dict[str, Any]]) -> tuple[int, int]:
    """Science frames used, and all of them."""
    science = [row for row in table if row["kind"] == "science"]
    return sum(row["used"] for row in science), sum(row["total"] for row in science)


def _verdict(table: list[dict[str, Any]], wanted: list[Curve], shown: list[Curve], found: list[Band]) -> str:
    """Say in one sentence how the night went; ``wanted`` are the curves of targets among those ``shown``."""
    used, total = _science(table)
    parts = [f"{grouped(used)} of {plural(total, 'science frame')} used" if total else "There is no science frame"]
    names = list(dict.fromkeys(curve.name for curve in wanted))
    parts += [sentence([curve for curve in wanted if curve.name == name]) for name in names[:3]]
    if len(names) > 3:
        parts.append(f"{plural(len(names) - 3, 'more target')} below")
    if used and not wanted:
        parts.append("no target is followed" + (", the brightest stars are drawn" if shown else ""))
    best = [band for band in found if isfinite(band.best)]
    if best:
        quietest = min(best, key=lambda band: band.best)
        few = "" if len(quietest.table) < 2 * BEST else f" {BEST}"
        parts.append(f"the best{few} stars scatter by {scatter(quietest.best)}")
    return "; ".join(parts) + "."


def _warnings(said: list[str], table: list[dict[str, Any]], shown: list[Curve]) -> list[str]:
    """Give the warnings of the run (``said``), then what the products themselves warn of."""
    warnings = list(said)
    used, total = _science(table)
    if total and not used:
        warnings.append("No science frame could be used. The reasons stand under Frames.")
    failed = sum(row["failed"] for row in table)
    if failed:
        warnings.append(f"{plural(failed, 'frame')} failed. The reasons stand under Frames.")
    for curve in shown:
        count = saturated(curve)
        if count:
            warnings.append(
                f"{curve.name} in {curve.band} is saturated in {count} of {plural(len(curve.table), 'point')}: "
                "these fluxes are too low."
            )
    return list(dict.fromkeys(warnings))


def _tiles(
    run: Results,
    table: list[dict[str, Any]],
    shown: list[Curve],
    found: list[Band],
    conditions: dict[str, Any] | None,
    night: Night,
) -> list[dict[str, str]]:
    """Give the few numbers that stand on top."""
    used, total = _science(table)
    tiles = [{"label": "science frames used", "value": grouped(used), "of": f"of {grouped(total)}"}]
    if night.seconds > 0:
        of = f"{duration(night.exposure)} of exposure"
        tiles.append({"label": "time covered", "value": duration(night.seconds), "of": of})
    if shown:
        best = min(shown, key=lambda curve: curve.scatter if isfinite(curve.scatter) else np.inf)
        tiles.append(
            {
                "label": f"scatter of {best.name}, {best.band}",
                "value": scatter(best.scatter),
                "of": f"{scatter(best.expected)} expected",
            }
        )
    if found:
        numbers = len({(band.sky, band.ids[row]) for band in found for row in band.candidates})
        stars = max(len(band.table) for band in found)
        tiles.append({"label": "stars measured", "value": grouped(stars), "of": plural(numbers, "variable candidate")})
    if conditions and conditions["fwhm"] != DASH:
        tiles.append({"label": "median FWHM", "value": conditions["fwhm"], "of": "pixel"})
    tiles.append(
        {"label": "run time", "value": duration(float(run.summary["seconds"])), "of": str(run.summary["finished"])[:10]}
    )
    return tiles
