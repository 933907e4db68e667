"""The noise that a master dark shares with the master bias of the frame it is subtracted from.

Frames of a dark are bias-subtracted, with the same master as the frame that the dark serves. An error b of that master
lowers the frame by b and the dark by b, so that of both together ``b (s - 1)`` is left where the dark is scaled by s:
nothing, for a dark of equal exposure time. Adding the variances as if they were independent counts ``V_b`` once
too often. The variance plane of a dark is that of its own frames alone, so that ``(s - 1)**2 V_b + s**2 V_d`` is
right; ``V_b`` is there already when the dark comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from albireo import variance_of
from albireo_calibration.planes import variance_plane

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray


def shared_bias(dark: CCDData, masters: Mapping[str, CCDData]) -> CCDData | None:
    """Give the master bias that frames of the dark were corrected with, if it is the one of this frame too."""
    bias = masters.get("bias")
    if bias is None or not dark.meta.get("KEYBIAS") or dark.meta["KEYBIAS"] != bias.meta.get("ALBKEY"):
        return None
    comparable = bias.shape == dark.shape and bias.unit == dark.unit and variance_of(bias) is not None
    return bias if comparable else None


@lru_cache(maxsize=4)
def variance_beside(dark: CCDData, bias: CCDData, factor: float) -> NDArray[np.float32]:
    """Give what a dark, scaled by a factor, adds to the variance of a frame that has that of the bias already.

    The plane is divided by the factor squared, with which `albireo.Terms` multiplies it. It is remembered for the last
    masters and factors, because a night has many frames of each: it must not be changed.
    """
    import numpy as np

    plane: NDArray[np.float32] = np.multiply(variance_plane(bias), np.float32(1.0 - 2.0 / factor))
    plane += variance_plane(dark)
    return plane
