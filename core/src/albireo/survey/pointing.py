"""Where the telescope stood and where it pointed: site, coordinates, airmass.

These hold each other: time, longitude, latitude and coordinates give an airmass, and the right cards agree. So they
are chosen together. Placeholders (zeros, one place for several targets) and airmasses that cannot be are named and not
used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import inf, isfinite, nan, radians, sin
from typing import Any

import numpy as np

from albireo.airmass import airmass, sidereal_time
from albireo.headers import as_float, sexagesimal
from albireo.survey.findings import GIVE, Certainty, Finding, plural
from albireo.survey.moments import sidereal_of
from albireo.survey.samples import Sample, Samples

__all__ = ["Site", "find_pointing", "find_site"]

HIGHEST_AIRMASS = 40.0
"""At the horizon."""

CLOSE = 0.03
"""Two airmasses agree if they differ by less than this part."""

_LONGITUDE = (
    "LONGITUD",
    "SITELONG",
    "OBSLONG",
    "OBS-LONG",
    "LONG-OBS",
    "GEOLON",
    "LON-OBS",
    "LONGITUDE",
    "LONG",
    "OBSLON",
)
_LATITUDE = ("LATITUDE", "SITELAT", "OBSLAT", "OBS-LAT", "LAT-OBS", "GEOLAT", "LAT")
_HEIGHT = ("HEIGHT", "ALT-OBS", "OBSALT", "OBS-ELEV", "SITEELEV", "ELEVATIO", "GEOALT", "ALTITUDE", "OBSALTI", "ELEV")
_PAIRS = (
    *(("RA", "DEC"), ("OBJCTRA", "OBJCTDEC"), ("TELRA", "TELDEC"), ("OBJRA", "OBJDEC"), ("RA_OBJ", "DEC_OBJ")),
    *(("TARGRA", "TARGDEC"), ("CAT-RA", "CAT-DEC"), ("RA-OBS", "DEC-OBS"), ("RA_TEL", "DEC_TEL"), ("TCSRA", "TCSDEC")),
)
_ALTITUDES = ("TELALT", "TEL_ALT", "OBJCTALT", "ALT", "EL", "ELEVAT", "ALT_OBJ", "ALTITUDE", "CENTALT", "STROBALT")
_ELSEWHERE = re.compile(r"moon|sun|finder|guid|offset|error|rate|correct|model|settled|timestamp|alert|polar|proper")


@dataclass(frozen=True)
class Site:
    """Longitude (east) and latitude in degrees; NaN where unknown."""

    longitude: float = nan
    latitude: float = nan


def _angle(value: Any) -> float | None:
    text = sexagesimal(str(value)) if isinstance(value, str) else None
    return as_float(value) if text is None else text


def find_site(samples: Samples) -> tuple[Finding, Site]:
    """Say where the telescope stands, the longitude counting as the header writes it.

    The rule of the finding has the keys ``longitude``, ``latitude`` and ``height``.
    """
    found: dict[str, tuple[str, float, bool]] = {}
    for name, keys, low, high in (
        ("longitude", _LONGITUDE, -360.0, 360.0),
        ("latitude", _LATITUDE, -90.0, 90.0),
        ("height", _HEIGHT, -500.0, 9000.0),
    ):
        for key in keys:
            value = samples.constant(key)
            angle = _angle(value)
            telescope = name == "height" and re.search(r"axis|telescope alt|\bdeg", samples.comment(key))
            if angle is not None and low <= angle <= high and angle != 0.0 and not telescope:
                found[name] = (key, angle, as_float(value) is None)
                break
    if len(found) < 3:
        missing = [name for name in ("longitude", "latitude", "height") if name not in found]
        said = f"no constant card has {', '.join(missing)}"
    else:
        said = "constant in all files"
    rule = {name: {"keyword": key, "unit": "dms"} if text else key for name, (key, _, text) in found.items()}
    value = ", ".join(f"{name} {angle:.6g}" for name, (_, angle, _) in found.items()) or GIVE
    site = Site(*(found[name][1] if name in found else nan for name in ("longitude", "latitude")))
    certainty: Certainty = "header" if len(found) == 3 else "unverified" if found else "unknown"
    return Finding("site", value, said, certainty, rule or None), site


@dataclass(frozen=True, eq=False)
class _Place:
    keys: tuple[str, str]
    ra: np.ndarray
    dec: np.ndarray
    unit: str
    text: bool
    score: float


def find_pointing(
    samples: Samples, science: Sequence[Sample], mjd: dict[str, float], site: Finding, where: Site
) -> tuple[Finding, Finding, Finding, Site]:
    """Choose coordinates, airmass and the sign of the longitude together.

    Parameters
    ----------
    samples : Samples
    science : sequence of Sample
        Those that must be right; on calibrations the telescope may have been anywhere.
    mjd : dict
        Name of a sample to the middle of its exposure, UTC.
    site : Finding
    where : Site

    Returns
    -------
    Finding
        ``pointing``; its rule has the keys ``ra`` and ``dec``.
    Finding
        ``airmass``.
    Finding
        ``site``, with the sign of the longitude.
    Site
        East positive.
    """
    sky = samples.only([s for s in science if isfinite(mjd.get(s.name, nan))] or list(science) or list(samples))
    times = np.array([mjd.get(sample.name, nan) for sample in sky])
    places, refused = _places(sky)
    masses, impossible = _airmasses(sky)
    best: tuple[float, _Place, tuple[str, np.ndarray, Any] | None, float] | None = None
    signs = (1.0,) if not isfinite(where.longitude) else (1.0, -1.0)
    for place, mass, sign in product(places, [*masses, None], signs):
        off = nan if mass is None else _disagreement(place, mass[1], times, sign * where.longitude, where.latitude)
        # Agreement with the sky counts more than any name.
        score = (
            place.score + (20.0 if off < CLOSE else 0.0) - (1.0 if sign < 0 else 0.0) - (2.0 if mass is None else 0.0)
        )
        if mass is not None:
            score -= 0.5 * [m[0] for m in masses].index(mass[0])
        if best is None or score > best[0]:
            best = (score, place, mass, sign if off < CLOSE else 0.0)
    sign = best[3] if best is not None else 0.0
    if sign == 0.0:
        sign = _sign_by_sidereal(samples, mjd, where)
    return (
        _pointing(best[1] if best else None, bool(best and best[3]), places, refused),
        _airmass(
            best[2] if best else (masses[0] if masses else None), bool(best and best[3]), masses, impossible, samples
        ),
        _signed(site, sign, bool(best and best[3])),
        Site((sign or 1.0) * where.longitude, where.latitude),
    )


def _places(sky: Samples) -> tuple[list[_Place], list[str]]:
    """Pairs of cards with right ascension and declination, and the placeholders among them."""
    pairs = dict.fromkeys(pair for pair in _PAIRS if pair[0] in sky.keys)
    for key in sky.keys:
        for short, long in (("RA", "DEC"), ("RA", "DE")):
            other = key[: -len(short)] + long
            if key.endswith(short) and other in sky.keys:
                pairs.setdefault((key, other))
    found, refused = [], []
    for keys in pairs:
        said = f"{sky.comment(keys[0])} {sky.comment(keys[1])}"
        if _ELSEWHERE.search(said):
            continue
        angles = [[_angle(value) for value in sky.values(key)] for key in keys]
        if any(angle is None for line in angles for angle in line):
            if keys in _PAIRS:
                refused.append(f"{keys[0]}, {keys[1]}: no value in some files")
            continue
        ra, dec = (np.array(line, dtype=float) for line in angles)
        if not ra.any():
            refused.append(f"{keys[0]}, {keys[1]}: a placeholder, {keys[0]} is 0 in all files")
            continue
        if len(sky) > 4 and np.ptp(ra) == 0 == np.ptp(dec) and len(_targets(sky)) > 1:
            refused.append(f"{keys[0]}, {keys[1]}: a placeholder, the same for {len(_targets(sky))} targets")
            continue
        hours = any(sexagesimal(str(value)) is not None for value in sky.values(keys[0]))
        units = ["hms"] if hours else ["", "hms"] if ra.max() <= 24.0 else [""]
        for unit in units:
            degrees = 15.0 * ra if unit == "hms" else ra
            if degrees.max() > 360.0 or degrees.min() < 0.0 or np.abs(dec).max() > 90.0:
                continue
            usual = 10.0 - _PAIRS.index(keys) if keys in _PAIRS else 0.0
            named = bool(re.search(r"target|object|telescope|pointing", said)) + bool(re.search("standard|2000", said))
            score = (
                usual + named - 2.0 * bool(re.search("observed|mount|current", said)) - (unit == "hms" and not hours)
            )
            found.append(_Place(keys, degrees, dec, unit, sexagesimal(str(sky.values(keys[1])[0])) is not None, score))
    return sorted(found, key=lambda place: place.score, reverse=True), refused


def _targets(sky: Samples) -> set[str]:
    key = next((key for key in ("OBJECT", "OBJNAME", "TARGNAME", "TARGET") if sky.coverage(key)), "")
    return {text for text in sky.texts(key) if text} if key else set()


def _airmasses(sky: Samples) -> tuple[list[tuple[str, np.ndarray, Any]], list[str]]:
    """Cards with an airmass, or an altitude in its place, and the impossible ones."""
    found: list[tuple[float, str, np.ndarray, Any]] = []
    refused = []
    for key in sky.keys:
        by_name = re.search(r"AIRM|SECZ|AMSTART|AMEND", key)
        if not (by_name or "airmass" in sky.comment(key)) or "required" in sky.comment(key):
            continue
        numbers = [nan if n is None else n for n in sky.numbers(key)]
        mass = np.array(numbers)
        good = (mass >= 1.0) & (mass <= HIGHEST_AIRMASS)
        if good.mean() < 0.9:
            refused.append(f"{key}: {np.nanmin(mass):.4g} to {np.nanmax(mass):.4g}" if np.isfinite(mass).any() else key)
            continue
        score = 3.0 * (key == "AIRMASS") + 2.0 * bool(by_name) - 2.0 * ("end" in sky.comment(key))
        found.append((score, key, mass, key))
    for key in _ALTITUDES:
        numbers = [nan if n is None else n for n in sky.numbers(key)] if key in sky.keys else []
        altitude = np.array(numbers)
        if len(numbers) and np.all((altitude > 0.0) & (altitude <= 90.0)) and (np.ptp(altitude) > 0 or len(sky) == 1):
            mass = np.array([1.0 / sin(radians(value)) for value in altitude])
            found.append((-1.0, key, mass, {"keyword": key, "unit": "altitude"}))
    found.sort(key=lambda item: item[0], reverse=True)
    return [(key, mass, rule) for _, key, mass, rule in found], refused


def _disagreement(place: _Place, mass: np.ndarray, times: np.ndarray, longitude: float, latitude: float) -> float:
    """Typical relative difference of the airmass of a card from that of the sky; NaN if it cannot be told."""
    known = np.isfinite(times) & np.isfinite(mass)
    if not (known.any() and isfinite(longitude) and isfinite(latitude)):
        return nan
    ours = np.array(
        [
            airmass(float(ra), float(dec), float(mjd), (longitude, latitude, 0.0))
            for ra, dec, mjd in zip(place.ra[known], place.dec[known], times[known], strict=True)
        ]
    )
    apart = np.abs(ours / mass[known] - 1.0)
    return float(np.median(np.where(np.isfinite(apart), apart, inf)))  # below the horizon nothing agrees


def _sign_by_sidereal(samples: Samples, mjd: dict[str, float], where: Site) -> float:
    """Tell by the sidereal time in the header which way the longitude counts; 0 if it does not tell."""
    told = sidereal_of(samples)
    times = np.array([mjd.get(sample.name, nan) for sample in samples])
    known = np.isfinite(told) & np.isfinite(times)
    if not known.any() or not isfinite(where.longitude):
        return 0.0
    for sign in (1.0, -1.0):
        ours = np.array([sidereal_time(float(date), sign * where.longitude) for date in times[known]])
        if abs(np.median((ours - told[known] + 180.0) % 360.0 - 180.0)) < 1.0:
            return sign
    return 0.0


def _pointing(best: _Place | None, proved: bool, places: list[_Place], refused: list[str]) -> Finding:
    if best is None:
        return Finding("pointing", GIVE, "no pair of cards holds coordinates", "unknown", None, tuple(refused))
    ra, dec = best.keys
    rule = {"ra": {"keyword": ra, "unit": "hms"} if best.unit else ra}
    rule["dec"] = {"keyword": dec, "unit": "dms"} if best.text else dec
    value = f"{ra}, {dec} in {'hours and degrees' if best.unit else 'degrees'}"
    how = "with time and site they give the airmass of the header" if proved else "by name and value"
    others = [f"{p.keys[0]}, {p.keys[1]}: a less usual name" for p in places if p.keys != best.keys]
    others = list(dict.fromkeys(others))[:4]
    return Finding("pointing", value, how, "header" if proved else "inferred", rule, (*others, *refused))


def _airmass(
    best: tuple[str, np.ndarray, Any] | None,
    proved: bool,
    masses: list[tuple[str, np.ndarray, Any]],
    refused: list[str],
    samples: Samples,
) -> Finding:
    if best is None:
        how = "no card holds a number from 1 to 40 that changes with the sky" if refused else "no card names it"
        return Finding("airmass", GIVE, how, "unknown", None, tuple(refused))
    key, mass, rule = best
    others = []
    for other, values, _ in masses:
        if other != key:
            apart = float(np.median(np.abs(values / mass - 1.0)))
            said = "says the same" if apart < 0.01 else f"{100 * apart:.0f} % off"
            others.append(f"{other}: {said}{_impossible(samples, other)}")
    what = f"{key}, an altitude" if isinstance(rule, dict) else key
    how = (
        "it agrees with time, site and coordinates"
        if proved
        else f"from {mass.min():.2f} to {mass.max():.2f} in science frames"
    )
    return Finding("airmass", what, how, "header" if proved else "inferred", rule, (*others, *refused))


def _impossible(samples: Samples, key: str) -> str:
    """Say where a card holds what no airmass can be."""
    wrong = [n for n in samples.numbers(key) if n is not None and not 1.0 <= n <= HIGHEST_AIRMASS]
    if not wrong or key in _ALTITUDES:
        return ""
    return f"; {min(wrong):.4g} to {max(wrong):.4g} in {plural(len(wrong), 'file')}"


def _signed(site: Finding, sign: float, proved: bool) -> Finding:
    if site.rule is None or "longitude" not in site.rule:
        return site
    if sign == 0.0:
        how = f"{site.how}; whether the longitude counts east or west is not tested"
        return Finding(site.quantity, site.value, how, "unverified", site.rule, site.others)
    how = "the airmass agrees with time and coordinates" if proved else "the sidereal time agrees"
    rule = dict(site.rule)
    value = site.value
    if sign < 0:
        key = rule["longitude"] if isinstance(rule["longitude"], str) else rule["longitude"]["keyword"]
        rule["longitude"] = {"keyword": key, "unit": "west"}
        value = f"{value} (counts west)"
    certainty = site.certainty
    return Finding(site.quantity, value, f"{site.how}; {how}", certainty, rule, site.others)
