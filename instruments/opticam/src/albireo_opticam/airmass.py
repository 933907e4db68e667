"""Airmass from where the telescope pointed and when, because the card AIRMASS does not follow the telescope."""

from __future__ import annotations

from math import asin, cos, degrees, nan, radians, sin

__all__ = ["airmass"]

MJD_J2000 = 51544.5
LOWEST = 2.0
"""Altitude in degrees down to which the formula is good."""


def airmass(mjd: float, ra: float, dec: float, site: tuple[float, float, float]) -> float:
    """Airmass of a direction at a moment.

    The altitude follows from the mean sidereal time (Meeus 1998, *Astronomical Algorithms*, equation 12.4, to first
    order in time, with UT1 = UTC). Precession is left out, which moves the altitude by 0.4 degrees in thirty years. The
    airmass is that of Young (1994, Applied Optics 33, 1108) for the altitude without refraction.

    Parameters
    ----------
    mjd : float
        UTC as modified Julian date.
    ra, dec : float
        Degrees.
    site : tuple of float
        Longitude (east, deg), latitude (deg), height (m, not used).

    Returns
    -------
    float
        NaN below an altitude of 2 degrees and where an argument is NaN.
    """
    longitude, latitude = site[0], radians(site[1])
    hour_angle = radians(280.46061837 + 360.98564736629 * (mjd - MJD_J2000) + longitude - ra)
    height = sin(latitude) * sin(radians(dec)) + cos(latitude) * cos(radians(dec)) * cos(hour_angle)
    if not degrees(asin(max(-1.0, min(1.0, height)))) >= LOWEST:
        return nan
    # In powers of the cosine of the zenith distance, which is the sine of the altitude.
    above = 1.002432 * height**2 + 0.148386 * height + 0.0096467
    below = height**3 + 0.149864 * height**2 + 0.0102963 * height + 0.000303978
    return above / below
