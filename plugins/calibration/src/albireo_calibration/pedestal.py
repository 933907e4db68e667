"""The electronic pedestal: a constant, or the pattern that a master bias holds.

What is subtracted here has no photon noise of its own; a master bias brings its read noise, divided by the number of
frames it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from albireo import Frame, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms


class Pedestal(PixelwiseCorrection, name="pedestal"):
    """Subtract a constant level, for cameras without overscan and bias frames.

    The level is taken as exact. Leave it out where bias frames or an overscan exist: they follow the camera.
    """

    provides = frozenset({"pedestal"})

    level: float = Field(
        description="Counts of a pixel that saw neither light nor dark current.", json_schema_extra={"unit": "adu"}
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the level to subtract."""
        from albireo import Terms

        return Terms(subtract=self.level, pedestal=True)


class Bias(PixelwiseCorrection, name="bias"):
    """Subtract the master bias, with its variance.

    After an overscan correction this takes away the fixed pattern, and without one the whole pedestal. Flags of the
    master are passed on to the image. It comes before the dark current is subtracted: a dark that was not freed of its
    bias takes the bias away itself.
    """

    master = "bias"
    provides = frozenset({"pedestal"})
    excludes = frozenset({"dark"})

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the master to subtract; shape of the image, unit adu."""
        from albireo import Terms
        from albireo_calibration.planes import raised_flags, variance_plane

        bias = masters[self.master]
        return Terms(
            subtract=bias.data, subtract_variance=variance_plane(bias), pedestal=True, flags=raised_flags(bias)
        )
