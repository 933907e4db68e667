"""Flat: divide by the response of each pixel to even light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from albireo import Frame, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms


class Flat(PixelwiseCorrection, name="flat"):
    """Divide by the master flat, with its variance.

    With ``I`` the image before and ``O = I / F`` after the division, the variance is
    ``V_O = (V_I + O**2 V_F) / F**2`` (first-order propagation of independent errors).

    Pixels whose flat is not above zero, or not a number, become NaN with `Flag.NO_DATA`. Pixels of little response are
    flagged `Flag.LOW_RESPONSE`, which masks them.
    """

    master = "flat"
    needs = frozenset({"pedestal"})
    provides = frozenset({"flat"})

    min_response: float = Field(
        0.1, ge=0, lt=1, description="Pixels whose flat is below this fraction of the median are flagged."
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the master to divide by; it is around one."""
        import numpy as np

        from albireo import Flag, Terms
        from albireo_calibration.planes import raised_flags, variance_plane

        flat = masters[self.master]
        flags = raised_flags(flat)
        low = flat.data < self.min_response
        if low.any():
            marked = np.where(low, np.uint16(Flag.LOW_RESPONSE), np.uint16(0))
            flags = marked if flags is None else flags | marked
        return Terms(divide=flat.data, divide_variance=variance_plane(flat), flags=flags)
