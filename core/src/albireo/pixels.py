"""Raw counts from FITS files, as fast as the memory allows.

A plain image is memory-mapped, and bytes are swapped, scaled and converted in one pass over the part that is wanted.
Where the pixels lie in a file is found out once: masters read the same frames strip by strip, and opening a file
with astropy takes longer than reading a strip of it. Packed and gzipped images go through astropy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from albireo.engine import compiled
from albireo.engine.memory import empty_plane
from albireo.frames import Frame, FrameError, Section, Tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_pixels", "read_raw", "sample_raw"]


@dataclass(frozen=True, slots=True)
class _Layout:
    """What to know of an image to read its pixels; ``offset`` is negative where they are packed."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    scale: float
    zero: float
    blank: int | None


def read_pixels(path: str | Path, hdu: int = 0, region: Section | None = None) -> NDArray[np.float32]:
    """Read raw counts as native float32, with BSCALE and BZERO applied and blanks as NaN.

    Parameters
    ----------
    path : path
        A FITS file: plain, gzipped, or packed by tiles.
    hdu : int
        Which HDU holds the image.
    region : Section, optional
        Only this part; of a plain or packed image no more is touched.

    Raises
    ------
    FrameError
        If the file is no readable FITS image, is shorter than its header says, or does not hold the whole region.
    """
    return _read(path, hdu, region, lambda stored: stored)


def read_raw(frame: Frame, region: Section | None = None) -> NDArray[np.float32]:
    """Read the raw counts of a frame, put together from its tiles.

    Parameters
    ----------
    frame : Frame
    region : Section, optional
        Only this part of the raw image; no tile outside it is touched.

    Returns
    -------
    ndarray of float32
        NaN where a pixel is blank or no tile lies.

    Raises
    ------
    FrameError
        As for `read_pixels`.
    """
    if not frame.tiles:
        return read_pixels(frame.path, frame.hdu, region)
    wanted = region or Section(0, frame.shape[0], 0, frame.shape[1])
    if not wanted.within(frame.shape):
        raise FrameError(
            f"section {wanted.to_fits()} reaches beyond the raw image of {frame.path}, which has "
            f"{frame.shape[1]} x {frame.shape[0]} pixels"
        )
    first = frame.tiles[0]
    if first.target.shape == frame.shape and not (first.flip_x or first.flip_y):  # a window of one image
        return read_pixels(frame.path, first.hdu, first.source.part(wanted))
    raw = np.full(wanted.shape, np.nan, dtype=np.float32)
    for tile in frame.tiles:
        common = tile.target.common(wanted)
        if common is not None:
            place = Section(common.y0 - wanted.y0, common.y1 - wanted.y0, common.x0 - wanted.x0, common.x1 - wanted.x0)
            counts = read_pixels(frame.path, tile.hdu, _source(tile, common))
            raw[place.slices] = counts[:: -1 if tile.flip_y else 1, :: -1 if tile.flip_x else 1]
    return raw


def sample_raw(frame: Frame, step: int, rows: int) -> NDArray[np.float32]:
    """Read some rows of the light-sensitive part of a frame, evenly spread: enough for a small picture of it.

    Parameters
    ----------
    frame : Frame
    step : int
        Rows of a block; at the far edge, rows that fill no whole block are left out.
    rows : int
        How many rows in the middle of each block are read, at most ``step``. Of a plain image no others are touched.

    Returns
    -------
    ndarray of float32, shape (blocks, rows, nx)
        NaN where a pixel is blank or no tile lies.

    Raises
    ------
    FrameError
        As for `read_pixels`, or if the frame has fewer rows than one block.
    """
    lit = frame.lit
    blocks, nx, first = lit.shape[0] // step, lit.shape[1], (step - rows) // 2
    if not blocks:
        raise FrameError(f"{frame.path} has {lit.shape[0]} rows of data, fewer than the {step} of a block")
    lit = Section(lit.y0, lit.y0 + blocks * step, lit.x0, lit.x1)

    def pick(stored: NDArray[Any]) -> NDArray[Any]:
        return stored.reshape(blocks, step, nx)[:, first : first + rows]

    if not frame.tiles:
        return _read(frame.path, frame.hdu, lit, pick)
    tile = frame.tiles[0]
    if tile.target.shape == frame.shape and not (tile.flip_x or tile.flip_y):  # a window of one image
        return _read(frame.path, tile.hdu, tile.source.part(lit), pick)
    return pick(read_raw(frame, lit))


def _read(
    path: str | Path, hdu: int, region: Section | None, pick: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.float32]:
    """Read what ``pick`` takes of a region as it is stored; see `read_pixels`."""
    try:
        state = os.stat(path)
        layout = _layout(str(path), hdu, state.st_size, state.st_mtime_ns)
        if region is not None and not region.within(layout.shape):
            raise FrameError(
                f"section {region.to_fits()} reaches beyond the image of {path}, which has "
                f"{layout.shape[1]} x {layout.shape[0]} pixels"
            )
        if layout.offset >= 0:
            plain = np.memmap(path, layout.dtype, "r", layout.offset, layout.shape)
            return _scaled(pick(plain if region is None else plain[region.slices]), layout)
        with _opened(path) as hdus:
            stored = hdus[hdu].data if region is None else hdus[hdu].section[region.slices]
            return _scaled(pick(stored), layout)
    except (FrameError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make astropy, zlib and the decompressors raise whatever they like
        raise FrameError(f"{path} cannot be read: {_reason(error, path)}") from error


def _source(tile: Tile, part: Section) -> Section:
    """Give the pixels in the HDU that come to lie on a part of a tile's target."""
    y0, y1 = part.y0 - tile.target.y0, part.y1 - tile.target.y0
    x0, x1 = part.x0 - tile.target.x0, part.x1 - tile.target.x0
    ny, nx = tile.source.shape
    if tile.flip_y:
        y0, y1 = ny - y1, ny - y0
    if tile.flip_x:
        x0, x1 = nx - x1, nx - x0
    return tile.source.part(Section(y0, y1, x0, x1))


@lru_cache(maxsize=4096)
def _layout(path: str, hdu: int, size: int, mtime_ns: int) -> _Layout:
    """Find the pixels of an image; ``size`` and ``mtime_ns`` make a changed file another one."""
    del mtime_ns
    with _opened(path) as hdus:
        try:
            unit = hdus[hdu]
        except IndexError:
            raise FrameError(f"{path} has no HDU {hdu}; it has {len(hdus)}") from None
        header = unit.header
        if unit.is_image and header.get("NAXIS", 0) < 2:
            raise FrameError(f"HDU {hdu} of {path} holds no image")
        if not unit.is_image or header["NAXIS"] != 2:
            raise FrameError(
                f"HDU {hdu} of {path} is not an image of two dimensions; give the HDU or describe the cube's planes"
            )
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        dtype = np.dtype({8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[header["BITPIX"]])
        with open(path, "rb") as file:
            plain = file.read(6) == b"SIMPLE" and not isinstance(unit, fits.CompImageHDU)
        offset = int(unit.fileinfo()["datLoc"]) if plain else -1
        if plain and offset + shape[0] * shape[1] * dtype.itemsize > size:
            raise FrameError(
                f"{path} is truncated: its image should end at byte {offset + shape[0] * shape[1] * dtype.itemsize}, "
                f"the file has {size}; copy it again"
            )
        return _Layout(
            offset,
            dtype,
            shape,
            float(header.get("BSCALE", 1.0)),
            float(header.get("BZERO", 0.0)),
            header.get("BLANK") if dtype.kind in "iu" else None,
        )


def _opened(path: str | Path) -> fits.HDUList:
    return fits.open(path, mode="readonly", memmap=True, do_not_scale_image_data=True, lazy_load_hdus=True)


def _scaled(stored: NDArray[Any], layout: _Layout) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = empty_plane(stored.shape, np.float32)
    if layout.scale == 1.0:
        plain = stored.ndim == 2 and stored.dtype == ">i2" and stored.strides[1] == 2
        if plain and layout.blank is None and (kernels := compiled(stored.size)):
            kernels.convert(stored, layout.zero, pixels)
            return pixels
        np.add(stored, np.float32(layout.zero), out=pixels, casting="unsafe")
    else:
        np.multiply(stored, layout.scale, out=pixels, casting="unsafe")
        pixels += np.float32(layout.zero)
    if layout.blank is not None:
        pixels[stored == layout.blank] = np.nan
    return pixels


def _reason(error: Exception, path: str | Path) -> str:
    text = " ".join(str(error).split())
    if any(words in text for words in ("buffer is too small", "mmap length", "Header missing END", "end-of-stream")):
        return f"the file is truncated ({text})"
    if "No SIMPLE card" in text or "empty or corrupt fits" in text.lower():
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return "its packed bytes are truncated or damaged" if packed else "it is not a FITS file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return text or type(error).__name__
