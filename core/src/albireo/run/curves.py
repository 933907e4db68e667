"""Light curves: ensembles of all stars, through the curve steps of the recipe, to files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.curves import Ensemble
from albireo.frames import FrameError
from albireo.plan import safe_name
from albireo.run.files import UNITS, write_ecsv
from albireo.run.measurements import Measurements
from albireo.run.state import RunState
from albireo.times import MJD_ZERO

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

__all__ = ["write_curves"]

log = logging.getLogger("albireo")

UNNAMED_CURVES = 5
"""Stars that get a file of their own where the recipe names no target."""


def write_curves(
    run: RunState, measured: Sequence[Measurements]
) -> tuple[list[str], Table | None, list[dict[str, Any]]]:
    """Take every ensemble through the curve steps and write the curves of targets.

    Returns
    -------
    list of str
        Paths of the best curve of each target and filter, below the run folder. Where there are several methods or
        apertures, a file for each lies beside it; the best is the one whose comparison stars scatter least.
    Table or None
        A row for each star of each ensemble.
    list of dict
        A record of each ensemble and what the steps noted.
    """
    from astropy.table import Table

    if not run.recipe.curves:
        return [], None, []
    ensembles: list[dict[str, Any]] = []
    stars: list[dict[str, Any]] = []
    best: dict[tuple[str, str, str], tuple[float, Table]] = {}
    files: dict[str, Table] = {}
    for part in measured:
        for raw in _ensembles(run, part):
            try:
                curves = raw
                for step in run.recipe.curves:
                    curves = step.apply(curves)
            except FrameError as error:
                run.warn(f"field {part.state.plan.name}, filter {raw.filter}: no light curves: {error}")
                continue
            except Exception as error:
                log.exception("curves of field %s", part.state.plan.name)
                run.complete = False
                what = f"defect in a curve step: {type(error).__name__}: {error} (see run.log)"
                run.warn(f"field {part.state.plan.name}, filter {raw.filter}: no light curves: {what}")
                continue
            ensembles.append(
                {
                    "field": part.state.plan.name,
                    "filter": curves.filter,
                    "detector": curves.detector,
                    "method": curves.method,
                    "aperture": curves.aperture,
                    "frames": curves.frames.tolist(),
                    "comparisons": {str(number): weight for number, weight in curves.comparisons.items()},
                    "steps": curves.meta,
                }
            )
            rows = _stars(raw, curves, part.state.targets)
            stars += rows
            judged = [r["scatter"] for r in rows if r["comparison"] > 0] or [r["scatter"] for r in rows]
            quality = float(np.nanmedian(judged)) if np.isfinite(judged).any() else float("inf")
            shown = part.state.targets or _brightest(rows)
            label = "" if len(part.methods) == 1 else f"_{curves.method}"
            label += "" if len(part.methods) == 1 or not isfinite(curves.aperture) else f"-r{curves.aperture:.3g}"
            for name, number in shown.items():
                table = _curve_table(curves, name, number, part)
                stem = safe_name("_".join(t for t in (name, curves.filter or "nofilter", curves.detector) if t))
                files[f"curves/{stem}{label}.ecsv"] = table
                key = (part.state.plan.name, curves.filter, stem)
                if key not in best or quality < best[key][0]:
                    best[key] = (quality, table)
    final = {f"curves/{stem}.ecsv": table for (_, _, stem), (_, table) in best.items()}
    for name, table in {**files, **final}.items():
        write_ecsv(run.out / name, table)
    table = Table(rows=stars) if stars else None
    if table is not None:
        table["flux"].unit = "electron"
        table["aperture"].unit = "pix"
    return list(final), table, ensembles


def _ensembles(run: RunState, part: Measurements) -> Iterator[Ensemble]:
    filters = np.array([f.filter for f in part.frames])
    known = np.isfinite(part.bjd)
    for name in dict.fromkeys(filters.tolist()):
        rows = filters == name
        barycentric = bool(known[rows].all())
        mids = np.array([f.mid for f in part.frames])[rows] + MJD_ZERO
        for method, columns in part.methods:
            aperture = columns["aperture"][rows]
            preset = part.state.comparisons
            yield Ensemble(
                target=part.state.plan.target,
                detector=part.state.plan.detector,
                filter=name,
                method=method,
                aperture=float(np.nanmedian(aperture)) if np.isfinite(aperture).any() else nan,
                frames=np.array([f.name for f in part.frames])[rows],
                time=part.bjd[rows] if barycentric else mids,
                time_scale="BJD_TDB" if barycentric else "JD_UTC",
                exptime=np.array([f.exptime for f in part.frames])[rows],
                airmass=np.array([f.airmass for f in part.frames])[rows],
                fwhm=np.array([run.numbers[f.name]["fwhm"] for f in part.frames])[rows],
                sources=part.sources,
                flux=columns["flux"][rows],
                flux_err=columns["flux_err"][rows],
                x=part.x[rows],
                y=part.y[rows],
                sky=columns["sky"][rows],
                flags=columns["flags"][rows],
                targets=dict(part.state.targets),
                comparisons={number: 1.0 / len(preset) for number in preset},
            )


def _stars(raw: Ensemble, curves: Ensemble, targets: Mapping[str, int]) -> list[dict[str, Any]]:
    names = {number: name for name, number in targets.items()}
    rows = []
    with np.errstate(all="ignore"):
        for column, number in enumerate(curves.sources.tolist()):
            flux, error = curves.flux[:, column], curves.flux_err[:, column]
            good = np.isfinite(flux)
            level = float(np.median(flux[good])) if good.any() else nan
            original = raw.flux[:, column]
            rows.append(
                {
                    "target": curves.target,
                    "detector": curves.detector,
                    "filter": curves.filter,
                    "method": curves.method,
                    "aperture": curves.aperture,
                    "source": number,
                    "name": names.get(number, ""),
                    "flux": float(np.median(original[np.isfinite(original)])) if np.isfinite(original).any() else nan,
                    "scatter": point_to_point(flux[good]) / level if good.sum() > 2 else nan,
                    "expected": float(np.median(error[good])) / level if good.any() else nan,
                    "points": int(good.sum()),
                    "comparison": float(curves.comparisons.get(number, 0.0)),
                    "flags": int(np.bitwise_or.reduce(curves.flags[:, column], initial=0)),
                }
            )
    return rows


def _brightest(stars: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Name some bright stars that were never saturated nor flagged otherwise, for a recipe without targets."""
    numbers = [star["source"] for star in stars if star["flags"] == 0] or [star["source"] for star in stars]
    return {f"star {number}": number for number in numbers[:UNNAMED_CURVES]}


def point_to_point(values: NDArray[np.float64]) -> float:
    """Robust scatter from differences of neighbours, blind to slow changes: 1.4826 MAD / sqrt(2)."""
    steps = np.diff(values)
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2.0)) if steps.size else nan


def _curve_table(curves: Ensemble, name: str, number: int, part: Measurements) -> Table:
    from astropy.table import Table

    column = curves.column(number)
    flux, error = curves.flux[:, column], curves.flux_err[:, column]
    times = curves.time
    if number in part.target_bjd:
        index = {frame.name: i for i, frame in enumerate(part.frames)}
        times = part.target_bjd[number][[index[str(f)] for f in curves.frames]]
    good = np.isfinite(flux)
    level = float(np.median(flux[good])) if good.any() else nan
    table = Table(
        {
            "time": times,
            "flux": flux,
            "flux_err": error,
            "airmass": curves.airmass,
            "x": curves.x[:, column],
            "y": curves.y[:, column],
            "sky": curves.sky[:, column],
            "fwhm": curves.fwhm,
            "exptime": curves.exptime,
            "flags": curves.flags[:, column].astype(np.int32),
            "frame": curves.frames,
        }
    )
    for column_name in table.colnames:
        unit = curves.unit if column_name in ("flux", "flux_err") else UNITS.get(column_name)
        if unit:
            table[column_name].unit = unit
    table.meta.update(
        {
            "OBJECT": name,
            "SOURCE": number,
            "FILTER": curves.filter,
            "DETECTOR": curves.detector,
            "METHOD": curves.method,
            "APERTURE": curves.aperture,
            "UNIT": curves.unit,
            "TIMESYS": curves.time_scale,
            "COMPARISONS": {int(n): float(w) for n, w in curves.comparisons.items()},
            "SCATTER": point_to_point(flux[good]) / level if good.sum() > 2 else nan,
            "EXPECTED": float(np.median(error[good])) / level if good.any() else nan,
        }
    )
    return table
