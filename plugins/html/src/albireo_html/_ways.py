"""The methods and apertures that a run measured its stars by, and how well each served a star.

A run draws, of each field and filter, the way whose comparison stars scatter least: what is chosen by the target itself
would favour a method that flattens it. The bake-off goes by the scatter of each star, so the two may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from albireo_html._values import floats, texts

if TYPE_CHECKING:
    from albireo import Results

Place = tuple[str, str, str]
"""Field, filter and detector."""


class Served(NamedTuple):
    """How well one way served one star: points, relative scatter from point to point, and median relative error."""

    points: int
    scatter: float
    expected: float


@dataclass(frozen=True, eq=False)
class Way:
    """One method and aperture in one field and filter.

    Attributes
    ----------
    label : str
        Its name in the bake-off and in the names of files.
    method : str
        In words.
    comparisons : int
        Number of comparison stars.
    quality : float
        Median relative scatter of the comparison stars; NaN without any.
    stars : mapping of int to Served
        By the numbers of the stars.
    """

    label: str
    method: str
    comparisons: int
    quality: float
    stars: Mapping[int, Served] = field(default_factory=dict)


def method_text(method: str, aperture: float | None) -> str:
    """Write method and aperture."""
    return method + (f", r = {aperture:g} pixel" if aperture is not None and isfinite(aperture) else "")


def read_ways(run: Results) -> dict[Place, list[Way]]:
    """Give the ways of each field and filter in the order of the recipe; nothing for a run that followed no star."""
    if not (run.folder / "stars.ecsv").exists():
        return {}
    table = run.stars
    keys = zip(*(texts(table, name) for name in ("field", "filter", "detector", "method")), strict=True)
    apertures = [None if not isfinite(radius) else radius for radius in floats(table, "aperture").tolist()]
    rows: dict[tuple[Any, ...], list[int]] = {}
    for row, (key, aperture) in enumerate(zip(keys, apertures, strict=True)):
        rows.setdefault((*key, aperture), []).append(row)
    source: list[int] = floats(table, "source").astype(np.int64).tolist()
    weight = floats(table, "comparison")
    points, scatter, expected = (floats(table, name) for name in ("points", "scatter", "expected"))
    found: dict[Place, list[Way]] = {}
    for ensemble in run.summary["ensembles"]:
        place: Place = (ensemble["field"], ensemble["filter"], ensemble["detector"])
        mine = _take(rows.get((*place, ensemble["method"], ensemble["aperture"]), []), source)
        judged = [scatter[row] for row in mine if weight[row] > 0 and isfinite(scatter[row])]
        found.setdefault(place, []).append(
            Way(
                label=ensemble["label"],
                method=method_text(ensemble["method"], ensemble["aperture"]),
                comparisons=sum(share > 0 for share in ensemble["comparisons"].values()),
                quality=float(np.median(judged)) if judged else nan,
                stars={source[n]: Served(int(np.nan_to_num(points[n])), scatter[n], expected[n]) for n in mine},
            )
        )
    return found


def _take(rows: list[int], source: Sequence[int]) -> list[int]:
    """Take the rows of one ensemble off a list: up to the first star that comes again.

    A recipe may have the same method and aperture twice, with other options.
    """
    seen: set[int] = set()
    for row in rows:
        if source[row] in seen:
            break
        seen.add(source[row])
    taken = rows[: len(seen)]
    del rows[: len(seen)]
    return taken
