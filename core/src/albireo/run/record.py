"""The record of a run: who made it from what, how, and what a person should know."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

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
        note = run.index.note(run.master_keys[master.name])
        masters.append(
            {
                "name": master.name,
                "kind": master.kind,
                "path": f"masters/{master.name}.fits",
                "frames": [f.name for f in master.frames if f.name not in note.get("lost", {})],
                "serves": serves.get(master.name, 0),
                "meta": note.get("meta", {}),
            }
        )
    return {
        "title": run.recipe.options.title or run.recipe.path.stem,
        "command": run.command,
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


def _notes(run: RunState) -> list[str]:
    """What instruments remarked about frames, each remark once with the number of frames."""
    remarks = run.night.frames.remarks().items()
    return [f"{note} ({number} frame{'s' if number > 1 else ''})" for note, number in remarks]


def resolved_recipe(run: RunState) -> str:
    """Write the recipe with all defaults, under the versions that made the run."""
    lines = [f"#   {name} {version}" for name, version in sorted(Registry.discover().versions().items())]
    return "\n".join(["# The recipe of this run with every default written out. Made with:", *lines, ""]) + (
        "\n" + replace(run.recipe, data=run.recipe.data.model_copy(update={"path": str(run.root)})).to_toml()
    )


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
