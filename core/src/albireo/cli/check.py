"""``albireo check``."""

from __future__ import annotations

from argparse import Namespace

from albireo.cli.common import read_recipe


def command(options: Namespace) -> int:
    """Check a recipe."""
    recipe = read_recipe(options)
    if recipe is None:
        return 2
    for warning in recipe.warnings:
        print(f"note: {warning}")
    steps = [f"{table} {stage.name}" for table, stages in recipe.stages().items() for stage in stages]
    print(f"{options.recipe}: good ({', '.join(steps)})")
    return 0
