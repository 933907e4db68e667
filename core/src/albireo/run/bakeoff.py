"""Which method and aperture serves each star best, where a recipe has several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["bakeoff_table"]

FACTS = ("field", "sky", "target", "detector", "filter", "source", "name")
"""What a row says of a star."""

ENOUGH = 0.9
"""A method takes part for a star if it has this share of the points of the method with most."""


def bakeoff_table(bands: Sequence[Mapping[str, Sequence[Mapping[str, Any]]]]) -> Table | None:
    """Compare the scatter of the final curves of each star.

    Parameters
    ----------
    bands : sequence of mapping
        For each field and filter the rows of `star_rows` of each method, by the label of the method.

    Returns
    -------
    Table or None
        A row for each star of each field and filter; see `albireo.Results.bakeoff`. None where no band has two methods.
    """
    from astropy.table import Table

    if all(len(band) < 2 for band in bands):
        return None
    labels = list(dict.fromkeys(label for band in bands for label in band))
    rows: list[dict[str, Any]] = []
    wins: dict[str, Counter[str]] = {}
    targets: dict[str, dict[str, str]] = {}
    for band in bands:
        stars: dict[int, dict[str, Mapping[str, Any]]] = {}
        for label, entries in band.items():
            for entry in entries:
                stars.setdefault(entry["source"], {})[label] = entry
        for entries_of_star in stars.values():
            row = _row(entries_of_star, labels)
            rows.append(row)
            where = " ".join(filter(None, (row["filter"] or "(none)", row["detector"])))
            if row["winner"]:
                wins.setdefault(where, Counter())[row["winner"]] += 1
                if row["name"]:
                    targets.setdefault(row["name"], {})[where] = row["winner"]
    table = Table(rows=rows)
    table["mag"].unit = "mag"
    table.meta["WINS"] = {where: dict(counts.most_common()) for where, counts in wins.items()}
    table.meta["TARGETS"] = targets
    return table


def _row(entries: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Compare the methods for one star."""
    first = next(iter(entries.values()))
    most = max(entry["points"] for entry in entries.values())
    able = {
        label: entry["scatter"]
        for label, entry in entries.items()
        if isfinite(entry["scatter"]) and entry["scatter"] > 0 and entry["points"] >= ENOUGH * most
    }
    ranked = sorted(able, key=lambda label: able[label])  # stable: of equal ones the first of the recipe
    return {
        **{name: first[name] for name in FACTS},
        "mag": entries[ranked[0]]["mag"] if ranked else nan,
        "winner": ranked[0] if ranked else "",
        "gain": able[ranked[1]] / able[ranked[0]] if len(ranked) > 1 else nan,
        **{f"scatter_{label}": entries[label]["scatter"] if label in entries else nan for label in labels},
    }
