"""Write every table of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from albireo.jobs import load_sources
from albireo.run.curves import Curves, write_curves
from albireo.run.cutouts import write_cutouts
from albireo.run.files import write_ecsv, write_text
from albireo.run.frame_table import frames_table
from albireo.run.measurements import check_targets, gather, write_photometry
from albireo.run.record import plain, resolved_recipe, summary
from albireo.run.state import FieldState, RunState

__all__ = ["write_tables"]


def write_tables(run: RunState) -> list[str]:
    """Write every table of a run; give the paths below the run folder."""
    out = run.out
    files = ["frames.ecsv", "run.toml", "run.json", *(stack["path"] for stack in run.stacks)]
    write_text(out / "run.toml", resolved_recipe(run))
    write_ecsv(out / "frames.ecsv", frames_table(run))
    fields = [_write_catalogue(run, state) for state in run.fields if state.catalogue_product is not None]
    files += [entry["catalogue"] for entry in fields]
    measured = [m for state in run.fields if (m := gather(run, state)) is not None]
    curves = Curves()
    if measured:
        files.append("photometry.fits")
        check_targets(run, measured)
        write_photometry(run, measured)
        files += write_cutouts(run, measured)
        curves = write_curves(run, measured)
        files += curves.files
        if curves.stars is not None:
            files.append("stars.ecsv")
            write_ecsv(out / "stars.ecsv", curves.stars)
        if curves.bakeoff is not None:
            files.append("bakeoff.ecsv")
            write_ecsv(out / "bakeoff.ecsv", curves.bakeoff)
    record = {
        **summary(run, fields, curves.best),
        "bands": curves.bands,
        "stacks": run.stacks,
        "ensembles": curves.ensembles,
        "files": files,
    }
    _remove_old(out, files)
    write_text(out / "run.json", json.dumps(plain(record), indent=1, allow_nan=False))
    return files


def _remove_old(out: Path, files: list[str]) -> None:
    """Remove tables that an earlier run wrote and this one has not: they would be taken for its own."""
    try:
        before = json.loads((out / "run.json").read_text(encoding="utf-8"))["files"]
    except (FileNotFoundError, ValueError, KeyError):
        return
    for name in set(before) - set(files):
        if not Path(name).is_absolute() and ".." not in Path(name).parts:
            (out / name).unlink(missing_ok=True)


def _write_catalogue(run: RunState, state: FieldState) -> dict[str, Any]:
    assert state.catalogue_product is not None
    assert state.reference is not None
    assert state.reference_image is not None
    table = load_sources(state.catalogue_product).to_table()
    names = {number: name for name, number in state.targets.items()}
    table["name"] = [names.get(int(number), "") for number in table["id"]]
    table.meta["REFERENCE"] = state.reference.name
    place = Path("catalogues") / f"{state.plan.name}.ecsv"
    order = ["id", "name", *(c for c in table.colnames if c not in ("id", "name"))]
    write_ecsv(run.out / place, table[order])
    return {
        "name": state.plan.name,
        "target": state.plan.target,
        "detector": state.plan.detector,
        "sky": state.sky,
        "reference": state.reference.name,
        "image": str(state.reference_image.relative_to(run.out)),
        "catalogue": str(place),
    }
