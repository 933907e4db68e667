"""Flat: divide by the response of each pixel to even light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from albireo import Frame, PixelwiseCorrection

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Terms


class Flat(PixelwiseCorrection, name="flat"):
    """Divide by the master flat, with its variance.

    With ``I`` the image before and ``O = I / F`` after the division, the variance is
    ``V_O = (V_I + O**2 V_F) / F**2`` (first-order propagation of independent errors).

    Pixels whose flat is not above zero, or not a number, become NaN with `Flag.NO_DATA`. Pixels of little response are
    flagged `Flag.LOW_RESPONSE`, those of too much `Flag.BAD`; both mask them.
    """

    master = "flat"
    needs = frozenset({"pedestal"})
    provides = frozenset({"flat"})

    min_response: float = Field(
        0.1, ge=0, lt=1, description="Pixels whose flat is below this fraction of the median are flagged."
    )
    max_response: float | None = Field(
        None,
        gt=1,
        description=(
            "Pixels whose flat is above this multiple of the median are flagged as bad; leave it out where vignetting "
            "is strong, or all are good."
        ),
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the master to divide by; it is around one."""
        from albireo import Terms
        from albireo_calibration.planes import once, variance_plane

        flat = masters[self.master]
        flags = once(flat, ("flags", self.min_response, self.max_response), lambda: self._flags(flat))
        return Terms(divide=flat.data, divide_variance=variance_plane(flat), flags=flags)

    def _flags(self, flat: CCDData) -> NDArray[np.uint16] | None:
        """Flags of the master, and those of its response."""
        import numpy as np

        from albireo import Flag
        from albireo_calibration.planes import raised_flags

        flags = raised_flags(flat)
        limits = [(flat.data < self.min_response, Flag.LOW_RESPONSE)]
        if self.max_response is not None:
            limits.append((flat.data > self.max_response, Flag.BAD))
        for odd, flag in limits:
            if odd.any():
                marked = np.where(odd, np.uint16(flag), np.uint16(0))
                flags = marked if flags is None else flags | marked
        return flags
