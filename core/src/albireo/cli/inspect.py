"""``albireo inspect``."""

from __future__ import annotations

from argparse import Namespace
from math import isfinite
from typing import TYPE_CHECKING

from pydantic import ValidationError

from albireo.cli.common import complain, in_words, listing, terminal
from albireo.frames import Frames, mjd_to_iso
from albireo.recipe import DataOptions
from albireo.registry import Registry, RegistryError
from albireo.roles import Instrument
from albireo.run.ingest import Ingested, ingest, raw_files
from albireo.store import Index

if TYPE_CHECKING:
    from rich.table import Table


def command(options: Namespace) -> int:
    """Show frames as a camera sees them."""
    if not options.data.exists():
        complain(f"there is no {options.data}")
        return 2
    files = raw_files(DataOptions(), options.data.resolve())
    if not files:
        complain(f"there are no FITS files in {options.data}")
        return 1
    try:
        cameras = _cameras(options)
    except RegistryError as error:
        complain(str(error))
        return 2
    except ValidationError as error:
        complain(f"this camera cannot be used as it is: {in_words(error)}; give its definition with --definition FILE")
        return 2
    root = options.data.resolve()
    nights = [(camera, ingest(files, root, camera, Index(None))) for camera in cameras]
    camera, night = max(nights, key=lambda pair: len(pair[1].frames))
    if not night.frames:
        complain(f"none of the {len(files)} files is a frame of {', '.join(c.name for c in cameras)}:")
        for name, fate in list(night.fates.items())[:5]:
            complain(f"  {name}: {fate.reason}")
        return 1
    _show(camera, night, options.files)
    return 1 if any(fate.fate == "failed" for fate in night.fates.values()) else 0


def _cameras(options: Namespace) -> list[Instrument]:
    """The camera that was asked for, or every installed one that needs no option."""
    registry = Registry.discover()
    if options.definition is not None:
        entry = registry.get("instrument", options.instrument or "fits")
        return [entry.cls.model_validate({"definition": str(options.definition.resolve())})]  # type: ignore[list-item]
    if options.instrument is not None:
        cls = registry.get("instrument", options.instrument).cls
        return [cls.model_validate({})]  # type: ignore[list-item]
    entries = registry.entries("instrument")
    ready = [e.cls for e in entries if not any(option.is_required() for option in e.cls.model_fields.values())]
    if not ready:
        raise RegistryError("no camera is installed; give one with --definition FILE")
    return [cls() for cls in ready]  # type: ignore[misc]


def _show(camera: Instrument, night: Ingested, every: bool) -> None:
    console = terminal()
    first, *_ = night.frames
    table = listing(
        "kind", "filter", "exposure", "detector", "set-up", "frames", "first (UTC)", "last", title=camera.name
    )
    order = ("kind", "variant", "filter", "exptime", "detector", "setup")
    for (kind, variant, colour, exptime, detector, setup), group in night.frames.sorted("start").by(*order).items():
        times = [f.start for f in group if isfinite(f.start)]
        table.add_row(
            f"{kind} ({variant})" if variant else kind,
            colour,
            f"{exptime:g} s" if isfinite(exptime) else "unknown",
            detector,
            " ".join(f"{k}={v}" for k, v in setup),
            str(len(group)),
            mjd_to_iso(min(times))[:19] if times else "unknown",
            mjd_to_iso(max(times))[11:19] if times else "",
        )
    console.print(table)
    if every:
        console.print(_files(night.frames))
    console.print(
        f"gain {first.gain:g} e-/adu, read noise {first.read_noise:g} e-, saturation {first.saturation:g} adu"
    )
    for note, number in night.frames.remarks().items():
        console.print(f"note: {note} ({number} frames)", markup=False)
    for name, fate in night.fates.items():
        console.print(f"{name}: {fate.reason}", markup=False)


def _files(frames: Frames) -> Table:
    table = listing("frame", "kind", "filter", "target", "exposure", "middle (UTC)", "airmass", "gain")
    for frame in frames:
        table.add_row(
            frame.name,
            frame.kind,
            frame.filter,
            frame.target,
            f"{frame.exptime:g}",
            mjd_to_iso(frame.mid),
            f"{frame.airmass:.3f}" if isfinite(frame.airmass) else "",
            f"{frame.gain:g}",
        )
    return table
