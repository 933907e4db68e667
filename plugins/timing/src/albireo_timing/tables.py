"""The tables of the report: numbers behind the charts, with units and what they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_timing.analysis import Analysis, Pair

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["tables_of"]

SIGN = "positive: the second band comes later"


def tables_of(found: Sequence[Analysis]) -> dict[str, Table]:
    """Make every table of a report, by the name of its file."""
    tables: dict[str, Table] = {}
    for one in found:
        for stem, table in _tables(one):
            name = base = _safe(stem)
            number = 1
            while f"{name}.ecsv" in tables:  # names that differ in letters a file name cannot have
                number += 1
                name = f"{base}-{number}"
            table.meta = {"OBJECT": one.target, "TIMESYS": one.bands[0].meta["TIMESYS"], **table.meta}
            tables[f"{name}.ecsv"] = table
    return tables


def _tables(one: Analysis) -> list[tuple[str, Table]]:
    made: list[tuple[str, Table]] = []
    for band in one.bands:
        start, stop = one.intervals[band.label].T
        made.append(
            (
                f"{one.target}_{band.label}_intervals",
                _table({"start": (start, "d"), "stop": (stop, "d")}, BAND=band.label, POINTS=len(band.time)),
            )
        )
    if one.periodogram is not None:
        p = one.periodogram
        columns: dict[str, tuple[Any, str]] = {"frequency": (p.frequency, "1 / d"), "power": (p.power, "")}
        if len(p.bands) > 1:
            columns |= {
                f"power_{_safe(label)}": (power, "") for label, power in zip(one.searched, p.bands, strict=True)
            }
        made.append(
            (
                f"{one.target}_periodogram",
                _table(
                    columns,
                    BANDS=one.searched,
                    PERIOD=p.period,
                    PERIOD_ERR=p.period_err,
                    FALSE_ALARM=p.false_alarm,
                    LEVELS={str(level): power for level, power in p.levels.items()},
                    AMPLITUDES={label: s.amplitude for label, s in zip(one.searched, p.sines, strict=True)},
                    AMPLITUDE_ERRS={label: s.amplitude_err for label, s in zip(one.searched, p.sines, strict=True)},
                ),
            )
        )
    for band in one.bands:
        if band.label in one.phased:
            f, unit = one.phased[band.label], band.meta["UNIT"]
            made.append(
                (
                    f"{one.target}_{band.label}_fold",
                    _table(
                        {
                            "phase": (f.phase, ""),
                            "flux": (f.flux, unit),
                            "flux_err": (f.flux_err, unit),
                            "n": (f.n, ""),
                        },
                        BAND=band.label,
                        PERIOD=one.period,
                        T0=one.t0,
                    ),
                )
            )
        if band.label in one.spectra:
            s = one.spectra[band.label]
            made.append(
                (
                    f"{one.target}_{band.label}_power",
                    _table(
                        {
                            "frequency": (s.frequency, "Hz"),
                            "power": (s.power, "1 / Hz"),
                            "power_err": (s.power_err, "1 / Hz"),
                            "n": (s.n, ""),
                        },
                        BAND=band.label,
                        NORM="squared relative rms per Hz, noise contained",
                        NOISE=s.noise,
                        SEGMENTS=s.segments,
                        POINTS=s.points,
                    ),
                )
            )
    return [*made, *((f"{one.target}_{pair.first}_{pair.second}_lag", _lag(pair)) for pair in one.pairs)]


def _lag(pair: Pair) -> Table:
    c, phase = pair.correlation, pair.phase
    known = {} if phase is None else {"PHASE_LAG": phase.phase, "PHASE_LAG_ERR": phase.phase_err}
    if pair.lag is not None:
        known |= {"LAG": pair.lag.lag, "LAG_LOW": pair.lag.low, "LAG_HIGH": pair.lag.high}
    return _table(
        {"lag": (c.lag, "s"), "correlation": (c.correlation, ""), "n": (c.n, "")},
        BANDS=[pair.first, pair.second],
        SIGN=SIGN,
        **known,
    )


def _table(columns: dict[str, tuple[Any, str]], **meta: Any) -> Table:
    from astropy.table import Table

    table = Table({name: np.asarray(values) for name, (values, _) in columns.items()})
    for name, (_, unit) in columns.items():
        if unit:
            table[name].unit = unit
    table.meta = {key: value.item() if isinstance(value, np.generic) else value for key, value in meta.items()}
    return table


def _safe(text: str) -> str:
    """Make a name safe in file names, so that it still reads like itself."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", text.strip()).strip("._") or "unnamed"
