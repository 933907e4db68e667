"""Everything measured in a field, gathered from its frames, and the long table of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Frame
from albireo.headers import read_header
from albireo.images import Flag
from albireo.jobs import COLUMNS, load_sources
from albireo.products import load_arrays
from albireo.run.files import stream_table
from albireo.run.state import FieldState, RunState
from albireo.sources import Sources
from albireo.times import bjd_tdb

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Measurements", "check_targets", "gather", "write_photometry"]


@dataclass(eq=False)
class Measurements:
    """Everything measured in one field: rows are frames in order of time, columns are sources.

    Attributes
    ----------
    frames : list of Frame
    catalogue : Sources
        The stars on the reference frame, their identities ascending; those that are not on this detector are missing.
    bjd : ndarray, shape (frames,)
        BJD_TDB for the position of the field; NaN without one.
    target_bjd : dict of int to ndarray
        BJD_TDB of targets that have a position of their own.
    x, y : ndarray, shape (frames, sources)
    methods : list of (str, dict of column to ndarray of shape (frames, sources))
        Each method of the recipe, once for each of its apertures.
    dark : ndarray, shape (frames,)
        Electrons per pixel that the dark current left and that were subtracted; NaN if unknown.
    """

    state: FieldState
    frames: list[Frame]
    catalogue: Sources
    bjd: NDArray[np.float64]
    target_bjd: dict[int, NDArray[np.float64]]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    methods: list[tuple[str, dict[str, NDArray[Any]]]]
    dark: NDArray[np.float64]

    @property
    def sources(self) -> NDArray[np.int64]:
        """Identities of the stars."""
        return self.catalogue.id

    def is_measured(self, target: str) -> bool:
        """Whether there is at least one flux of a target."""
        column = self.sources == self.state.targets[target]
        return any(bool(np.isfinite(columns["flux"][:, column]).any()) for _, columns in self.methods)


def gather(run: RunState, state: FieldState) -> Measurements | None:
    """Gather the measurements of all frames of a field; None if nothing was measured."""
    frames = [f for f in state.plan.frames.sorted("mid") if f.name in run.measured]
    if state.catalogue_product is None or not frames:
        return None
    catalogue = load_sources(state.catalogue_product)
    sources = catalogue.id
    shape = (len(frames), len(sources))
    x, y = np.full(shape, nan), np.full(shape, nan)
    methods: list[tuple[str, dict[str, NDArray[Any]]]] = []
    starts: list[int] = []
    for row, frame in enumerate(frames):
        arrays, _ = load_arrays(run.measured[frame.name])
        at = np.searchsorted(sources, arrays["id"])
        x[row, at], y[row, at] = arrays["x"], arrays["y"]
        for position, method in enumerate(run.recipe.method_names):
            ids = arrays[f"m{position}_id"]
            slots = _occurrence(ids)
            if len(starts) == position:
                starts.append(len(methods))
                for _ in range(int(slots.max(initial=0)) + 1):
                    methods.append((method, {c: _empty(c, shape) for c in COLUMNS}))
            column = np.searchsorted(sources, ids)
            for slot in range(int(slots.max(initial=-1)) + 1):
                pick = slots == slot
                for name, values in zip(COLUMNS, arrays[f"m{position}"], strict=True):
                    methods[starts[position] + slot][1][name][row, column[pick]] = values[pick]
    bjd, target_bjd = _times(run, state, frames)
    dark = np.array([_dark(run, frame) for frame in frames])
    return Measurements(state, frames, catalogue, bjd, target_bjd, x, y, methods, dark)


def check_targets(run: RunState, measured: Sequence[Measurements]) -> None:
    """Tell which targets could not be measured: a problem where it is so on every detector, else a warning."""
    seen = {name for part in measured for name in part.state.targets if part.is_measured(name)}
    for part in measured:
        for name, number in part.state.targets.items():
            if part.is_measured(name):
                continue
            column = part.sources == number
            where = _where(part.x[:, column], part.y[:, column], part.frames[0])
            if name in seen:
                run.warn(f"the target {name} could be measured in no frame of {part.state.plan.name}: {where}")
            else:
                run.fail(f"the target {name} could be measured in no frame: {where}")


def _where(x: NDArray[np.float64], y: NDArray[np.float64], frame: Frame) -> str:
    """Say where a target lay, for one that could not be measured."""
    height, width = frame.lit.shape
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    spans = [f"{name} {np.nanmin(values):.0f} to {np.nanmax(values):.0f}" for name, values in (("x", x), ("y", y))]
    side = "inside" if inside.any() else "outside"
    return (
        f"it lies {side} the {width} x {height} pixels, at {', '.join(spans)}; look whether its coordinates are right"
    )


def _dark(run: RunState, frame: Frame) -> float:
    """Electrons that the dark current left in a pixel of the calibrated image, as far as they were subtracted.

    A dark current that was not subtracted is part of the sky. A master that holds the bias does not tell its own share.
    """
    step = next((c for c in run.recipe.corrections if "dark" in c.provides), None)
    if step is None:
        return 0.0
    pixels = run.numbers[frame.name]["rebin"] ** 2
    if not step.master:
        return frame.dark_current * frame.exptime * pixels
    master, _ = run.plan.choices[frame.name].get(step.master, (None, ""))
    if master is None:
        return 0.0
    if "pedestal" in step.provides:
        return nan
    level, unit, exptime = _level(run.master_path(master), run.master_keys[master.name])
    gain = 1.0 if unit == "electron" else frame.gain
    return max(level, 0.0) * frame.exptime / exptime * gain * pixels if exptime > 0 and level == level else nan


@lru_cache(maxsize=64)
def _level(path: Path, key: str) -> tuple[float, str, float]:
    """Level of a master dark, its unit, and its exposure time in s; ``key`` makes a new one known."""
    del key
    _, header = read_header(path, 0)
    return float(header.get("LEVEL", nan)), str(header.get("BUNIT", "adu")), float(header.get("EXPTIME", nan))


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
    run: RunState, state: FieldState, frames: Sequence[Frame]
) -> tuple[NDArray[np.float64], dict[int, NDArray[np.float64]]]:
    mid = np.array([f.mid for f in frames])
    site = next((f.site for f in frames if f.site is not None), None)
    placed = [t for t in run.recipe.targets if t.name in state.targets and t.ra is not None]
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
        run.warn(
            f"field {state.plan.name}: its position is not known, so times are JD UTC and not barycentric; "
            "give ra and dec of a target",
        )
        return np.full(len(frames), nan), {}
    if site is None:
        run.warn("the site of the telescope is not known: barycentric times may be wrong by 21 ms")
    of_targets = {
        state.targets[t.name]: bjd_tdb(mid, t.ra, t.dec, site) for t in placed if t.ra is not None and t.dec is not None
    }
    return bjd_tdb(mid, *position, site), of_targets


def write_photometry(run: RunState, measured: Sequence[Measurements]) -> None:
    """Write one long FITS table frame by frame, so that its length does not matter."""
    width = {
        "frame": max(len(f.name) for m in measured for f in m.frames),
        "target": max(len(m.state.plan.target) for m in measured),
        "detector": max(len(m.state.plan.detector) for m in measured),
        "filter": max(len(f.filter) for m in measured for f in m.frames),
        "exposure": max(len(f.exposure) for m in measured for f in m.frames),
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
            ("exposure", texts["exposure"]),
            ("x", ">f8"),
            ("y", ">f8"),
            ("flux", ">f8"),
            ("flux_err", ">f8"),
            ("rate", ">f8"),
            ("rate_err", ">f8"),
            ("sky", ">f8"),
            ("sky_err", ">f8"),
            ("method", texts["method"]),
            ("aperture", ">f8"),
            ("area", ">f8"),
            ("correction", ">f8"),
            ("correction_err", ">f8"),
            ("x_err", ">f8"),
            ("y_err", ">f8"),
            ("flags", ">i4"),
            ("airmass", ">f8"),
            ("fwhm", ">f8"),
        ]
    )
    number = sum(len(m.frames) * len(m.sources) * len(m.methods) for m in measured)
    cards = {"TIMESYS": ("UTC", "of mjd; bjd_tdb is TDB at the barycentre")}
    rows = _photometry_rows(run, measured, dtype)
    stream_table(run.out / "photometry.fits", "PHOTOMETRY", dtype, rows, number, cards)


def _photometry_rows(run: RunState, measured: Sequence[Measurements], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    for part in measured:
        for index, frame in enumerate(part.frames):
            rows = np.zeros((len(part.methods), len(part.sources)), dtype=dtype)
            rows["frame"], rows["target"] = frame.name.encode(), part.state.plan.target.encode()
            rows["detector"], rows["filter"] = frame.detector.encode(), frame.filter.encode()
            rows["source"], rows["mjd"], rows["exptime"] = part.sources, frame.mid, frame.exptime
            rows["exposure"] = frame.exposure.encode()
            rows["bjd_tdb"] = part.bjd[index]
            for source, times in part.target_bjd.items():
                rows["bjd_tdb"][:, part.sources == source] = times[index]
            rows["x"], rows["y"], rows["airmass"] = part.x[index], part.y[index], frame.airmass
            rows["fwhm"] = run.numbers[frame.name]["fwhm"]
            for slot, (method, columns) in enumerate(part.methods):
                rows["method"][slot] = method.encode()
                for name in COLUMNS:
                    values = columns[name][index]
                    if name in ("x", "y"):  # where the method has not measured the place, it is where it was told
                        values = np.where(np.isfinite(values), values, rows[name][slot])
                    rows[name][slot] = values
            seconds = frame.exptime if frame.exptime > 0 else nan
            rows["rate"], rows["rate_err"] = rows["flux"] / seconds, rows["flux_err"] / seconds
            yield rows.ravel()
