"""Illumination: divide by what the flat left of the large-scale response.

A dome flat is lit otherwise than the sky, and scattered light fills a twilight flat. What that leaves, a slow change of
the response over the field, shows in flat-fielded frames of the sky.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from albireo import Frame, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms


class Illumination(PixelwiseCorrection, name="illumination"):
    """Divide by the master illumination, with its variance, after the flat.

    The variance is ``(V_I + O**2 V_L) / L**2`` with the image I before, O after the division, and the master L.

    Pixels whose illumination is not above zero, or not a number, become NaN with `Flag.NO_DATA`.
    """

    master = "illumination"
    needs = frozenset({"pedestal", "flat"})

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the master to divide by; it is around one."""
        from albireo import Terms
        from albireo_calibration.planes import raised_flags, variance_plane

        master = masters[self.master]
        return Terms(divide=master.data, divide_variance=variance_plane(master), flags=raised_flags(master))
