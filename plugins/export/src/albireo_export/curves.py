"""A light curve as it goes into a file: what counts of it, and what the file is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import Flag

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Curve", "Refused", "known_points", "safe_name"]


class Refused(Exception):
    """A format cannot hold this curve; the text says why and what to do."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A light curve for export.

    Attributes
    ----------
    table : Table
        As `albireo.Results.curves` gives it, without points that do not count.
    left_out : int
        How many points these are.
    stem : str
        Name of its files without ending, its own in this run.
    instrument : str
    """

    table: Table
    left_out: int
    stem: str
    instrument: str

    def meta(self, key: str) -> Any:
        """What the header of the curve says."""
        return self.table.meta[key]


def known_points(table: Table) -> Table:
    """Leave out points without time, flux or error, and those that a step called outliers."""
    good = np.ones(len(table), dtype=bool)
    for name in ("time", "flux", "flux_err"):
        good &= np.isfinite(np.asarray(table[name], dtype=np.float64))
    good &= (np.asarray(table["flags"]).astype(np.int64) & int(Flag.OUTLIER)) == 0
    return table[good]


def safe_name(text: str) -> str:
    """Make a name safe in file names, so that it still reads like itself."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", text.strip()).strip("._") or "unnamed"
