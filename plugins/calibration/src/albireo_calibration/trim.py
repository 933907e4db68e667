"""Trim: keep the pixels that see light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from albireo import Frame, FrameError, Frames, PixelwiseCorrection, Section

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms


class Trim(PixelwiseCorrection, name="trim"):
    """Crop the image to the light-sensitive pixels: the data section of its amplifier, or of all of them together.

    The sections come from the instrument, frame by frame, so that binned and windowed frames are cut where their own
    headers say. Data sections of several amplifiers must fill a rectangle without gaps.
    """

    provides = frozenset({"trim"})
    excludes = frozenset({"rebin"})

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the section to keep.

        Raises
        ------
        FrameError
            If the frame has no data section, or sections that leave gaps or overlap.
        """
        from albireo import Terms

        problem = self.check(frame, None)
        if problem:
            raise FrameError(problem)
        return Terms(crop=frame.lit)

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say what is wrong with the data sections of this frame; empty if nothing."""
        if not frame.amplifiers:
            return (
                f"{frame.name} has no data section to trim to; give the sections in the definition of the instrument, "
                "or leave `trim` out of the recipe"
            )
        box = frame.lit
        sections = [amplifier.data for amplifier in frame.amplifiers]
        filled = sum(rows * columns for rows, columns in (section.shape for section in sections))
        if filled != box.shape[0] * box.shape[1] or _overlap(sections):
            listed = ", ".join(section.to_fits() for section in sections)
            return (
                f"the data sections of {frame.name} ({listed}) do not fill a rectangle; "
                "amplifiers with overscan between them cannot be joined by trimming alone"
            )
        if frame.shape != (0, 0) and not box.within(frame.shape):
            return (
                f"the data section {box.to_fits()} of {frame.name} reaches beyond its image of "
                f"{frame.shape[1]} x {frame.shape[0]} pixels; correct the section in the definition of the instrument"
            )
        return ""


def _overlap(sections: list[Section]) -> bool:
    return any(a.common(b) is not None for index, a in enumerate(sections) for b in sections[:index])
