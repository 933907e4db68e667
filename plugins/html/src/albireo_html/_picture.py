"""Images for a page: block averages, a stretch, and an 8-bit PNG with a palette."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from albireo import encode_png

ANCHORS = ((10, 22, 48), (38, 66, 118), (74, 118, 168), (148, 160, 160), (214, 186, 122), (255, 244, 214))
"""Night blue to pale gold, rising in lightness all the way, so that it can be read without colour vision."""

GREYS = 64
"""Levels in a picture. More cannot be told apart on noise, and cost bytes."""

Level: TypeAlias = float | NDArray[np.float64]
"""A limit of a stretch: one for an image, or one for each of several."""


@dataclass(frozen=True)
class Picture:
    """An image in a page.

    Attributes
    ----------
    url : str
        ``data:image/png;base64,...``
    width, height : int
        Of the PNG, in its own pixels.
    low, high : float
        Values at the ends of the colour bar.
    """

    url: str
    width: int
    height: int
    low: float
    high: float


def gradient() -> str:
    """Give the palette as a CSS gradient from left to right."""
    return f"linear-gradient(90deg, {', '.join(f'rgb({r} {g} {b})' for r, g, b in ANCHORS)})"


def shrink(data: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Average blocks of pixels so that no side is longer than ``size``; NaN pixels do not count.

    Rows and columns that fill no whole block at the far edges are left out.
    """
    step = max(1, -(-max(data.shape) // size))
    if step == 1:
        return np.asarray(data, dtype=np.float32)
    ny, nx = (max(side // step, 1) for side in data.shape)
    rows, columns = min(step, data.shape[0]), min(step, data.shape[1])
    blocks = data[: ny * rows, : nx * columns].reshape(ny, rows, nx, columns)
    good = np.isfinite(blocks)
    count = good.sum(axis=(1, 3))
    total = np.where(good, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count, dtype=np.float32)


def cuts(values: NDArray[np.floating[Any]], reach: float) -> tuple[float, float]:
    """Range that shows nearly all values and the structure in them: the median ± ``reach`` robust standard deviations.

    It goes no farther than the percentiles 0.2 and 99.8, and is never empty. NaN does not count.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return 0.0, 1.0
    low, middle, high = (float(value) for value in np.percentile(finite, [0.2, 50, 99.8]))
    spread = reach * 1.4826 * float(np.median(np.abs(finite - middle)))
    if spread > 0:
        low, high = max(low, middle - spread), min(high, middle + spread)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def linear(data: NDArray[np.float32], low: Level, high: Level) -> NDArray[np.float32]:
    """Stretch linearly to 0..1; NaN stays NaN."""
    return np.asarray(np.clip((data - low) / (high - low), 0, 1), dtype=np.float32)


def asinh(data: NDArray[np.float32], low: Level, high: Level, softening: float = 0.06) -> NDArray[np.float32]:
    """Stretch as Lupton et al. (1999, AJ 118, 1406): linear at the level of the sky, logarithmic for stars."""
    return np.asarray(np.arcsinh(linear(data, low, high) / softening) / np.arcsinh(1 / softening), dtype=np.float32)


def colour(stretched: NDArray[np.float32], low: float, high: float) -> Picture:
    """Paint values of 0..1 in the palette of the page, first row at the bottom; NaN is transparent."""
    stops = np.linspace(0, 1, len(ANCHORS))
    steps = np.linspace(0, 1, GREYS)
    palette = np.column_stack([np.interp(steps, stops, [anchor[k] for anchor in ANCHORS]) for k in range(3)])
    return _picture(stretched, palette, low, high)


def ink(stretched: NDArray[np.float32], low: float, high: float) -> Picture:
    """Paint values of 0..1 from white to black, as on a finding chart, first row at the bottom."""
    grey = np.linspace(255, 0, GREYS)
    return _picture(stretched, np.column_stack([grey, grey, grey]), low, high)


def _picture(stretched: NDArray[np.float32], palette: NDArray[np.float64], low: float, high: float) -> Picture:
    indices = np.rint(np.where(np.isfinite(stretched), stretched, 0) * (GREYS - 1)).astype(np.uint8)
    indices[~np.isfinite(stretched)] = GREYS
    ny, nx = indices.shape
    png = encode_png(indices, np.vstack([palette, np.zeros(3)]))
    return Picture(f"data:image/png;base64,{base64.b64encode(png).decode()}", nx, ny, low, high)
