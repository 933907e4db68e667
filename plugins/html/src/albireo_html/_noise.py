"""Where the noise of each star comes from, and how far its light stands above it."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_html._bands import Band
from albireo_html._chart import HUES, Chart, Panel, Series, draw
from albireo_html._values import MMAG, plural

if TYPE_CHECKING:
    from albireo_html._measurements import Group

PREFIX = "noise_"
"""Columns of the table of stars that hold one part each of the relative error of a single measurement."""

WORDS = {
    "source": "photons of the star",
    "sky": "photons of the sky",
    "annulus": "level of the sky",
    "read": "read noise",
    "dark": "dark current",
    "scintillation": "scintillation",
    "digitisation": "digitisation",
    "masters": "masters",
}


def noise_chart(band: Band) -> dict[str, Any] | None:
    """Draw the parts of the error, their sum and the scatter against flux; None where the run does not know them.

    The parts are independent, so their squares add.
    """
    flux, spread = band.column("flux"), band.column("scatter") * MMAG
    names = [name for name in band.table.colnames if name.startswith(PREFIX) and (band.column(name) > 0).any()]
    if not names:
        return None
    parts = {name.removeprefix(PREFIX): band.column(name) * MMAG for name in names}
    total = np.sqrt(np.nansum([values**2 for values in parts.values()], axis=0))
    order = np.argsort(flux, kind="stable")
    order = order[(flux[order] > 0) & (total[order] > 0)]
    if not order.size:
        return None
    series = [Series(flux, spread, "measured scatter", "grey", size=5.0, names=[f"star {star}" for star in band.ids])]
    for (part, values), hue in zip(parts.items(), HUES * 2, strict=False):
        label = WORDS.get(part, part.replace("_", " "))
        series.append(Series(flux[order], values[order], label, hue, style="line", size=1.5))
    series.append(Series(flux[order], total[order], "together", "ink", style="line", size=2.2))
    alt = (
        f"Parts of the error of {plural(len(order), 'star')} in {band.name} against flux: "
        f"{', '.join(one.label for one in series[1:])}; and the measured scatter."
    )
    panel = Panel("scatter and its parts (mmag)", series, 300, log=True)
    return draw(Chart([panel], "median flux (electron)", alt, log=True))


def snr_chart(band: Band, groups: Sequence[Group]) -> dict[str, Any] | None:
    """Draw flux over its error against flux, for every method and aperture; None without a measurement.

    Stars that do not stand out of the noise in one exposure are left out.
    """
    mine = [group for group in groups if group.band == band.colour and group.field in ("", band.field)]
    series = []
    for group, hue in zip(mine, HUES * len(mine), strict=False):
        label = group.method + (f", r = {group.aperture:.3g} pixel" if isfinite(group.aperture) else "")
        seen = group.snr > 1
        names = [f"star {star}" for star in group.sources[seen].tolist()]
        series.append(Series(group.flux[seen], group.snr[seen], label, hue, size=4.5, names=names))
    if not any(len(one.y) for one in series):
        return None
    flux = np.concatenate([one.x for one in series])
    ends = np.array([flux.min(), flux.max()])
    series.append(Series(ends, np.sqrt(ends), "photons of the star alone", "ink", style="line", size=1.2))
    alt = f"Signal to noise against flux in {band.name}: {', '.join(one.label for one in series)}."
    panel = Panel("signal to noise of one exposure", series, 240, log=True, whole=True)
    return draw(Chart([panel], "median flux (electron)", alt, log=True))
