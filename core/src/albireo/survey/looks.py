"""A first look at the pixels of a frame: its level, its noise, its brightest pixels.

Looks are cheap and small, so that one can be taken at every sample; what needs two frames at a time comes later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np

from albireo.frames import FrameError
from albireo.pixels import read_pixels
from albireo.survey.noise import boxes, clipped
from albireo.survey.samples import Sample

__all__ = ["Look", "Looks", "some"]

NEAR = 50
"""How many adu below the brightest count a pile-up is told from ordinary bright pixels."""


@dataclass(frozen=True)
class Look:
    """What one look at a frame shows.

    Attributes
    ----------
    level : float
        Median, in adu.
    noise : float
        Median over boxes of the clipped standard deviation, in adu.
    top : float
        Brightest count.
    at_top : int
        How many pixels have it.
    near_top : int
        How many pixels lie below it by at most `NEAR` adu.
    low : float
        Count that one pixel in a thousand does not reach.
    """

    level: float
    noise: float
    top: float
    at_top: int
    near_top: int
    low: float


class Looks:
    """Looks at samples, each taken once.

    Attributes
    ----------
    failed : dict
        Samples whose pixels cannot be read, with the reason.
    """

    def __init__(self) -> None:
        self._taken: dict[tuple[Path, int], Look] = {}
        self.failed: dict[str, str] = {}

    def __call__(self, sample: Sample, hdu: int | None = None) -> Look | None:
        """Look at one image of a sample, the first unless told; None if it cannot be read."""
        unit = sample.hdus[0] if hdu is None else hdu
        key = (sample.path, unit)
        if key not in self._taken:
            try:
                self._taken[key] = _look(read_pixels(sample.path, unit))
            except FrameError as error:
                self.failed[sample.name] = str(error).replace(f"{sample.path} ", "")
                return None
        return self._taken[key]

    def of(self, samples: Iterable[Sample]) -> list[tuple[Sample, Look]]:
        """Look at several samples; those that cannot be read are left out."""
        return [(sample, look) for sample in samples if (look := self(sample)) is not None]


def some(samples: Sequence[Sample], number: int = 60) -> Sequence[Sample]:
    """Give at most so many of the samples, spread evenly: enough to know a camera without a long wait."""
    return samples[:: -(-len(samples) // number)] if samples else samples


def _look(pixels: np.ndarray) -> Look:
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return Look(nan, nan, nan, 0, 0, nan)
    top = float(finite.max())
    thin = pixels[::2, ::2]
    noise = float(np.nanmedian(np.sqrt(clipped(boxes(thin, 16))[1])))
    return Look(
        level=float(np.median(finite[::7])),
        noise=noise,
        top=top,
        at_top=int((finite == top).sum()),
        near_top=int(((finite < top) & (finite >= top - NEAR)).sum()),
        low=float(np.percentile(finite[::7], 0.1)),
    )
