"""Light curves as text: CSV for any program, ECSV for those that read units and facts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_export.curves import Curve

if TYPE_CHECKING:
    from astropy.table import Table

    from albireo import Results
    from albireo_export.stage import Export

__all__ = ["write_bands", "write_csv", "write_ecsv"]

TIME_DECIMALS = 9
"""Of days: tenths of a millisecond."""


def write_csv(options: Export, run: Results, curve: Curve, path: Path) -> str:
    """Write columns with their units in the first line, as in ``flux_err [electron]``."""
    _write(path, curve.table, {"time": curve.meta("TIMESYS")})
    return ""


def write_bands(table: Table, path: Path) -> int:
    """Write bands side by side, exposures without any flux left out; give the number of rows.

    A band without a value in an exposure has empty cells.
    """
    fluxes = [np.asarray(table[f"flux_{band}"], dtype=np.float64) for band in table.meta["BANDS"]]
    kept = table[np.isfinite(fluxes).any(axis=0)]
    _write(path, kept, {f"time_{band}": facts["TIMESYS"] for band, facts in table.meta["BANDS"].items()})
    return len(kept)


def write_ecsv(options: Export, run: Results, curve: Curve, path: Path) -> str:
    """Write columns with units and all that is known: the header of the curve, and what made it."""
    from albireo import __version__

    table = curve.table.copy()
    table.meta |= {
        "INSTRUMENT": curve.instrument,
        "LEFT_OUT": curve.left_out,
        "SOFTWARE": f"albireo {__version__}",
        "CITATIONS": list(run.summary["citations"]),
    }
    table.write(path, format="ascii.ecsv", overwrite=True)
    return ""


def _write(path: Path, table: Table, scales: dict[str, str]) -> None:
    units = {name: " ".join(filter(None, (str(table[name].unit or ""), scales.get(name)))) for name in table.colnames}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"{name} [{unit}]" if unit else name for name, unit in units.items()])
        columns = [[_text(name in scales, value) for value in table[name].tolist()] for name in table.colnames]
        writer.writerows(zip(*columns, strict=True))


def _text(is_time: bool, value: Any) -> str:
    if isinstance(value, float):
        if not np.isfinite(value):
            return ""
        return f"{value:.{TIME_DECIMALS}f}" if is_time else repr(value)
    return str(value)
