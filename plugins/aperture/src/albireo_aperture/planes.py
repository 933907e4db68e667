"""The planes of an image as the loops over pixels want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from albireo import MASKED, Flag, FrameError, flags_of, variance_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background

__all__ = ["HIDDEN", "Planes"]

HIDDEN = np.uint16(MASKED & ~(Flag.SATURATED | Flag.BLEED))
"""Bits of pixels that an aperture leaves out; what is full is summed as it is."""


class Planes(NamedTuple):
    """Contiguous planes.

    Attributes
    ----------
    data, variance : ndarray of float32, shape (ny, nx)
    flags : ndarray of uint16, shape (ny, nx)
    level : ndarray of float32
        Map of the sky; of one pixel if there is none.
    mapped : bool
        Whether there is a map.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    flags: NDArray[np.uint16]
    level: NDArray[np.float32]
    mapped: bool

    @classmethod
    def of(cls, image: CCDData, background: Background | None) -> Planes:
        """Take the planes of an image; the map only where the sky is to come from it.

        Raises
        ------
        FrameError
            If the image has no variance.
        """
        variance = variance_of(image)
        if variance is None:
            raise FrameError(
                "the image has no variance, so that fluxes would have no errors; "
                "gain and read noise must be known: give them under [instrument]"
            )
        level = np.zeros((1, 1), dtype=np.float32) if background is None else background.level
        data, variance, level = (
            np.ascontiguousarray(plane, dtype=np.float32) for plane in (image.data, variance, level)
        )
        return cls(data, variance, np.ascontiguousarray(flags_of(image)), level, background is not None)

    def arguments(self, hidden: Any) -> tuple[Any, ...]:
        """Give what every loop over stars begins with."""
        return self.data, self.variance, self.flags, hidden, self.level, self.mapped
