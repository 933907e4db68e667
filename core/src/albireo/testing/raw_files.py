"""Raw files as a camera writes them: one image or several, whole or in tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from albireo.frames import Frame, Section, Tile
from albireo.roles import Instrument

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from numpy.typing import NDArray

__all__ = ["write_raw"]

Unlit: TypeAlias = "Callable[[tuple[int, int]], NDArray[Any]]"


def write_raw(
    instrument: Instrument,
    frame: Frame | Sequence[Frame],
    counts: NDArray[Any] | Sequence[NDArray[Any]],
    unlit: Unlit | None = None,
) -> None:
    """Write one raw file: the inverse of `albireo.read_raw`.

    Parameters
    ----------
    instrument : Instrument
        Its `headers` writes the header of each HDU; the first frame's counts where several have one.
    frame : Frame, or several
        The frames in this file, all with its path.
    counts : ndarray, shape of the frame, or several
        The raw image of each frame; its type is that of the pixels in the file.
    unlit : callable, optional
        From rows and columns to an image: what stands where no tile of any frame lies. Zero unless given.

    Raises
    ------
    OSError
        If the file exists already.
    ValueError
        If the frames do not fit into one file.
    """
    from astropy.io import fits

    frames = [frame] if isinstance(frame, Frame) else list(frame)
    images = [counts] if isinstance(counts, np.ndarray) else list(counts)
    pixels = _arranged(frames, images, unlit)
    headers: dict[int, Header] = {}
    for one in reversed(frames):
        headers |= instrument.headers(one)
    units = [fits.PrimaryHDU(pixels.get(0), headers.get(0))]
    for number in range(1, max((*headers, *pixels)) + 1):
        units.append(fits.ImageHDU(pixels.get(number), headers.get(number)))
    fits.HDUList(units).writeto(frames[0].path)


def _arranged(frames: Sequence[Frame], images: Sequence[NDArray[Any]], unlit: Unlit | None) -> dict[int, NDArray[Any]]:
    """Give the pixels of each HDU, put together from the tiles of all frames."""
    pixels: dict[int, NDArray[Any]] = {}
    taken: dict[int, list[tuple[Section, str]]] = {}
    for frame, image in zip(frames, images, strict=True):
        if frame.path != frames[0].path:
            raise ValueError(f"{frame.name} and {frames[0].name} do not lie in one file")
        if image.shape != frame.shape:
            raise ValueError(f"{frame.name} has {frame.shape} rows and columns, its counts have {image.shape}")
        whole = Section(0, frame.shape[0], 0, frame.shape[1])
        for tile in frame.tiles or (Tile(frame.hdu, frame.shape, whole, whole),):
            _claim(taken, tile, frame.name)
            if tile.hdu not in pixels:
                alone = tile.source.shape == tile.image
                filled = np.empty if alone else np.zeros
                pixels[tile.hdu] = unlit(tile.image) if unlit and not alone else filled(tile.image, image.dtype)
            part = image[tile.target.slices][:: -1 if tile.flip_y else 1, :: -1 if tile.flip_x else 1]
            pixels[tile.hdu][tile.source.slices] = part
    return pixels


def _claim(taken: dict[int, list[tuple[Section, str]]], tile: Tile, name: str) -> None:
    """Note what a frame fills, and refuse what another frame has filled."""
    new = tile.source
    for old, owner in taken.setdefault(tile.hdu, []):
        if new.y0 < old.y1 and old.y0 < new.y1 and new.x0 < old.x1 and old.x0 < new.x1:
            raise ValueError(f"{owner} and {name} both fill {new.to_fits()} of HDU {tile.hdu}; detectors need tiles")
    taken[tile.hdu].append((new, name))
