"""``albireo plan``."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter

from albireo.cli.common import complain, listing, read_recipe, terminal
from albireo.frames import Frame, Frames
from albireo.plan import FILTERED, Plan, PlanError
from albireo.recipe import Recipe
from albireo.run import RunError, plan_run

BYTES_OF_IMAGE = 10
"""Data, variance and flags of a pixel on disk."""

BYTES_OF_MASTER = 14
"""With the numbers of values used and rejected."""

SECONDS_PER_MEGAPIXEL = 0.06
"""Rough cost of a science frame on one core, for the estimate: reading, correcting, finding, measuring."""

SECONDS_PER_MEGAPIXEL_OF_MASTERS = 0.03
"""The same for a frame that becomes part of a master."""


def command(options: Namespace) -> int:
    """Show what a run would do."""
    recipe = read_recipe(options)
    if recipe is None:
        return 2
    try:
        plan, frames = plan_run(recipe, options.data)
    except (PlanError, RunError) as error:
        for problem in getattr(error, "problems", [str(error)]):
            complain(problem)
        return 1
    show(plan, frames, recipe, each=getattr(options, "files", False))
    return 0


def show(plan: Plan, frames: Frames, recipe: Recipe, each: bool = False) -> None:
    """Print a plan, with a line for each science frame if asked, else for those that are treated alike."""
    console = terminal()
    masters = listing("master", "frames", "filter", "corrected by", "serves", title="Masters")
    serves = Counter(m.name for chosen in plan.choices.values() for m, _ in chosen.values())
    for master in plan.masters:
        used = ", ".join(sorted(m.name for m in master.masters.values()))
        filters = master.frames[0].filter if master.kind in FILTERED else ""
        number = str(len(master.frames))
        if master.stored is not None:
            number, used = str(master.stored.number), f"(of the library: {master.stored.path})"
        masters.add_row(master.name, number, filters, used, str(serves[master.name]))
    if plan.masters:
        console.print(masters)
    fields = listing("field", "frames", "filters", "first choice as reference", title="Fields")
    for part in plan.fields:
        filters = ", ".join(dict.fromkeys(f.filter or "(none)" for f in part.frames))
        fields.add_row(part.name, str(len(part.frames)), filters, part.candidates[0].name)
    if plan.fields:
        console.print(fields)
    science = listing("science frames", "masters", "why", title="Science frames")
    for (names, reasons), group in _alike(plan).items():
        which = "\n".join(group) if each or len(group) == 1 else f"{len(group)}: {group[0]} to {group[-1]}"
        science.add_row(which, "\n".join(names) or "(none)", "\n".join(reasons))
    if plan.science:
        console.print(science)
    left = listing("frame", "why", title="Left out")
    for name, fate in sorted(plan.fates.items()):
        left.add_row(name, fate.reason)
    if plan.fates:
        console.print(left)
    for warning in plan.warnings:
        console.print(f"note: {warning}")
    seconds, disk = _cost(plan, recipe)
    console.print(
        f"{len(frames)} frames: {len(plan.masters)} masters, {len(plan.science)} science frames; about {seconds:.0f} s "
        f"of work on one core, {disk / 2**20:.0f} MiB of disk, masters within {recipe.executor.memory} of memory"
    )


def _alike(plan: Plan) -> dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]]:
    """Group science frames that get the same masters for the same reasons."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for frame in plan.science:
        chosen = plan.choices[frame.name].values()
        key = (tuple(master.name for master, _ in chosen), tuple(why for _, why in chosen))
        groups.setdefault(key, []).append(frame.name)
    return groups


def _cost(plan: Plan, recipe: Recipe) -> tuple[float, float]:
    built = [master for master in plan.masters if master.stored is None]
    science = sum(_megapixels(frame) for frame in plan.science)
    calibration = sum(_megapixels(frame) for master in built for frame in master.frames)
    seconds = SECONDS_PER_MEGAPIXEL * science + SECONDS_PER_MEGAPIXEL_OF_MASTERS * calibration
    area = max((_megapixels(frame) for frame in plan.science), default=0.0)
    disk = 1e6 * area * (BYTES_OF_MASTER * len(built) + BYTES_OF_IMAGE * len(plan.fields))
    if recipe.output.reduced:
        disk += 1e6 * science * BYTES_OF_IMAGE
    return seconds, disk


def _megapixels(frame: Frame) -> float:
    return frame.shape[0] * frame.shape[1] / 1e6
