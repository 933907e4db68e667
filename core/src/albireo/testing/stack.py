"""A stack of images that are already in memory, for the tests of master builders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Frame, Frames
from albireo.roles import Stack, Strip

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["ImageStack"]


class ImageStack(Stack):
    """Images of one shape and unit as a `Stack`; like a real one it reuses one buffer for all strips.

    Parameters
    ----------
    images : sequence of CCDData
    frames : Frames, optional
        What the headers said; made up unless given.
    rows : int
        Height of a strip.
    """

    def __init__(self, images: Sequence[CCDData], frames: Frames | None = None, rows: int = 16) -> None:
        self._images = list(images)
        self._rows = rows
        self.frames = frames or Frames(Frame(f"frame-{index:03d}.fits") for index in range(len(images)))
        self.shape = self._images[0].shape
        self.unit = str(self._images[0].unit)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        return self._images[index]

    def strips(self, scale: NDArray[np.float64] | None = None) -> Iterator[Strip]:
        """Go through the stack from the first row to the last."""
        ny, nx = self.shape
        buffer = np.empty((len(self), min(self._rows, ny), nx), dtype=np.float32)
        for start in range(0, ny, self._rows):
            rows = slice(start, min(start + self._rows, ny))
            data = buffer[:, : rows.stop - rows.start]
            for index, picture in enumerate(self._images):
                data[index] = picture.data[rows]
                if picture.mask is not None:
                    data[index][picture.mask[rows]] = np.nan
                if scale is not None:
                    data[index] *= np.float32(scale[index])
            yield Strip(rows, data)
