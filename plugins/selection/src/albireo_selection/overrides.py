"""Selection by hand: what a person decided about single frames, from a file that replays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from albireo import Frames, Overrides, Selection, Selector
from albireo_selection.chosen import without


class ByHand(Selector, name="overrides"):
    """Drop and keep the frames that a person decided about, whatever other selectors say.

    The file is TOML, an entry ``[[override]]`` for each decision with the keys ``frame``, ``decision`` (drop or keep)
    and, if you like, ``reason``, ``author`` and ``time``. A frame is named as in the table of frames, or by its file,
    with or without folders and the ending of a packed file; ``*`` and ``?`` make a pattern. The last entry for a frame
    counts. If there is no such file there are no decisions, so that a recipe can name it before the first is made.

    An entry that fits no frame does nothing: the same file may serve several nights.
    """

    file: Path = Field(
        Path("overrides.toml"),
        validate_default=True,
        description="The decisions; a relative path starts at the folder of the recipe.",
    )

    @field_validator("file")
    @classmethod
    def _understood(cls, path: Path, info: ValidationInfo) -> Path:
        folder = Path((info.context or {}).get("folder", "."))
        file = (folder / path).absolute()
        Overrides.read(file)
        return file

    def fingerprint(self) -> str:
        """Give the digest of the decisions; empty without a file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest() if self.file.exists() else ""

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Drop what is to be dropped, with who said so and why."""
        decisions = Overrides.read(self.file).decisions(frames)
        return without(frames, {name: str(said) for name, said in decisions.items() if said.decision == "drop"})

    def rescue(self, frames: Frames) -> Mapping[str, str]:
        """Keep what is to be kept, with who said so and why."""
        decisions = Overrides.read(self.file).decisions(frames)
        return {name: str(said) for name, said in decisions.items() if said.decision == "keep"}
