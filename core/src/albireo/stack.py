"""A stack of raw frames on disk, seen as corrected images, some rows at a time.

What differs between frames but not between rows (the overscan of each frame) is found once, from the whole frame. Then
strips of rows are read from every frame, corrected, and handed to a master builder in one buffer, so that the memory
depends on the recipe's one number and not on how many frames there are. If all frames fit, they are read once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Frame, FrameError, Frames, Section
from albireo.jobs import calibrate, silent, stack_rows
from albireo.pixelwise import Terms, aligned_terms, apply_terms
from albireo.roles import Correction, Instrument, PixelwiseCorrection, Stack, Strip

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["RawStack"]

CHUNK = 64 << 20
"""Bytes of one strip where all frames are held in memory: large enough to keep two threads busy."""


class RawStack(Stack):
    """Raw frames, corrected on the way.

    Parameters
    ----------
    frames : Frames
        At least one, all of one shape.
    instrument : Instrument
    corrections : sequence of Correction
        Those before the one that will use the master.
    masters : mapping of str to CCDData
        What these corrections need.
    memory : int
        Bytes that all frames' pixels may take together.

    Attributes
    ----------
    lost : dict of str to str
        Frames that could not be read, by name, with the reason. They are not in `frames`.

    Raises
    ------
    FrameError
        If no frame can be read.
    """

    def __init__(
        self,
        frames: Frames,
        instrument: Instrument,
        corrections: Sequence[Correction],
        masters: Mapping[str, CCDData],
        memory: int,
    ) -> None:
        self._instrument, self._corrections, self._masters = instrument, tuple(corrections), masters
        self._memory = memory
        self.lost: dict[str, str] = {}
        self.frames = frames
        self._threads = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, 8)
        self._probe()

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._corrected(self.frames[index], noise=True)

    def pixels(self, index: int) -> NDArray[np.float32]:
        """One corrected image, NaN where it is masked; shared, not to be changed, where all frames are held."""
        if self._held is not None:
            held: NDArray[np.float32] = self._held[index]
            return held
        return stack_rows(self._corrected(self.frames[index]))

    def strips(self, scale: NDArray[np.float64] | None = None) -> Iterator[Strip]:
        """Go through the stack from the first row to the last."""
        ny, nx = self.shape
        n = len(self)
        row = n * nx * np.dtype(np.float32).itemsize
        bytes_at_once = min(CHUNK, self._memory) if self._held is not None else self._memory
        rows = max(1, min(ny, bytes_at_once // row))
        buffer = np.empty((n, rows, nx), dtype=np.float32)
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, ny, rows):
                strip = slice(start, min(start + rows, ny))
                part = buffer[:, : strip.stop - strip.start]

                def fill(i: int, strip: slice = strip, part: NDArray[np.float32] = part) -> None:
                    part[i] = self._held[i, strip] if self._held is not None else self._rows(i, strip)
                    if scale is not None:
                        part[i] *= np.float32(scale[i])

                list(pool.map(fill, range(n)))
                yield Strip(strip, part)

    # --- how frames are read

    def _probe(self) -> None:
        """Read every frame once: what cannot be read is left out, what fits is held, the rest is prepared."""
        first = None
        for frame in self.frames:
            try:
                first = self._corrected(frame)
                break
            except FrameError as error:
                self.lost[frame.name] = str(error)
        if first is None:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.lost.items())
            raise FrameError(f"none of {len(self.frames)} frames can be used ({reasons})")
        self.shape: tuple[int, int] = first.shape
        self.unit = str(first.unit)
        size = len(self.frames) * first.data.nbytes
        held = np.empty((len(self.frames), *self.shape), dtype=np.float32) if size <= self._memory else None
        prepared: list[tuple[list[Terms], Section] | None] = [None] * len(self.frames)

        def probe(index: int) -> None:
            frame = self.frames[index]
            try:
                if held is not None:
                    held[index] = stack_rows(self._corrected(frame))
                else:
                    prepared[index] = self._terms(frame)
            except FrameError as error:
                self.lost[frame.name] = str(error)

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(probe, range(len(self.frames))))
        keep = [i for i, frame in enumerate(self.frames) if frame.name not in self.lost]
        self.frames = Frames(self.frames[i] for i in keep)
        self._held = held if held is None or len(keep) == len(held) else held[keep]
        self._prepared = [prepared[i] for i in keep]

    def _corrected(self, frame: Frame, noise: bool = False) -> CCDData:
        return calibrate(self._instrument.read(frame), frame, self._corrections, self._masters, noise=noise)

    def _terms(self, frame: Frame) -> tuple[list[Terms], Section] | None:
        """Terms of a chain that is pixel-wise throughout and looks at pixels only in the beginning; else None.

        Their planes are cut to the part of the raw image that the chain leaves, which is given too.
        """
        chain = [c for c in self._corrections if not c.master or c.master in self._masters]
        looking = [isinstance(c, PixelwiseCorrection) and c.looks_at_pixels for c in chain]
        if not all(isinstance(c, PixelwiseCorrection) for c in chain) or any(looking[1:]):
            return None
        raw = self._instrument.read(frame)
        terms = [c.terms(raw, frame, self._masters) for c in chain if isinstance(c, PixelwiseCorrection)]
        left = Section(0, raw.shape[0], 0, raw.shape[1])
        for term in terms:
            if term.crop is not None:
                left = left.part(term.crop)
        return [replace(term, crop=None) for term in aligned_terms(terms, raw.shape, frame.shape, left)], left

    def _rows(self, index: int, strip: slice) -> NDArray[np.float32]:
        frame, prepared = self.frames[index], self._prepared[index]
        if prepared is None:
            return stack_rows(self._corrected(frame))[strip]
        terms, left = prepared
        raw = self._instrument.read(frame, Section(left.y0 + strip.start, left.y0 + strip.stop, left.x0, left.x1))
        return stack_rows(apply_terms(raw, silent(frame), [_rows_of(term, strip) for term in terms], last=False))


def _rows_of(term: Terms, strip: slice) -> Terms:
    """Cut the planes of a term to a strip; variances are not wanted in a stack."""

    def cut(plane: Any) -> Any:
        return plane[strip] if isinstance(plane, np.ndarray) and plane.shape[0] > 1 else plane

    return replace(
        term,
        subtract=cut(term.subtract),
        subtract_variance=0.0,
        multiply=cut(term.multiply),
        divide=cut(term.divide),
        divide_variance=0.0,
        flags=cut(term.flags),
    )
