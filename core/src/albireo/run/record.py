"""The record of a run: who made it from what, how, and what a person should know."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from albireo.library import Entry
from albireo.plan import MasterPlan
from albireo.registry import Registry
from albireo.run.state import RunState

__all__ = ["plain", "resolved_recipe", "summary"]


def summary(run: RunState, fields: Sequence[Mapping[str, Any]], curves: Sequence[str]) -> dict[str, Any]:
    """Make the record; its keys are described at `albireo.Results.summary`."""
    stages = [stage for group in run.recipe.stages().values() for stage in group]
    serves: dict[str, int] = {}
    for chosen in run.plan.choices.values():
        for master, _ in chosen.values():
            serves[master.name] = serves.get(master.name, 0) + 1
    masters = []
    for master in run.plan.masters:
        facts = {"name": master.name, "kind": master.kind, "serves": serves.get(master.name, 0)}
        masters.append({**facts, **(_of_library(master.stored) if master.stored else _of_night(run, master))})
    return {
        "title": run.recipe.options.title or run.recipe.path.stem,
        "command": run.command,
        "recipe": str(run.recipe.path.resolve()),
        "started": _iso(run.started),
        "finished": _iso(time.time()),
        "seconds": round(time.time() - run.started, 2),
        "versions": Registry.discover().versions(),
        "counts": run.counts(),
        "warnings": run.warnings,
        "notes": _notes(run),
        "citations": list(dict.fromkeys(c for stage in stages for c in type(stage).citations)),
        "masters": masters,
        "fields": list(fields),
        "curves": list(curves),
        "timing": run.timing,
    }


def _of_night(run: RunState, master: MasterPlan) -> dict[str, Any]:
    note = run.index.note(run.master_keys[master.name])
    return {
        "path": f"masters/{master.name}.fits",
        "frames": [f.name for f in master.frames if f.name not in (*note.get("lost", ()), *note.get("dropped", ()))],
        "meta": note.get("meta", {}),
    }


def _of_library(entry: Entry) -> dict[str, Any]:
    from albireo.headers import read_header
    from albireo.run.masters import plain_cards

    _, header = read_header(entry.path)
    return {"path": str(entry.path), "frames": [], "meta": plain_cards(header)}


def _notes(run: RunState) -> list[str]:
    """What instruments remarked about frames, each remark once with the number of frames."""
    remarks = run.night.frames.remarks().items()
    return [f"{note} ({number} frame{'s' if number > 1 else ''})" for note, number in remarks]


def resolved_recipe(run: RunState) -> str:
    """Write the recipe with all defaults, under the versions that made the run."""
    lines = [f"#   {name} {version}" for name, version in sorted(Registry.discover().versions().items())]
    recipe = replace(run.recipe, data=run.recipe.data.model_copy(update={"path": str(run.root)}))
    if recipe.library is not None:
        recipe = replace(recipe, library=recipe.library.model_copy(update={"path": str(run.recipe.library_folder)}))
    head = "# The recipe of this run with every default written out. Made with:"
    return "\n".join([head, *lines, "", recipe.to_toml()])


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def plain(value: Any) -> Any:
    """Bring arrays and numpy numbers to plain types; what is not finite becomes None, which JSON can say."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(v) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not isfinite(value) else value
