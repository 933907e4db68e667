"""When an exposure began: which cards hold date and time, whether the clock shows UTC, whether a card has the middle.

Every card that can be read as a date, as a date with the time of day of another card, or as a Julian date is a
candidate. A candidate must change from file to file and lie in the years of electronic detectors. Of those that are
left the name and the comment choose, then the resolution. Candidates are compared with each other, and with the
sidereal time of the header where there is one: a clock of local time is hours off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np

from albireo.airmass import sidereal_time
from albireo.frames import JD_OF_MJD_ZERO, SECONDS_PER_DAY, iso_to_mjd
from albireo.headers import as_float, as_text, sexagesimal
from albireo.survey.findings import GIVE, Certainty, Finding, plural
from albireo.survey.samples import Samples

__all__ = ["Clock", "find_middle", "find_start", "sidereal_of"]

FIRST, LAST = 42000.0, 88000.0
"""MJD of the years 1973 and 2099: dates of electronic detectors."""

SIDEREAL_DAY = 0.99726957
"""In solar days."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d*)?)?")
_LOCAL = re.compile(r"[+-](0[1-9]|1[0-4]):?\d\d$|\blocal|\blt\b")

_NAMES = (
    *("DATE-OBS", "DATE_OBS", "DATE-BEG", "UTSTART", "UTCSTART", "UT-OBS", "UTC-OBS", "UT", "UTC", "TIME-OBS", "UTIME"),
    *("MJD-OBS", "MJD-BEG", "MJD", "JD", "DATE", "DATEOBS", "TIME", "UTDATE", "DATE-UT", "UT-DATE", "TSTART"),
)
_WRONG = re.compile(r"end|stop|creat|writ|mid|stamp|helio|bary|\bset|sidereal|receiv|modified|weather|block|night")
_WRONG_NAMES = re.compile(r".*(END|STOP|MID|LST|HELIO|BJD|HJD|EQUIN).*|ST|HA|.*RA|.*DEC|EPOCH")
_MIDDLE = re.compile(r"(^|[-_]|UT|UTC|JD)MID")
_UTC = re.compile(r"([+-]00:?00|Z)$")


@dataclass(frozen=True, eq=False)
class Clock:
    """One way to read the time of the samples.

    Attributes
    ----------
    name : str
    mjd : ndarray
        Of each sample; NaN where it has none.
    rule : object
        For a definition.
    rank : tuple of float
        Higher is better.
    resolution : float
        In s.
    local : bool
        Whether it says that it is not UTC.
    zoned : bool
        Whether its texts end in their offset from UTC.
    """

    name: str
    mjd: np.ndarray
    rule: Any
    rank: tuple[float, ...]
    resolution: float
    local: bool = False
    zoned: bool = False


def find_start(samples: Samples, longitude: float) -> tuple[Finding, np.ndarray]:
    """Say which cards hold the start of an exposure.

    Parameters
    ----------
    samples : Samples
    longitude : float
        East, in degrees; NaN if unknown.

    Returns
    -------
    Finding
        ``start``.
    ndarray
        MJD UTC of each sample; NaN where unknown.
    """
    clocks, refused = _clocks(samples)
    if not clocks:
        what = "no card holds a date and time that changes from file to file"
        return Finding("start", GIVE, what, "unknown", None, tuple(refused)), np.full(len(samples), nan)
    best = clocks[0]
    mjd, rule, doubts = best.mjd, best.rule, []
    proof = []
    agree = [c.name for c in clocks[1:] if _apart(c, best) <= max(2.0, c.resolution, best.resolution)]
    if agree:
        proof.append(f"{', '.join(agree[:3])} {'agrees' if len(agree) == 1 else 'agree'}")
    off = _hours_off(samples, mjd, longitude)
    if isfinite(off):
        if abs(off) < 0.1:
            proof.append("the sidereal time agrees with UTC")
        elif best.zoned:
            proof.append(f"the texts name their zone; the sidereal time of the header is {-off:+.1f} h off")
        elif abs(off - round(2 * off) / 2) < 0.05:
            hours = round(2 * off) / 2
            doubts.append(f"by the sidereal time this clock is {hours:+g} h from UTC")
            rule = {**(rule if isinstance(rule, dict) else {"keyword": rule}), "offset": hours}
            mjd = mjd - hours / 24.0
        else:
            doubts.append(f"the sidereal time is {off:+.2f} h off")
    if best.resolution > 1.5:
        doubts.append(f"it goes in steps of {best.resolution:.0f} s")
    steps = np.diff(mjd[np.isfinite(mjd)])
    others = [f"{c.name}: {_why_not(c, best)}" for c in clocks[1:]]
    how = "; ".join([*(proof or ["by name and value"]), *(f"but {doubt}" for doubt in doubts)])
    certainty: Certainty = "unverified" if doubts else "header" if proof else "inferred"
    if len(steps) and (steps >= 0).mean() < 0.5 and not proof:
        certainty, how = "unverified", f"{how}; but it does not grow with the names of the files"
    return Finding("start", best.name, how, certainty, rule, (*others, *refused)), mjd


def find_middle(samples: Samples, start: np.ndarray, exptime: Sequence[float | None]) -> Finding | None:
    """Say whether a card holds the middle of an exposure that agrees with start and exposure time.

    Returns
    -------
    Finding or None
        None if no card speaks of a middle.
    """
    half = np.array([nan if time is None else 0.5 * time / SECONDS_PER_DAY for time in exptime])
    for key in samples.keys:
        if not _MIDDLE.search(key):
            continue
        for form, mjd in _readings(samples, key):
            known = np.isfinite(mjd) & np.isfinite(start) & np.isfinite(half)
            if not known.any():
                continue
            off = float(np.median((mjd - start - half)[known])) * SECONDS_PER_DAY
            if abs(off) > 2.0:
                return Finding("mid", "start and half the exposure time", f"{key} is {off:+.0f} s off", "inferred")
            rule = key if form == "iso" else {"keyword": key, "format": form}
            how = f"agrees with start and exposure time to {abs(off):.1f} s in {plural(int(known.sum()), 'file')}"
            return Finding("mid", key, how, "header", rule)
        if samples.coverage(key):
            return Finding("mid", "start and half the exposure time", f"{key} holds no such time", "inferred")
    return None


def sidereal_of(samples: Samples) -> np.ndarray:
    """Give the local sidereal time that headers tell, in degrees; NaN where they do not."""
    for key in ("LST-OBS", "LST", "LMST", "ST", "SIDTIME", "SIDEREAL", "STRLS"):
        values = samples.values(key)
        if sum(value is not None for value in values) < 0.5 * len(samples):
            continue
        sidereal = []
        for value in values:
            hours = sexagesimal(str(value)) if value is not None else None
            number = as_float(value)
            # Plain numbers are degrees or hours; twenty-four hours are not enough to tell, so ask the comment.
            if hours is None and number is not None:
                hours = number / 15.0 if number > 24.0 or "deg" in samples.comment(key) else number
            sidereal.append(nan if hours is None else 15.0 * hours)
        array = np.array(sidereal)
        known = array[np.isfinite(array)]
        if known.size and known.max() > 0 and (np.ptp(known) > 0 or len(samples) == 1):
            return array
    return np.full(len(samples), nan)


def _hours_off(samples: Samples, mjd: np.ndarray, longitude: float) -> float:
    """How many hours a clock is ahead of the UTC that the sidereal time in the header tells."""
    if not isfinite(longitude):
        return nan
    told = sidereal_of(samples)
    known = np.isfinite(told) & np.isfinite(mjd)
    if not known.any():
        return nan
    ours = np.array([sidereal_time(float(date), longitude) for date in mjd[known]])
    ahead = (ours - told[known] + 180.0) % 360.0 - 180.0
    return float(np.median(ahead)) / 15.0 * SIDEREAL_DAY


def _clocks(samples: Samples) -> tuple[list[Clock], list[str]]:
    """Give all candidates, the best first, and what was refused."""
    found: list[Clock] = []
    refused: list[str] = []
    dates: list[tuple[str, list[str]]] = []
    times: list[tuple[str, list[str]]] = []
    for key in samples.keys:
        values = samples.values(key)
        if _WRONG_NAMES.fullmatch(key) or _WRONG.search(samples.comment(key)):
            continue
        texts = [as_text(value) for value in values]
        told = [text for text in texts if text]
        if told and all(_DATE.fullmatch(text) for text in told):
            dates.append((key, texts))
            continue
        if told and all(_TIME.fullmatch(text) for text in told):
            times.append((key, texts))
            continue
        if not (key in _NAMES or re.search(r"DATE|UT|MJD|^JD|START", key)):
            continue
        if key in _NAMES and told and all(as_float(text) == 0 for text in told):
            refused.append(f"{key}: 0 in all files")
        for form, mjd in _readings(samples, key):
            rule: Any = key if form == "iso" else {"keyword": key, "format": form}
            local = bool(form == "iso" and _LOCAL.search(" ".join([*told[:1], samples.comment(key)]).lower()))
            zoned = form == "iso" and bool(told) and all(_UTC.search(t) or _LOCAL.search(t) for t in told)
            step = _resolution(told, form)
            clock = Clock(key, mjd, rule, _rank(samples, key, mjd, form, local, step), step, local, zoned)
            _admit(clock, samples, found, refused)
    for date, days in dates:
        if date != "DATE" or not any(name != "DATE" for name, _ in dates):
            refused.append(f"{date}: only a date")
        for time, clocks in times:
            # The zero of a clock that never ran.
            if len(samples) > 1 and len(set(filter(None, clocks))) < 2 and len(set(days)) < 2:
                continue
            joined = [f"{day}T{clock}" if day and clock else "" for day, clock in zip(days, clocks, strict=True)]
            if all(re.fullmatch(r"[0:.]+", clock) for clock in clocks if clock):
                continue
            mjd = np.array([_iso(text) for text in joined])
            local = "local" in samples.comment(time) or time.startswith(("LT", "LOC"))
            step = _resolution([text for text in joined if text], "iso")
            rank = _rank(samples, time, mjd, "iso", local, step)
            # DATE is the day on which the file was written.
            rank = (rank[0] - 2.0 * (date == "DATE") - 0.5, *rank[1:])
            rule = {"keyword": date, "time": time}
            clock = Clock(f"{date} with {time}", mjd, rule, rank, step, local)
            _admit(clock, samples, found, refused)
    return sorted(found, key=lambda clock: clock.rank, reverse=True), refused


def _admit(clock: Clock, samples: Samples, found: list[Clock], refused: list[str]) -> None:
    known = np.isfinite(clock.mjd)
    if not known.any():
        return
    if len(samples) > 1 and np.ptp(clock.mjd[known]) == 0 and _exposed_apart(samples):
        refused.append(f"{clock.name}: the same in all files")
    else:
        found.append(clock)


def _exposed_apart(samples: Samples) -> bool:
    """Whether the files cannot all have been exposed at once: there are more of them than a camera has detectors."""
    return len(samples) > 4


def _readings(samples: Samples, key: str) -> list[tuple[str, np.ndarray]]:
    """Read a card as dates in every way that makes sense, where most files agree."""
    values = samples.values(key)
    forms = []
    texts = [value for value in values if isinstance(value, str)]
    if texts:
        forms.append(("iso", np.array([_iso(value) if isinstance(value, str) else nan for value in values])))
    numbers = [nan if (n := as_float(value)) is None else n for value in values]
    forms += [("mjd", np.array(numbers)), ("jd", np.array(numbers) - JD_OF_MJD_ZERO)]
    readings = []
    for form, mjd in forms:
        with np.errstate(invalid="ignore"):
            mjd = np.where((mjd > FIRST) & (mjd < LAST), mjd, nan)
        if np.isfinite(mjd).sum() >= 0.5 * sum(value is not None for value in values) > 0:
            readings.append((form, mjd))
    return readings


def _iso(text: str) -> float:
    if not _DATE.match(text) or ":" not in text:
        return nan
    try:
        return iso_to_mjd(text)
    except ValueError:
        return nan


def _rank(samples: Samples, key: str, mjd: np.ndarray, form: str, local: bool, step: float) -> tuple[float, ...]:
    """Rank a clock by what its card promises; ties go to the more usual name."""
    comment = samples.comment(key)
    promise = 3.0 * bool(re.search(r"start|begin", comment) or re.search(r"START|BEG", key))
    promise += 1.0 * bool(re.search(r"\but\b|\butc\b|universal|gmt", comment) or key.startswith("UT"))
    promise += (
        2.0 * bool(re.search(r"OBS|START|BEG", key)) + 1.0 * (form == "iso") - 4.0 * local - 3.0 * (key == "DATE")
    )
    promise -= 3.0 * (step > 1.5) + 4.0 * (key not in _NAMES)
    coverage = float(np.isfinite(mjd).mean())
    usual = -float(_NAMES.index(key)) if key in _NAMES else -99.0
    return (promise + 8.0 * coverage, usual)


def _resolution(told: Sequence[str], form: str) -> float:
    """Give the smallest step that a clock writes, in s."""
    if form != "iso":
        decimals = max((len(text.partition(".")[2]) for text in told if "e" not in text.lower()), default=0)
        return SECONDS_PER_DAY * 10.0**-decimals
    seconds = [re.search(r":\d\d:\d\d(?:\.(\d+))?", text) for text in told]
    if not any(seconds):
        return 60.0
    return 10.0 ** -max(len(match[1] or "") for match in seconds if match)


def _apart(one: Clock, other: Clock) -> float:
    """Typical difference of two clocks in s; infinite where they have no files in common."""
    both = np.isfinite(one.mjd) & np.isfinite(other.mjd)
    return float(np.median(np.abs(one.mjd - other.mjd)[both])) * SECONDS_PER_DAY if both.any() else float("inf")


def _why_not(clock: Clock, best: Clock) -> str:
    apart = _apart(clock, best)
    if clock.resolution > 1.5:
        return f"it goes in steps of {clock.resolution:.0f} s"
    if clock.local:
        return "local time" + ("; with its offset the same" if apart < 2.0 else "")
    if apart <= 2.0:
        return "says the same"
    if not isfinite(apart):
        return "in other files"
    return f"{apart:.0f} s from {best.name}" if apart < 1800 else f"{apart / 3600:.1f} h from {best.name}"
