"""Aligned frames that are already in memory, for the tests of stackers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Frame
from albireo.roles import AlignedFrame, AlignedFrames
from albireo.sources import Background, Transform

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["ImageFrames"]


@dataclass(eq=False)
class ImageFrames(AlignedFrames):
    """Images of one unit as `AlignedFrames`.

    Attributes
    ----------
    images : sequence of CCDData
        The first is the reference.
    facts : sequence of AlignedFrame
        One for each; see `make`.
    skies : sequence of float
        True level of the sky of each.
    memory : int
        In bytes.
    scratch : Path
    """

    images: Sequence[CCDData]
    facts: Sequence[AlignedFrame]
    skies: Sequence[float]
    memory: int = 1 << 30
    scratch: Path = field(default_factory=lambda: Path(gettempdir()))

    def __post_init__(self) -> None:
        self.shape = self.images[0].shape
        self.unit = str(self.images[0].unit)

    @classmethod
    def make(
        cls,
        images: Sequence[CCDData],
        transforms: Sequence[Transform] | None = None,
        *,
        skies: Sequence[float] | None = None,
        sky_rms: Sequence[float] | None = None,
        fluxes: Sequence[float] | None = None,
        fwhm: Sequence[float] | None = None,
        exptimes: Sequence[float] | None = None,
        **options: Any,
    ) -> ImageFrames:
        """Put images together with what is known of them; what is left out is the same for all.

        Parameters
        ----------
        images : sequence of CCDData
        transforms : sequence of Transform, optional
            From pixels of the reference; the identity unless given.
        skies, sky_rms, fluxes, fwhm, exptimes : sequence of float, optional
            0, 1, 1, 3 pixels and 10 s unless given.
        **options
            ``memory`` and ``scratch``.
        """
        n = len(images)
        levels = list(skies or n * [0.0])
        columns = zip(
            transforms or n * [Transform.identity()],
            fluxes or n * [1.0],
            fwhm or n * [3.0],
            levels,
            sky_rms or n * [1.0],
            strict=True,
        )
        seconds = exptimes or n * [10.0]
        frames = [Frame(f"frame-{i:03d}.fits", kind="science", exptime=time) for i, time in enumerate(seconds)]
        facts = [AlignedFrame(frame, *column) for frame, column in zip(frames, columns, strict=True)]
        return cls(images, facts, levels, **options)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        return self.facts[index]

    def image(self, index: int) -> CCDData:
        """Give one image."""
        return self.images[index]

    def background(self, image: CCDData) -> Background:
        """Give the true sky of one of the images."""
        index = next(i for i, own in enumerate(self.images) if own is image)
        level, rms = self.skies[index], self.facts[index].sky_rms
        plane = np.ones(image.shape, dtype=np.float32)
        return Background(np.float32(level) * plane, np.float32(rms) * plane, level, rms)
