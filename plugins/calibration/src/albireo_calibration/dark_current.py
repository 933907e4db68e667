"""Dark current: what the detector counts without light, from the one number that a camera states for it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

from albireo import Frame, FrameError, Frames, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms


class DarkCurrent(PixelwiseCorrection, name="dark-current"):
    """Subtract the dark current that the camera states, times the exposure time; for cameras without dark frames.

    The number is the same for every pixel and is taken as exact. The electrons it stands for were counted with the
    light, so that their shot noise is part of the variance of the image already. Hot pixels remain: see `hot`. Where
    dark frames exist, `dark` does better.
    """

    needs = frozenset({"electron"})
    provides = frozenset({"dark"})
    excludes = frozenset({"dark", "flat", "rebin"})

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the electrons to subtract.

        Raises
        ------
        FrameError
            If the dark current or the exposure time is not known.
        """
        from albireo import Terms

        electrons = frame.dark_current * frame.exptime
        if not (isfinite(electrons) and electrons >= 0):
            raise FrameError(_unknown(frame))
        return Terms(subtract=electrons)

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say that the number is a nominal one, or what is missing."""
        if not (isfinite(frame.dark_current * frame.exptime) and frame.dark_current >= 0):
            return _unknown(frame)
        camera = " ".join(part for part in (frame.instrument, frame.detector) if part) or "this camera"
        return (
            f"the dark current of {camera} is a nominal {frame.dark_current:g} electron/s in every pixel, and hot "
            "pixels remain; take dark frames and use `dark`, or treat hot pixels by `hot`"
        )


def _unknown(frame: Frame) -> str:
    return (
        f"the dark current of {frame.name} cannot be subtracted: {frame.dark_current:g} electron/s in "
        f"{frame.exptime:g} s; give `dark_current` in electrons per second and pixel in the [instrument] table of the "
        "recipe, or leave the correction `dark-current` out"
    )
