"""Times at the barycentre: against a published value, against ERFA and the definitions alone, and one by one."""

import json
import os
import subprocess
import sys

import erfa
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time

from albireo.times import bjd_tdb

LOWELL = (-111.4223, 34.7443, 2361.0)
MOMENTS = np.array([56000.0, 57754.25, 58107.2125, 60310.9, 61000.0])
LIGHT_MINUTES = 499.004784 / 86400
"""Light time of one astronomical unit in days (IAU 2012: 149597870700 m over c)."""
RESOLUTION = 5e-10
"""Spacing of doubles at today's Julian dates, in days."""
MILLISECOND = 1e-3 / 86400


@pytest.mark.parametrize(("ra", "dec"), [(97.6367, 29.6723), (0.0, 0.0), (359.9, -89.0), (38.6, 46.7)])
@pytest.mark.parametrize("site", [LOWELL, (80.5, -75.1, 3900.0)])
def test_many_times_together_are_the_same_as_one_by_one(ra, dec, site):
    place = EarthLocation.from_geodetic(site[0] * u.deg, site[1] * u.deg, site[2] * u.m)
    star = SkyCoord(ra, dec, unit="deg", frame="icrs")
    expected = []
    for moment in MOMENTS:
        time = Time(moment, format="mjd", scale="utc", location=place)
        expected.append((time.tdb + time.light_travel_time(star)).jd)
    np.testing.assert_allclose(bjd_tdb(MOMENTS, ra, dec, site), expected, rtol=0, atol=2 * RESOLUTION)


def by_hand(mjd: float, ra: float, dec: float) -> float:
    """Barycentric date of the centre of the Earth, from ERFA's ephemeris and the definition of UTC and TDB."""
    leap_seconds = erfa.dat(*[int(v) for v in Time(mjd, format="mjd").ymdhms.item()[:3]], 0.0)
    tt = mjd + (leap_seconds + 32.184) / 86400
    # Annual term of TDB - TT, 1.66 ms (Explanatory Supplement to the Astronomical Almanac, equation 2.222-1).
    g = np.deg2rad(357.53 + 0.98560028 * (tt - 51544.5))
    tdb = tt + (0.001658 * np.sin(g) + 0.000014 * np.sin(2 * g)) / 86400
    _, barycentric = erfa.epv00(2400000.5, tt)
    a, d = np.deg2rad([ra, dec])
    towards = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    return 2400000.5 + tdb + float(barycentric["p"] @ towards) * LIGHT_MINUTES


@pytest.mark.parametrize(("ra", "dec"), [(97.6367, 29.6723), (266.4, -29.0), (10.0, 89.9)])
def test_the_centre_of_the_earth_agrees_with_erfa_and_the_definitions(ra, dec):
    expected = [by_hand(moment, ra, dec) for moment in MOMENTS]
    # The short series for TDB - TT is good to 30 microseconds.
    np.testing.assert_allclose(bjd_tdb(MOMENTS, ra, dec), expected, rtol=0, atol=0.1 * MILLISECOND)


def test_a_published_value_from_another_ephemeris_is_met():
    # Tau Ceti from Cerro Tololo at JD 2458000 UTC and two moments later: the example of barycorrpy (Kanodia & Wright
    # 2018, RNAAS 2, 4), with the JPL ephemeris DE430; 10 ns of a day stand for 0.9 ms. Position and proper motion are
    # those of Hipparcos, brought to the date.
    years = (2458000.0 - 2451545.0) / 365.25
    dec = -15.9374796 + 0.85416 * years / 3600
    ra = 26.0170142 - 1.72105 * years / 3600 / np.cos(np.deg2rad(dec))
    moments = np.array([2458000.0, 2458000.00001, 2458000.00002]) - 2400000.5
    published = [2458000.00505211, 2458000.00506211, 2458000.00507211]
    times = bjd_tdb(moments, ra, dec, (-70.806789, -30.169283, 2241.9))
    np.testing.assert_allclose(times, published, rtol=0, atol=MILLISECOND)


def from_the_ground(mjd: np.ndarray, ra: float, dec: float, site: tuple[float, float, float]) -> np.ndarray:
    """As `by_hand`, with the observer turned with the Earth by the IAU 2006/2000A model; UT1 is taken as UTC.

    The difference of UT1 and UTC is below 0.9 s, in which an observer moves 420 m: 1.4 microseconds.
    """
    leap_seconds = 37.0  # since 2017
    tt = mjd + (leap_seconds + 32.184) / 86400
    g = np.deg2rad(357.53 + 0.98560028 * (tt - 51544.5))
    tdb = tt + (0.001658 * np.sin(g) + 0.000014 * np.sin(2 * g)) / 86400
    _, barycentric = erfa.epv00(2400000.5, tt)
    turned = erfa.c2t06a(2400000.5, tt, 2400000.5, mjd, 0.0, 0.0)
    ground = erfa.gd2gc(1, np.deg2rad(site[0]), np.deg2rad(site[1]), site[2])
    observer = np.asarray(barycentric["p"]) + np.einsum("nji,j->ni", turned, ground) / 149597870700.0
    a, d = np.deg2rad([ra, dec])
    towards = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    return 2400000.5 + tdb + observer @ towards * LIGHT_MINUTES


@pytest.mark.parametrize(("ra", "dec"), [(97.6367, 29.6723), (266.4, -29.0), (10.0, 85.0)])
def test_five_thousand_moments_from_a_telescope_agree_with_erfa_and_the_definitions(ra, dec):
    moments = np.linspace(58000.0, 61000.0, 5000)
    np.testing.assert_allclose(
        bjd_tdb(moments, ra, dec, LOWELL), from_the_ground(moments, ra, dec, LOWELL), rtol=0, atol=0.1 * MILLISECOND
    )


def test_the_site_moves_the_time_by_at_most_the_radius_of_the_earth():
    hours = 58107.0 + np.arange(0, 1, 1 / 24)
    difference = (bjd_tdb(hours, 97.6, 29.7, LOWELL) - bjd_tdb(hours, 97.6, 29.7)) * 86400
    assert 0.015 < np.abs(difference).max() < 0.0213
    # The star is nearer when it is up: at 07:00 UTC in December, RA 6.5 h culminates in Arizona.
    assert hours[np.argmax(difference)] % 1 == pytest.approx(7 / 24, abs=1.5 / 24)


def test_a_year_has_the_annual_term():
    days = 57800 + np.arange(0.0, 366.0)
    # A star at the ecliptic: +-499 s over the year, on top of 69.184 s between UTC and TDB.
    shift = (bjd_tdb(days, 90.0, 23.44) - 2400000.5 - days) * 86400 - 69.184
    assert shift.max() == pytest.approx(499, abs=12)
    assert shift.min() == pytest.approx(-499, abs=12)
    # The sun stands at right ascension 6 h on 21 June, so the Earth is nearest to the star half a year later.
    assert days[np.argmax(shift)] == pytest.approx(58108, abs=3)


def test_unknown_times_stay_unknown_and_shapes_are_kept():
    times = bjd_tdb([58107.0, np.nan, 58108.0, np.inf], 10.0, 10.0)
    assert np.isfinite(times).tolist() == [True, False, True, False]
    assert bjd_tdb([], 10.0, 10.0).shape == (0,)
    assert np.isnan(bjd_tdb([np.nan], 10.0, 10.0)).all()
    assert bjd_tdb(58107.0, 10.0, 10.0).shape == (1,)


OFFLINE = """
import socket
def refused(*arguments, **options):
    raise AssertionError("the network was asked")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
from astropy.utils import iers
iers.conf.iers_auto_url = iers.conf.iers_auto_url_mirror = "http://invalid.invalid/"
from albireo.times import bjd_tdb
# Today, the past, and a year for which nobody has measured the rotation of the Earth.
for ra, dec in ((97.6367, 29.6723), (266.4, -29.0), (10.0, 85.0)):
    print(bjd_tdb([60000.0, 41000.0, 69000.0], ra, dec, (-111.4223, 34.7443, 2361.0)).tolist())
print(iers.conf.auto_download)
"""


def test_nothing_is_fetched_from_a_network(tmp_path):
    # An empty home has nothing that was fetched before.
    home = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    command = [sys.executable, "-W", "ignore", "-c", OFFLINE]
    done = subprocess.run(command, env=os.environ | home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *values, setting = done.stdout.splitlines()
    for line, place in zip(values, ((97.6367, 29.6723), (266.4, -29.0), (10.0, 85.0)), strict=True):
        times = np.array(json.loads(line))
        assert np.isfinite(times).all()
        assert times[0] == pytest.approx(from_the_ground(np.array([60000.0]), *place, LOWELL)[0], abs=MILLISECOND)
    assert setting == "True", "what others set is put back"
