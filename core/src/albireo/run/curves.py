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
) -> tuple[list[str], list[str], Table | None, list[dict[str, Any]]]:
    """Take every ensemble through the curve steps and write the curves of targets.

    Returns
    -------
    list of str
        Every file written, below the run folder.
    list of str
        Those among them that hold the best curve of each target and filter. Where there are several methods or
        apertures, a file for each lies beside it; the best is the one whose comparison stars scatter least.
    Table or None
        A row for each star of each ensemble.
    list of dict
        A record of each ensemble and what the steps noted.
    """
    from astropy.table import Table

    if not run.recipe.curves:
        return [], [], None, []
    ensembles: list[dict[str, Any]] = []
    stars: list[dict[str, Any]] = []
    files: dict[str, Table] = {}
    best: list[str] = []
    for part in measured:
        made = [(raw, curves) for raw in _ensembles(run, part) if (curves := _stepped(run, part, raw)) is not None]
        for colour in dict.fromkeys(curves.filter for _, curves in made):
            group = [(curves, _stars(raw, curves, part.state.targets)) for raw, curves in made if raw.filter == colour]
            ensembles += [_record(part, curves) for curves, _ in group]
            stars += [row for _, rows in group for row in rows]
            _, chosen = min(group, key=lambda pair: _quality(pair[1]))
            for name, number in (part.state.targets or _examples(chosen)).items():
                stem = safe_name("_".join(t for t in (name, colour or "nofilter", part.state.plan.detector) if t))
                for curves, rows in group:
                    table = _curve_table(curves, name, number, part)
                    if len(group) > 1:
                        files[f"curves/{stem}_{_label(curves)}.ecsv"] = table
                    if rows is chosen:
                        files[f"curves/{stem}.ecsv"] = table
                        best.append(f"curves/{stem}.ecsv")
    for name, table in files.items():
        write_ecsv(run.out / name, table)
    judged = Table(rows=stars) if stars else None
    if judged is not None:
        judged["flux"].unit = "electron"
        judged["aperture"].unit = "pix"
    return list(files), best, judged, ensembles


def _stepped(run: RunState, part: Measurements, curves: Ensemble) -> Ensemble | None:
    """Take one ensemble through the curve steps; None, with a warning, if they cannot make curves of it."""
    where = f"field {part.state.plan.name}, filter {curves.filter or '(none)'}"
    try:
        for step in run.recipe.curves:
            curves = step.apply(curves)
    except FrameError as error:
        run.warn(f"{where}: no light curves: {error}")
        return None
    except Exception as error:
        log.exception("curves of %s", where)
        run.fail(f"{where}: no light curves: defect in a curve step: {type(error).__name__}: {error} (see run.log)")
        return None
    return curves


def _record(part: Measurements, curves: Ensemble) -> dict[str, Any]:
    return {
        "field": part.state.plan.name,
        "filter": curves.filter,
        "detector": curves.detector,
        "method": curves.method,
        "aperture": curves.aperture,
        "frames": curves.frames.tolist(),
        "comparisons": {str(number): weight for number, weight in curves.comparisons.items()},
        "steps": curves.meta,
    }


def _label(curves: Ensemble) -> str:
    return f"{curves.method}-r{curves.aperture:.3g}" if isfinite(curves.aperture) else curves.method


def _quality(stars: Sequence[Mapping[str, Any]]) -> float:
    """Median scatter of the comparison stars, or of all stars where there are none."""
    judged = [star["scatter"] for star in stars if star["comparison"] > 0] or [star["scatter"] for star in stars]
    finite = [scatter for scatter in judged if isfinite(scatter)]
    return float(np.median(finite)) if finite else float("inf")


def _examples(stars: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Name some stars to show where a recipe names no target: the brightest comparison stars."""
    numbers = [star["source"] for star in stars if star["comparison"] > 0] or [star["source"] for star in stars]
    return {f"star {number}": number for number in numbers[:UNNAMED_CURVES]}


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
                    "rms": float(np.std(flux[good])) / level if good.sum() > 2 else nan,
                    "expected": float(np.median(error[good])) / level if good.any() else nan,
                    "points": int(good.sum()),
                    "comparison": float(curves.comparisons.get(number, 0.0)),
                    "flags": int(np.bitwise_or.reduce(curves.flags[:, column], initial=0)),
                }
            )
    return rows


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
