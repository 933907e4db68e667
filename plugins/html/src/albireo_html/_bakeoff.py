"""Which method and aperture measures each star best, where a run compares several.

The scatter of n points of Gaussian noise has a relative error of about 1/sqrt(2 n) (the standard error of a standard
deviation; Kendall & Stuart 1977, The Advanced Theory of Statistics, vol. 1, section 10.12). The table of the run has a
winner for each star; the page calls none where the next best is nearer than twice that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

from albireo_html._values import floats, listed, number, plural, scatter, texts
from albireo_html._ways import Place, Way

if TYPE_CHECKING:
    from astropy.table import Table

    from albireo import Results

MOST = 200
"""Most rows that are shown; the file has them all."""

SURE = 2.0
"""Relative errors of a scatter by which the next best must be worse."""

NONE = "no clear winner"

RELATIVE = ("scatter", "rms")
"""Beginnings of the names of columns that hold relative scatters."""

HIDDEN = ("sky",)
"""Columns that say nothing new to a person."""


def is_clear(gain: float, points: int) -> bool:
    """Whether a scatter is worse than another by more than chance: ``gain`` is their ratio, not less than one."""
    return points > 0 and gain - 1 >= SURE / sqrt(2 * points)


def read_winners(run: Results) -> dict[tuple[Place, int], str]:
    """Give the label of the method that the run calls the winner, by place and star."""
    if run.bakeoff is None:
        return {}
    return {key: winner for key, winner in zip(_keys(run.bakeoff), texts(run.bakeoff, "winner"), strict=True) if winner}


def _keys(table: Table) -> list[tuple[Place, int]]:
    places = zip(*(texts(table, name) for name in ("field", "filter", "detector")), strict=True)
    return list(zip(places, map(int, table["source"]), strict=True))


def bakeoff_section(run: Results, ways: Mapping[Place, Sequence[Way]]) -> dict[str, Any] | None:
    """Give the table with its columns as they are, and say which method wins how often; None if there is none."""
    table = run.bakeoff
    if table is None or not len(table):
        return None
    wins = _clear(table, ways)
    part = table[:MOST]
    shown = [name for name in table.colnames if name not in HIDDEN and any(texts(table, name))]
    columns = []
    for name in shown:
        if table[name].dtype.kind not in "fiu":
            words = wins[:MOST] if name == "winner" else texts(part, name)
            columns.append([{"text": text, "key": text} for text in words])
            continue
        write = scatter if name.startswith(RELATIVE) else number
        whole = table[name].dtype.kind in "iu"
        columns.append(
            [{"text": str(int(v)) if whole else write(v), "key": f"{v:.4e}"} for v in floats(part, name).tolist()]
        )
    return {
        "heads": [{"name": name.replace("_", " "), "number": table[name].dtype.kind in "fiu"} for name in shown],
        "rows": [list(row) for row in zip(*columns, strict=True)],
        "total": len(table),
        "verdict": _verdict(Counter(wins)),
    }


def _clear(table: Table, ways: Mapping[Place, Sequence[Way]]) -> list[str]:
    """Give the winner of each star, or that there is no clear one; empty where no method could measure the star."""
    points = {
        (place, way.label, star): served.points
        for place, several in ways.items()
        for way in several
        for star, served in way.stars.items()
    }
    # A method that was the only one able to measure a star wins without a gain.
    rows = zip(_keys(table), texts(table, "winner"), floats(table, "gain").tolist(), strict=True)
    return [
        winner if not winner or gain != gain or is_clear(gain, points.get((place, winner, star), 0)) else NONE
        for (place, star), winner, gain in rows
    ]


def _verdict(wins: Counter[str]) -> str:
    """Say how many stars each method serves best, and how many are served alike."""
    said = [f"{winner} for {plural(count, 'star')}" for winner, count in wins.most_common() if winner not in ("", NONE)]
    alike = f"{NONE.capitalize()} for {plural(wins[NONE], 'star')}." if wins[NONE] else ""
    return " ".join(filter(None, (f"The smallest scatter has {listed(said)}." if said else "", alike)))
