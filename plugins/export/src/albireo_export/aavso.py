"""Light curves in the Extended File Format of the AAVSO (version 1.2).

The format holds magnitudes, and a relative flux alone has no zero point. It comes from the comparison stars: the flux
of the target over its relative flux is, in every frame, the light of the ensemble that the curve is relative to, and
the ratio of a comparison star to it is constant. The median of that ratio through the night places the star on the
scale of the curve. Then a catalogue magnitude of the star gives standard magnitudes (STD; the mean of several stars),
and without one the magnitude is the difference from the comparison stars' light together (DIF).

Dates are JD UTC of the middle of the exposure; the difference from BJD_TDB is interpolated between the frames'.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from albireo import JD_OF_MJD_ZERO, __version__
from albireo_export.curves import Curve, Refused

if TYPE_CHECKING:
    from albireo import Results
    from albireo_export.stage import Comparison, Export

__all__ = ["CODES", "write_aavso"]

CODES = (
    *("U", "B", "V", "R", "I", "J", "H", "K", "TG", "TB", "TR", "CV", "CR", "SU", "SG", "SR", "SI", "SZ"),
    *("STU", "STV", "STB", "STY", "STHBW", "STHBN", "MA", "MB", "MI", "ZS", "Y", "HA", "HAC", "O"),
)
"""Filters that the AAVSO knows."""

USUAL = {
    **{name: name for name in (*"UBVRIJHKY", "ZS", "HA")},
    **{f"{band}{mark}": f"S{band.upper()}" for band in "ugriz" for mark in ("", "'", "p")},
    **{f"SDSS-{band}": f"S{band}" for band in "UGRIZ"},
    "Rc": "R",
    "Ic": "I",
    "Ks": "K",
    "zs": "ZS",
    "Halpha": "HA",
}
"""Filters as frames name them, and their codes."""

LONGEST = {"NAME": 30, "DATE": 16, "MAG": 8, "MERR": 6, "CNAME": 20, "CMAG": 8, "AMASS": 7, "CHART": 20}
"""Letters that a field may have."""

FIELDS = "NAME,DATE,MAG,MERR,FILT,TRANS,MTYPE,CNAME,CMAG,KNAME,KMAG,AMASS,GROUP,CHART,NOTES"
UNKNOWN = "na"
MAG = 2.5 / np.log(10.0)
"""Magnitudes in a relative change of one."""


@dataclass(frozen=True)
class _Scale:
    """How relative flux becomes a magnitude: ``zero - 2.5 log10(flux)``."""

    zero: float
    kind: str
    name: str
    instrumental: NDArray[np.float64] | None
    note: str


def write_aavso(options: Export, run: Results, curve: Curve, path: Path) -> str:
    """Write one curve; give a note on its zero point.

    Raises
    ------
    Refused
        If the format cannot hold this curve, or does not know its filter.
    """
    table, target = curve.table, str(curve.meta("OBJECT"))
    code = _code(options, str(curve.meta("FILTER")))
    if not options.obscode:
        raise Refused('the format wants the code of the observer: give obscode = "..." (the AAVSO assigns them)')
    if re.fullmatch(r"star \d+( of .*)?", target):
        raise Refused(f"{target!r} is no name of a star: name it with [[targets]] in the recipe")
    if len(target) > LONGEST["NAME"] or "," in target or not target.isascii():
        raise Refused(f"a name has at most {LONGEST['NAME']} ASCII letters and no comma; this is {target!r}")
    if curve.meta("UNIT"):
        raise Refused('the format holds magnitudes: compare with other stars first, by [[curves]] use = "differential"')
    frames = _Frames.of(run, curve)
    scale = _scale(options, curve, frames)
    time = np.asarray(table["time"], dtype=np.float64)
    flux, error = (np.asarray(table[name], dtype=np.float64) for name in ("flux", "flux_err"))
    bound = flux < options.limit * error
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.where(bound, np.maximum(flux, 0.0) + options.limit * error, flux)
        magnitude, magnitude_err = scale.zero - 2.5 * np.log10(shown), MAG * error / flux
    dates, airmass = frames.jd(time), np.asarray(table["airmass"], dtype=np.float64)
    if scale.instrumental is None:
        compared = [UNKNOWN] * len(time)
    else:
        compared = [_number(value, "CMAG") for value in np.interp(time, frames.time, scale.instrumental)]
    lines = [
        "#TYPE=EXTENDED",
        f"#OBSCODE={options.obscode}",
        f"#SOFTWARE=Albireo {__version__}",
        "#DELIM=,",
        "#DATE=JD",
        "#OBSTYPE=CCD",
        f"#{FIELDS}",
    ]
    for k in range(len(time)):
        fields = (
            target,
            f"{dates[k]:.6f}",
            ("<" if bound[k] else "") + _number(magnitude[k], "MAG", 3 if not bound[k] else 2),
            UNKNOWN if bound[k] else _number(min(magnitude_err[k], 9.999), "MERR"),
            code,
            "NO",
            scale.kind,
            scale.name,
            compared[k],
            UNKNOWN,
            UNKNOWN,
            _number(airmass[k], "AMASS"),
            UNKNOWN,
            options.chart or UNKNOWN,
            UNKNOWN,
        )
        lines.append(",".join(fields))
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    limits = int(bound.sum())
    return scale.note + (f"; {limits} upper limits of {options.limit:g} standard deviations" if limits else "")


def _code(options: Export, colour: str) -> str:
    code = options.filters.get(colour, USUAL.get(colour, ""))
    if code not in CODES:
        raise Refused(
            f"the AAVSO has no filter {code or colour!r}: give filters = {{ {colour!r} = CODE }} with one of "
            f"{', '.join(CODES)}"
        )
    return code


def _number(value: float, field: str, digits: int = 3) -> str:
    """Write a number so that it has a decimal point and fits its field."""
    text = f"{value:.{digits}f}"
    return text if np.isfinite(value) and len(text) <= LONGEST[field] else UNKNOWN


@dataclass(frozen=True, eq=False)
class _Frames:
    """What was measured in the frames of a curve: times, and fluxes of the target and others.

    Attributes
    ----------
    time : ndarray, shape (n,)
        On the scale of the curve, in order.
    utc : ndarray, shape (n,)
        JD UTC.
    flux : dict of int to ndarray, shape (n,)
        By identity; NaN where a star was not measured.
    exptime : ndarray, shape (n,)
    """

    time: NDArray[np.float64]
    utc: NDArray[np.float64]
    flux: dict[int, NDArray[np.float64]]
    exptime: NDArray[np.float64]

    def jd(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """JD UTC of times on the scale of the curve."""
        result: NDArray[np.float64] = time - np.interp(time, self.time, self.time - self.utc)
        return result

    @classmethod
    def of(cls, run: Results, curve: Curve) -> _Frames:
        """Take them from the measurements of the run."""
        every = run.photometry
        rows = np.ones(len(every), dtype=bool)
        for name, key in (("filter", "FILTER"), ("detector", "DETECTOR"), ("method", "METHOD")):
            rows &= np.char.strip(np.asarray(every[name]).astype(str)) == str(curve.meta(key))
        part = every[rows]
        radius = float(np.nan if curve.meta("APERTURE") is None else curve.meta("APERTURE"))
        apertures = np.asarray(part["aperture"], dtype=np.float64)
        # Several radii: in every frame the one that is nearest to that of the curve.
        distance = np.abs(apertures - radius) if np.isfinite(radius) else np.zeros(len(part))
        frames, sources = np.asarray(part["frame"]).astype(str), np.asarray(part["source"]).astype(np.int64)
        mine = np.flatnonzero(sources == int(curve.meta("SOURCE")))
        names, first = np.unique(frames[mine], return_index=True)
        when = np.asarray(part["bjd_tdb" if curve.meta("TIMESYS") == "BJD_TDB" else "mjd"], dtype=np.float64)
        shift = 0.0 if curve.meta("TIMESYS") == "BJD_TDB" else JD_OF_MJD_ZERO
        order = np.argsort(when[mine[first]], kind="stable")
        names, first = names[order], mine[first][order]
        if not len(first):
            raise Refused("the measurements of this star are not in photometry.fits")
        row_of = {name: k for k, name in enumerate(names.tolist())}
        flux: dict[int, NDArray[np.float64]] = {}
        nearest: dict[tuple[int, str], float] = {}
        wanted = {int(curve.meta("SOURCE")), *map(int, curve.meta("COMPARISONS"))}
        values = np.asarray(part["flux"], dtype=np.float64)
        for k in np.flatnonzero(np.isin(sources, list(wanted))).tolist():
            star, name = int(sources[k]), str(frames[k])
            if name in row_of and distance[k] < nearest.get((star, name), np.inf):
                nearest[star, name] = float(distance[k])
                flux.setdefault(star, np.full(len(names), np.nan))[row_of[name]] = values[k]
        utc = np.asarray(part["mjd"], dtype=np.float64)[first] + JD_OF_MJD_ZERO
        return cls(when[first] + shift, utc, flux, np.asarray(part["exptime"], dtype=np.float64)[first])


def _scale(options: Export, curve: Curve, frames: _Frames) -> _Scale:
    """Find the zero point of the magnitudes."""
    colour, comparisons = str(curve.meta("FILTER")), [int(star) for star in curve.meta("COMPARISONS")]
    known = {one.star: one for one in options.comparisons}
    light = {star: ratio for star in comparisons if np.isfinite(ratio := _ratio(curve, frames, star))}
    if not light:
        raise Refused("no comparison star of this curve was measured together with the target: there is no zero point")
    standard = [star for star in light if star in known and colour in known[star].magnitudes]
    if standard:
        zeros = [known[star].magnitudes[colour] + 2.5 * np.log10(light[star]) for star in standard]
        text = f"standard, by {_count(len(zeros))}"
        if len(zeros) > 1:
            text += f" whose zero points scatter by {np.std(zeros, ddof=1):.3f} mag"
        return _named(float(np.mean(zeros)), "STD", standard, known, frames, text)
    total = sum(light.values())
    text = f"difference from {_count(len(light))}: none has a catalogue magnitude in {colour!r}"
    return _named(2.5 * float(np.log10(total)), "DIF", list(light), known, frames, text)


def _ratio(curve: Curve, frames: _Frames, star: int) -> float:
    """Flux of a comparison star on the scale of the curve; NaN if they were never measured together."""
    target = frames.flux.get(int(curve.meta("SOURCE")))
    other = frames.flux.get(star)
    if target is None or other is None:
        return float("nan")
    relative = np.interp(frames.time, curve.table["time"], curve.table["flux"], left=np.nan, right=np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = other / target * relative
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    return float(np.median(ratio)) if ratio.size else float("nan")


def _named(
    zero: float, kind: str, stars: Sequence[int], known: dict[int, Comparison], frames: _Frames, note: str
) -> _Scale:
    """Name the comparison: one star with its instrumental magnitudes, or an ensemble."""
    if len(stars) > 1:
        return _Scale(zero, kind, "ENSEMBLE", None, note)
    (star,) = stars
    with np.errstate(divide="ignore", invalid="ignore"):
        instrumental = -2.5 * np.log10(frames.flux[star] / frames.exptime)
    name = (known[star].name if star in known else "") or str(star)
    return _Scale(zero, kind, name.replace(",", " "), instrumental, note)


def _count(stars: int) -> str:
    return f"{stars} comparison star{'s' if stars > 1 else ''}"
