"""The tables of ``albireo inspect``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from albireo.cli.common import listing
from albireo.frames import Frame, Frames, mjd_to_iso

if TYPE_CHECKING:
    from rich.table import Table

    from albireo.inspection.pixels import Level

__all__ = ["common_setup", "constants", "frame_lists", "kinds_table", "levels_table", "places"]

TARGETS_SHOWN = 5
"""Targets of which the pointing is told."""

TARGET_WIDTH = 10
"""Columns for the name of a target in the list of frames."""


def kinds_table(frames: Frames, title: str) -> Table:
    """Count frames by kind, filter, exposure time, detector and what differs in the set-up."""
    differing = list(dict.fromkeys(key for frame in frames for key, _ in frame.setup if _differs(frames, key)))
    detectors = any(frame.detector for frame in frames)
    columns = ["kind", "filter", "exposure", *["detector"] * detectors, *["set-up"] * bool(differing)]
    table = listing(*columns, "frames", "first (UTC)", "last", title=title)
    for column in table.columns[-3:]:
        column.no_wrap = True
    rows: dict[tuple[str, ...], list[Frame]] = {}
    for frame in frames.sorted("start"):
        row = [f"{frame.kind} ({frame.variant})" if frame.variant else frame.kind, frame.filter]
        # Flats in twilight have as many exposure times as there are frames.
        row.append("" if frame.kind == "flat" else _seconds(frame))
        row += [frame.detector] * detectors
        if differing:
            row.append(" ".join(f"{k}={v}" for k, v in frame.setup if k in differing))
        rows.setdefault(tuple(row), []).append(frame)
    order = {kind: number for number, kind in enumerate(("bias", "dark", "flat", "sky", "science", "other", "unknown"))}
    for (kind, colour, exposure, *rest), group in sorted(rows.items(), key=lambda item: order[item[1][0].kind]):
        times = [f.start for f in group if isfinite(f.start)]
        first, last = (mjd_to_iso(time)[:19] for time in (min(times), max(times))) if times else ("unknown", "")
        table.add_row(
            kind,
            colour,
            exposure or _range(group),
            *rest,
            str(len(group)),
            first,
            last[11:] if last[:10] == first[:10] else last,
        )
    return table


def common_setup(frames: Frames) -> str:
    """Write down what all frames share of the set-up."""
    return ", ".join(f"{key}={value}" for key, value in frames[0].setup if value and not _differs(frames, key))


def _differs(frames: Frames, key: str) -> bool:
    return len({dict(frame.setup).get(key) for frame in frames}) > 1


def _seconds(frame: Frame) -> str:
    """Write an exposure time; those that differ by the jitter of a shutter look the same."""
    return f"{frame.exptime:.4g} s" if isfinite(frame.exptime) else "unknown"


def _range(frames: Sequence[Frame]) -> str:
    ordered = sorted(frames, key=lambda f: (not isfinite(f.exptime), f.exptime))
    ends = dict.fromkeys((_seconds(ordered[0]), _seconds(ordered[-1])))
    return " to ".join(ends)


def constants(frames: Frames) -> str | Table:
    """Show gain, read noise and saturation of each amplifier: one sentence where all are the same."""
    rows: dict[tuple[str, ...], int] = {}
    for frame in frames:
        for number, amplifier in enumerate(frame.amplifiers, 1):
            name = (amplifier.name or str(number)) if len(frame.amplifiers) > 1 else ""
            row = (
                frame.detector,
                name,
                _number(amplifier.gain, " e-/adu"),
                _number(amplifier.read_noise, " e-"),
                _number(frame.saturation, " adu"),
            )
            rows[row] = rows.get(row, 0) + 1
    if len({row[2:] for row in rows}) == 1:
        *_, gain, noise, saturation = next(iter(rows))
        return f"gain {gain}, read noise {noise}, saturation {saturation}"
    names = ("detector", "amplifier", "gain", "read noise", "saturation")
    used = [index for index, _ in enumerate(names) if any(row[index] for row in rows)]
    table = listing(*(names[index] for index in used), "frames")
    for values, count in sorted(rows.items()):
        table.add_row(*(values[index] for index in used), str(count))
    return table


def places(frames: Frames) -> Iterator[str]:
    """Say where the telescope stands, and where it pointed for each target."""
    for (site,), group in frames.by("site").items():
        apertures = sorted({frame.diameter for frame in group if isfinite(frame.diameter)})
        mirror = "".join(f"; telescope of {diameter:g} m" for diameter in apertures)
        if site is not None:
            longitude, latitude, height = site
            yield (
                f"site {abs(latitude):.4f} {'N' if latitude >= 0 else 'S'}, {abs(longitude):.4f} "
                f"{'E' if longitude >= 0 else 'W'}, {height:g} m{mirror}"
            )
    targets = frames.where(kind="science").by("target")
    for (target,), group in list(targets.items())[:TARGETS_SHOWN]:
        placed = [f for f in group if f.has_position]
        if placed:
            middle = sorted(placed, key=lambda f: f.start)[len(placed) // 2]
            name = target or "science frames without a target"
            yield f"{name} at RA {middle.ra:.4f} deg, Dec {middle.dec:+.4f} deg by the headers"


def _number(value: float, unit: str) -> str:
    return f"{value:.6g}{unit}" if isfinite(value) else "unknown"


def frame_lists(frames: Frames) -> Iterator[Table]:
    """List every frame in order of time; date and folder stand above and need not be repeated in every line."""
    groups: dict[tuple[str, str], list[Frame]] = {}
    for frame in frames.sorted("start"):
        folder = frame.name.rpartition("/")[0]
        groups.setdefault((mjd_to_iso(frame.start)[:10] or "date unknown", folder), []).append(frame)
    # Columns that no frame of the camera fills are left out.
    detectors, exposures = any(f.detector for f in frames), any(f.exposure for f in frames)
    for (date, folder), group in groups.items():
        yield _frame_list(date, folder, group, detectors, exposures)


def _frame_list(date: str, folder: str, group: Sequence[Frame], detectors: bool, exposures: bool) -> Table:
    columns = ["frame", *["detector"] * detectors, "kind", "filter", "target", "exp/s", "start (UTC)", "middle"]
    columns += [*["exposure"] * exposures, "airmass", "gain", "read\nnoise"]
    table = listing(*columns, title=f"{date}, {folder}/" if folder else date)
    table.padding = (0, 1, 0, 0)
    for column in table.columns:
        column.no_wrap = column.header != "frame"
        column.overflow = "fold" if column.header == "frame" else "ellipsis"
        column.max_width = TARGET_WIDTH if column.header == "target" else None
    for f in group:
        table.add_row(
            f.name.rpartition("/")[2],
            *[f.detector] * detectors,
            f.kind,
            f.filter,
            f.target,
            f"{f.exptime:g}" if isfinite(f.exptime) else "",
            mjd_to_iso(f.start)[11:],
            mjd_to_iso(f.mid)[11:],
            *[f.exposure.removeprefix(f"{date}T")] * exposures,
            f"{f.airmass:.3f}" if isfinite(f.airmass) else "",
            "/".join(dict.fromkeys(f"{a.gain:.4g}" for a in f.amplifiers if isfinite(a.gain))),
            "/".join(dict.fromkeys(f"{a.read_noise:.4g}" for a in f.amplifiers if isfinite(a.read_noise))),
        )
    return table


def levels_table(levels: Iterable[Level], detectors: bool) -> Table:
    """Show what was measured on calibration frames."""
    columns = ("frame", *["detector"] * detectors, "kind", "filter", "exposure", "level", "above overscan", "saturated")
    table = listing(*columns, title="Pixels of calibration frames (adu)")
    for column in table.columns[-3:]:
        column.justify = "right"
        column.no_wrap = True
    for one in levels:
        frame = one.frame
        table.add_row(
            frame.name,
            *[frame.detector] * detectors,
            frame.kind,
            frame.filter,
            _seconds(frame),
            one.error or f"{one.level:.1f}",
            f"{one.above:.1f}" if isfinite(one.above) else "",
            f"{100 * one.saturated:.3g} %" if isfinite(one.saturated) else "",
        )
    return table
