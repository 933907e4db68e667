"""All files of the report, and the list of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albireo import atomic_path
from albireo_export.aavso import write_aavso
from albireo_export.curves import Curve, Refused, known_points, safe_name
from albireo_export.lightkurve import write_lightkurve
from albireo_export.plain import write_bands, write_csv, write_ecsv

if TYPE_CHECKING:
    from albireo import Results
    from albireo_export.stage import Export

__all__ = ["write_all"]

CONTENTS = "contents.ecsv"

Writer = Callable[["Export", "Results", Curve, Path], str]
"""Writes a curve to a path; gives a note."""

FORMATS: dict[str, tuple[str, Writer]] = {
    "aavso": ("_aavso.txt", write_aavso),
    "lightkurve": (".fits", write_lightkurve),
    "csv": (".csv", write_csv),
    "ecsv": (".ecsv", write_ecsv),
}
"""Of each format the end of its files' names, and what writes it."""


def write_all(options: Export, run: Results, folder: Path) -> list[Path]:
    """Write every curve in every format; give the list of files, then the files."""
    from astropy.table import Table

    rows: list[dict[str, Any]] = []
    for curve in _curves(run):
        for name in options.format:
            ending, write = FORMATS[name]
            file, note = f"{curve.stem}{ending}", ""
            try:
                if not len(curve.table):
                    raise Refused("no point of this curve has a value")
                with atomic_path(folder / file) as partial:
                    note = write(options, run, curve, partial)
            except Refused as reason:
                file, note = "", str(reason)
            facts = {key.lower(): str(curve.meta(key)) for key in ("FILTER", "DETECTOR")}
            rows.append(_row(file, name, str(curve.meta("OBJECT")), facts, len(curve.table), curve.left_out, note))
    if "csv" in options.format:
        for stem, table in _wide(run):
            with atomic_path(folder / f"{stem}.csv") as partial:
                kept = write_bands(table, partial)
            bands = {"filter": " ".join(table.meta["BANDS"]), "detector": ""}
            target = str(table.meta["OBJECT"])
            rows.append(_row(f"{stem}.csv", "csv", target, bands, kept, len(table) - kept, "bands side by side"))
    names = ("file", "format", "target", "filter", "detector", "points", "left_out", "note")
    contents = Table(rows=rows) if rows else Table(names=names, dtype=("U1",) * 5 + (int, int, "U1"))
    written = [row["file"] for row in rows if row["file"]]
    _remove_old(folder, set(written))
    with atomic_path(folder / CONTENTS) as partial:
        contents.write(partial, format="ascii.ecsv", overwrite=True)
    return [folder / CONTENTS, *(folder / name for name in written)]


def _row(
    file: str, form: str, target: str, facts: dict[str, str], points: int, left_out: int, note: str
) -> dict[str, Any]:
    return {
        "file": file,
        "format": form,
        "target": target,
        **facts,
        "points": points,
        "left_out": left_out,
        "note": note,
    }


def _curves(run: Results) -> Iterator[Curve]:
    """Give the curves of a run with names of their own."""
    cameras = sorted({str(name) for name in run.frames["instrument"] if str(name)})
    taken: Counter[str] = Counter()
    for table in run.curves:
        stem = safe_name("_".join(filter(None, (str(table.meta[key]) for key in ("OBJECT", "FILTER", "DETECTOR")))))
        taken[stem] += 1
        known = known_points(table)
        own = stem if taken[stem] == 1 else f"{stem}-{taken[stem]}"
        yield Curve(known, len(table) - len(known), own, " ".join(cameras))


def _wide(run: Results) -> Iterator[tuple[str, Any]]:
    """Give tables of bands side by side with names of their own."""
    taken: Counter[str] = Counter()
    for table in run.bands:
        stem = f"{safe_name(str(table.meta['OBJECT']))}_bands"
        taken[stem] += 1
        yield stem if taken[stem] == 1 else f"{stem}-{taken[stem]}", table


def _remove_old(folder: Path, written: set[str]) -> None:
    """Remove what an earlier run wrote and this one has not."""
    from astropy.table import Table

    if (folder / CONTENTS).exists():
        before = Table.read(folder / CONTENTS, format="ascii.ecsv")
        for name in {str(name) for name in before["file"] if str(name)} - written:
            (folder / name).unlink(missing_ok=True)
