"""Charts as HTML and SVG that keep their type and point sizes at any width of the window.

The data are drawn in an SVG that is stretched to its box; strokes are not stretched with it. A point is a stroke of no
length with round ends, so that it stays round. All text is HTML beside the SVG, placed in per cent. This way one
drawing serves a telephone and a wide screen, light and dark, and a point costs about ten bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from albireo_html._values import robust_range

SPAN = 2000
"""Steps of the grid on which points are placed, from top to bottom; finer than any screen shows."""

BREADTH = 10_000
"""Steps from left to right: enough for a part of the axis to fill the panel."""

BARS = 3000
"""From so many points on, error bars would only be a grey area."""

CROWD = 20_000
"""From so many points on, points that cover each other are drawn once, and none has a name."""

HUES = ("blue", "gold", "green", "red", "violet", "teal", "pink", "olive")
_KNOWN = {
    **dict.fromkeys(("B", "g", "g'", "gp"), "blue"),
    **dict.fromkeys(("V", "G"), "green"),
    **dict.fromkeys(("r", "R", "r'", "rp", "Rc"), "red"),
    **dict.fromkeys(("i", "I", "i'", "ip", "Ic"), "gold"),
    **dict.fromkeys(("z", "Z", "z'", "zs", "zp"), "pink"),
    **dict.fromkeys(("u", "U", "u'", "up"), "violet"),
    **dict.fromkeys(("Y", "J", "H", "K", "Ks"), "teal"),
}


def hues(filters: Sequence[str]) -> dict[str, str]:
    """Give each filter a colour: the customary one where there is one and it is free."""
    given: dict[str, str] = {}
    for name in dict.fromkeys(filters):
        wish = _KNOWN.get(name, "")
        free = [hue for hue in HUES if hue not in given.values()]
        given[name] = wish if wish in free else (free or list(HUES))[0]
    return given


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        Points where either is not finite (or not positive on a logarithmic axis) are not drawn.
    err : ndarray, shape (n,), optional
        Half length of the error bars.
    style : str
        ``dots``, ``rings``, ``line``, or ``floor``: marks at the foot of the panel, whose ``y`` does not count.
    size : float
        Diameter of a point, or width of a line, in CSS pixels.
    names : sequence of str
        What the pointer shows for each point.
    curve : str
        Key of the light curve whose rows the names are, as numbers; empty where they are names.
    faint : bool
        Drawn pale.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    label: str = ""
    hue: str = "blue"
    err: NDArray[np.float64] | None = None
    style: str = "dots"
    size: float = 4.5
    names: Sequence[str] = ()
    curve: str = ""
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    label : str
        Quantity and unit, written above the panel.
    bounds : tuple of float, optional
        Of the y axis; found from the data otherwise, so that a few far points do not flatten the rest.
    marks : sequence of (x, y, text)
        Labels beside points.
    whole : bool
        The y axis must show every point.
    opens : bool
        A click on a point shows what the page knows of it.
    """

    label: str
    series: Sequence[Series]
    height: int = 180
    log: bool = False
    bounds: tuple[float, float] | None = None
    marks: Sequence[tuple[float, float, str]] = ()
    whole: bool = False
    opens: bool = False


@dataclass(frozen=True)
class Chart:
    """Panels above each other with one x axis.

    Attributes
    ----------
    alt : str
        What is seen, in words.
    bounds : tuple of float, optional
        Of the x axis; found from the data otherwise.
    group : str
        Charts of the same group have the same x axis, and a reader zooms into all of them at once; empty if there is
        nothing to zoom into.
    """

    panels: Sequence[Panel]
    xlabel: str
    alt: str
    log: bool = False
    bounds: tuple[float, float] | None = None
    group: str = ""


class Axis:
    """Where values lie between the ends of an axis."""

    def __init__(self, low: float, high: float, log: bool) -> None:
        self.log = log
        self.low, self.high = (log10(low), log10(high)) if log else (low, high)
        if not self.high > self.low:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def __call__(self, values: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Fraction of the axis, 0 at the low end."""
        array = np.asarray(values, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            array = np.where(array > 0, np.log10(array), np.nan) if self.log else array
            return (array - self.low) / (self.high - self.low)

    def ticks(self, about: int) -> list[tuple[float, str]]:
        """Round values and their labels, with the fraction of the axis at which they stand."""
        if self.log:
            values = _log_ticks(self.low, self.high)
            return [(float(self(value)), power_text(value)) for value in values]
        step = _step((self.high - self.low) / about)
        first = ceil(self.low / step - 1e-9)
        values = [step * k for k in range(first, floor(self.high / step + 1e-9) + 1)]
        return [(float(self(v)), text) for v, text in zip(values, _linear_texts(values, step), strict=True)]


def _step(rough: float) -> float:
    unit = 10.0 ** floor(log10(rough))
    return float(next(m * unit for m in (1.0, 2.0, 5.0, 10.0) if m * unit >= rough * 0.75))


def _linear_texts(values: Sequence[float], step: float) -> list[str]:
    largest = max((abs(value) for value in values), default=0.0)
    factor, suffix = next(
        ((f, text) for f, text in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if largest >= 100 * f), (1.0, "")
    )
    decimals = max(0, -floor(log10(step / factor) + 1e-9))
    return [("0" if abs(v) < step / 2 else f"{v / factor:.{decimals}f}{suffix}").replace("-", "\u2212") for v in values]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = [10.0**k for k in range(ceil(low - 1e-9), floor(high + 1e-9) + 1)]
    if len(decades) >= 3:
        return decades[:: 1 + len(decades) // 8]
    every = [m * 10.0**k for k in range(floor(low), ceil(high) + 1) for m in (1, 2, 5)]
    return [value for value in every if 10**low <= value * 1.0001 and value <= 10**high * 1.0001]


def power_text(value: float) -> str:
    """Write a tick of a logarithmic axis: plain while it is short, else as a power of ten."""
    if 0.01 <= value < 9999:
        return f"{value:g}"
    exponent = floor(log10(value) + 1e-9)
    factor = round(value / 10.0**exponent)
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'' if factor == 1 else f'{factor}·'}10{raised}"


def draw(chart: Chart) -> dict[str, Any]:
    """Turn a chart into what the template needs: paths on the grid, and ticks and labels in per cent."""
    xs = [series.x for panel in chart.panels for series in panel.series]
    x_axis = Axis(*(chart.bounds or _bounds(np.concatenate(xs), chart.log, True)), chart.log)
    pool: dict[tuple[str, ...], int] = {}
    x_ticks = [{"at": _percent(at), "text": text} for at, text in x_axis.ticks(8)]
    return {
        "panels": [_draw_panel(panel, x_axis, pool) for panel in chart.panels],
        "x_ticks": x_ticks,
        "x_range": [x_axis.low, x_axis.high, x_axis.log],
        "group": chart.group,
        "names": [list(names) for names in pool],
        "xlabel": chart.xlabel,
        "alt": chart.alt,
    }


def _bounds(values: NDArray[np.float64], log: bool, whole: bool) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if log:
        finite = np.log10(finite[finite > 0])
    low, high = robust_range(finite, *((0.0, 100.0) if whole else (1.0, 99.0)), pad=0.2 if whole else 0.25)
    return (10**low, 10**high) if log else (low, high)


def _draw_panel(panel: Panel, x_axis: Axis, pool: dict[tuple[str, ...], int]) -> dict[str, Any]:
    ys = [series.y for series in panel.series if series.style != "floor"]
    bounds = panel.bounds or _bounds(np.concatenate(ys) if ys else np.empty(0), panel.log, panel.whole)
    y_axis = Axis(*bounds, panel.log)
    series = [_draw_series(one, x_axis, y_axis, pool) for one in panel.series]
    points = np.concatenate(
        [np.column_stack([x_axis(one.x), y_axis(one.y)]) for one in panel.series] or [np.empty((0, 2))]
    )
    return {
        "label": panel.label,
        "height": panel.height,
        "series": series,
        "legend": [one for one in series if one["label"]],
        "y_ticks": [{"at": _percent(1 - at), "text": text} for at, text in y_axis.ticks(max(3, panel.height // 40))],
        "y_range": [y_axis.low, y_axis.high, y_axis.log],
        "marks": place(panel.marks, x_axis, y_axis, (panel.height, panel.height), points),
        "outside": sum(one["outside"] for one in series),
        "opens": panel.opens,
    }


def _draw_series(series: Series, x_axis: Axis, y_axis: Axis, pool: dict[tuple[str, ...], int]) -> dict[str, Any]:
    x, y = x_axis(series.x), np.zeros(len(series.x)) if series.style == "floor" else y_axis(series.y)
    good = np.isfinite(x) & np.isfinite(y)
    outside = good & ((y < 0) | (y > 1))
    column, row = np.rint(x * BREADTH), np.rint((1 - np.clip(y, 0, 1)) * SPAN)
    drawn: dict[str, Any] = {
        "label": series.label,
        "hue": series.hue,
        "style": series.style,
        "size": series.size,
        "faint": series.faint,
        "curve": series.curve,
        "names": None,
        "bars": "",
        "outside": 0 if series.style == "line" else int(outside.sum()),
    }
    if len(series.names) and 0 < good.sum() <= CROWD:
        # Panels share their frames, so each list of names is written once.
        drawn["names"] = pool.setdefault(tuple(np.asarray(series.names, dtype=object)[good]), len(pool))
    if series.style == "line":
        drawn["path"] = _line(column, np.rint((1 - y) * SPAN), good)
        return drawn
    pairs = np.column_stack([column[good], row[good]]).astype(np.int64)
    if len(pairs) > CROWD:
        _, first = np.unique(pairs // (BREADTH // SPAN, 1), axis=0, return_index=True)
        pairs = pairs[np.sort(first)]
    drawn["path"] = "".join(f"M{a} {b}h0" for a, b in pairs.tolist())
    if series.err is not None and good.sum() <= BARS:
        low, high = y_axis(series.y - series.err), y_axis(series.y + series.err)
        bars = good & np.isfinite(low) & np.isfinite(high) & ~outside
        ends = np.column_stack([np.rint((1 - high) * SPAN), np.rint((1 - low) * SPAN)])[bars]
        tops = zip(
            column[bars].astype(np.int64).tolist(), np.clip(ends, 0, SPAN).astype(np.int64).tolist(), strict=True
        )
        drawn["bars"] = "".join(f"M{a} {b}V{c}" for a, (b, c) in tops)
    return drawn


def _line(column: NDArray[np.float64], row: NDArray[np.float64], good: NDArray[np.bool_]) -> str:
    parts, pen = [], "M"
    for a, b, ok in zip(column.tolist(), row.tolist(), good.tolist(), strict=True):
        if ok:
            parts.append(f"{pen}{a:.0f} {b:.0f}")
        pen = "L" if ok else "M"
    return "".join(parts)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


WIDE, NARROW = 820.0, 300.0
"""Widths of a panel in CSS pixels for which labels are placed."""

LETTER, LINE = 7.0, 15.0
"""Width of a letter and height of a line of a label in CSS pixels, on the safe side."""


def place(
    marks: Sequence[tuple[float, float, str]],
    x_axis: Axis,
    y_axis: Axis,
    heights: tuple[float, float],
    points: NDArray[np.float64],
    gap: float = 7.0,
) -> list[dict[str, Any]]:
    """Put labels beside their points so that they cover neither each other nor, where possible, other points.

    Labels are placed twice, for a wide and for a narrow window; a label that finds no free place in a narrow window is
    shown in the wide one only, and one that finds none at all is left out. The first marks choose first.

    Parameters
    ----------
    marks : sequence of (x, y, text)
    x_axis, y_axis : Axis
    heights : tuple of float
        Of the panel in CSS pixels, in a wide and in a narrow window.
    points : ndarray, shape (n, 2)
        All points, in fractions of the axes.
    gap : float
        Distance from the point in CSS pixels.

    Returns
    -------
    list of dict
        Position of the point in per cent (``left``, ``top``), ``text``, and for ``wide`` and ``narrow`` the corner of
        the label towards its point, or None if there is no room.
    """
    drawn: list[dict[str, Any]] = [
        {"left": _percent(float(x_axis(x))), "top": _percent(1 - float(y_axis(y))), "text": text}
        for x, y, text in marks
    ]
    for name, width, height in (("wide", WIDE, heights[0]), ("narrow", NARROW, heights[1])):
        taken: list[tuple[float, float, float, float]] = []
        spots = points * (width, -height) + (0, height)
        for label, (x, y, text) in zip(drawn, marks, strict=True):
            px, py = float(x_axis(x)) * width, (1 - float(y_axis(y))) * height
            label[name] = _corner(px, py, LETTER * len(text), width, height, taken, spots, gap)
    return drawn


def _corner(
    px: float,
    py: float,
    length: float,
    width: float,
    height: float,
    taken: list[tuple[float, float, float, float]],
    spots: NDArray[np.float64],
    gap: float,
) -> str | None:
    lefts = {"e": px + gap, "w": px - gap - length, "n": px - length / 2}
    tops = {"n": py - gap - LINE + 3, "s": py + gap - 3, "e": py - LINE / 2}
    choices = []
    for corner in ("ne", "se", "nw", "sw", "e", "w", "n", "s"):
        left = lefts.get(corner[-1], lefts["n"])
        top = tops.get(corner[0], tops["e"])
        box = (left, top, left + length, top + LINE)
        if box[0] < 0 or box[2] > width or box[1] < 0 or box[3] > height:
            continue
        if any(box[0] < t[2] and box[2] > t[0] and box[1] < t[3] and box[3] > t[1] for t in taken):
            continue
        inside = (spots > box[:2]) & (spots < box[2:])
        choices.append((int(inside.all(axis=1).sum()), corner, box))
    if not choices:
        return None
    _, corner, box = min(choices, key=lambda choice: choice[0])  # the first of equals: the order above
    taken.append(box)
    return corner
