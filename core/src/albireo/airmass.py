"""The airmass of a pointing, for headers that lack it or get it wrong.

The altitude follows from the mean sidereal time of Greenwich and from the pointing, precessed from J2000 to the date
to first order (Meeus 1998, *Astronomical Algorithms*, equations 12.4 and 13.6, chapter 21). Nutation, aberration,
refraction and UT1 - UTC are left out: altitudes are right to 0.02 deg for declinations up to 80 deg. The airmass at an
altitude is that of Pickering (2002, *DIO* 12, 1, 20), which is right down to the horizon. For altitudes above 20 deg
both together err by less than 0.005.
"""

from __future__ import annotations

from math import asin, cos, degrees, isfinite, nan, radians, sin, tan

__all__ = ["airmass", "sidereal_time"]

MJD_J2000 = 51544.5
DAYS_PER_YEAR = 365.25
LOWEST = 1.0
"""Altitude in degrees below which no airmass is given."""


def airmass(ra: float, dec: float, mjd: float, site: tuple[float, float, float] | None) -> float:
    """Airmass of a pointing.

    Parameters
    ----------
    ra, dec : float
        ICRS, in degrees.
    mjd : float
        UTC.
    site : tuple of float or None
        Longitude (east, deg), latitude (deg), height (m).

    Returns
    -------
    float
        NaN if something is not known, or where the pointing is not above the horizon.
    """
    if site is None or not all(map(isfinite, (ra, dec, mjd))):
        return nan
    height = _altitude(ra, dec, mjd, site[0], site[1])
    if height < LOWEST:
        return nan
    return 1.0 / sin(radians(height + 244.0 / (165.0 + 47.0 * height**1.1)))


def sidereal_time(mjd: float, longitude: float) -> float:
    """Give the local mean sidereal time (Meeus 1998, *Astronomical Algorithms*, equation 12.4, leading terms).

    Parameters
    ----------
    mjd : float
        UTC as modified Julian date.
    longitude : float
        East, in degrees.

    Returns
    -------
    float
        Degrees, 0 to 360.
    """
    return (280.46061837 + 360.98564736629 * (mjd - MJD_J2000) + longitude) % 360.0


def _altitude(ra: float, dec: float, mjd: float, longitude: float, latitude: float) -> float:
    """Altitude without refraction, in degrees."""
    days = mjd - MJD_J2000
    years = days / DAYS_PER_YEAR
    # Yearly precession: m = 46.124", n = 20.043" (Meeus, chapter 21); the pole itself has no right ascension.
    slope = tan(radians(max(-89.9, min(89.9, dec))))
    now_ra = ra + years * (46.124 + 20.043 * sin(radians(ra)) * slope) / 3600.0
    now_dec = radians(dec + years * 20.043 * cos(radians(ra)) / 3600.0)
    hour_angle = radians(sidereal_time(mjd, longitude) - now_ra)
    phi = radians(latitude)
    height = sin(phi) * sin(now_dec) + cos(phi) * cos(now_dec) * cos(hour_angle)
    return degrees(asin(max(-1.0, min(1.0, height))))
