"""``albireo inspect``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from albireo.cli.common import complain, in_words, terminal, watching
from albireo.cli.night_tables import common_setup, constants, frame_lists, kinds_table, levels_table, places
from albireo.declarative import DeclarativeInstrument
from albireo.frames import Frames
from albireo.recipe import DataOptions
from albireo.registry import Registry, RegistryError
from albireo.roles import Instrument
from albireo.run.ingest import raw_files

if TYPE_CHECKING:
    from rich.console import Console

    from albireo.inspection import Finding, Look

SHOWN = 5
"""How many files are named where none belongs to a camera."""

COLOURS = {"problem": "red", "warning": "yellow", "note": "dim", "camera": "dim"}


def command(options: Namespace) -> int:
    """Show frames as a camera sees them."""
    if not options.data.exists():
        complain(f"there is no {options.data}")
        return 2
    root = options.data.resolve()
    files = raw_files(DataOptions(), root)
    if not files:
        complain(f"there are no FITS files in {options.data}")
        return 1
    try:
        cameras = _cameras(options)
    except RegistryError as error:
        complain(str(error))
        return 2
    except ValidationError as error:
        advice = "" if options.definition else "; give its definition with --definition FILE"
        complain(f"this camera cannot be used as it is: {in_words(error)}{advice}")
        return 2
    if options.check:
        return _check(files, root, cameras)
    from albireo.inspection import look

    found = look(files, root, cameras)
    if not found.nights:
        _nobody(files, found, cameras)
        return 1
    console = terminal()
    for camera, frames in found.nights:
        _show(console, camera, frames, options)
    _apart(console, found)
    return 1 if found.failed else 0


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


def _called(camera: Instrument) -> str:
    """Name a camera; one of a definition as that does."""
    return camera.camera.name if isinstance(camera, DeclarativeInstrument) else camera.name


def _nobody(files: Sequence[Path], found: Look, cameras: Sequence[Instrument]) -> None:
    names = ", ".join(_called(camera) for camera in cameras)
    complain(f"none of the {len(files)} files is a frame of {names}:")
    paths = {path.as_posix(): path for path in files}
    for name, reason in list(found.failed.items())[:SHOWN]:
        complain(f"  {name}: {reason}")
    for name in found.strange[:SHOWN]:
        path = next(paths[text] for text in paths if text.endswith(name))
        complain(f"  {name}: another camera wrote it{_signature(path)}")
    if found.strange:
        complain("describe the camera in a file and give it with --definition FILE")


def _signature(path: Path) -> str:
    """Quote the cards by which a person recognises a camera."""
    from albireo.headers import identifying_header

    header = identifying_header(path)
    cards = [f"{key} = {header[key]!r}" for key in ("INSTRUME", "TELESCOP", "CAMERA", "DETECTOR") if header.get(key)]
    return f" ({', '.join(cards)})" if cards else ""


# --- what there is ----------------------------------------------------------------------------------------------------


def _show(console: Console, camera: Instrument, frames: Frames, options: Namespace) -> None:
    from albireo.inspection import SEVERITIES, judge

    console.print(kinds_table(frames, frames[0].instrument or camera.name))
    common = common_setup(frames)
    if common:
        console.print(f"set-up of all frames: {common}")
    console.print(constants(frames))
    for line in places(frames):
        console.print(line)
    if options.files:
        for table in frame_lists(frames):
            console.print(table)
    findings = judge(frames, camera)
    if options.pixels:
        findings += _look_at_pixels(console, camera, frames)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    remarks = [(f"{note} ({_counted(number, 'frame')})", "camera") for note, number in frames.remarks().items()]
    _say(console, [*((finding.text, finding.severity) for finding in findings), *remarks])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _say(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """Print texts, each behind how severe it is or who says it."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1, 0, 0))
    for text, word in lines:
        table.add_row(Text(f"{word}:", style=COLOURS[word]), Text(text))
    if lines:
        console.print(table)


def _apart(console: Console, found: Look) -> None:
    for name, cameras in found.disputed.items():
        console.print(f"{name}: {' and '.join(cameras)} both own it; choose one with --instrument NAME")
    if found.strange:
        console.print(f"{_counted(len(found.strange), 'file')} of no camera that was asked:")
        for name in found.strange[:SHOWN]:
            console.print(f"  {name}")
        if len(found.strange) > SHOWN:
            console.print(f"  and {len(found.strange) - SHOWN} more")
    for name, reason in found.failed.items():
        console.print(f"{name}: {reason}")


# --- pixels -----------------------------------------------------------------------------------------------------------


def _look_at_pixels(console: Console, camera: Instrument, frames: Frames) -> list[Finding]:
    """Show the level of every calibration frame; give what its noise says of the camera's constants."""
    from albireo.inspection.pixels import levels, noise_findings

    table = levels_table(levels(camera, frames), any(frame.detector for frame in frames))
    if table.row_count:
        console.print(table)
    return noise_findings(camera, frames)


# --- every promise of the camera, on every file -----------------------------------------------------------------------


def _check(files: Sequence[Path], root: Path, cameras: Sequence[Instrument]) -> int:
    """Check every file with the camera that owns it; say which failed in what."""
    from albireo.inspection import Checked, check_file

    base = root.parent if root.is_file() else root
    frames = aside = failed = 0
    with watching(False) as watch:
        watch.stage("checking files", len(files))
        for path in files:
            checked = Checked(path, owned=False)
            for camera in cameras:
                checked = check_file(camera, path)
                if checked.owned or checked.troubles:
                    break
            watch.advance()
            frames += len(checked.frames)
            if checked.troubles:
                failed += 1
                for trouble in checked.troubles:
                    print(f"{path.relative_to(base).as_posix()}: {trouble.aspect}: {trouble.reason}")
            elif not checked.owned:
                aside += 1
    if aside == len(files):
        complain(f"none of the {len(files)} files is a frame of {', '.join(map(_called, cameras))}")
        return 1
    outcome = f"{len(files) - failed - aside} good, {failed} failed"
    if aside:
        outcome += f", {aside} of no camera that was asked"
    print(f"{_counted(len(files), 'file')} with {_counted(frames, 'frame')}: {outcome}")
    return 1 if failed else 0
