"""The table of frames: every file of the night, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import TYPE_CHECKING, Any

from albireo.frames import mjd_to_iso
from albireo.run.files import set_units
from albireo.run.state import RunState

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["frames_table"]

NUMBERS = (
    *("dx", "dy", "rotation", "scale", "align_rms", "matched", "fwhm", "elongation", "sky", "sky_rms", "sky_gradient"),
    *("star_flux", "sources"),
)
INTEGERS = ("matched", "links", "sources", "saturated")


def frames_table(run: RunState) -> Table:
    """Make the table; its columns are described at `albireo.Results.frames`."""
    from astropy.table import Table

    masters = {n: ", ".join(sorted(m.name for m, _ in c.values())) for n, c in run.plan.choices.items()}
    fields = {frame.name: part.name for part in run.plan.fields for frame in part.frames}
    rows: list[dict[str, Any]] = []
    known = {frame.name for frame in run.night.frames}
    for frame in run.night.frames:
        fate = run.fates[frame.name]
        rows.append(
            {
                "name": frame.name,
                "path": frame.path,
                "hdu": frame.hdu,
                "instrument": frame.instrument,
                "detector": frame.detector,
                "kind": frame.kind,
                "variant": frame.variant,
                "filter": frame.filter,
                "target": frame.target,
                "field": fields.get(frame.name, ""),
                "exposure": frame.exposure,
                "exptime": frame.exptime,
                "start": mjd_to_iso(frame.start),
                "mid": mjd_to_iso(frame.mid),
                "mjd_mid": frame.mid,
                "airmass": frame.airmass,
                "gain": frame.gain,
                "read_noise": frame.read_noise,
                "saturation": frame.saturation,
                "setup": " ".join(f"{k}={v}" for k, v in frame.setup),
                "fate": fate.fate,
                "stage": fate.stage,
                "reason": fate.reason or run.rescued.get(frame.name, ""),
                "masters": masters.get(frame.name, ""),
                "notes": "; ".join(frame.notes),
                **_frame_numbers(run.numbers.get(frame.name, {})),
            }
        )
    for name, fate in run.fates.items():
        if name not in known:  # a file that gave no frame
            blank = {key: _blank(value) for key, value in rows[0].items()} if rows else {}
            path = str((run.root if run.root.is_dir() else run.root.parent) / name)
            rows.append(
                {**blank, "name": name, "path": path, "kind": "unknown", "fate": fate.fate, "stage": fate.stage}
                | {"reason": fate.reason}
            )
    table = Table(rows=rows)
    set_units(table)
    table.sort("name")
    return table


def _frame_numbers(numbers: Mapping[str, float]) -> dict[str, float]:
    shown = {name: float(numbers.get(name, nan)) for name in NUMBERS if name not in INTEGERS}
    return shown | {name: int(numbers.get(name, -1)) for name in INTEGERS}


def _blank(value: Any) -> Any:
    return "" if isinstance(value, str) else 0 if isinstance(value, int) else nan
