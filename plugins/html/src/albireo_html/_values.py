"""Numbers out of tables and into words: columns with gaps, and how values are written for a reader."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import floor, isfinite, log10
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import ArrayLike, NDArray

MMAG = 2500.0 / np.log(10.0)
"""Thousandths of a magnitude in a relative change of flux of one, to first order."""

DASH = "–"


def floats(table: Table, name: str) -> NDArray[np.float64]:
    """Give a column as float64; NaN where it is masked, and everywhere if the table has no such column."""
    if name not in table.colnames:
        return np.full(len(table), np.nan)
    column: Any = np.ma.asarray(table[name])
    try:
        return np.asarray(column.astype(np.float64).filled(np.nan))
    except ValueError:  # a column that is empty everywhere is read as text
        return np.full(len(table), np.nan)


def texts(table: Table, name: str) -> list[str]:
    """Give a column as text; empty where it is masked, and everywhere if the table has no such column."""
    if name not in table.colnames:
        return [""] * len(table)
    column: Any = np.ma.asarray(table[name])
    if column.dtype.kind == "S":
        column = np.char.decode(column.filled(b""), "utf-8")
    return ["" if value is None else str(value) for value in np.ma.asarray(column, dtype=object).filled("").tolist()]


def unit_of(table: Table, name: str, default: str) -> str:
    """Give the unit of a column as text, or what the user guide says it is."""
    if name in table.colnames and table[name].unit is not None:
        return re.sub(r"\bpix\b", "pixel", str(table[name].unit))
    return default


def number(value: Any, digits: int = 3) -> str:
    """Write a value with so many significant digits, without an exponent where that can be read."""
    if not isinstance(value, int | float | np.number):
        return DASH if value is None else str(value)
    if isinstance(value, int | np.integer):
        return grouped(int(value))
    value = float(value)
    if not isfinite(value):
        return DASH
    if value == 0:
        return "0"
    order = floor(log10(abs(value)))
    if order < -4 or order > 8:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(digits - 1 - order, 0)}f}".replace(",", "\u202f")


def grouped(count: int) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def scatter(value: Any) -> str:
    """Write a relative scatter as astronomers quote it: mmag while it is small, per cent above a tenth."""
    if value is None or not isfinite(float(value)):
        return DASH
    relative = float(value)
    return f"{number(relative * MMAG, 2)} mmag" if relative < 0.1 else f"{number(100 * relative, 2)} %"


def duration(seconds: float) -> str:
    """Write a time span."""
    if not isfinite(seconds):
        return DASH
    if seconds < 120:
        return f"{number(seconds, 2)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{grouped(count)} {noun}{'' if count == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Write a list of at least one word."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def robust_range(values: ArrayLike, low: float = 1.0, high: float = 99.0, pad: float = 0.25) -> tuple[float, float]:
    """Bounds that show nearly all values and are not stretched by a few bad ones; (0, 1) without a finite value."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if array.size == 0:
        return 0.0, 1.0
    bottom, top = np.percentile(array, [low, high]) if array.size > 20 else (array.min(), array.max())
    # Values that lie just outside the percentiles belong to the same story; only far ones are left out.
    margin = max((top - bottom) * pad, abs(top) * 1e-6, 1e-12) if top > bottom else 0.1 * abs(top) or 1.0
    inside = array[(array >= bottom - 2 * margin) & (array <= top + 2 * margin)]
    edge = 0.3 * margin
    return float(inside.min() - edge), float(inside.max() + edge)
