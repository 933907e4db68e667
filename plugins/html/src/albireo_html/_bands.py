"""The stars of one field in one filter by one method: what the run says of each, and which of them may vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from albireo import Flag
from albireo_html._values import floats, texts

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

    from albireo_html._curves import Curve

VARIABLE = 3.0
"""A star that scatters by more than so many times its expected error is a candidate, where the run has not judged."""

SPOILING = int(Flag.SATURATED | Flag.BLEED | Flag.EDGE)
"""What a star must not have in any frame to be a candidate."""

BEST = 10
"""The best stars whose median scatter stands for the night."""


@dataclass(frozen=True)
class Band:
    """The stars of one field in one filter by one method and aperture; fields of one sky have stars in common."""

    name: str
    field: str
    sky: str
    method: str
    table: Table

    @property
    def colour(self) -> str:
        """Filter, with the detector where there is one."""
        pair = texts(self.table[:1], "filter") + texts(self.table[:1], "detector")
        return " · ".join(filter(None, pair)) or "no filter"

    def column(self, name: str) -> NDArray[np.float64]:
        """Give a column as floats."""
        return floats(self.table, name)

    @property
    def has_aperture(self) -> bool:
        """Whether the method has a radius."""
        return bool(np.isfinite(self.column("aperture")).any())

    @property
    def ids(self) -> list[str]:
        """Identities, as written in the catalogue."""
        return texts(self.table, "source")

    @property
    def targets(self) -> NDArray[np.bool_]:
        """Which stars are targets."""
        return np.array([bool(name) for name in texts(self.table, "name")], dtype=bool)

    @property
    def comparisons(self) -> NDArray[np.bool_]:
        """Which stars are comparison stars."""
        return self.column("comparison") > 0

    @property
    def ratio(self) -> NDArray[np.float64]:
        """Scatter over expected error."""
        expected = self.column("expected")
        return self.column("scatter") / np.where(expected > 0, expected, np.nan)

    @property
    def spoilt(self) -> NDArray[np.bool_]:
        """Which stars scatter for a reason that is not theirs: saturation, or an aperture beyond the edge."""
        return (np.nan_to_num(self.column("flags")).astype(np.int64) & SPOILING) != 0

    @property
    def judged(self) -> bool:
        """Whether the run itself says which stars vary."""
        return "variable" in self.table.colnames

    @property
    def candidates(self) -> NDArray[np.int64]:
        """Rows of variable candidates, the most conspicuous first."""
        ratio = np.where(self.spoilt, 0, np.nan_to_num(self.ratio))
        if self.judged:
            varies = np.array([text == "True" for text in texts(self.table, "variable")], dtype=bool)
            ratio = np.nan_to_num(self.column("excess")) if "excess" in self.table.colnames else ratio
        else:
            varies = ratio > VARIABLE
        rows = np.flatnonzero(varies)
        return rows[np.argsort(-ratio[rows], kind="stable")]

    @property
    def best(self) -> float:
        """Median scatter of the best stars, targets apart; NaN without any."""
        values = self.column("scatter")[~self.targets]
        values = np.sort(values[np.isfinite(values)])[:BEST]
        return float(np.median(values)) if values.size else float("nan")


def bands(stars: Table, shown: Sequence[Curve]) -> list[Band]:
    """Group the stars, and take of each group the method and aperture of the light curve on the page.

    Where there is no light curve, that with the smallest scatter of the best stars is taken.
    """
    keys = [texts(stars, name) for name in ("field", "sky", "target", "detector", "filter", "method")]
    aperture = floats(stars, "aperture")
    groups: dict[tuple[str, ...], dict[str, list[int]]] = {}
    for row, (*key, method) in enumerate(zip(*keys, strict=True)):
        how = method + (f", r = {aperture[row]:g} pixel" if isfinite(aperture[row]) else "")
        groups.setdefault(tuple(key), {}).setdefault(how, []).append(row)
    on_page = {(curve.field, str(curve.meta("FILTER"))): curve.method for curve in shown}
    found = []
    for (field, sky, target, detector, band), ways in groups.items():
        title = " · ".join(filter(None, (target, band, detector))) or "all stars"
        choices = [Band(title, field, sky, how, stars[rows]) for how, rows in ways.items()]
        same = [one for one in choices if one.method == on_page.get((field, band))]
        found.append(same[0] if same else min(choices, key=lambda one: np.nan_to_num(one.best, nan=np.inf)))
    return found


def varies(band: Band) -> NDArray[np.bool_]:
    """Which stars are variable candidates."""
    mask = np.zeros(len(band.table), dtype=bool)
    mask[band.candidates] = True
    return mask
