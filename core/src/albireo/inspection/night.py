"""Which camera wrote which file of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from albireo.frames import FrameError, Frames, told_of
from albireo.headers import identifying_header
from albireo.roles import Instrument
from albireo.run.ingest import ingest
from albireo.store import Index

__all__ = ["Look", "look"]


@dataclass
class Look:
    """The frames of a folder, by the camera that wrote them.

    Attributes
    ----------
    nights : list of (Instrument, Frames)
        For each camera that owns files, the one with the most frames first. Frames are named as in a run.
    failed : dict of str to str
        Files that could not be read or understood, with the reason.
    strange : list of str
        Files that no camera owns.
    disputed : dict of str to tuple of str
        Files that several cameras own, with the names of the cameras; each counts for the first of them.
    """

    nights: list[tuple[Instrument, Frames]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    disputed: dict[str, tuple[str, ...]] = field(default_factory=dict)


class _Headers(Index):
    """An index in memory that knows files by size and time, so that finding frames reads no pixels."""

    def __init__(self) -> None:
        super().__init__(None)

    def digest(self, path: Path) -> str:
        state = path.stat()
        return f"{state.st_size} {state.st_mtime_ns} {path}"


def look(files: Sequence[Path], root: Path, cameras: Sequence[Instrument]) -> Look:
    """Read the headers of files and give each to the camera that owns it.

    Parameters
    ----------
    files : sequence of Path
    root : Path
        The folder from which frames are named, or the one file.
    cameras : sequence of Instrument
    """
    base = root.parent if root.is_file() else root
    found = Look()
    shares = {0: list(files)} if len(cameras) == 1 else _shares(files, base, cameras, found)
    for number, share in shares.items():
        with _Headers() as index:
            night = ingest(share, root, cameras[number], index)
        if night.frames:
            found.nights.append((cameras[number], night.frames))
        for name, fate in night.fates.items():
            if fate.fate == "failed":
                found.failed[name] = fate.reason
            else:
                found.strange.append(name)
    found.nights.sort(key=lambda pair: -len(pair[1]))
    return found


def _shares(files: Sequence[Path], base: Path, cameras: Sequence[Instrument], found: Look) -> dict[int, list[Path]]:
    """Ask every camera for every file; what cannot be read or is nobody's is put down in ``found``."""
    shares: dict[int, list[Path]] = {}
    for path in files:
        name = path.relative_to(base).as_posix()
        try:
            header = identifying_header(path)
        except FrameError as error:
            found.failed[name] = told_of(error, path)
            continue
        owners = [number for number, camera in enumerate(cameras) if camera.owns(header, path)]
        if not owners:
            found.strange.append(name)
            continue
        if len(owners) > 1:
            found.disputed[name] = tuple(cameras[number].name for number in owners)
        shares.setdefault(owners[0], []).append(path)
    return shares
