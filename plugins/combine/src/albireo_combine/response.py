"""Which pixels respond to faint light otherwise than to bright light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo_combine.surface import Surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_combine.combining import Combined

SURE = 5.0
"""Standard deviations by which a pixel must differ to count as not linear."""


def not_linear(bright: Combined, faint: Combined, box: int, limit: float) -> NDArray[np.bool_]:
    """Hold a flat of faint light against one of bright light.

    Parameters
    ----------
    bright, faint : Combined
        Both around one.
    box : int
        Side in pixels of the boxes over which the ratio of the two is evened out first.
    limit : float
        Fraction by which the response of a pixel may differ, beside 5 standard deviations.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = faint.data / bright.data
        ratio[~np.isfinite(ratio)] = np.nan
        sigma = np.sqrt(faint.variance + bright.variance * ratio**2) / np.abs(bright.data)
        off = np.abs(ratio / Surface.of(ratio, box)().astype(np.float32) - 1.0)
        return np.asarray((off > SURE * sigma) & (off > limit))
