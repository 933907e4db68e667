"""Cut-outs of watched stars from every frame, for people to look at: one long table of small images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.jobs import CUTOUT
from albireo.products import load_arrays
from albireo.run.files import stream_table
from albireo.run.measurements import Measurements
from albireo.run.state import RunState

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["write_cutouts"]

SIDE = 2 * CUTOUT + 1


def write_cutouts(run: RunState, measured: Sequence[Measurements]) -> list[str]:
    """Write ``cutouts.fits``; give the files written, below the run folder."""
    number = sum(len(part.frames) * len(part.state.watched) for part in measured)
    if not number:
        return []
    texts = {
        "field": max(len(part.state.plan.name) for part in measured),
        "frame": max(len(frame.name) for part in measured for frame in part.frames),
    }
    dtype = np.dtype(
        [
            ("field", f"S{texts['field']}"),
            ("source", ">i4"),
            ("frame", f"S{texts['frame']}"),
            ("x0", ">i4"),
            ("y0", ">i4"),
            ("pixels", ">f4", (SIDE, SIDE)),
        ]
    )
    stream_table(run.out / "cutouts.fits", "CUTOUTS", dtype, _rows(run, measured, dtype), number, {})
    return ["cutouts.fits"]


def _rows(run: RunState, measured: Sequence[Measurements], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Give the rows frame by frame, in order of time."""
    for part in measured:
        for frame in part.frames:
            arrays, _ = load_arrays(run.measured[frame.name])
            rows = np.zeros(len(part.state.watched), dtype=dtype)
            rows["field"], rows["frame"] = part.state.plan.name.encode(), frame.name.encode()
            rows["pixels"] = np.nan
            for row, star in zip(rows, part.state.watched, strict=True):
                row["source"] = star
                (where,) = np.nonzero(arrays["cut_id"] == star)
                if where.size:
                    row["x0"], row["y0"] = arrays["cut_corner"][where[0]]
                    row["pixels"] = arrays["cut"][where[0]]
            yield rows
