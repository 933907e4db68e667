"""What became of every frame: counts, reasons, notes, and the table."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo_html._values import floats, number, texts

if TYPE_CHECKING:
    from astropy.table import Table

FATES = ("used", "dropped", "failed", "unused")
_TABLE_ORDER = ("failed", "dropped", "unused", "used")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_KINDS = ("science", "bias", "dark", "flat", "other", "unknown")


def counts(frames: Table) -> list[dict[str, Any]]:
    """Count frames by kind, filter and fate."""
    kinds, filters, fates = (texts(frames, name) for name in ("kind", "filter", "fate"))
    table: dict[tuple[str, str], Counter[str]] = {}
    for kind, band, fate in zip(kinds, filters, fates, strict=True):
        table.setdefault((kind, band if kind in ("science", "flat") else ""), Counter())[fate] += 1
    order = {kind: place for place, kind in enumerate(_KINDS)}
    return [
        {"kind": kind, "filter": band, "total": count.total(), **{fate: count[fate] for fate in FATES}}
        for (kind, band), count in sorted(table.items(), key=lambda item: (order.get(item[0][0], 9), item[0][1]))
    ]


def reasons(frames: Table) -> list[dict[str, Any]]:
    """Group the frames that were not used by reason; reasons that differ in numbers or names alone are one."""
    names, fates, stages, words, kinds = (texts(frames, name) for name in ("name", "fate", "stage", "reason", "kind"))
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name, fate, stage, reason, kind in zip(names, fates, stages, words, kinds, strict=True):
        if fate == "used":
            continue
        pattern = _NUMBER.sub("#", reason.replace(name, "@") if name else reason)
        entry = groups.setdefault(
            (fate, stage, pattern), {"fate": fate, "stage": stage, "example": reason, "count": 0, "kinds": Counter()}
        )
        entry["count"] += 1
        entry["kinds"][kind] += 1
    order = {fate: place for place, fate in enumerate(_TABLE_ORDER)}
    return sorted(groups.values(), key=lambda entry: (order.get(entry["fate"], 9), -entry["count"]))


def rows(frames: Table, most: int) -> list[dict[str, str]]:
    """Rows of the table: failed, dropped, unused, then used ones, each in order of time; no more than ``most``."""
    fates = texts(frames, "fate")
    order = {fate: place for place, fate in enumerate(_TABLE_ORDER)}
    rank = np.array([order.get(fate, 0) for fate in fates])
    when = floats(frames, "mjd_mid")
    picked = np.lexsort((np.nan_to_num(when, nan=np.inf), rank))[:most]
    part = frames[picked]
    columns = {
        name: texts(part, name) for name in ("name", "kind", "filter", "mid", "fate", "stage", "reason", "masters")
    }
    exptime = [number(float(value)) for value in floats(part, "exptime")]
    return [
        {**{name: column[row] for name, column in columns.items()}, "exptime": exptime[row]} for row in range(len(part))
    ]
