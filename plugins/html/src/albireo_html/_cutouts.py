"""Cut-outs of the watched stars in every frame: sheets of small squares that lie beside the page.

A browser loads a sheet when a point on it is first asked for, so thousands of frames cost the page nothing. Each square
is drawn by the sky of its own frame: black two standard deviations below it, white at its brightest pixel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from albireo import atomic_path, encode_png
from albireo_html._picture import asinh
from albireo_html._values import floats, texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Results

FOLDER = "cutouts"
"""Where the sheets lie, beside the page."""

COLUMNS, TILES = 20, 400
"""Squares in a row of a sheet, and in a sheet: about 200 kB."""

GREYS = 31
BELOW, ABOVE = 2.0, 15.0
"""Standard deviations of the sky between black and the sky, and at least between the sky and white."""


@dataclass(frozen=True, eq=False)
class Sheets:
    """Where the cut-outs of one star in the frames of one field are drawn.

    Attributes
    ----------
    stem : str
        Sheets are called by it, a hyphen, their number and ``.png``; relative to the page.
    tiles : mapping of str to int
        Number of the square of each frame.
    corners : ndarray of int, shape (n, 2)
        Pixel of the frame, x and y, at the lower left of each square.
    """

    stem: str
    tiles: Mapping[str, int]
    corners: NDArray[np.int64]


def write_cutouts(run: Results, folder: Path) -> dict[tuple[str, int], Sheets]:
    """Write the sheets of every watched star below ``folder``, by field and number of the star.

    Sheets of an earlier run are removed.
    """
    skies = _skies(run)
    found: dict[tuple[str, int], Sheets] = {}
    written: set[Path] = set()
    for star in run.cutouts():
        tiles: dict[str, int] = {}
        stem = f"{FOLDER}/{re.sub(r'[^A-Za-z0-9]+', '_', star.field)}-{len(found)}-{star.source}"
        for number, start in enumerate(range(0, len(star.frames), TILES)):
            part = slice(start, start + TILES)
            path = folder / f"{stem}-{number}.png"
            noise = [skies.get(name, (np.nan, np.nan)) for name in star.frames[part]]
            pixels = np.asarray(star.pixels[part], dtype=np.float32)
            with atomic_path(path) as partial:
                partial.write_bytes(_sheet(pixels, noise))
            written.add(path)
            seen = np.flatnonzero(np.isfinite(pixels).any(axis=(1, 2)))
            tiles |= {star.frames[tile]: tile for tile in (start + seen).tolist()}
        found[star.field, star.source] = Sheets(stem, tiles, star.corners)
    for path in (folder / FOLDER).glob("*.png"):
        if path not in written:
            path.unlink(missing_ok=True)
    return found


def _skies(run: Results) -> dict[str, tuple[float, float]]:
    """Sky level and its noise in one pixel of each frame."""
    levels, noises = floats(run.frames, "sky"), floats(run.frames, "sky_rms")
    return dict(zip(texts(run.frames, "name"), zip(levels.tolist(), noises.tolist(), strict=True), strict=True))


def _sheet(pixels: NDArray[np.float32], skies: list[tuple[float, float]]) -> bytes:
    """Draw squares side by side, row by row from the top; what is no number is transparent."""
    count, side = pixels.shape[:2]
    sky, noise = np.array(skies, dtype=np.float64).reshape(-1, 2).T
    finite = np.isfinite(pixels)
    flat = np.where(finite, pixels, np.float32(np.nan)).reshape(count, -1)
    seen = finite.reshape(count, -1).any(axis=1)
    middle, brightest = np.zeros(count), np.zeros(count)
    middle[seen], brightest[seen] = np.nanmedian(flat[seen], axis=1), np.nanmax(flat[seen], axis=1)
    sky = np.where(np.isfinite(sky), sky, middle)
    noise = np.where(noise > 0, noise, np.maximum(np.abs(brightest - sky) / ABOVE, 1e-6))
    low, high = sky - BELOW * noise, np.maximum(sky + ABOVE * noise, brightest)
    drawn = asinh(pixels, low[:, None, None], high[:, None, None])
    indices = np.full((COLUMNS * -(-count // COLUMNS), side, side), GREYS, dtype=np.uint8)
    indices[:count] = np.where(finite, np.rint(np.nan_to_num(drawn) * (GREYS - 1)), GREYS).astype(np.uint8)
    # The first row of a picture is drawn at its foot, and the first squares stand on top.
    rows = indices.reshape(-1, COLUMNS, side, side)[::-1].transpose(0, 2, 1, 3).reshape(-1, COLUMNS * side)
    grey = np.linspace(0, 255, GREYS)
    return encode_png(rows, np.vstack([np.column_stack([grey, grey, grey]), np.zeros(3)]))
