"""A stack of raw frames on disk, seen as corrected images, some rows at a time.

What differs between frames but not between rows (the overscan of each frame) is found once, from the whole frame. Then
strips of rows are read from every frame, corrected, and handed to a master builder in one buffer, so that the memory
depends on the recipe's one number and not on how many frames there are. If all frames fit, they are read once. If what
was found once is itself as large as a frame (the overscan of several amplifiers), it is kept for as many frames as fill
half the memory, and found anew for each strip of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from albireo.engine.threads import available_cores
from albireo.frames import Frame, FrameError, Frames, Section
from albireo.jobs import calibrate, silent, stack_rows, stage_of
from albireo.pixelwise import Terms, aligned_terms, apply_terms
from albireo.roles import Correction, Instrument, PixelwiseCorrection, Stack, Strip

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["RawStack"]

CHUNK = 64 << 20
"""Bytes of one strip where all frames are held in memory: large enough to keep two threads busy."""

WORKING = 8
"""Planes of a frame that its correction takes for a moment; as many threads run as fit into the memory with them."""

PLANES = ("subtract", "multiply", "divide", "flags")
"""The members of terms without noise that may be planes."""


class Prepared(NamedTuple):
    """What a chain does to one frame: terms with planes cut to the part of the raw image that it leaves."""

    terms: list[Terms]
    left: Section


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
        self._kept = 0
        self._lock = Lock()
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
        return self._plain(self.frames[index])

    def strips(self, scale: NDArray[np.float64] | None = None) -> Iterator[Strip]:
        """Go through the stack from the first row to the last."""
        ny, nx = self.shape
        n = len(self)
        row = n * nx * np.dtype(np.float32).itemsize
        bytes_at_once = min(CHUNK, self._memory) if self._held is not None else self._memory - self._kept
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
        model = self._first()
        ny, nx = self.shape
        frame_size = ny * nx * np.dtype(np.float32).itemsize
        size = len(self.frames) * frame_size
        self._threads = max(1, min(available_cores(), 8, self._memory // (WORKING * frame_size)))
        held = np.empty((len(self.frames), ny, nx), dtype=np.float32) if size <= self._memory else None
        pattern = self._terms(model) if held is None else None
        prepared: list[Prepared | None] = [None] * len(self.frames)

        def probe(index: int) -> None:
            frame = self.frames[index]
            try:
                if held is not None:
                    held[index] = self._plain(frame)
                elif pattern is None:
                    self._plain(frame)
                else:
                    prepared[index] = self._keep(self._terms(frame), pattern)
            except FrameError as error:
                self.lost[frame.name] = str(error)

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(probe, range(len(self.frames))))
        self.lost = {frame.name: self.lost[frame.name] for frame in self.frames if frame.name in self.lost}
        good = [i for i, frame in enumerate(self.frames) if frame.name not in self.lost]
        self.frames = Frames(self.frames[i] for i in good)
        if held is not None:
            for new, old in enumerate(good):
                if new != old:
                    held[new] = held[old]
            held = held[: len(good)]
        self._held = held
        self._prepared = [prepared[i] for i in good]

    def _first(self) -> Frame:
        """Find the first frame that can be used; its image gives shape and unit of the stack."""
        for frame in self.frames:
            try:
                picture = self._corrected(frame)
            except FrameError as error:
                self.lost[frame.name] = str(error)
                continue
            self.shape: tuple[int, int] = picture.shape
            self.unit = str(picture.unit)
            return frame
        reasons = "; ".join(f"{name}: {why}" for name, why in self.lost.items())
        raise FrameError(f"none of {len(self.frames)} frames can be used ({reasons})")

    def _read(self, frame: Frame, region: Section | None = None) -> CCDData:
        with stage_of("reading", self._instrument):
            return self._instrument.read(frame, region)

    def _corrected(self, frame: Frame, noise: bool = False) -> CCDData:
        noise = noise or any(correction.uses_noise for correction in self._corrections)
        return calibrate(self._read(frame), frame, self._corrections, self._masters, noise=noise)

    def _plain(self, frame: Frame) -> NDArray[np.float32]:
        pixels = stack_rows(self._corrected(frame))
        self._fits(pixels.shape)
        return pixels

    def _fits(self, shape: tuple[int, ...]) -> None:
        if shape != self.shape:
            raise FrameError(
                f"it has {shape[1]} x {shape[0]} pixels after correction, the frames before it "
                f"{self.shape[1]} x {self.shape[0]}; frames of one master must be cut to one size"
            )

    def _terms(self, frame: Frame) -> Prepared | None:
        """Terms of a chain that is pixel-wise throughout and looks at pixels only in the beginning; else None."""
        chain = [c for c in self._corrections if not c.master or c.master in self._masters]
        looking = [isinstance(c, PixelwiseCorrection) and c.looks_at_pixels for c in chain]
        if not all(isinstance(c, PixelwiseCorrection) for c in chain) or any(looking[1:]):
            return None
        raw = self._read(frame)
        terms = []
        for correction in chain:
            assert isinstance(correction, PixelwiseCorrection)
            with stage_of(f"correction {correction.name}", correction):
                given = correction.terms(raw, frame, self._masters)
            # A stack carries no noise.
            terms.append(replace(given, subtract_variance=0.0, divide_variance=0.0))
        left = Section(0, raw.shape[0], 0, raw.shape[1])
        for term in terms:
            if term.crop is not None:
                left = left.part(term.crop)
        self._fits(left.shape)
        return Prepared([replace(t, crop=None) for t in aligned_terms(terms, raw.shape, frame.shape, left)], left)

    def _keep(self, prepared: Prepared | None, pattern: Prepared) -> Prepared | None:
        """Share planes that are equal to those of the first frame; give None if there is no room for the others."""
        assert prepared is not None, "all frames go through one chain"
        own = 0
        terms = []
        for term, model in zip(prepared.terms, pattern.terms, strict=True):
            shared = {}
            for name in PLANES:
                plane, other = getattr(term, name), getattr(model, name)
                if _equal(plane, other):
                    shared[name] = other
                elif isinstance(plane, np.ndarray):
                    own += getattr(plane.base, "nbytes", plane.nbytes)
            terms.append(replace(term, **shared))
        with self._lock:
            if self._kept + own > self._memory // 2:
                return None
            self._kept += own
        return Prepared(terms, prepared.left)

    def _rows(self, index: int, strip: slice) -> NDArray[np.float32]:
        frame, prepared = self.frames[index], self._prepared[index]
        if prepared is None:
            return self._plain(frame)[strip]
        left = prepared.left
        raw = self._read(frame, Section(left.y0 + strip.start, left.y0 + strip.stop, left.x0, left.x1))
        if prepared.terms:
            terms = [_rows_of(term, strip) for term in prepared.terms]
            raw = apply_terms(raw, silent(frame), terms, last=False)
        return stack_rows(raw)


def _equal(plane: Any, other: Any) -> bool:
    """Whether two terms have the same plane, perhaps in two copies."""
    if not (isinstance(plane, np.ndarray) and isinstance(other, np.ndarray)) or plane.shape != other.shape:
        return False
    same = plane.ctypes.data == other.ctypes.data and plane.strides == other.strides
    return same or np.array_equal(plane, other, equal_nan=plane.dtype.kind == "f")


def _rows_of(term: Terms, strip: slice) -> Terms:
    """Cut the planes of a term to a strip."""

    def cut(plane: Any) -> Any:
        return plane[strip] if isinstance(plane, np.ndarray) and plane.shape[0] > 1 else plane

    return replace(term, **{name: cut(getattr(term, name)) for name in PLANES})
