"""Where hand decisions about a run are kept, and how the recipe comes to replay them."""

from __future__ import annotations

import shlex
import threading
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

from albireo.frames import Frame
from albireo.overrides import Override, Overrides, remove_override, write_override
from albireo.results import Results

__all__ = ["FILE", "Decisions"]

FILE = "overrides.toml"
STAGE = "overrides"
"""The selector that reads the file."""


class Decisions:
    """The hand decisions about the frames of a run, in the file that its recipe replays.

    Parameters
    ----------
    run : Results
    author : str
        Whose decisions they are.

    Attributes
    ----------
    path : Path
        The file that the recipe names; else ``overrides.toml`` beside the recipe, or in the run folder where the recipe
        is not known any more.
    """

    def __init__(self, run: Results, author: str) -> None:
        self._run, self._author = run, author
        table = run.frames
        paths = zip(table["name"], table["path"], strict=True)
        self._frames = [Frame(str(path), name=str(name)) for name, path in paths]
        self._lock = threading.Lock()
        self.path = self._named() or self.recipe.parent / FILE

    @cached_property
    def recipe(self) -> Path:
        """The recipe of the run; the resolved one in the run folder if the other is gone."""
        written = Path(self._run.summary.get("recipe") or "")
        return written if written.is_file() else (self._run.folder / "run.toml").resolve()

    def _named(self) -> Path | None:
        """Find the file that the recipe as it is now names; None if it has no such stage or cannot be read."""
        try:
            stages = tomllib.loads(self.recipe.read_text(encoding="utf-8-sig")).get("select", [])
        except (OSError, ValueError):
            return None
        for stage in stages:
            if isinstance(stage, dict) and stage.get("use") == STAGE:
                return self.recipe.parent / str(stage.get("file", FILE))
        return None

    def decide(self, name: str, decision: str, reason: str) -> None:
        """Write a decision, in place of an earlier one for the same frame; `OverridesError` if the file forbids it."""
        if decision not in ("keep", "drop"):
            raise ValueError(f"a decision is 'keep' or 'drop', not {decision!r}")
        override = Override(name, "keep" if decision == "keep" else "drop", " ".join(reason.split()), self._author)
        with self._lock:
            write_override(self.path, override)

    def take_back(self, name: str) -> None:
        """Remove the decision for exactly this frame."""
        with self._lock:
            remove_override(self.path, name)

    def state(self) -> dict[str, Any]:
        """Say what was decided so far, and how to apply it, for the page."""
        with self._lock:
            overrides = Overrides.read(self.path)
        decided = overrides.decisions(self._frames)
        return {
            "decisions": {
                name: {
                    "decision": entry.decision,
                    "reason": entry.reason,
                    "author": entry.author,
                    "time": entry.time,
                    "pattern": entry.frame if entry.frame != name else "",
                }
                for name, entry in decided.items()
            },
            "file": str(self.path),
            "stage": "" if self._named() == self.path else self._lines(),
            "recipe": str(self.recipe),
            "command": self._command(),
        }

    def _lines(self) -> str:
        """What the recipe needs to replay the decisions."""
        return f'[[select]]\nuse = "{STAGE}"\nfile = "{self.path.name}"\n'

    def _command(self) -> str:
        """How to apply the decisions."""
        return shlex.join(["albireo", "run", str(self.recipe), *self._data(), "--out", str(self._run.folder.resolve())])

    def _data(self) -> list[str]:
        """The folder of the raw frames, which a recipe may leave to the command line."""
        root = tomllib.loads(self._run.recipe).get("data", {}).get("path", "")
        return [root] if root and self.recipe.name != "run.toml" else []
