"""Light curves as FITS tables that lightkurve opens.

Columns and keywords are those of `lightkurve.io.generic`, which follow the files of TESS: times are BJD_TDB minus
2457000, and BJDREFI says so. The keywords CREATOR and ORIGIN are left out on purpose: by them lightkurve tells files of
missions it knows, and a file without them is read as a general one.
"""

from __future__ import annotations

import tomllib
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import __version__
from albireo_export.curves import Curve, Refused

if TYPE_CHECKING:
    from albireo import Results
    from albireo_export.stage import Export

__all__ = ["write_lightkurve"]

REFERENCE = 2457000
"""BJD from which the times of TESS count."""

NAMES = {
    "FLUX": "flux",
    "FLUX_ERR": "flux_err",
    "MOM_CENTR1": "x",
    "MOM_CENTR2": "y",
    "SKY": "sky",
    "FWHM": "fwhm",
    "AIRMASS": "airmass",
    "EXPTIME": "exptime",
}
"""Columns of numbers, and where they come from."""

UNITS = {"pix": "pixel", "electron / pix": "electron/pixel"}
"""Units as lightkurve spells them."""


def write_lightkurve(options: Export, run: Results, curve: Curve, path: Path) -> str:
    """Write one curve.

    Raises
    ------
    Refused
        If times are not barycentric.
    """
    from astropy.io import fits

    table = curve.table
    if curve.meta("TIMESYS") != "BJD_TDB":
        raise Refused(
            f"times are {curve.meta('TIMESYS')}, and lightkurve takes them as BJD_TDB: give ra and dec of the target"
        )
    time = np.asarray(table["time"], dtype=np.float64)
    columns = [
        fits.Column("TIME", "D", unit="d", array=time - REFERENCE, disp="D18.9"),
        fits.Column("CADENCENO", "J", array=np.arange(len(time), dtype=np.int32)),
        fits.Column("QUALITY", "J", array=np.asarray(table["flags"], dtype=np.int32)),
    ]
    for name, source in NAMES.items():
        unit = str(table[source].unit or "")
        columns.append(
            fits.Column(
                name, "D", unit=UNITS.get(unit, unit) or None, array=np.asarray(table[source], dtype=np.float64)
            )
        )
    data = fits.BinTableHDU.from_columns(columns, name="LIGHTCURVE")
    first, last = (float(value) for value in (time.min(), time.max()))
    for key, value, comment in (
        ("BJDREFI", REFERENCE, "integer part of the zero of TIME"),
        ("BJDREFF", 0.0, "fraction of it"),
        ("TIMEUNIT", "d", "unit of TIME"),
        ("TIMESYS", "TDB", "TIME is barycentric, middle of the exposure"),
        ("TSTART", first - REFERENCE, "first exposure"),
        ("TSTOP", last - REFERENCE, "last exposure"),
    ):
        data.header[key] = (value, comment)
    primary = fits.PrimaryHDU()
    for key, value, comment in _cards(run, curve):
        primary.header[key] = (value.encode("ascii", "replace").decode() if isinstance(value, str) else value, comment)
    fits.HDUList([primary, data]).writeto(path, overwrite=True, checksum=True)
    return ""


def _cards(run: Results, curve: Curve) -> list[tuple[str, Any, str]]:
    """Facts of the first header."""
    cards: list[tuple[str, Any, str]] = [
        ("OBJECT", str(curve.meta("OBJECT")), "target"),
        ("TELESCOP", curve.instrument, "camera"),
        ("INSTRUME", curve.instrument, "camera"),
        ("MISSION", curve.instrument, "camera; what lightkurve shows"),
        ("DETECTOR", str(curve.meta("DETECTOR")), "of several"),
        ("FILTER", str(curve.meta("FILTER")), ""),
        ("METHOD", str(curve.meta("METHOD")), "of photometry"),
        ("STAR", int(curve.meta("SOURCE")), "identity in the catalogue"),
        ("LEFTOUT", curve.left_out, "points without a value"),
        ("PROGRAM", f"albireo {__version__}", "that made the curve"),
    ]
    aperture = curve.meta("APERTURE")
    if aperture is not None and isfinite(float(aperture)):
        cards.append(("APERTURE", float(aperture), "[pixel] radius"))
    return [*cards, *_position(run, str(curve.meta("OBJECT")))]


def _position(run: Results, target: str) -> list[tuple[str, Any, str]]:
    """Place of a target on the sky, where the recipe has it."""
    from astropy.coordinates import Angle

    for entry in tomllib.loads(run.recipe).get("targets", ()):
        if entry.get("name") == target and "ra" in entry and "dec" in entry:
            ra, dec = entry["ra"], entry["dec"]
            # A text is in hours, as in a recipe.
            right = Angle(ra, unit="hourangle" if isinstance(ra, str) else "deg").deg
            return [
                ("RA_OBJ", float(right), "[deg] ICRS"),
                ("DEC_OBJ", float(Angle(dec, unit="deg").deg), "[deg] ICRS"),
            ]
    return []
