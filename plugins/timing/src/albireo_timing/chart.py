"""Charts as HTML with SVG that fit any width of the window.

The data lie in an SVG that is stretched to its box, with strokes that are not; ticks and labels are HTML beside it,
placed in per cent. So points stay round and letters readable on a telephone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray

__all__ = ["HUES", "Panel", "Series", "draw", "number"]

GRID = 4000
"""Steps of the drawing in both directions; finer than a screen."""

HUES = ("blue", "red", "gold", "green", "violet", "teal", "pink", "olive")

BARS = 1500
"""From so many points on, error bars are a grey area."""

CROWD = 8000
"""A line with more points is drawn by the extremes of its parts, and dots that cover each other once."""


@dataclass(frozen=True)
class Series:
    """Points that belong together; what is not finite, or cannot be shown on a logarithmic axis, is left out.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
    err : ndarray, shape (n,), optional
        Half length of error bars.
    style : str
        ``dots``, ``line``, ``dashed`` or ``band``: for a band, ``x`` holds starts and ``y`` ends of shaded spans.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    label: str = ""
    hue: str = "blue"
    err: NDArray[np.float64] | None = None
    style: str = "dots"


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    label : str
        Quantity and unit, above the panel.
    x_label : str
        Below it; empty to leave out the ticks too.
    bounds : tuple of float, optional
        Of the x axis.
    """

    label: str
    series: Sequence[Series]
    x_label: str = ""
    height: int = 190
    log: bool = False
    bounds: tuple[float, float] | None = None


class _Axis:
    """From values to fractions of an axis, and round values on it."""

    def __init__(self, values: NDArray[np.float64], log: bool, pad: float) -> None:
        self.log = log
        known = self._scaled(values)
        known = known[np.isfinite(known)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        margin = pad * (high - low) or 0.5 * max(abs(low) * 1e-3, 1e-6 if known.size else 0.0)
        self.low, self.high = low - margin, high + margin

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.log:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log10(values), np.nan)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (self._scaled(np.asarray(values, dtype=np.float64)) - self.low) / (self.high - self.low)

    def ticks(self, about: int) -> list[tuple[float, str]]:
        if self.log:
            decades = list(range(ceil(self.low - 1e-9), floor(self.high + 1e-9) + 1))
            if len(decades) >= 2:
                step = 1 + len(decades) // 7
                return [(self._at(k), power_of_ten(k)) for k in decades[::step]]
            values = [m * 10.0**k for k in range(floor(self.low), ceil(self.high) + 1) for m in (1, 2, 3, 5, 7)]
            inside = [v for v in values if self.low <= log10(v) <= self.high]
            return [(self._at(log10(v)), number(v)) for v in inside[:: 1 + len(inside) // 7]]
        rough = (self.high - self.low) / about
        unit = 10.0 ** floor(log10(rough))
        step_ = next(m * unit for m in (1, 2, 5, 10) if m * unit >= 0.75 * rough)
        digits = max(0, -floor(log10(step_) + 1e-9))
        first, last = ceil(self.low / step_ - 1e-9), floor(self.high / step_ + 1e-9)
        return [
            (self._at(k * step_), f"{k * step_ + 0.0:.{digits}f}".replace("-", "\u2212"))
            for k in range(first, last + 1)
        ]

    def _at(self, scaled: float) -> float:
        return (scaled - self.low) / (self.high - self.low)


def power_of_ten(exponent: int) -> str:
    """Write a power of ten; plain while it is short."""
    if -3 <= exponent <= 4:
        return f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def number(value: float, digits: int = 4) -> str:
    """Write a number for a person; a dash for none."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}·10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return text.replace("-", "\u2212")


def draw(panels: Sequence[Panel], alt: str) -> str:
    """Draw panels below each other.

    Parameters
    ----------
    panels : sequence of Panel
    alt : str
        What is seen, in words.

    Returns
    -------
    str
        A ``<figure>``; its colours come from the style of the page.
    """
    return f'<figure class="chart" role="img" aria-label="{escape(alt)}">{"".join(map(_panel, panels))}</figure>'


def _panel(panel: Panel) -> str:
    points = [one for one in panel.series if one.style != "band"]
    given = np.array(panel.bounds) if panel.bounds else None
    xs = given if given is not None else np.concatenate([one.x for one in points] or [np.empty(0)])
    ys = [one.y for one in points if one.style == "dots"] or [one.y for one in points]
    # Levels beside the curves must be seen too.
    ys += [one.y for one in points if one.style == "dashed"]
    x_axis = _Axis(xs, panel.log, 0.0 if given is not None else 0.02)
    y_axis = _Axis(np.concatenate(ys or [np.empty(0)]), panel.log, 0.08)
    x_ticks, y_ticks = x_axis.ticks(7), y_axis.ticks(max(3, panel.height // 45))
    grid = "".join(f"M0 {(1 - at) * GRID:.0f}H{GRID}" for at, _ in y_ticks)
    grid += "".join(f"M{at * GRID:.0f} 0V{GRID}" for at, _ in x_ticks)
    body = "".join(_series(one, x_axis, y_axis) for one in panel.series)
    keys = "".join(
        f'<span class="key"><i class="{one.style} c-{one.hue}"></i>{escape(one.label)}</span>'
        for one in panel.series
        if one.label
    )
    y_texts = "".join(f'<span class="yt" style="top:{100 * (1 - at):.2f}%">{text}</span>' for at, text in y_ticks)
    x_texts = ""
    if panel.x_label:
        x_texts = "".join(
            f'<span class="xt{" odd" if k % 2 and len(x_ticks) > 4 else ""}" style="left:{100 * at:.2f}%">{text}</span>'
            for k, (at, text) in enumerate(x_ticks)
        )
    foot = f'<div class="xl">{escape(panel.x_label)}</div>' if panel.x_label else ""
    return (
        f'<div class="head"><b>{escape(panel.label)}</b><span>{keys}</span></div>'
        f'<div class="panel" style="height:{panel.height}px">'
        f'<svg viewBox="0 0 {GRID} {GRID}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="grid" d="{grid}"/>{body}</svg>{y_texts}{x_texts}</div>{foot}'
    )


def _series(one: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    if one.style == "band":
        spans = np.rint(np.clip(np.column_stack([x_axis(one.x), x_axis(one.y)]), 0, 1) * GRID).astype(int)
        boxes = "".join(f"M{a} 0H{max(b, a + 1)}V{GRID}H{a}Z" for a, b in spans.tolist())
        return f'<path class="span" d="{boxes}"/>'
    x, y = x_axis(one.x), y_axis(one.y)
    good = np.isfinite(x) & np.isfinite(y)
    column, row = np.rint(x[good] * GRID).astype(int), np.rint((1 - y[good]) * GRID).astype(int)
    if one.style in ("line", "dashed"):
        pairs = np.column_stack([column, row])
        if len(pairs) > CROWD:
            pairs = _extremes(pairs)
        path = "M" + "L".join(f"{a} {b}" for a, b in pairs.tolist()) if len(pairs) else ""
        return f'<path class="{one.style} c-{one.hue}" d="{path}"/>'
    pairs = np.column_stack([column, row])
    bars = ""
    if one.err is not None and len(pairs) <= BARS:
        low, high = y_axis((one.y - one.err)[good]), y_axis((one.y + one.err)[good])
        ends = zip(column.tolist(), np.clip(low, 0, 1).tolist(), np.clip(high, 0, 1).tolist(), strict=True)
        bars = "".join(f"M{a} {(1 - h) * GRID:.0f}V{(1 - b) * GRID:.0f}" for a, b, h in ends if b == b and h == h)
    if len(pairs) > CROWD:
        pairs = np.unique(pairs // (4, 20) * (4, 20), axis=0)
    path = "".join(f"M{a} {b}h0" for a, b in pairs.tolist())
    return f'<path class="bar c-{one.hue}" d="{bars}"/><path class="dot c-{one.hue}" d="{path}"/>'


def _extremes(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep the highest and the lowest point of every column, in order."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    sorted_ = pairs[order]
    edges = np.flatnonzero(np.r_[True, np.diff(sorted_[:, 0]) > 0])
    ends = np.r_[edges[1:], len(sorted_)] - 1
    result: NDArray[np.int64] = sorted_[np.unique(np.r_[edges, ends])]
    return result
