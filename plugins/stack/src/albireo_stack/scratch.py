"""Where frames wait, on the grid of the stack, until all are there: in memory, or in a file if they are too many.

The file holds strips of rows one after the other, and within a strip first the values and then the variances of all
frames, so that what is combined together lies together. It has no name: nothing is left of it when the process ends,
however that comes about. It is read and written in pieces, and not mapped into memory, so that what the process holds
does not depend on the number of frames.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FrameStore", "frame_store"]

VALUES, VARIANCES = 0, 1
"""The planes of a frame."""

ITEM = np.dtype(np.float32).itemsize

RESERVE = 64 << 20
"""Bytes that are left free on the disk."""


class FrameStore:
    """Two planes of each frame, seen a strip of rows at a time.

    Parameters
    ----------
    number : int
        Of frames.
    shape : tuple of int
        Rows and columns of the grid.
    rows : int
        Of a strip.
    file : binary file, optional
        Where to keep them; in memory without one.
    """

    def __init__(self, number: int, shape: tuple[int, int], rows: int, file: Any = None) -> None:
        self.number, self.shape = number, shape
        self.strips = [slice(start, min(start + rows, shape[0])) for start in range(0, shape[0], rows)]
        self._file = file
        self._held = None if file is not None else np.empty((2, number, *shape), dtype=np.float32)
        self._buffers: dict[int, NDArray[np.float32]] = {}

    def room(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Give the planes of a frame in memory, to be filled where they are; None where they have to be `put`."""
        return None if self._held is None else (self._held[VALUES, index], self._held[VARIANCES, index])

    def put(self, index: int, values: NDArray[np.float32], variances: NDArray[np.float32]) -> None:
        """Write the planes of a frame to the file; threads may do so at once."""
        for plane, pixels in ((VALUES, values), (VARIANCES, variances)):
            for strip in self.strips:
                _write(self._file.fileno(), pixels[strip], self._place(strip, plane, index))

    def read(self, strip: slice, plane: int) -> NDArray[np.float32]:
        """Give one plane of all frames: shape (number, pixels of the strip), until the next strip is read."""
        pixels = (strip.stop - strip.start) * self.shape[1]
        if self._held is not None:
            return self._held[plane].reshape(self.number, pixels)  # there is one strip
        if plane not in self._buffers:
            longest = self.strips[0].stop * self.shape[1]
            self._buffers[plane] = np.empty(self.number * longest, dtype=np.float32)
        part = self._buffers[plane][: self.number * pixels]
        _read(self._file.fileno(), part, self._place(strip, plane, 0))
        return part.reshape(self.number, pixels)

    def _place(self, strip: slice, plane: int, index: int) -> int:
        """Byte where the rows of a frame begin."""
        nx = self.shape[1]
        before = 2 * self.number * strip.start * nx
        return ITEM * (before + (plane * self.number + index) * (strip.stop - strip.start) * nx)


@contextmanager
def frame_store(number: int, shape: tuple[int, int], memory: int, folder: Path) -> Iterator[FrameStore]:
    """Make room for frames.

    Parameters
    ----------
    number : int
        Of frames.
    shape : tuple of int
        Rows and columns of the grid.
    memory : int
        Bytes they may take in memory, all or a strip of all.
    folder : Path
        For the file.

    Raises
    ------
    FrameError
        If they do not fit into memory and the disk has no room.
    """
    ny, nx = shape
    row = 2 * number * nx * ITEM
    if row * ny <= memory:
        yield FrameStore(number, shape, ny)
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if row * ny + RESERVE > free:
        raise FrameError(
            f"{number} frames on {nx} x {ny} pixels need {row * ny / 2**30:.1f} GiB of disk space for a while, and "
            f'{folder} has {free / 2**30:.1f} GiB free. Make room, stack by method = "mean", which needs none, or give '
            "the executor more memory"
        )
    with tempfile.TemporaryFile(dir=folder) as file:
        yield FrameStore(number, shape, max(1, min(ny, memory // row)), file)


def _write(handle: int, pixels: NDArray[np.float32], place: int) -> None:
    data = np.ascontiguousarray(pixels).data.cast("B")
    while data:
        done = os.pwrite(handle, data, place)
        data, place = data[done:], place + done


def _read(handle: int, pixels: NDArray[np.float32], place: int) -> None:
    data = pixels.data.cast("B")
    while data:
        done = os.preadv(handle, [data], place)
        if not done:
            raise OSError("the scratch file of a stack ended too early")
        data, place = data[done:], place + done
