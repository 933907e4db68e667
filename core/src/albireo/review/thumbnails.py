"""Thumbnails of raw frames, made once and kept beside the page.

Each lies in a file of its own, so that a browser loads only those in sight, and a frame that changes costs one file.
The name of the file is made from the frame and the state of its raw file: what is there need not be drawn again. The
levels that were measured on the way are kept in the picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from albireo.frames import FrameError
from albireo.images import atomic_path
from albireo.png import png_note
from albireo.results import Results
from albireo.review.pictures import Levels, look
from albireo.review.raw import RawFrames

__all__ = ["FOLDER", "Thumbnail", "Thumbnails", "frame_thumbnails"]

FOLDER = "frames"
"""Where thumbnails lie, beside the page."""

SIDE, GREYS = 180, 14
"""Longest side in pixels, and grey levels: with red and transparent ones half a byte for each pixel."""

READ = 2_000_000
"""About how many pixels are read of a frame."""

START = 256
"""Bytes at the start of a picture that hold its note."""


@dataclass(frozen=True)
class Thumbnail:
    """The thumbnail of a frame.

    Attributes
    ----------
    file : str
        Its name in the folder; empty if there is none.
    levels : Levels or None
    reason : str
        Why there is none.
    """

    file: str = ""
    levels: Levels | None = None
    reason: str = ""


class Thumbnails:
    """The thumbnails of a run.

    Parameters
    ----------
    raw : RawFrames
    folder : Path
        Where they lie; made when the first is drawn.
    """

    def __init__(self, raw: RawFrames, folder: Path) -> None:
        self.raw, self.folder = raw, folder

    def kept(self, name: str) -> Thumbnail:
        """Give the thumbnail of a frame if it is there already, without reading the frame."""
        try:
            file = self._file(name)
            with (self.folder / file).open("rb") as stream:
                levels = Levels.from_note(png_note(stream.read(START)))
        except OSError:
            return Thumbnail()
        return Thumbnail(file, levels) if levels is not None else Thumbnail()

    def get(self, name: str) -> Thumbnail:
        """Give the thumbnail of a frame, drawn now if it is not there; with the reason if it cannot be drawn."""
        kept = self.kept(name)
        if kept.file:
            return kept
        try:
            frame = self.raw.frame(name)
            file = self._file(name)
            sample = look(frame, SIDE, READ)
        except (FrameError, OSError) as error:
            return Thumbnail(reason=str(error))
        with atomic_path(self.folder / file) as partial:
            partial.write_bytes(sample.picture(GREYS))
        return Thumbnail(file, sample.levels)

    def keep_only(self, files: Collection[str]) -> None:
        """Remove thumbnails of frames that have changed or gone."""
        for path in self.folder.glob("*.png"):
            if path.name not in files:
                path.unlink(missing_ok=True)

    def _file(self, name: str) -> str:
        """Name the picture of a frame as its raw file is now; `OSError` if it is gone."""
        state = self.raw.path(name).stat()
        facts = (name, state.st_size, state.st_mtime_ns, self.raw.camera_options, SIDE, GREYS, READ)
        return f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:24]}.png"


def frame_thumbnails(run: Results, folder: str | Path, frames: Iterable[str]) -> dict[str, Path]:
    """Give the thumbnails of raw frames, drawn as far as they are not there.

    Parameters
    ----------
    run : Results
    folder : path
        Where the page goes that shows them; they lie in ``frames/`` below it, as those of `albireo.contact_sheet` do.
    frames : iterable of str
        Names of frames of the run.

    Returns
    -------
    dict of str to Path
        PNG with a palette, the first row of the detector at the foot; a frame that has no picture is missing.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    kept = Thumbnails(RawFrames(run), Path(folder) / FOLDER)
    found = {name: kept.get(name).file for name in frames}
    return {name: kept.folder / file for name, file in found.items() if file}
