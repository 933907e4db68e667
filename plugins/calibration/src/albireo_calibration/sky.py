"""Sky: the structure of an infrared background, from frames of the sky beside the target.

A master sky is around one. What is subtracted from a frame is the master times the level of the sky in that frame,
which is the clipped median of the ratio of the two: the structure cancels in the ratio, so that stars and bad pixels
stand out of a narrow distribution.

The sky may also come from the science frames themselves, in groups that run with time and overlap. A frame then takes
a group without itself: a star that is part of the sky it is seen against loses some of its light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from albireo import SECONDS_PER_DAY, Frame, FrameError, Frames, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms

SAMPLE = 1 << 18
"""Pixels that are enough: their median is known to 0.25 % of the noise of one."""

LEAST = 100
"""Fewer pixels than this tell nothing of the level of the sky."""


class Sky(PixelwiseCorrection, name="sky"):
    """Subtract the master sky, scaled to the level of the sky in the frame, with the variance of both.

    With the image I, the master M and the level L, the result is ``I - L M`` with the variance
    ``V_I + L**2 V_M + M**2 V_L``. L is the median of I / M after clipping and V_L its variance, pi / 2 times that of a
    mean. The width for the clipping is taken on the lower side, where no star is. Masked pixels take no part; pixels
    without a master become NaN (`Flag.NO_DATA`). All pixels share the error of L, which a variance plane cannot say.

    The photon noise of the sky stays in the variance.
    """

    master = "sky"
    looks_at_pixels: ClassVar[bool] = True
    needs = frozenset({"pedestal", "flat"})

    clip: float = Field(
        3.0,
        ge=1,
        description="Pixels farther than this from the level do not enter it.",
        json_schema_extra={"unit": "standard deviation"},
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Measure the level and give the sky to subtract.

        Raises
        ------
        FrameError
            If too few pixels are left to measure the level, or the master has another shape.
        """
        import numpy as np

        from albireo import Terms
        from albireo_calibration.planes import master_for, raised_flags, variance_plane

        master = master_for(self.master, image, frame, masters)
        level, variance = self._level(image, master, frame)
        error = np.square(master.data)
        error *= np.float32(variance)
        error += np.float32(level**2) * variance_plane(master)
        return Terms(
            subtract=master.data * np.float32(level),
            subtract_variance=error,
            flags=raised_flags(master),
            note=f"sky: level {level:.6g} +- {variance**0.5:.2g} {image.unit}",
        )

    def choose(self, frame: Frame, masters: Sequence[Frames]) -> tuple[Frames | None, str]:
        """Take the group nearest in mean time of those without the frame itself, or of all if there is none."""
        if len(masters) == 1:
            return super().choose(frame, masters)
        distances = [_distance(frame, group) for group in masters]
        order = sorted(range(len(masters)), key=distances.__getitem__)
        chosen = next((index for index in order if not _holds(masters[index], frame)), order[0])
        group, minutes = masters[chosen], distances[chosen] * SECONDS_PER_DAY / 60.0
        away = f"{minutes:.1f} min away in the mean" if isfinite(minutes) else "times unknown"
        own = ""
        if group[0].kind == frame.kind:
            own = "; all hold the frame itself" if _holds(group, frame) else ", without the frame itself"
        return group, f"nearest in time, {away}, of {len(masters)} that match{own}"

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say if a frame is part of the sky that is subtracted from it."""
        if group is None or not _holds(group, frame):
            return ""
        return (
            "some frames are themselves part of the master sky that is subtracted from them, which takes light from "
            "their stars; let the skies run with time (`running-sky`), or take frames of an empty field"
        )

    def _level(self, image: CCDData, master: CCDData, frame: Frame) -> tuple[float, float]:
        """Level of the sky in the unit of the image, and its variance."""
        import numpy as np

        from albireo_calibration.levels import clipped_median

        step = max(1, image.shape[0] * image.shape[1] // SAMPLE)
        rows = slice(None, None, min(step + 1 - step % 2, image.shape[0]))  # odd, not to fall in step with amplifiers
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = image.data[rows] / master.data[rows]
        good = np.isfinite(ratio)
        for picture in (image, master):
            if picture.mask is not None:
                good &= ~picture.mask[rows]
        if good.sum() < LEAST:
            raise FrameError(
                f"the level of the sky in {frame.name} cannot be measured: {good.sum()} usable pixels of {good.size} "
                f"looked at, at least {LEAST} are needed; the others are masked or not numbers"
            )
        return clipped_median(np.sort(ratio[good].astype(np.float64)), self.clip)


def _distance(frame: Frame, group: Frames) -> float:
    """From a frame to the mean time of a group, in days; infinite where a time is not known."""
    days = abs(frame.start - sum(other.start for other in group) / len(group))
    return days if isfinite(days) else inf


def _holds(group: Frames, frame: Frame) -> bool:
    return any(other.name == frame.name for other in group)
