"""Selection by the place in a series: first frames that differ from the rest, every second frame, some numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite

from pydantic import Field, model_validator

from albireo import SECONDS_PER_DAY, Frame, Frames, Selection
from albireo_selection.chosen import ChosenFrames, without

SERIES = ("instrument", "detector", "kind", "variant", "target", "filter", "exptime", "setup")


class Sequence(ChosenFrames, name="sequence"):
    """Keep frames by their place in a series, counted from one.

    A series are frames of one detector with the same kind, target, filter, exposure time and set-up, in order of time;
    frames whose time is not known come last, in order of their names. With ``gap`` a pause begins a new series.
    """

    skip: int = Field(0, ge=0, description="How many frames at the start of each series to drop.")
    skip_last: int = Field(0, ge=0, description="How many frames at the end of each series to drop.")
    every: int = Field(1, ge=1, description="Keep the first frame that is not skipped and every so many-th after it.")
    numbers: tuple[int, int] | None = Field(None, description="First and last place to keep, counted from one.")
    gap: float | None = Field(
        None,
        gt=0,
        description="A pause longer than this, from the end of one exposure to the start of the next, begins a series.",
        json_schema_extra={"unit": "minute"},
    )

    @model_validator(mode="after")
    def _possible(self) -> Sequence:
        if not (self.skip or self.skip_last or self.every > 1 or self.numbers):
            raise ValueError("nothing to select by: give skip, skip_last, every or numbers")
        if self.numbers and not 1 <= self.numbers[0] <= self.numbers[1]:
            raise ValueError(f"numbers = {list(self.numbers)}: places run from 1, the first not above the last")
        return self

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Keep the places that are asked for; the reasons for the others name theirs."""
        reasons: dict[str, str] = {}
        judged = Frames(frame for frame in frames if self.judges(frame))
        for alike in judged.by(*SERIES).values():
            for series in self._parted(alike.sorted("start")):
                for place, frame in enumerate(series, start=1):
                    reasons[frame.name] = self._reason(place, len(series))
        return without(frames, reasons)

    def _parted(self, frames: Frames) -> Iterator[list[Frame]]:
        series: list[Frame] = []
        for frame in frames:
            if series and self.gap is not None and _pause(series[-1], frame) > 60.0 * self.gap:
                yield series
                series = []
            series.append(frame)
        yield series

    def _reason(self, place: int, total: int) -> str:
        said = f"it is number {place} of {total} in its series"
        if place <= self.skip:
            return f"{said}; the first {self.skip} are skipped"
        if place > total - self.skip_last:
            return f"{said}; the last {self.skip_last} are skipped"
        if self.numbers and not self.numbers[0] <= place <= self.numbers[1]:
            return f"{said}; numbers {self.numbers[0]} to {self.numbers[1]} are kept"
        if (place - self.skip - 1) % self.every:
            return f"{said}; one of every {self.every} is kept"
        return ""


def _pause(before: Frame, after: Frame) -> float:
    """Seconds between two exposures; no pause where a time is not known."""
    pause = (after.start - before.start) * SECONDS_PER_DAY - (before.exptime if isfinite(before.exptime) else 0.0)
    return pause if isfinite(pause) else 0.0
