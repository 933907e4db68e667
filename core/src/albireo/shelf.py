"""Which masters of other nights may serve a frame of this one.

What an instrument says that a master must share with a frame holds for the masters of a library as well. Beyond that a
master must have been made from frames that had the same corrections as those of this recipe, read by the same
amplifiers with the same gain; it must be valid at the time of the frame, and not be too old.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

from albireo.frames import Amplifier, Frame
from albireo.library import BAD, GOOD, Entry
from albireo.recipe import Recipe
from albireo.roles import Correction

__all__ = ["Shelf", "chain_of", "corrections_before"]


def corrections_before(recipe: Recipe, kind: str) -> list[Correction]:
    """Give the corrections that frames get before a master is made of them."""
    before: list[Correction] = []
    for correction in recipe.corrections:
        if correction.master == kind:
            break
        before.append(correction)
    return before


def chain_of(corrections: Sequence[Correction]) -> str:
    """Write corrections and their options as text that is equal for equal ones."""
    steps = [[correction.name, correction.model_dump(mode="json")] for correction in corrections]
    return json.dumps(steps, sort_keys=True, separators=(",", ":"))


class Shelf:
    """The masters of a library that suit a recipe.

    Parameters
    ----------
    recipe : Recipe
    entries : sequence of Entry
        All masters of the library.

    Attributes
    ----------
    warnings : list of str
        Entries that were passed over because of their files.
    """

    def __init__(self, recipe: Recipe, entries: Sequence[Entry]) -> None:
        self.recipe = recipe
        self.entries = entries if recipe.library is not None else ()
        self.warnings: list[str] = []
        self._troubles: dict[str, str] = {}
        self._chains: dict[str, str] = {}
        self._alike: dict[str, dict[tuple[object, ...], list[Entry]]] = {}

    def choose(self, correction: Correction, frame: Frame) -> tuple[Entry | None, str]:
        """Choose a master for a frame by the rules of its correction.

        Returns
        -------
        Entry or None
        str
            Why this one, or why none.
        """
        kind = correction.master
        alike = self._matching(kind).get(self._facts(kind, frame), [])
        if not alike:
            return None, f"the library has no master {kind} that matches"
        reasons = {entry.key: self._against(entry, frame) for entry in alike}
        usable = [entry for entry in alike if not reasons[entry.key]]
        usable = [entry for entry in usable if entry.verdict == GOOD] or usable
        if not usable:
            nearest = min(alike, key=lambda entry: entry.age(frame))
            others = f" (the nearest of {len(alike)})" if len(alike) > 1 else ""
            return None, f"the master {nearest.name} of the library{others} does not serve: {reasons[nearest.key]}"
        groups = [entry.frames for entry in usable]
        group, reason = correction.choose(frame, groups)
        if group is None:
            return None, f"no master {kind} of the library serves: {reason}"
        entry = usable[next(number for number, other in enumerate(groups) if other is group)]
        doubt = f"; it is doubtful: {entry.remark}" if entry.verdict != GOOD else ""
        return entry, f"from the library, {entry.age(frame):.1f} days away; {reason}{doubt}"

    def _facts(self, kind: str, frame: Frame) -> tuple[object, ...]:
        return tuple(frame.fact(name) for name in self.recipe.instrument.match(kind))

    def _matching(self, kind: str) -> dict[tuple[object, ...], list[Entry]]:
        """Give the entries of a kind by what a frame must share with them."""
        if kind not in self._alike:
            found: dict[tuple[object, ...], list[Entry]] = {}
            for entry in self.entries:
                if entry.kind == kind:
                    found.setdefault(self._facts(kind, entry.frames[0]), []).append(entry)
            self._alike[kind] = found
        return self._alike[kind]

    def _against(self, entry: Entry, frame: Frame) -> str:
        """Say what speaks against using an entry for a frame; empty if nothing does."""
        options = self.recipe.library
        assert options is not None, "without a library there are no entries"
        oldest = options.oldest(entry.kind)
        if entry.verdict == BAD:
            return f"it was called bad{': ' if entry.remark else ''}{entry.remark}"
        if not entry.covers(frame):
            return "it is not valid at the time of the frame"
        if entry.age(frame) > oldest:
            return f"it is {entry.age(frame):.0f} days away, and max_age is {oldest:g}"
        if entry.chain != self._chain(entry.kind):
            return "its frames had other corrections than this recipe has before it"
        if self._readout(entry.kind, frame) != self._readout(entry.kind, entry.frames[0]):
            return "it was read by other amplifiers, or with another gain"
        return self._trouble(entry)

    def _readout(self, kind: str, frame: Frame) -> list[Amplifier]:
        """Give the amplifiers of a frame, as far as a master depends on them."""
        in_electrons = any("electron" in correction.provides for correction in corrections_before(self.recipe, kind))
        unknown: dict[str, Any] = {"overscan": None, "read_noise": nan} | ({} if in_electrons else {"gain": nan})
        return [replace(amplifier, **unknown) for amplifier in frame.amplifiers]

    def _chain(self, kind: str) -> str:
        if kind not in self._chains:
            self._chains[kind] = chain_of(corrections_before(self.recipe, kind))
        return self._chains[kind]

    def _trouble(self, entry: Entry) -> str:
        if entry.key not in self._troubles:
            self._troubles[entry.key] = trouble = entry.trouble()
            if trouble:
                self.warnings.append(f"the master {entry.name} of the library is passed over: {trouble} ({entry.path})")
        return self._troubles[entry.key]
