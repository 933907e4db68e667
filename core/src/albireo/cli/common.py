"""What several commands share: reading a recipe, saying what is wrong, showing progress."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from albireo.recipe import Recipe, RecipeError
from albireo.run import Watch

if TYPE_CHECKING:
    from pydantic import ValidationError
    from rich.console import Console
    from rich.table import Table

__all__ = ["complain", "in_words", "listing", "read_recipe", "terminal", "watching"]

FILE_WIDTH = 160
"""Columns of output that goes to a file or a pipe."""


def complain(message: str) -> None:
    """Print an error to the person at the terminal."""
    print(f"albireo: {message}", file=sys.stderr)


def in_words(error: ValidationError) -> str:
    """Say what is wrong with the options of a stage, in one line."""
    told = []
    for detail in error.errors(include_url=False):
        text = str(detail["msg"]).removeprefix("Value error, ")
        told.append(f"option {'.'.join(map(str, detail['loc']))}: {text}" if detail["loc"] else text)
    return "; ".join(told)


def terminal() -> Console:
    """Give the console to print to: as wide as the terminal, or wide where there is none."""
    from rich.console import Console

    # Names and reasons are full of brackets, which are no markup.
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


def listing(*headers: str, title: str | None = None) -> Table:
    """Start a table without lines, for a terminal of any width."""
    from rich.table import Table

    return Table(
        *headers, title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False
    )


def read_recipe(options: Namespace) -> Recipe | None:
    """Read the recipe of a call; print everything that is wrong with it and give None."""
    settings: list[str] = list(options.settings)
    if getattr(options, "jobs", None) is not None:
        settings.append(f"executor.jobs={options.jobs}")
    try:
        return Recipe.read(options.recipe, settings)
    except RecipeError as error:
        number = len(error.problems)
        for problem in error.problems:
            print(problem.text(error.file), file=sys.stderr)
        complain(f"{number} problem{'s' if number > 1 else ''} in {error.file}; nothing was read or written")
        return None


@contextmanager
def watching(quiet: bool) -> Iterator[Watch]:
    """Show progress: bars on a terminal, a line for each stage otherwise, nothing if quiet."""
    if quiet:
        yield Watch()
    elif sys.stderr.isatty():
        with _bars() as watch:
            yield watch
    else:
        yield _Lines()


class _Lines(Watch):
    """A line for each stage, and one for every tenth of a long one."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.begin = time.monotonic()

    def stage(self, name: str, total: int) -> None:
        self.total, self.done = total, 0
        if total:
            print(f"{name} ({total})", file=sys.stderr, flush=True)

    def advance(self) -> None:
        self.done += 1
        if self.total >= 50 and self.done % (self.total // 10) == 0:
            print(f"  {self.done} of {self.total}", file=sys.stderr, flush=True)


@contextmanager
def _bars() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: Sequence[Any] = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, markup=False)) as progress:
        yield _Bars(progress)


class _Bars(Watch):
    def __init__(self, progress: Any) -> None:
        self.progress, self.task = progress, None

    def stage(self, name: str, total: int) -> None:
        if total:
            self.task = self.progress.add_task(name, total=total)

    def advance(self) -> None:
        if self.task is not None:
            self.progress.advance(self.task)
