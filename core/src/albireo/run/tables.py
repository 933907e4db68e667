"""What a person reads: the table of frames, the table of measurements, light curves, and the record of the run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.curves import Ensemble
from albireo.frames import Frame, mjd_to_iso
from albireo.images import Flag, atomic_path
from albireo.jobs import COLUMNS, load_arrays, load_sources
from albireo.plan import safe_name
from albireo.registry import Registry
from albireo.times import MJD_ZERO, bjd_tdb

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

    from albireo.run.engine import Engine, FieldState

__all__ = ["write_tables"]

NUMBERS = ("dx", "dy", "rotation", "scale", "align_rms", "matched", "fwhm", "elongation", "sky", "sky_rms", "sources")
INTEGERS = ("matched", "sources", "saturated")
UNITS = {
    "exptime": "s",
    "mjd": "d",
    "mjd_mid": "d",
    "bjd_tdb": "d",
    "time": "d",
    "x": "pix",
    "y": "pix",
    "dx": "pix",
    "dy": "pix",
    "rotation": "deg",
    "scale": "",
    "align_rms": "pix",
    "fwhm": "pix",
    "aperture": "pix",
    "gain": "electron / adu",
    "read_noise": "electron",
    "saturation": "adu",
    "sky": "electron / pix",
    "sky_err": "electron / pix",
    "sky_rms": "electron / pix",
    "flux": "electron",
    "flux_err": "electron",
}
"""Units of columns; what is not here is dimensionless or text."""

UNNAMED_CURVES = 5
"""Stars that get a file of their own where the recipe names no target."""

FITS_FORMATS = {">f8": "D", ">i4": "J"}


@dataclass(eq=False)
class Measurements:
    """Everything measured in one field: rows are frames in order of time, columns are sources.

    Attributes
    ----------
    frames : list of Frame
    sources : ndarray of int
    bjd : ndarray, shape (frames,)
        BJD_TDB for the position of the field; NaN without one.
    target_bjd : dict of int to ndarray
        BJD_TDB of targets that have a position of their own.
    x, y : ndarray, shape (frames, sources)
    methods : list of (str, slot, dict of column to ndarray of shape (frames, sources))
    """

    state: FieldState
    frames: list[Frame]
    sources: NDArray[np.int64]
    bjd: NDArray[np.float64]
    target_bjd: dict[int, NDArray[np.float64]]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    methods: list[tuple[str, dict[str, NDArray[Any]]]]


def write_tables(engine: Engine) -> list[str]:
    """Write every table of a run; give the paths below the run folder."""
    out = engine.out
    files = ["frames.ecsv", "run.toml", "run.json"]
    _write_text(out / "run.toml", _resolved(engine))
    _write_ecsv(out / "frames.ecsv", _frames_table(engine))
    fields = [_write_catalogue(engine, state) for state in engine.fields if state.catalogue_product is not None]
    files += [entry["catalogue"] for entry in fields]
    measured = [m for state in engine.fields if (m := _measurements(engine, state)) is not None]
    curves: list[str] = []
    ensembles: list[dict[str, Any]] = []
    if measured:
        files.append("photometry.fits")
        _write_photometry(engine, measured)
        curves, stars, ensembles = _write_curves(engine, measured)
        files += curves
        if stars is not None:
            files.append("stars.ecsv")
            _write_ecsv(out / "stars.ecsv", stars)
    summary = {**_summary(engine, fields, curves), "ensembles": ensembles}
    _write_text(out / "run.json", json.dumps(_plain(summary), indent=1, allow_nan=False))
    return files


# --- frames -----------------------------------------------------------------------------------------------------------


def _frames_table(engine: Engine) -> Table:
    from astropy.table import Table

    masters = {n: ", ".join(sorted(m.name for m, _ in c.values())) for n, c in engine.plan.choices.items()}
    rows: list[dict[str, Any]] = []
    known = {frame.name for frame in engine.night.frames}
    for frame in engine.night.frames:
        fate = engine.fates[frame.name]
        rows.append(
            {
                "name": frame.name,
                "path": frame.path,
                "hdu": frame.hdu,
                "instrument": frame.instrument,
                "detector": frame.detector,
                "kind": frame.kind,
                "variant": frame.variant,
                "filter": frame.filter,
                "target": frame.target,
                "exptime": frame.exptime,
                "start": mjd_to_iso(frame.start),
                "mid": mjd_to_iso(frame.mid),
                "mjd_mid": frame.mid,
                "airmass": frame.airmass,
                "gain": frame.gain,
                "read_noise": frame.read_noise,
                "saturation": frame.saturation,
                "setup": " ".join(f"{k}={v}" for k, v in frame.setup),
                "fate": fate.fate,
                "stage": fate.stage,
                "reason": fate.reason,
                "masters": masters.get(frame.name, ""),
                "notes": "; ".join(frame.notes),
                **_frame_numbers(engine.numbers.get(frame.name, {})),
            }
        )
    for name, fate in engine.fates.items():
        if name not in known:  # a file that gave no frame
            blank = {key: _blank(value) for key, value in rows[0].items()} if rows else {}
            path = str((engine.root if engine.root.is_dir() else engine.root.parent) / name)
            rows.append(
                {**blank, "name": name, "path": path, "kind": "unknown", "fate": fate.fate, "stage": fate.stage}
                | {"reason": fate.reason}
            )
    table = Table(rows=rows)
    for name in table.colnames:
        if UNITS.get(name):
            table[name].unit = UNITS[name]
    table.sort("name")
    return table


def _frame_numbers(numbers: Mapping[str, float]) -> dict[str, float]:
    shown = {name: float(numbers.get(name, nan)) for name in NUMBERS if name not in INTEGERS}
    return shown | {name: int(numbers.get(name, -1)) for name in INTEGERS}


def _blank(value: Any) -> Any:
    return "" if isinstance(value, str) else 0 if isinstance(value, int) else nan


# --- measurements -----------------------------------------------------------------------------------------------------


def _measurements(engine: Engine, state: FieldState) -> Measurements | None:
    frames = [f for f in state.plan.frames.sorted("mid") if f.name in engine.measured]
    if state.catalogue_product is None or not frames:
        return None
    sources = load_sources(state.catalogue_product).id
    shape = (len(frames), len(sources))
    x, y = np.full(shape, nan), np.full(shape, nan)
    methods: list[tuple[str, dict[str, NDArray[Any]]]] = []
    starts: list[int] = []
    for row, frame in enumerate(frames):
        arrays, _ = load_arrays(engine.measured[frame.name])
        at = np.searchsorted(sources, arrays["id"])
        x[row, at], y[row, at] = arrays["x"], arrays["y"]
        for position, photometer in enumerate(engine.recipe.photometers):
            ids = arrays[f"m{position}_id"]
            slots = _occurrence(ids)
            if len(starts) == position:
                starts.append(len(methods))
                for _ in range(int(slots.max(initial=0)) + 1):
                    methods.append((photometer.name, {c: _empty(c, shape) for c in COLUMNS}))
            column = np.searchsorted(sources, ids)
            for slot in range(int(slots.max(initial=-1)) + 1):
                pick = slots == slot
                for name in COLUMNS:
                    methods[starts[position] + slot][1][name][row, column[pick]] = arrays[f"m{position}_{name}"][pick]
    bjd, target_bjd = _times(engine, state, frames)
    return Measurements(state, frames, sources, bjd, target_bjd, x, y, methods)


def _occurrence(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often an identity has come before: which aperture of its source a row is."""
    order = np.argsort(ids, kind="stable")
    first = np.searchsorted(ids[order], ids[order], side="left")
    result = np.empty(len(ids), dtype=np.int64)
    result[order] = np.arange(len(ids)) - first
    return result


def _empty(name: str, shape: tuple[int, int]) -> NDArray[Any]:
    return np.full(shape, Flag.FAILED, dtype=np.uint16) if name == "flags" else np.full(shape, nan)


def _times(
    engine: Engine, state: FieldState, frames: Sequence[Frame]
) -> tuple[NDArray[np.float64], dict[int, NDArray[np.float64]]]:
    mid = np.array([f.mid for f in frames])
    site = next((f.site for f in frames if f.site is not None), None)
    placed = [t for t in engine.recipe.targets if t.name in state.targets and t.ra is not None]
    position: tuple[float, float] | None = None
    if placed:
        assert placed[0].ra is not None
        assert placed[0].dec is not None
        position = (placed[0].ra, placed[0].dec)
    else:
        pointed = [f for f in frames if f.has_position]
        if pointed:
            # One direction for the field, so that the differences between its times are those of the clock.
            position = (pointed[0].ra, pointed[0].dec)
    if position is None:
        _warn(
            engine,
            f"field {state.plan.name}: its position is not known, so times are JD UTC and not barycentric; "
            "give ra and dec of a target",
        )
        return np.full(len(frames), nan), {}
    if site is None:
        _warn(engine, "the site of the telescope is not known: barycentric times may be wrong by 21 ms")
    of_targets = {
        state.targets[t.name]: bjd_tdb(mid, t.ra, t.dec, site) for t in placed if t.ra is not None and t.dec is not None
    }
    return bjd_tdb(mid, *position, site), of_targets


def _warn(engine: Engine, text: str) -> None:
    if text not in engine.warnings:
        engine.warnings.append(text)


def _write_photometry(engine: Engine, measured: Sequence[Measurements]) -> None:
    """Write one long FITS table frame by frame, so that its length does not matter."""
    from astropy.io import fits

    width = {
        "frame": max(len(f.name) for m in measured for f in m.frames),
        "target": max(len(m.state.plan.target) for m in measured),
        "detector": max(len(m.state.plan.detector) for m in measured),
        "filter": max(len(f.filter) for m in measured for f in m.frames),
        "method": max(len(name) for m in measured for name, _ in m.methods),
    }
    texts = {name: f"S{max(1, size)}" for name, size in width.items()}
    dtype = np.dtype(
        [
            ("frame", texts["frame"]),
            ("target", texts["target"]),
            ("source", ">i4"),
            ("detector", texts["detector"]),
            ("filter", texts["filter"]),
            ("mjd", ">f8"),
            ("bjd_tdb", ">f8"),
            ("exptime", ">f8"),
            ("x", ">f8"),
            ("y", ">f8"),
            ("flux", ">f8"),
            ("flux_err", ">f8"),
            ("sky", ">f8"),
            ("sky_err", ">f8"),
            ("method", texts["method"]),
            ("aperture", ">f8"),
            ("flags", ">i4"),
            ("airmass", ">f8"),
            ("fwhm", ">f8"),
        ]
    )
    # Column definitions take units as they are written; electron is no unit of the FITS standard, but it is ours.
    columns = [
        fits.Column(name, FITS_FORMATS.get(dtype[name].str, f"{dtype[name].itemsize}A"), unit=UNITS.get(name) or None)
        for name in dtype.names or ()
    ]
    hdu = fits.BinTableHDU.from_columns(columns, nrows=1)
    hdu.name = "PHOTOMETRY"
    hdu.header["TIMESYS"] = ("UTC", "of mjd; bjd_tdb is TDB at the barycentre")
    hdu.header["NAXIS2"] = sum(len(m.frames) * len(m.sources) * len(m.methods) for m in measured)
    with atomic_path(engine.out / "photometry.fits") as temporary, temporary.open("wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
        file.write(hdu.header.tostring().encode("ascii"))
        written = 0
        for rows in _photometry_rows(engine, measured, dtype):
            file.write(rows.tobytes())
            written += rows.nbytes
        file.write(b"\0" * (-written % 2880))


def _photometry_rows(engine: Engine, measured: Sequence[Measurements], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    for part in measured:
        for index, frame in enumerate(part.frames):
            rows = np.zeros((len(part.methods), len(part.sources)), dtype=dtype)
            rows["frame"], rows["target"] = frame.name.encode(), part.state.plan.target.encode()
            rows["detector"], rows["filter"] = frame.detector.encode(), frame.filter.encode()
            rows["source"], rows["mjd"], rows["exptime"] = part.sources, frame.mid, frame.exptime
            rows["bjd_tdb"] = part.bjd[index]
            for source, times in part.target_bjd.items():
                rows["bjd_tdb"][:, part.sources == source] = times[index]
            rows["x"], rows["y"], rows["airmass"] = part.x[index], part.y[index], frame.airmass
            rows["fwhm"] = engine.numbers[frame.name]["fwhm"]
            for slot, (method, columns) in enumerate(part.methods):
                rows["method"][slot] = method.encode()
                for name in COLUMNS:
                    rows[name][slot] = columns[name][index]
            yield rows.ravel()


# --- catalogues and curves --------------------------------------------------------------------------------------------


def _write_catalogue(engine: Engine, state: FieldState) -> dict[str, Any]:
    assert state.catalogue_product is not None
    assert state.reference is not None
    assert state.reference_image is not None
    table = load_sources(state.catalogue_product).to_table()
    names = {number: name for name, number in state.targets.items()}
    table["name"] = [names.get(int(number), "") for number in table["id"]]
    table.meta["REFERENCE"] = state.reference.name
    place = Path("catalogues") / f"{state.plan.name}.ecsv"
    order = ["id", "name", *(c for c in table.colnames if c not in ("id", "name"))]
    _write_ecsv(engine.out / place, table[order])
    return {
        "name": state.plan.name,
        "target": state.plan.target,
        "detector": state.plan.detector,
        "reference": state.reference.name,
        "image": str(state.reference_image.relative_to(engine.out)),
        "catalogue": str(place),
    }


def _write_curves(
    engine: Engine, measured: Sequence[Measurements]
) -> tuple[list[str], Table | None, list[dict[str, Any]]]:
    from astropy.table import Table

    if not engine.recipe.curves:
        return [], None, []
    ensembles: list[dict[str, Any]] = []
    stars: list[dict[str, Any]] = []
    best: dict[tuple[str, str, str], tuple[float, Table]] = {}
    files: dict[str, Table] = {}
    for part in measured:
        for raw in _ensembles(engine, part):
            try:
                curves = raw
                for step in engine.recipe.curves:
                    curves = step.apply(curves)
            except Exception as error:
                _warn(engine, f"field {part.state.plan.name}, filter {raw.filter}: no light curves: {error}")
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
                    "steps": _plain(curves.meta),
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
        _write_ecsv(engine.out / name, table)
    table = Table(rows=stars) if stars else None
    if table is not None:
        table["flux"].unit = "electron"
        table["aperture"].unit = "pix"
    return list(final), table, ensembles


def _ensembles(engine: Engine, part: Measurements) -> Iterator[Ensemble]:
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
                fwhm=np.array([engine.numbers[f.name]["fwhm"] for f in part.frames])[rows],
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


# --- the record -------------------------------------------------------------------------------------------------------


def _summary(engine: Engine, fields: Sequence[Mapping[str, Any]], curves: Sequence[str]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for fate in engine.fates.values():
        counts[fate.fate] = counts.get(fate.fate, 0) + 1
    stages = [stage for group in engine.recipe.stages().values() for stage in group]
    serves: dict[str, int] = {}
    for chosen in engine.plan.choices.values():
        for master, _ in chosen.values():
            serves[master.name] = serves.get(master.name, 0) + 1
    masters = []
    for master in engine.plan.masters:
        note = engine.index.note(engine.master_keys[master.name])
        masters.append(
            {
                "name": master.name,
                "kind": master.kind,
                "path": f"masters/{master.name}.fits",
                "frames": [f.name for f in master.frames if f.name not in note.get("lost", {})],
                "serves": serves.get(master.name, 0),
                "meta": note.get("meta", {}),
            }
        )
    return {
        "title": engine.recipe.options.title or engine.recipe.path.stem,
        "command": engine.command,
        "started": _iso(engine.started),
        "finished": _iso(time.time()),
        "seconds": round(time.time() - engine.started, 2),
        "versions": Registry.discover().versions(),
        "counts": counts,
        "warnings": engine.warnings,
        "notes": _notes(engine),
        "citations": list(dict.fromkeys(c for stage in stages for c in type(stage).citations)),
        "masters": masters,
        "fields": list(fields),
        "curves": list(curves),
        "timing": engine.timing,
    }


def _notes(engine: Engine) -> list[str]:
    """What instruments remarked about frames, each remark once with the number of frames."""
    counts: dict[str, int] = {}
    for frame in engine.night.frames:
        for note in frame.notes:
            counts[note] = counts.get(note, 0) + 1
    return [f"{note} ({number} frame{'s' if number > 1 else ''})" for note, number in counts.items()]


def _resolved(engine: Engine) -> str:
    lines = [f"#   {name} {version}" for name, version in sorted(Registry.discover().versions().items())]
    return "\n".join(["# The recipe of this run with every default written out. Made with:", *lines, ""]) + (
        "\n" + engine.recipe.to_toml()
    )


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_ecsv(path: Path, table: Table) -> None:
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def _plain(value: Any) -> Any:
    """Bring arrays and numpy numbers to plain types; what is not finite becomes None, which JSON can say."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(v) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not isfinite(value) else value
