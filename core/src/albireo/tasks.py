"""What a worker is told about one frame, and what it answers; small, and light to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from albireo.frames import Frame

__all__ = ["DamagedProductError", "FrameResult", "FrameTask"]


class DamagedProductError(OSError):
    """A product could not be read; it is removed, so that it will be made anew."""


@dataclass(frozen=True)
class FrameTask:
    """What to do with one frame.

    Attributes
    ----------
    frame : Frame
    masters : tuple of (str, Path, str)
        Kind, file and key of each master.
    aligned : Path
        Product that says how the frame lies on the reference; made if it is not there.
    reference : Path or None
        Product with the sources of the reference frame; None if this frame is the reference.
    catalogue : Path or None
        Product with the sources to measure, in pixels of the reference; None to measure nothing.
    measured : Path or None
        Product with the measurements.
    reduced : Path or None
        Where to write the calibrated image, if anywhere.
    keep_sources : bool
        Whether the product of alignment must hold all sources.
    reference_frame : Frame or None
    reference_image : Path or None
        The reference and its calibrated image, for aligners that look at pixels.
    watched : tuple of int
        Identities of the stars of which cut-outs are kept.
    by_way_of : Path or None
        Product of alignment of another frame that this one is aligned with instead of the reference.
    """

    frame: Frame
    masters: tuple[tuple[str, Path, str], ...]
    aligned: Path
    reference: Path | None = None
    catalogue: Path | None = None
    measured: Path | None = None
    reduced: Path | None = None
    keep_sources: bool = False
    reference_frame: Frame | None = None
    reference_image: Path | None = None
    watched: tuple[int, ...] = ()
    by_way_of: Path | None = None

    @property
    def is_done(self) -> bool:
        """Whether every product is there."""
        return all(path is None or path.exists() for path in (self.aligned, self.measured, self.reduced))


@dataclass(frozen=True)
class FrameResult:
    """What became of one frame: numbers, or the stage it failed in and why."""

    name: str
    numbers: dict[str, float] = field(default_factory=dict)
    stage: str = ""
    reason: str = ""
