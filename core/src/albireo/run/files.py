"""Tables and texts on disk: units of columns, and writing under a temporary name first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albireo.images import atomic_path

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import Table
    from numpy.typing import NDArray

__all__ = ["UNITS", "copy_file", "set_units", "stream_table", "write_ecsv", "write_text"]

FITS_FORMATS = {">f8": "D", ">f4": "E", ">i4": "J"}

UNITS = {
    "pixels": "electron",
    "x0": "pix",
    "y0": "pix",
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
    "rate": "electron / s",
    "rate_err": "electron / s",
    "mag": "mag",
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


def copy_file(source: Path, target: Path) -> None:
    """Give a finished file another name as well."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def stream_table(
    path: Path,
    name: str,
    dtype: np.dtype[Any],
    rows: Iterable[NDArray[Any]],
    number: int,
    cards: Mapping[str, Any],
) -> None:
    """Write a long FITS table part by part, so that its length does not matter.

    Parameters
    ----------
    path : Path
    name : str
        Of the extension.
    dtype : dtype
        Of a row: big-endian numbers, texts, and sub-arrays of numbers.
    rows : iterable of ndarray
        Parts of the table, of this type.
    number : int
        How many rows there are in all.
    cards : mapping
        More cards: values, or values with comments.
    """
    from math import prod

    from astropy.io import fits

    # Column definitions take units as they are written; electron is no unit of the FITS standard, but it is ours.
    columns = []
    for column in dtype.names or ():
        base, shape = dtype[column].base, dtype[column].shape
        form = FITS_FORMATS.get(base.str, f"{base.itemsize}A")
        columns.append(
            fits.Column(
                column,
                f"{prod(shape)}{form}" if shape else form,
                unit=UNITS.get(column) or None,
                dim=str(tuple(reversed(shape))) if len(shape) > 1 else None,
            )
        )
    hdu = fits.BinTableHDU.from_columns(columns, nrows=1)
    hdu.name = name
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.header["NAXIS2"] = number
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
        file.write(hdu.header.tostring().encode("ascii"))
        written = 0
        for part in rows:
            file.write(part.tobytes())
            written += part.nbytes
        file.write(b"\0" * (-written % 2880))
