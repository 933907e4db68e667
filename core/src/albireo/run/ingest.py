"""From a folder to frames: which files there are, what is in them, and what their headers say."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from albireo.frames import Frame, FrameError, Frames, told_of
from albireo.plan import Fate
from albireo.recipe import DataOptions
from albireo.roles import Instrument
from albireo.run.folder import RunError
from albireo.store import Index, key_of, stage_key

__all__ = ["Ingested", "ingest", "raw_files"]

log = logging.getLogger("albireo")


@dataclass
class Ingested:
    """The frames of a night.

    Attributes
    ----------
    frames : Frames
        Named by their path below the data folder, in order of their names.
    digests : dict of str to str
        Digest of the file of each frame, by name.
    fates : dict of str to Fate
        Files that gave no frame, by name.
    """

    frames: Frames = field(default_factory=Frames)
    digests: dict[str, str] = field(default_factory=dict)
    fates: dict[str, Fate] = field(default_factory=dict)


def raw_files(options: DataOptions, root: Path, without: Sequence[Path] = ()) -> list[Path]:
    """Find the files of a night, sorted by path.

    Parameters
    ----------
    options : DataOptions
    root : Path
        A folder, or one file.
    without : sequence of Path
        Folders and files that are not raw frames, such as what this run writes.
    """
    if root.is_file():
        return [root]
    found: set[Path] = set()
    for pattern in options.pattern:
        found.update(p for p in root.glob(pattern) if p.is_file())
    for pattern in options.exclude:
        found.difference_update(root.glob(pattern))
    apart = [folder.resolve() for folder in without]
    return sorted(p for p in found if not any(a == p.resolve() or a in p.resolve().parents for a in apart))


def ingest(files: Sequence[Path], root: Path, instrument: Instrument, index: Index) -> Ingested:
    """Read the headers of files, as far as they are not known yet, and let the camera say what was exposed together.

    A file that cannot be read, or that another camera wrote, is listed with the reason.

    Raises
    ------
    RunError
        If the camera does not give back the frames it was given.
    """
    base = root.parent if root.is_file() else root
    result = Ingested()
    digests = _digests(files, index, result, base)
    known = index.headers()
    camera = stage_key(instrument)
    fresh: list[tuple[str, list[Frame], str]] = []
    frames: list[Frame] = []
    for path in files:
        digest = digests.get(path)
        if digest is None:
            continue
        name = path.relative_to(base).as_posix()
        key = key_of("header", digest, name, camera)
        if key in known:
            values, error = known[key]
            found = [Frame.from_dict(entry).replace(path=str(path.resolve())) for entry in values]
        else:
            found, error = _read(path, instrument)
            fresh.append((key, found, error))
        if error:
            fate = "unused" if error.startswith("another camera") else "failed"
            result.fates[name] = Fate(fate, "index", error)
        for frame in found:
            named = frame.replace(name=_name(name, frame, found))
            frames.append(named)
            result.digests[named.name] = digest
    index.save_headers(fresh)
    result.frames = _together(Frames(frames).sorted(), instrument)
    return result


def _together(frames: Frames, instrument: Instrument) -> Frames:
    """Give frames their exposures, and see that nothing else was changed."""
    who = f"defect in the camera {instrument.name} ({type(instrument).__module__}.{type(instrument).__qualname__})"
    try:
        found = instrument.together(frames)
    except Exception as error:
        log.exception("%s", who)
        raise RunError(f"{who}: together failed with {type(error).__name__}: {error}") from error
    if len(found) != len(frames):
        raise RunError(f"{who}: together was given {len(frames)} frames and gave back {len(found)}")
    for before, after in zip(frames, found, strict=True):
        if after is not before and after.replace(exposure=before.exposure) != before:
            raise RunError(
                f"{who}: together must give the same frames in the same order with nothing changed but `exposure`; "
                f"in the place of {before.name} it gave {after.name if after.name != before.name else 'other facts'}"
            )
    return found


def _read(path: Path, instrument: Instrument) -> tuple[list[Frame], str]:
    from albireo.headers import identifying_header

    try:
        if not instrument.owns(identifying_header(path), path):
            return [], f"another camera wrote it: it does not look like {instrument.name}"
        return list(instrument.frames(path)), ""
    except (FrameError, OSError) as error:
        return [], told_of(error, path).removeprefix(f"{path.name}: ")


def _name(name: str, frame: Frame, siblings: Sequence[Frame]) -> str:
    """Make names unique where a file holds several images."""
    if len(siblings) == 1:
        return name
    if len({f.detector for f in siblings}) == len(siblings):
        return f"{name}:{frame.detector}"
    return f"{name}[{frame.hdu}]"


def _digests(files: Iterable[Path], index: Index, result: Ingested, base: Path) -> dict[Path, str]:
    """Digests of files, from the index where they have not changed; what cannot be read gets its fate."""
    digests: dict[Path, str] = {}
    new: list[Path] = []
    for path in files:
        known = index.digest(path) if path.exists() else None
        if known is None:
            new.append(path)
        else:
            digests[path] = known
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        made = dict(zip(new, pool.map(_digest, new), strict=True))
    for path, (_, _, error) in made.items():
        if error:
            result.fates[path.relative_to(base).as_posix()] = Fate("failed", "index", f"cannot be read: {error}")
    read = {path: (state, digest) for path, (state, digest, error) in made.items() if state is not None and not error}
    index.save_digests((path, state, digest) for path, (state, digest) in read.items())
    return digests | {path: digest for path, (_, digest) in read.items()}


def _digest(path: Path) -> tuple[os.stat_result | None, str, str]:
    """State of a file before it was read, digest, and an error text."""
    try:
        state = path.stat()
        with path.open("rb") as file:
            return state, hashlib.file_digest(file, "sha256").hexdigest(), ""
    except OSError as error:
        return None, "", error.strerror or str(error)
