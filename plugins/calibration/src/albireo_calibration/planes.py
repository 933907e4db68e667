"""The planes of a master, in the form that `albireo.Terms` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo import flags_of, variance_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray


def variance_plane(master: CCDData) -> NDArray[np.float32] | float:
    """Give the variance of a master; zero if it is taken as exact."""
    variance = variance_of(master)
    return 0.0 if variance is None else variance


def raised_flags(master: CCDData) -> NDArray[np.uint16] | None:
    """Give the flags of a master; None if no pixel has one, which spares the image a pass."""
    flags = flags_of(master)
    return flags if flags.any() else None
