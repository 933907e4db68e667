"""Which chip was in the camera when a header does not name it."""

from __future__ import annotations

from math import isfinite

from albireo import iso_to_mjd

__all__ = ["EPOCHS", "chip_at"]

EPOCHS = (
    ("2012-01-01", "SN-10382-14-01"),
    ("2013-01-01", "SN-10413-07-01"),
    ("2016-08-01", "SN-10382-14-01"),
)
"""First date (UTC) and serial number, from comments in the source of the camera's controller. Days are not known, and
neither are swaps after 2016."""


def chip_at(mjd: float) -> str:
    """Give the serial number of the chip at a date; empty if the date is not known or before the first."""
    if not isfinite(mjd):
        return ""
    return next((serial for first, serial in reversed(EPOCHS) if mjd >= iso_to_mjd(first)), "")
