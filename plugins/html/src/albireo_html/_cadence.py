"""When the shutter opened: the time from each exposure to the next, and where the clock of the headers has a gap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from albireo import SECONDS_PER_DAY
from albireo_html._chart import Panel, Series, hues
from albireo_html._night import Night, bands_of
from albireo_html._values import duration, floats, number, plural, texts

GAP = 10.0
"""A step that is more than so many times the median is a gap."""

LISTED = 30
"""Most gaps that are listed, the longest."""


def cadence_section(night: Night) -> dict[str, Any] | None:
    """Steps between the middles of science exposures, by filter and detector; None without two times in any.

    Frames that were left out count: the shutter was open.
    """
    bands = np.array([*night.bands, *bands_of(night.lost)])
    mjd = np.concatenate([floats(part, "mjd_mid") for part in (night.table, night.lost)])
    names = np.array([*night.names, *texts(night.lost, "name")], dtype=object)
    order = np.argsort(mjd, kind="stable")
    order = order[np.isfinite(mjd[order])]
    bands, mjd, names = bands[order], mjd[order], names[order]
    colour = hues(bands.tolist())
    series, gaps, facts = [], [], []
    for band, hue in colour.items():
        mine = bands == band
        step = np.diff(mjd[mine]) * SECONDS_PER_DAY
        if not step.size:
            continue
        usual = float(np.median(step))
        wide = step > GAP * usual
        at, ends = night.clock(mjd[mine][1:]), names[mine]
        label = band if len(colour) > 1 else ""
        series.append(Series(at[~wide], step[~wide], label, hue, size=4.0, names=ends[1:][~wide].tolist()))
        series.append(Series(at[wide], step[wide], "", "red", style="rings", size=9.0, names=ends[1:][wide].tolist()))
        facts.append(
            f"{band}: {plural(len(step) + 1, 'frame')}, {number(usual)} s from one to the next ({_spread(step)})"
        )
        gaps += [
            {
                "band": band,
                "seconds": float(step[row]),
                "length": duration(float(step[row])),
                "times": number(float(step[row]) / usual, 2) if usual > 0 else "",
                "before": ends[row],
                "after": ends[row + 1],
            }
            for row in np.flatnonzero(wide).tolist()
        ]
    if not series:
        return None
    gaps.sort(key=lambda gap: -gap["seconds"])
    alt = f"Time from each science exposure to the next. {'; '.join(facts)}. {plural(len(gaps), 'gap')}."
    # Steps of one length are no reason to look at the last digit of the clock.
    every = np.concatenate([one.y for one in series])
    bounds = None if gaps else (min(every.min(), 0.9 * every.max()), 1.05 * every.max())
    panel = Panel("time since the frame before (s)", series, 150, log=bool(gaps), bounds=bounds, whole=True)
    return {"chart": night.draw([panel], alt), "facts": facts, "gaps": gaps[:LISTED], "count": len(gaps), "limit": GAP}


def _spread(step: NDArray[np.float64]) -> str:
    """Say how even the steps are: the range of nine tenths of them."""
    low, high = (float(value) for value in np.percentile(step, [5, 95]))
    return "all alike" if high - low < 0.01 else f"{number(low)} to {number(high)} s for nine in ten"
