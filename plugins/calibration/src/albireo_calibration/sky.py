"""Sky: the structure of an infrared background, from frames of the sky beside the target.

A master sky is around one. What is subtracted from a frame is the master times the level of the sky in that frame,
which is the clipped median of the ratio of the two: the structure cancels in the ratio, so that stars and bad pixels
stand out of a narrow distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from albireo import Frame, FrameError, PixelwiseCorrection

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Terms

SAMPLE = 1 << 18
"""Pixels that are enough: their median is known to 0.25 % of the noise of one."""

LEAST = 100
"""Fewer pixels than this tell nothing of the level of the sky."""

ONE_SIGMA = 0.15865525393145707
"""Share of a normal distribution below minus one standard deviation."""

ROUNDS = 20
"""Rounds of clipping at most."""


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
        from albireo_calibration.planes import raised_flags, variance_plane

        master = masters[self.master]
        if master.shape != image.shape:
            raise FrameError(
                f"{frame.name} has {image.shape[1]} x {image.shape[0]} pixels here, its master sky {master.shape[1]} x "
                f"{master.shape[0]}; both must be trimmed by the same corrections"
            )
        level, variance = self._level(image, master, frame)
        error = np.square(master.data)
        error *= np.float32(variance)
        error += np.float32(level**2) * variance_plane(master)
        return Terms(subtract=master.data * np.float32(level), subtract_variance=error, flags=raised_flags(master))

    def _level(self, image: CCDData, master: CCDData, frame: Frame) -> tuple[float, float]:
        """Level of the sky in the unit of the image, and its variance."""
        import numpy as np

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
        return _clipped_median(np.sort(ratio[good].astype(np.float64)), self.clip)


def _clipped_median(ordered: NDArray[np.float64], clip: float) -> tuple[float, float]:
    """Median of sorted values without the outliers, and its variance."""
    low, high = 0, len(ordered)
    for _ in range(ROUNDS):
        centre = float(ordered[(low + high) // 2])
        sigma = centre - float(ordered[low + int(ONE_SIGMA * (high - low))])
        left = int(ordered.searchsorted(centre - clip * sigma, "left"))
        right = int(ordered.searchsorted(centre + clip * sigma, "right"))
        if (left, right) == (low, high):
            break
        low, high = left, right
    return centre, pi / 2.0 * sigma**2 / (high - low)
