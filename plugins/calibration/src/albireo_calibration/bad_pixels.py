"""Bad pixels: flag what a map lists, be it a master made from darks and flats or a file.

Pixels are flagged before anything uses their values, and `interpolate` may fill them in later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationInfo, field_validator

from albireo import Frame, FrameError, Frames, PixelwiseCorrection

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Terms


class BadPixels(PixelwiseCorrection, name="bad-pixels"):
    """Flag the pixels that the master map of bad pixels lists, with the reasons that it gives.

    Pixels of the master above zero are bad. They get the flags of the master, and `Flag.BAD` where these would not mask
    them. The master is made from frames that were corrected by what stands before `bad-pixels`: put it before `flat`,
    so that the map can see pixels of little response.
    """

    master = "bad"

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the flags of the master."""
        import numpy as np

        from albireo import MASKED, Flag, Terms, flags_of

        master = masters[self.master]
        bad = master.data > 0
        flags = np.where(bad, flags_of(master), np.uint16(0))
        flags[bad & ((flags & np.uint16(MASKED)) == 0)] |= np.uint16(Flag.BAD)
        return Terms(flags=flags, note=f"bad-pixels: {np.count_nonzero(bad)} pixels flagged")


class BadPixelMap(PixelwiseCorrection, name="bad-pixel-map"):
    """Flag the pixels that are not zero in a FITS image as `Flag.BAD`.

    The map is the first image of the file. It has the size of the raw image or of its light-sensitive part, whether the
    image was trimmed by then or not.
    """

    excludes = frozenset({"rebin"})

    map: Path = Field(
        description="FITS file with the map, nonzero where a pixel is bad; a relative path starts at the folder of the "
        "recipe."
    )
    detector: str = Field("", description="Only frames of this detector are flagged; empty for all.")

    @field_validator("map")
    @classmethod
    def _is_there(cls, path: Path, info: ValidationInfo) -> Path:
        file = (Path((info.context or {}).get("folder", ".")) / path).absolute()
        if not file.is_file():
            raise ValueError(f"there is no file {file}")
        return file

    def fingerprint(self) -> str:
        """Give the digest of the map."""
        with self.map.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the flags of the map, as a plane of the raw image.

        Raises
        ------
        FrameError
            If the map cannot be read or has another size.
        """
        import numpy as np

        from albireo import Flag, Terms

        if self._is_another(frame):
            return Terms()
        bad = self._map()
        problem = self._other_size(bad.shape, frame)
        if problem:
            raise FrameError(problem)
        flags = np.zeros(frame.shape, dtype=np.uint16)
        place = (slice(None), slice(None)) if bad.shape == frame.shape else frame.lit.slices
        flags[place] = np.where(bad, np.uint16(Flag.BAD), np.uint16(0))
        return Terms(flags=flags, note=f"bad-pixel-map: {np.count_nonzero(bad)} pixels flagged, {self.map.name}")

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say if the map cannot be read or has another size than the frame."""
        if self._is_another(frame):
            return ""
        try:
            return self._other_size(self._map().shape, frame)
        except FrameError as error:
            return str(error)

    def _map(self) -> NDArray[np.bool_]:
        try:
            return _read(str(self.map), self.map.stat().st_mtime_ns)
        except OSError as error:
            raise FrameError(f"the map of bad pixels {self.map} cannot be read: {error}") from error

    def _is_another(self, frame: Frame) -> bool:
        return bool(self.detector) and frame.detector != self.detector

    def _other_size(self, shape: tuple[int, ...], frame: Frame) -> str:
        if shape in (frame.shape, frame.lit.shape):
            return ""
        sizes = [frame.shape, *([frame.lit.shape] if frame.lit.shape != frame.shape else [])]
        wanted = " or, trimmed, ".join(f"{columns} x {rows}" for rows, columns in sizes)
        return (
            f"the map of bad pixels {self.map.name} has {shape[1]} x {shape[0]} pixels, {frame.name} has {wanted}; "
            "give a map for this window and binning, or name the detector that it is for as `detector`"
        )


@lru_cache(maxsize=8)
def _read(path: str, changed: int) -> NDArray[np.bool_]:
    """Read the first image of a file; ``changed`` makes a new state of it known."""
    from astropy.io import fits

    del changed
    with fits.open(path, memmap=False) as units:
        for unit in units:
            if getattr(unit, "is_image", False) and unit.data is not None and unit.data.ndim == 2:
                return (unit.data != 0).astype(bool)
    raise OSError("it holds no image of two dimensions")
