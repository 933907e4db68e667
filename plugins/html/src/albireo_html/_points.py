"""What the page knows of every point of a light curve, to be shown when a person clicks on it."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Flag
from albireo_html._curves import Curve
from albireo_html._cutouts import COLUMNS, TILES, Sheets
from albireo_html._values import floats, texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 33
"""Pixels along a side of a cut-out."""

CUT = {"side": SIDE, "columns": COLUMNS, "tiles": TILES}
"""How the page finds a cut-out on its sheet."""


def flag_names() -> list[tuple[int, str]]:
    """Give each bit with its name in words."""
    return [(int(flag), (flag.name or "").lower().replace("_", " ")) for flag in Flag]


def points(curves: Mapping[str, Curve], cutouts: Mapping[tuple[str, int], Sheets]) -> dict[str, dict[str, Any]]:
    """Give the points of the curves that are drawn, by their keys.

    Times are offsets from a whole day, in days; numbers that are not known are None.
    """
    return {key: _of(curve, cutouts.get((curve.field, curve.source))) for key, curve in curves.items()}


def _of(curve: Curve, cutouts: Sheets | None) -> dict[str, Any]:
    table = curve.table
    time = floats(table, "time")
    start = floor(np.nanmin(time)) if np.isfinite(time).any() else 0
    names = texts(table, "frame")
    unit = str(curve.meta("UNIT"))
    facts: dict[str, Any] = {
        "star": curve.name,
        "band": curve.band,
        "system": str(curve.meta("TIMESYS", "time")).replace("_", " "),
        "unit": f"flux ({unit})" if unit else "relative flux",
        "start": start,
        "time": _rounded(time - start, ".6f"),
        "flux": _rounded(floats(table, "flux"), ".6g"),
        "err": _rounded(floats(table, "flux_err"), ".2g"),
        "flags": np.nan_to_num(floats(table, "flags")).astype(np.int64).tolist(),
        "frames": names,
    }
    if cutouts is None:
        return facts
    tiles = np.array([cutouts.tiles.get(name, -1) for name in names], dtype=np.int64)
    corners = np.where(tiles[:, None] >= 0, cutouts.corners[tiles], 0)
    places = np.column_stack([floats(table, "x"), floats(table, "y")]) - corners
    aperture = float(curve.meta("APERTURE", np.nan))
    return {
        **facts,
        "cutouts": cutouts.stem,
        "tiles": tiles.tolist(),
        "corners": corners.tolist(),
        "places": list(zip(_rounded(places[:, 0], ".2f"), _rounded(places[:, 1], ".2f"), strict=True)),
        "aperture": aperture if isfinite(aperture) else None,
    }


def _rounded(values: NDArray[np.float64], how: str) -> list[float | None]:
    return [float(format(value, how)) if isfinite(value) else None for value in values.tolist()]
