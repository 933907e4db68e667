"""Rebin: add up squares of pixels, with their variance and flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from albireo import Correction, Frame, FrameError

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

Pixel = TypeVar("Pixel", bound="np.generic")


class Rebin(Correction, name="rebin"):
    """Sum squares of ``factor`` x ``factor`` pixels; the variance of the sum is the sum of the variances.

    Photometry keeps its scale: a star has the same electrons, in fewer pixels. Each of these has the read noise of all
    its members, because the noise was fixed before, pixel by pixel. Rows and columns at the far edge that fill no whole
    square are left out.

    The flags of a sum are those of its members. With the default ``min_fraction`` a masked member masks the sum. Below
    one, a sum with at least that fraction of its members good is made from these alone: scaled up by the number of all
    over that of the good ones, with the variance scaled by its square and `Flag.INTERPOLATED` in place of the flags
    that mask.

    Masters of corrections after `rebin` are made from frames that were binned the same way, so that they fit. Radii,
    boxes and widths of stages after the corrections are in binned pixels; targets are still given in raw pixels.
    """

    needs = frozenset({"electron"})
    provides = frozenset({"rebin"})
    excludes = frozenset({"rebin"})

    factor: int = Field(
        2, ge=1, description="Pixels on each side of the square that is summed.", json_schema_extra={"unit": "pixel"}
    )
    min_fraction: float = Field(
        1.0, gt=0, le=1, description="Sums with a smaller fraction of unmasked members than this are masked."
    )

    def correct(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> CCDData:
        """Bin an image.

        Parameters
        ----------
        image : CCDData
            A NaN pixel makes a sum NaN, with `Flag.NO_DATA`, unless it is made from the others.
        frame, masters
            Not used, but for the name of the frame.

        Raises
        ------
        FrameError
            If the image is smaller than one square.
        """
        import numpy as np

        from albireo import MASKED, Flag, flags_of, variance_of
        from albireo import image as new_image

        n = self.factor
        ny, nx = (size // n for size in image.shape)
        if not (ny and nx):
            raise FrameError(
                f"{frame.name} has {image.shape[1]} x {image.shape[0]} pixels, too few to sum squares of {n} x {n}"
            )
        variance, flags = variance_of(image), flags_of(image).copy()
        flags[~np.isfinite(image.data)] |= np.uint16(Flag.NO_DATA)
        masked = flags & np.uint16(MASKED) != 0

        joined = np.zeros((ny, nx), dtype=np.uint16)
        for part in self._members(flags):
            joined |= part
        partial, scale = np.zeros((ny, nx), dtype=bool), np.ones((ny, nx), dtype=np.float32)
        if self.min_fraction < 1.0 and masked.any():
            number = np.zeros((ny, nx), dtype=np.float32)
            for good in self._members(~masked):
                number += good
            partial = (number < n * n) & (number >= max(1.0, self.min_fraction * n * n))
            scale[partial] = n * n / number[partial]

        def total(plane: NDArray[np.float32], power: int) -> NDArray[np.float32]:
            result = np.zeros((ny, nx), dtype=np.float32)
            for part, out in zip(self._members(plane), self._members(masked), strict=True):
                result += np.where(out & partial, np.float32(0.0), part) if partial.any() else part
            return result * scale**power if partial.any() else result

        joined[partial] = joined[partial] & ~np.uint16(MASKED) | np.uint16(Flag.INTERPOLATED)
        meta = dict(image.meta)
        meta["REBIN"] = n * int(meta.get("REBIN", 1))
        note = f"rebin: squares of {n} x {n} pixels summed"
        rows, columns = (size % n for size in image.shape)
        if rows or columns:
            note += f"; {rows} rows and {columns} columns at the far edge fill none and are left out"
        meta["HISTORY"] = [*meta.get("HISTORY", ()), note]
        return new_image(
            total(image.data, 1),
            str(image.unit),
            variance=None if variance is None else total(variance, 2),
            flags=joined,
            meta=meta,
        )

    def _members(self, plane: NDArray[Pixel]) -> Iterator[NDArray[Pixel]]:
        """The first pixels of all squares, then the second ones, and so on."""
        n = self.factor
        rows, columns = (size // n * n for size in plane.shape)
        for y in range(n):
            for x in range(n):
                yield plane[y:rows:n, x:columns:n]
