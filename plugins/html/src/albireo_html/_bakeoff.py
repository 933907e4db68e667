"""Which method and aperture measures each star best, where a run compares several."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from albireo_html._values import floats, listed, number, plural, scatter, texts

FILE = "bakeoff.ecsv"

MOST = 200
"""Most rows that are shown; the file has them all."""

RELATIVE = ("scatter", "rms")
"""Beginnings of the names of columns that hold relative scatters."""

HIDDEN = ("sky",)
"""Columns that say nothing new to a person."""


def bakeoff_section(folder: Path) -> dict[str, Any] | None:
    """Give the table with its columns as they are, and say which method wins how often; None if there is none."""
    if not (folder / FILE).exists():
        return None
    from astropy.table import Table

    table = Table.read(folder / FILE, format="ascii.ecsv")
    if not len(table):
        return None
    part = table[:MOST]
    shown = [name for name in table.colnames if name not in HIDDEN and any(texts(table, name))]
    columns = []
    for name in shown:
        if table[name].dtype.kind not in "fiu":
            columns.append([{"text": text, "key": text} for text in texts(part, name)])
            continue
        write = scatter if name.startswith(RELATIVE) else number
        whole = table[name].dtype.kind in "iu"
        columns.append(
            [{"text": str(int(v)) if whole else write(v), "key": f"{v:.4e}"} for v in floats(part, name).tolist()]
        )
    wins = Counter(texts(table, "winner")) if "winner" in table.colnames else Counter[str]()
    said = [f"{winner} for {plural(count, 'star')}" for winner, count in wins.most_common() if winner]
    return {
        "heads": [{"name": name.replace("_", " "), "number": table[name].dtype.kind in "fiu"} for name in shown],
        "rows": [list(row) for row in zip(*columns, strict=True)],
        "total": len(table),
        "verdict": f"The smallest scatter has {listed(said)}." if said else "",
    }
