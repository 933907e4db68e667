"""Small pictures of raw frames: a sample of their rows, limits as observers know them, and grey levels.

A picture averages blocks of pixels. Only some rows of each block are read, so that a thumbnail of a large frame costs
milliseconds; what is lost is a part of the faint stars, not the shape of the bright ones, clouds or gradients. Black
and white are the limits of zscale (Tody 1986, SPIE 627, 733, as in astropy), and blocks of which at least half is
saturated are red.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np

from albireo.frames import Frame, FrameError
from albireo.pixels import sample_raw
from albireo.png import encode_png

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Histogram", "Levels", "Sample", "look"]

RED = (232, 62, 48)
"""Colour of saturated blocks."""

BINS, COUNTED = 80, 500_000
"""Bins of a histogram, and about how many pixels are counted."""

JUDGED = 60_000
"""About how many pixels a median is taken of: it is known to 0.5 % of the noise of a pixel."""


@dataclass(frozen=True)
class Levels:
    """What the rows that were read say of the raw counts of a frame.

    Attributes
    ----------
    median : float
        In adu; NaN if no pixel is a number.
    saturated : float
        Share of the pixels at or above the saturation level; NaN if that level is not known.
    """

    median: float
    saturated: float

    def to_note(self) -> str:
        """Write as the note of a picture."""
        return f"{self.median!r} {self.saturated!r}"

    @classmethod
    def from_note(cls, note: str) -> Levels | None:
        """Read what `to_note` wrote; None if it is something else."""
        try:
            median, saturated = map(float, note.split())
        except ValueError:
            return None
        return cls(median, saturated)


@dataclass(frozen=True)
class Histogram:
    """How often raw counts occur, in bins of equal width from the lowest to the highest.

    Attributes
    ----------
    low, high : float
        In adu.
    counts : list of int
        Pixels in each bin.
    """

    low: float
    high: float
    counts: list[int]


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows that were read of the light-sensitive part of a frame.

    Attributes
    ----------
    raw : ndarray of float32, shape (blocks, rows, nx)
        Raw counts in adu; NaN where there is none.
    step : int
        Side of a block in pixels.
    saturation : float
        In adu; NaN if it is not known.
    """

    raw: NDArray[np.float32]
    step: int
    saturation: float

    @cached_property
    def levels(self) -> Levels:
        """Median and share of saturated pixels."""
        finite = self._thinned(JUDGED)
        full = float((self.raw >= self.saturation).mean()) if isfinite(self.saturation) else nan
        return Levels(float(np.median(finite)) if finite.size else nan, full)

    def picture(self, greys: int) -> bytes:
        """Draw as PNG with so many grey levels, red and transparent; the levels stand in its note."""
        means = self._means()
        low, high = _limits(means)
        tones = np.rint(np.clip((means - low) / (high - low), 0, 1) * (greys - 1))
        indices = np.where(np.isfinite(means), tones, greys + 1).astype(np.uint8)
        if self.levels.saturated > 0:
            indices[(self._blocks >= self.saturation).mean(axis=(1, 3)) >= 0.5] = greys
        grey = np.linspace(0, 255, greys)
        palette = np.vstack([np.column_stack([grey, grey, grey]), RED, (0, 0, 0)])
        return encode_png(indices, palette, self.levels.to_note())

    def histogram(self) -> Histogram | None:
        """Count pixels by their raw counts; None if no pixel is a number."""
        finite = self._thinned(COUNTED)
        if not finite.size:
            return None
        low, high = float(finite.min()), float(finite.max())
        counts, _ = np.histogram(finite, BINS, (low, high if high > low else low + 1.0))
        return Histogram(low, high, counts.tolist())

    @property
    def _blocks(self) -> NDArray[np.float32]:
        return self.raw.reshape(*self.raw.shape[:2], -1, self.step)

    def _means(self) -> NDArray[np.float32]:
        """Average the blocks; NaN where a block has no number."""
        _, rows, nx = self.raw.shape
        sums = self.raw.sum(axis=1).reshape(-1, nx // self.step, self.step).sum(axis=2)
        means = np.asarray(sums / np.float32(rows * self.step), dtype=np.float32)
        if np.isnan(means).any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                means = np.asarray(np.nanmean(self._blocks, axis=(1, 3), dtype=np.float32))
        return means

    def _thinned(self, most: int) -> NDArray[np.float32]:
        """Give about so many of the numbers, from every row."""
        some = self.raw[:, :, :: max(1, self.raw.size // most)]
        return some[np.isfinite(some)]


def look(frame: Frame, side: int, most: int) -> Sample:
    """Read what a picture of a frame needs.

    Parameters
    ----------
    frame : Frame
    side : int
        No side of the picture will be longer, in pixels.
    most : int
        About how many pixels may be read; every row of a block where they suffice, at least one.

    Raises
    ------
    FrameError
        If the pixels cannot be read.
    """
    ny, nx = frame.lit.shape
    step = max(1, -(-max(ny, nx) // side))
    if min(ny, nx) < step:
        raise FrameError(f"an image of {nx} x {ny} pixels is too narrow for a picture")
    rows = min(step, max(1, most * step // (ny * nx)))
    return Sample(sample_raw(frame, step, rows)[:, :, : nx // step * step], step, frame.saturation)


def _limits(means: NDArray[np.float32]) -> tuple[float, float]:
    """Counts that are drawn black and white; never the same."""
    from astropy.visualization import ZScaleInterval

    finite = means[np.isfinite(means)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in ZScaleInterval().get_limits(finite))
    return (low, high) if high > low else (low - 1.0, low + 1.0)
