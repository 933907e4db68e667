"""The masters: a thumbnail, a histogram, level and noise, and what they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import MASKED, flags_of, variance_of
from albireo_html._chart import SPAN
from albireo_html._picture import Picture, colour, cuts, linear, shrink
from albireo_html._values import DASH, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Results

THUMBNAIL, BUDGET = 300, 16
"""Longest side of a thumbnail in pixels, and the number of masters above which thumbnails are made smaller."""

BINS = 60
CONTRAST, TAILS = 4.0, 8.0
"""How many robust standard deviations from the median a picture and a histogram reach."""

SAMPLE = 400_000
"""Pixels that statistics are taken from: with so many a median is known to a few thousandths of the noise."""

_KNOWN_CARDS = {"BUNIT", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "HISTORY", "COMMENT", ""}


def masters_section(run: Results) -> list[dict[str, Any]]:
    """One block for each master, one image in memory at a time."""
    size = int(THUMBNAIL * min(1.0, (BUDGET / max(len(run.masters), 1)) ** 0.5))
    blocks = []
    for master in run.masters:
        image = master.read()
        data = np.where(flags_of(image) & np.uint16(MASKED), np.float32(np.nan), image.data)
        sample = _sample(data)
        small = shrink(data, size)
        low, high = cuts(small, CONTRAST)
        spread = _mad(sample)
        variance = variance_of(image)
        unit = str(image.unit)
        blocks.append(
            {
                "name": master.name,
                "kind": master.kind,
                "unit": unit,
                "serves": master.serves,
                "frames": master.frames,
                "picture": colour(linear(small, low, high), low, high),
                "histogram": _histogram(sample),
                "facts": [
                    ("level", _with_unit(_middle(sample), unit, 5)),
                    ("pixel scatter", _with_unit(spread, unit)),
                    *(
                        [("noise of the master", _with_unit(_middle(_sample(variance)) ** 0.5, unit))]
                        if variance is not None
                        else []
                    ),
                    ("masked", f"{number(100 * float(np.isnan(data).mean()), 2)} %"),
                ],
                "meta": {key: value for key, value in master.meta.items() if key not in _KNOWN_CARDS},
            }
        )
    return blocks


def caption(picture: Picture, name: str) -> str:
    """Say in words what a thumbnail shows."""
    return f"Image of {name}, from {number(picture.low, 4)} to {number(picture.high, 4)}"


def _with_unit(value: float, unit: str, digits: int = 3) -> str:
    text = number(value, digits)
    return text if text == DASH or not unit else f"{text} {unit}"


def _sample(data: NDArray[np.float32]) -> NDArray[np.float64]:
    """Take finite pixels, evenly spread over the image."""
    step = max(1, int((data.size / SAMPLE) ** 0.5))
    picked = data[::step, ::step]
    return picked[np.isfinite(picked)].astype(np.float64)


def _middle(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if values.size else float("nan")


def _mad(values: NDArray[np.float64]) -> float:
    """Robust standard deviation from the median absolute deviation."""
    return 1.4826 * _middle(np.abs(values - _middle(values)))


def _histogram(values: NDArray[np.float64]) -> dict[str, str] | None:
    """Count pixels by value, as an area on the grid; None if all values are equal."""
    if not values.size or values.min() == values.max():
        return None
    low, high = cuts(values, TAILS)
    count, edges = np.histogram(values, BINS, (low, high))
    x = np.rint((edges - low) / (high - low) * SPAN).astype(int)
    y = np.rint((1 - count / count.max()) * SPAN).astype(int)
    steps = "".join(f"V{top}H{right}" for top, right in zip(y.tolist(), x[1:].tolist(), strict=True))
    return {"path": f"M0 {SPAN}{steps}V{SPAN}Z", "low": number(float(low), 4), "high": number(float(high), 4)}
