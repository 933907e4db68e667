"""Light curves: ensembles of all stars, through the curve steps of the recipe, to files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.curves import Ensemble
from albireo.exposures import unique_name
from albireo.frames import JD_OF_MJD_ZERO, Frame, FrameError
from albireo.noise import digitisation_noise
from albireo.plan import safe_name
from albireo.run.bakeoff import bakeoff_table
from albireo.run.files import UNITS, copy_file, write_ecsv
from albireo.run.measurements import Measurements
from albireo.run.stars import kept_points, star_rows
from albireo.run.state import RunState
from albireo.run.variability import point_to_point

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

__all__ = ["Curves", "band_table", "write_curves"]

log = logging.getLogger("albireo")

UNNAMED_CURVES = 5
"""Stars that get a file of their own where the recipe names no target."""

BAND_FACTS = ("FILTER", "DETECTOR", "METHOD", "APERTURE", "SOURCE", "UNIT", "TIMESYS")
"""What the header of a table of several bands says of each."""


@dataclass(eq=False)
class Curves:
    """What was made of the measurements.

    Attributes
    ----------
    files : list of str
        Every file written, below the run folder.
    best : list of str
        Those among them that hold the best curve of each target and filter. Where there are several methods or
        apertures, a file for each lies beside it; the best is the one whose comparison stars scatter least.
    bands : list of str
        Those among them that hold the curves of a target in several bands, exposure by exposure.
    stars : Table or None
        A row for each star of each ensemble.
    bakeoff : Table or None
        A row for each star of each field and filter, where there are several methods or apertures.
    ensembles : list of dict
        A record of each ensemble and what the steps noted.
    """

    files: list[str] = field(default_factory=list)
    best: list[str] = field(default_factory=list)
    bands: list[str] = field(default_factory=list)
    stars: Table | None = None
    bakeoff: Table | None = None
    ensembles: list[dict[str, Any]] = field(default_factory=list)


@dataclass(eq=False)
class _Entry:
    """An ensemble after the last step, with the name of its method and the rows of its stars."""

    label: str
    curves: Ensemble
    stars: list[dict[str, Any]]


@dataclass(eq=False)
class _Band:
    """The curves of one field in one filter: an entry for each method and aperture."""

    part: Measurements
    group: list[_Entry]

    @property
    def best(self) -> _Entry:
        """The entry whose comparison stars scatter least."""
        return min(self.group, key=lambda entry: _quality(entry.stars))


def write_curves(run: RunState, measured: Sequence[Measurements]) -> Curves:
    """Take every ensemble through the curve steps and write the curves of targets."""
    from astropy.table import Table

    made = Curves()
    if not run.recipe.curves:
        return made
    skies: dict[str, list[_Band]] = {}
    stars: list[dict[str, Any]] = []
    for part in measured:
        for band in _bands(run, part):
            skies.setdefault(part.state.sky, []).append(band)
            made.ensembles += [_record(part, entry) for entry in band.group]
            stars += [row for entry in band.group for row in entry.stars]
    files: dict[str, Table] = {}
    owners: dict[str, str] = {}
    for sky, bands in skies.items():
        for name, numbers in _shown(bands, sky if len(skies) > 1 else "").items():
            chosen: list[Table] = []
            for band in bands:
                where = band.part.state.plan
                if where.name not in numbers:
                    continue
                best = band.best
                stem = _own(
                    "_".join(filter(None, (name, best.curves.filter or "nofilter", where.detector))), where.name, owners
                )
                for entry in band.group:
                    table = _curve_table(entry.curves, name, numbers[where.name], band.part)
                    if len(band.group) > 1:
                        files[f"curves/{stem}_{entry.label}.ecsv"] = table
                    if entry is best:
                        files[f"curves/{stem}.ecsv"] = table
                        made.best.append(f"curves/{stem}.ecsv")
                        chosen.append(table)
            together = band_table(chosen)
            if together is not None:
                made.bands.append(f"curves/{_own(f'{name}_bands', sky, owners)}.ecsv")
                files[made.bands[-1]] = together
    written: dict[int, Path] = {}
    for file, table in files.items():
        if id(table) in written:  # the best curve is one of the others as well; to write a table takes some 10 ms
            copy_file(written[id(table)], run.out / file)
        else:
            write_ecsv(run.out / file, table)
            written[id(table)] = run.out / file
    made.files = list(files)
    if stars:
        made.stars = Table(rows=stars)
        for column in ("flux", "mag", "aperture", "x", "y"):
            made.stars[column].unit = UNITS[column]
    every = [band for bands in skies.values() for band in bands]
    made.bakeoff = bakeoff_table([{entry.label: entry.stars for entry in band.group} for band in every])
    return made


def _bands(run: RunState, part: Measurements) -> Iterator[_Band]:
    """Take the ensembles of a field through the curve steps, filter by filter."""
    made = [(raw, curves) for raw in _ensembles(run, part) if (curves := _stepped(run, part, raw)) is not None]
    for colour in dict.fromkeys(curves.filter for _, curves in made):
        taken: set[str] = set()
        group = [
            _Entry(unique_name(_label(curves), taken), curves, star_rows(raw, curves, part))
            for raw, curves in made
            if raw.filter == colour
        ]
        yield _Band(part, group)


def _shown(bands: Sequence[_Band], sky: str) -> dict[str, dict[str, int]]:
    """Say which stars of a sky get files: by name, their numbers in each field where they are measured.

    These are the targets; where a recipe names none, the stars that serve as comparisons in most bands, the brightest
    first. A field without a map to the others has numbers of its own, and shows its own stars.
    """
    shown: dict[str, dict[str, int]] = {}
    for band in bands:
        for name, number in band.part.state.targets.items():
            shown.setdefault(name, {})[band.part.state.plan.name] = number
    if shown:
        return shown
    rows = [
        (band.part.state.plan.name, row["source"], row["comparison"] > 0) for band in bands for row in band.best.stars
    ]
    while rows:
        serving = [row for row in rows if row[2]] or rows
        times = Counter(number for _, number, _ in serving)
        for number in sorted(times, key=lambda number: (-times[number], number))[:UNNAMED_CURVES]:
            name = f"star {number} of {sky}" if sky else f"star {number}"
            shown[name] = {where: number for where, other, _ in rows if other == number}
        seen = {where for numbers in shown.values() for where in numbers}
        rows = [row for row in rows if row[0] not in seen]
    return shown


def _own(text: str, owner: str, owners: dict[str, str]) -> str:
    """Make a name for a file; one that another field has already got is told apart by the name of this one."""
    stem = safe_name(text)
    if owners.setdefault(stem, owner) != owner:
        stem = safe_name(f"{text}_{owner}")
    return stem


def band_table(curves: Sequence[Table]) -> Table | None:
    """Put light curves of one star in several bands side by side, exposure by exposure.

    Parameters
    ----------
    curves : sequence of Table
        With columns ``time``, ``flux``, ``flux_err`` and ``exposure``.

    Returns
    -------
    Table or None
        A row for each exposure in order of time: ``exposure``, and of each band ``time``, ``flux`` and ``flux_err``
        with the name of the band behind an underscore, detector by detector. The band is called by its filter, and by
        its detector as well where two have the same filter. What a band did not see is NaN. None if fewer than two
        bands know their exposures.
    """
    from astropy.table import Table

    known = sorted((c for c in curves if any(c["exposure"])), key=lambda c: str(c.meta["DETECTOR"]))
    if len(known) < 2:
        return None
    moments: dict[str, float] = {}
    for curve in known:
        for exposure, moment in zip(curve["exposure"].tolist(), curve["time"].tolist(), strict=True):
            if exposure:
                moments[exposure] = min(moment, moments.get(exposure, moment))
    row_of = {exposure: row for row, exposure in enumerate(sorted(moments, key=lambda e: (moments[e], e)))}
    filters = Counter(curve.meta["FILTER"] for curve in known)
    together = Table({"exposure": list(row_of)}, meta={"OBJECT": known[0].meta["OBJECT"], "BANDS": {}})
    taken: set[str] = set()
    for curve in known:
        colour, detector = curve.meta["FILTER"], curve.meta["DETECTOR"]
        alone = colour and filters[colour] == 1
        label = unique_name(safe_name(colour if alone else "_".join(filter(None, (colour, detector)))), taken)
        together.meta["BANDS"][label] = {key: curve.meta[key] for key in BAND_FACTS}
        seen = [(row_of[exposure], row) for row, exposure in enumerate(curve["exposure"].tolist()) if exposure]
        to, of = np.array(seen).T
        for name in ("time", "flux", "flux_err"):
            values = np.full(len(row_of), nan)
            values[to] = np.asarray(curve[name], dtype=np.float64)[of]
            together[f"{name}_{label}"] = values
            together[f"{name}_{label}"].unit = curve[name].unit
    return together


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
    for text in curves.meta.get("warnings", ()):
        run.warn(f"{where}: {text}")
    return curves


def _record(part: Measurements, entry: _Entry) -> dict[str, Any]:
    curves = entry.curves
    return {
        "field": part.state.plan.name,
        "filter": curves.filter,
        "detector": curves.detector,
        "method": curves.method,
        "aperture": curves.aperture,
        "label": entry.label,
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


def _ensembles(run: RunState, part: Measurements) -> Iterator[Ensemble]:
    filters = np.array([f.filter for f in part.frames])
    known = np.isfinite(part.bjd)
    first = part.frames[0]
    facts = _noise_facts(run, part.frames)
    for name in dict.fromkeys(filters.tolist()):
        rows = filters == name
        barycentric = bool(known[rows].all())
        mids = np.array([f.mid for f in part.frames])[rows] + JD_OF_MJD_ZERO
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
                # Where the method has not measured the place, it is where it was told.
                x=np.where(np.isfinite(columns["x"]), columns["x"], part.x)[rows],
                y=np.where(np.isfinite(columns["y"]), columns["y"], part.y)[rows],
                sky=columns["sky"][rows],
                flags=columns["flags"][rows],
                area=columns["area"][rows],
                sky_err=columns["sky_err"][rows],
                dark=part.dark[rows],
                diameter=first.diameter,
                height=nan if first.site is None else first.site[2],
                **{name: values[rows] for name, values in facts.items()},
                targets=dict(part.state.targets),
                comparisons={number: 1.0 / len(preset) for number in preset},
            )


def _noise_facts(run: RunState, frames: Sequence[Frame]) -> dict[str, NDArray[np.float64]]:
    """Give the gain of each frame, and the noise of its electronics in a pixel of the calibrated image."""
    facts: dict[str, list[float]] = {"gain": [], "read_noise": [], "digitisation": []}
    for frame in frames:
        side = run.numbers[frame.name]["rebin"]  # the noise of a sum grows with the root of its pixels
        amplifiers = frame.amplifiers
        rounding = [digitisation_noise(amplifier.gain, amplifier.read_noise) for amplifier in amplifiers]
        facts["gain"].append(float(np.mean([amplifier.gain for amplifier in amplifiers])))
        facts["read_noise"].append(side * _quadratic_mean([amplifier.read_noise for amplifier in amplifiers]))
        facts["digitisation"].append(side * _quadratic_mean(rounding))
    return {name: np.array(values) for name, values in facts.items()}


def _quadratic_mean(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _curve_table(curves: Ensemble, name: str, number: int, part: Measurements) -> Table:
    from astropy.table import Table

    column = curves.column(number)
    flux, error = curves.flux[:, column], curves.flux_err[:, column]
    exposures = {frame.name: frame.exposure for frame in part.frames}
    times = curves.time
    index = {frame.name: i for i, frame in enumerate(part.frames)}
    if number in part.target_bjd and set(curves.frames.tolist()) <= set(index):  # not those of a step that joins frames
        times = part.target_bjd[number][[index[str(f)] for f in curves.frames]]
    good = kept_points(curves)[:, column]
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
            "exposure": [exposures.get(str(name), "") for name in curves.frames],
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
            "FIELD": part.state.plan.name,
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
