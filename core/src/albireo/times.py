"""Times of exposures at the barycentre of the solar system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["bjd_tdb"]


def bjd_tdb(
    mjd_utc: ArrayLike, ra: float, dec: float, site: tuple[float, float, float] | None = None
) -> NDArray[np.float64]:
    """Barycentric Julian date in TDB of moments at an observatory.

    The light travel time is the projection of the observer's barycentric position on the direction of the source
    (Eastman, Siverd & Gaudi 2010, PASP 122, 935), with the Earth from ERFA's built-in ephemeris. Nothing is fetched
    from a network: the rotation of the Earth comes from the tables installed with astropy.

    Parameters
    ----------
    mjd_utc : array_like
        Modified Julian dates, UTC. NaN gives NaN.
    ra, dec : float
        ICRS, degrees.
    site : tuple of float, optional
        Longitude (east, deg), latitude (deg), height (m). Without it the centre of the Earth is used, which is wrong by
        at most 21 ms.

    Returns
    -------
    ndarray of float64
        Days; resolution about 40 microseconds.
    """
    from astropy import units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    dates = np.atleast_1d(np.asarray(mjd_utc, dtype=np.float64))
    result = np.full(dates.shape, np.nan)
    good = np.isfinite(dates)
    if not good.any():
        return result
    if site is None:
        place = EarthLocation.from_geocentric(0, 0, 0, unit=u.m)
    else:
        place = EarthLocation.from_geodetic(site[0] * u.deg, site[1] * u.deg, site[2] * u.m)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "warn"):
        times = Time(dates[good], format="mjd", scale="utc", location=place)
        travel = times.light_travel_time(SkyCoord(ra, dec, unit="deg"), kind="barycentric")
        barycentric = times.tdb + travel
    result[good] = barycentric.jd1 + barycentric.jd2
    return result
