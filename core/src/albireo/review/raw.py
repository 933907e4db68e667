"""From the table of frames of a run back to the raw frames, as the camera of the run understands them.

A run folder holds no pixels of raw frames and not where they lie in their files; the camera tells it again from the
header. A raw file that was moved, or a camera that is no longer installed, costs the picture and nothing else.
"""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from albireo.frames import Frame, FrameError, told_of
from albireo.registry import Registry, RegistryError
from albireo.results import Results
from albireo.roles import Instrument

__all__ = ["RawFrames"]


class RawFrames:
    """The raw frames of a run, by name."""

    def __init__(self, run: Results) -> None:
        self._run = run
        table = run.frames
        columns = (table[name].filled("") if hasattr(table[name], "filled") else table[name] for name in _COLUMNS)
        self._rows = {
            str(name): (Path(str(path)), int(hdu or 0), str(detector))
            for name, path, hdu, detector in zip(*columns, strict=True)
        }

    def path(self, name: str) -> Path:
        """Give the file of a frame; `KeyError` if the run has no such frame."""
        return self._rows[name][0]

    def frame(self, name: str) -> Frame:
        """Read what the camera says of a frame.

        Raises
        ------
        FrameError
            If the file is gone or cannot be read, or the camera cannot be used; the message says which.
        """
        path, hdu, detector = self._rows[name]
        if not path.exists():
            raise FrameError(f"the raw file is not at {path} any more")
        if isinstance(self._camera, str):
            raise FrameError(self._camera)
        try:
            found = list(self._camera.frames(path))
        except (FrameError, OSError) as error:
            raise FrameError(told_of(error, path)) from error
        for frame in found:
            if (frame.hdu, frame.detector) == (hdu, detector):
                return frame
        raise FrameError(f"{path} has changed: it holds no image of detector {detector!r} in HDU {hdu} any more")

    @cached_property
    def camera_options(self) -> dict[str, Any]:
        """The table ``[instrument]`` of the run."""
        return dict(tomllib.loads(self._run.recipe).get("instrument", {}))

    @cached_property
    def _camera(self) -> Instrument | str:
        """The camera of the run, or why it cannot be used."""
        options = dict(self.camera_options)
        name = options.pop("use", "")
        try:
            cls = Registry.discover().get("instrument", name).cls
            camera = cls.model_validate(options, context={"folder": self._run.folder})
        except (RegistryError, ValidationError) as error:
            return f"the camera {name!r} of this run cannot be used: {' '.join(str(error).split())}"
        assert isinstance(camera, Instrument)
        return camera


_COLUMNS = ("name", "path", "hdu", "detector")
