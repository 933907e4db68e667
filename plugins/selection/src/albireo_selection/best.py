"""Selection of the best: so many frames of each group that come nearest to what is wanted, before the reduction."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isfinite
from typing import Any, Literal

from pydantic import Field, model_validator

from albireo import Frame, Frames, Selection
from albireo_selection.chosen import Kind, without
from albireo_selection.raw_level import ByRawLevel, percent

USUAL = {"level": 0.5, "airmass": 1.0}
"""What is wanted where the recipe does not say: half of saturation, the zenith."""

ALIKE: dict[str, tuple[str, ...]] = {"bias": (), "dark": ("exptime",)}
"""What frames of a group share beside detector and set-up; filter and target for all other kinds."""

UNITS = {"airmass": "", "temperature": " deg C", "exptime": " s"}


class Best(ByRawLevel, name="best"):
    """Keep the frames of each group that come nearest to a wanted level, airmass, temperature or exposure time.

    A group is what one master is made from, or one series of science frames: the same kind, variant, detector and
    set-up, for darks the same exposure time, else the same filter and target. The level is that of the selector
    `level`. A frame whose value is not known cannot be ranked; it is dropped with a reason. Of two frames that are
    equally near, the one whose name comes first is taken.
    """

    kind: Kind | list[Kind] = Field("flat", description="Which kinds of frames to judge: one, or a list.")
    number: int | None = Field(None, ge=1, description="How many frames of each group to keep at most.")
    fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Which part of each group to keep, rounded up to whole frames.",
        json_schema_extra={"unit": "fraction"},
    )
    by: Literal["level", "airmass", "temperature", "exptime"] = Field("level", description="What to rank by.")
    near: float | None = Field(
        None,
        description="What is wanted; half of saturation for levels and airmass 1 where nothing is said.",
        json_schema_extra={"unit": "fraction of saturation, none, deg C or s"},
    )

    @model_validator(mode="after")
    def _complete(self) -> Best:
        if (self.number is None) == (self.fraction is None):
            raise ValueError("give either number or fraction: how many frames of each group to keep")
        if self.near is None and self.by not in USUAL:
            raise ValueError(f"give near: which {self.by} is wanted")
        if self.by == "level" and self.near is not None and not 0 <= self.near <= 1:
            raise ValueError(f"near = {self.near:g} is no level: it is a fraction of saturation, from 0 to 1")
        return self

    def wants(self, frame: Frame) -> bool:
        """Whether the level of this frame must be known."""
        return self.by == "level" and super().wants(frame)

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Keep the nearest; the reasons for the others tell their rank."""
        pedestals = self.pedestals(frames, measured)
        reasons: dict[str, str] = {}
        groups: dict[tuple[Any, ...], list[tuple[float, str, str]]] = {}
        wanted = USUAL[self.by] if self.near is None else self.near
        for frame in frames:
            if not self.judges(frame):
                continue
            if self.by == "level":
                value, found = self.level_of(frame, measured.get(frame.name), pedestals[frame.name])
            else:
                value = getattr(frame, self.by)
                found = f"{self.by} {self._said(value)}" if isfinite(value) else f"its {self.by} is not known"
            if isfinite(value):
                groups.setdefault(_group(frame), []).append((round(abs(value - wanted), 9), frame.name, found))
            else:
                reasons[frame.name] = found
        for group in groups.values():
            take = self.number if self.fraction is None else ceil(self.fraction * len(group) - 1e-9)
            for rank, (_, name, found) in enumerate(sorted(group), start=1):
                if take is not None and rank > take:
                    reasons[name] = (
                        f"{found}: number {rank} of {len(group)} by nearness to {self._said(wanted)}; the best {take} "
                        "are kept"
                    )
        return without(frames, reasons)

    def _said(self, value: float) -> str:
        return percent(value) if self.by == "level" else f"{value:g}{UNITS[self.by]}"


def _group(frame: Frame) -> tuple[Any, ...]:
    names = ALIKE.get(frame.kind, ("filter", "target"))
    values = [getattr(frame, name) for name in ("instrument", "detector", "kind", "variant", "setup", *names)]
    return tuple(None if value != value else value for value in values)
