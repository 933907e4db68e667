"""The airmass of a pointing, against astropy's transformation to the horizon."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from albireo.airmass import airmass

SITE = (-115.463611, 31.044167, 2790.0)


def test_altitudes_agree_with_astropy_to_the_stated_error():
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0, 360, 300), rng.uniform(-60, 80, 300)
    mjd = rng.uniform(53000, 62000, 300)
    place = EarthLocation.from_geodetic(SITE[0] * u.deg, SITE[1] * u.deg, SITE[2] * u.m)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"):
        there = SkyCoord(ra, dec, unit="deg").transform_to(AltAz(obstime=Time(mjd, format="mjd"), location=place))
    altitude = there.alt.deg
    high = altitude > 20.0
    assert high.sum() > 60
    ours = np.array([airmass(*place, SITE) for place in zip(ra, dec, mjd, strict=True)])
    # Young & Irvine's formula is good to 0.001 there and knows nothing of ours.
    secant = 1.0 / np.sin(np.radians(altitude[high]))
    expected = secant * (1.0 - 0.0012 * (secant**2 - 1.0))
    assert np.abs(ours[high] - expected).max() < 0.005
    assert np.isnan(ours[altitude < 0.9]).all()


@pytest.mark.parametrize(
    ("ra", "dec", "mjd", "site"),
    [(math.nan, 1.0, 6e4, SITE), (1.0, math.nan, 6e4, SITE), (1.0, 1.0, math.nan, SITE), (1.0, 1.0, 6e4, None)],
)
def test_what_is_not_known_has_no_airmass(ra, dec, mjd, site):
    assert math.isnan(airmass(ra, dec, mjd, site))


def test_the_pole_has_the_airmass_of_the_latitude():
    altitude = SITE[1]
    assert airmass(0.0, 90.0, 60000.0, SITE) == pytest.approx(1.0 / math.sin(math.radians(altitude)), abs=0.01)
