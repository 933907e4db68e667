"""The sky of the infrared: its background from the frames nearest in time, without their stars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf, isfinite
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from albireo import Frame, Frames
from albireo_combine.starless import Starless

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Stack


class RunningSky(Starless, name="running-sky"):
    """Make master skies that follow the sky through the night, each from the frames nearest in time, without stars.

    With ``frames = "science"`` the frames of the target themselves are used: the telescope must have moved by more than
    the size of an object between them. There is a master for each frame, of the ``window`` frames nearest to it in
    time, without itself. With ``frames = "sky"`` there is one for each run of ``window`` frames of the sky. A window of
    zero makes one master of all.

    Each frame is divided by its level, objects are found in what it has on top of all others and hidden, and values of
    each pixel are averaged with sigma clipping. The result is around one, with variance, COUNT and REJECTED; pixels
    that objects cover in every frame are NaN and flagged `Flag.NO_DATA`.

    ``meta``: NCOMBINE, METHOD, REJECTED, MISSING, LEVELMIN, LEVELMAX, OBJECTS (number of ellipses that hide objects).
    """

    makes = "sky"
    citations = ("Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",)

    kind: str = Field("sky", description="Which kind of master to make: sky.")
    frames: Literal["sky", "science"] = Field("sky", description="Which kind of frame to make it from.")
    window: int = Field(8, ge=0, description="Frames of one master; 0 for one master of all frames.")

    @field_validator("window")
    @classmethod
    def _is_a_window(cls, value: int) -> int:
        if value == 1:
            raise ValueError("a window of one frame shows its stars; give at least 2, or 0 for all frames")
        return value

    def wants(self, frame: Frame) -> bool:
        """Whether a frame is of the kind that `frames` says."""
        return frame.kind == self.frames

    def split(self, frames: Frames) -> Iterable[Frames]:
        """Give the windows; see the class."""
        for group in frames.by("variant").values():
            if self.window == 0:
                yield group
            elif self.frames == "sky":
                last = max(0, len(group) - self.window)
                yield from (Frames(list(group)[start : start + self.window]) for start in range(last + 1))
            else:
                yield from self._others(list(group))

    def _others(self, group: list[Frame]) -> Iterator[Frames]:
        """For each frame the nearest others; those that are nearest in time are among the nearest in number."""
        for number, frame in enumerate(group):

            def distance(index: int, number: int = number, frame: Frame = frame) -> tuple[float, int, int]:
                away = abs(group[index].start - frame.start)
                return (away if isfinite(away) else inf, abs(index - number), index)

            near = range(max(0, number - self.window), min(len(group), number + self.window + 1))
            nearest = sorted((index for index in near if index != number), key=distance)[: self.window]
            if nearest:
                yield Frames(group[index] for index in sorted(nearest))

    def build(self, stack: Stack) -> CCDData:
        """Combine the frames of a stack.

        Raises
        ------
        FrameError
            If there are fewer than two frames, one has no light, or no pixel has a value.
        """
        import numpy as np

        from albireo import Flag, image

        master, meta = self.clipped_mean(stack, self.look(stack))
        flags = np.where(np.isfinite(master.data), np.uint16(0), np.uint16(Flag.NO_DATA))
        return image(master.data, "", variance=master.variance, flags=flags, planes=master.planes, meta=meta)
