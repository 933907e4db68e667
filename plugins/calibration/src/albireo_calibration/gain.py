"""Gain: from counts to electrons."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

from albireo import Frame, FrameError, Frames, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms


class Gain(PixelwiseCorrection, name="gain"):
    """Multiply by the gain of each amplifier, from adu to electrons.

    The gain is taken as exact; its error would scale a whole night and cancels in differential photometry. Where
    amplifiers have different gains, pixels that belong to none become NaN (`Flag.NO_DATA`).
    """

    needs = frozenset({"pedestal"})
    provides = frozenset({"electron"})

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the factor, in electrons per adu.

        Raises
        ------
        FrameError
            If the gain is not known.
        """
        from albireo import Terms, amplifier_plane

        problem = self.check(frame, None)
        if problem:
            raise FrameError(problem)
        return Terms(multiply=amplifier_plane(frame, "gain"), unit="electron")

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say if the gain of this frame is missing or impossible."""
        gains = [amplifier.gain for amplifier in frame.amplifiers]
        if gains and all(isfinite(gain) and gain > 0 for gain in gains):
            return ""
        found = ", ".join(f"{gain:g}" for gain in gains) or "none"
        return (
            f"the gain of {frame.name} is not known (found: {found}); give it in electrons per adu as `gain` in the "
            "[instrument] table of the recipe, or leave the correction `gain` out"
        )
