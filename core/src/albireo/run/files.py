"""Tables and texts on disk: units of columns, and writing under a temporary name first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from albireo.images import atomic_path

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["UNITS", "set_units", "write_ecsv", "write_text"]

UNITS = {
    "exptime": "s",
    "mjd": "d",
    "mjd_mid": "d",
    "bjd_tdb": "d",
    "time": "d",
    "x": "pix",
    "y": "pix",
    "x_err": "pix",
    "y_err": "pix",
    "area": "pix2",
    "dx": "pix",
    "dy": "pix",
    "rotation": "deg",
    "scale": "",
    "align_rms": "pix",
    "fwhm": "pix",
    "aperture": "pix",
    "gain": "electron / adu",
    "read_noise": "electron",
    "saturation": "adu",
    "sky": "electron / pix",
    "sky_err": "electron / pix",
    "sky_rms": "electron / pix",
    "sky_gradient": "electron / pix",
    "flux": "electron",
    "flux_err": "electron",
}
"""Units of columns; what is not here is dimensionless or text."""


def set_units(table: Table) -> None:
    """Give columns the unit that belongs to their name."""
    for name in table.colnames:
        if UNITS.get(name):
            table[name].unit = UNITS[name]


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_ecsv(path: Path, table: Table) -> None:
    """Write a table as ECSV."""
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
