"""``albireo run``."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from pathlib import Path

from albireo.cli.common import complain, read_recipe, watching
from albireo.plan import PlanError
from albireo.run import RunError, RunOutcome, run

SHOWN = 10
"""Failed frames that are named on the terminal; the table of frames has all."""


def command(options: Namespace) -> int:
    """Reduce a night by a recipe."""
    if options.dry_run:
        from albireo.cli import plan

        return plan.command(options)
    recipe = read_recipe(options)
    if recipe is None:
        return 2
    out = options.out or Path(f"{options.recipe.stem}-run")
    line = "albireo " + shlex.join(sys.argv[1:])
    try:
        with watching(options.quiet) as watch:
            outcome = run(recipe, options.data, out, watch, line)
    except PlanError as error:
        for problem in error.problems:
            complain(problem)
        return 1
    except RunError as error:
        complain(str(error))
        return 1
    if not options.quiet:
        show(outcome)
    for problem in outcome.problems:
        complain(problem)
    failed = [(name, fate) for name, fate in sorted(outcome.fates.items()) if fate.fate == "failed"]
    for name, fate in failed[:SHOWN]:
        complain(f"{name} failed in {fate.stage}: {fate.reason}")
    if len(failed) > SHOWN:
        complain(f"and {len(failed) - SHOWN} more failed; {outcome.folder / 'frames.ecsv'} lists them")
    return outcome.exit_code


def show(outcome: RunOutcome) -> None:
    """Print how a run ended."""
    order = ("used", "dropped", "unused", "failed")
    counts = ", ".join(f"{outcome.counts[fate]} {fate}" for fate in order if outcome.counts.get(fate))
    for warning in outcome.warnings:
        if warning not in outcome.problems:
            print(f"note: {warning}")
    print(f"frames: {counts}" + ("" if outcome.changed else " (nothing had changed)"))
    for path in outcome.reports[:1]:
        print(f"report: {path}")
    print(f"run folder: {outcome.folder}")
