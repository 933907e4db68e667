"""Selection by level: frames that are too faint, too bright, or saturated in too many pixels."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from pydantic import Field, model_validator

from albireo import Frame, Frames, Selection
from albireo_selection.chosen import Kind, without
from albireo_selection.raw_level import ByRawLevel, percent


class Level(ByRawLevel, name="level"):
    """Drop frames whose level or number of saturated pixels is out of bounds.

    The level is the median of the raw pixels in the data sections, saturated ones included, missing ones (NaN or
    `Flag.NO_DATA`) not. Limits are fractions of the saturation level; with a ``pedestal``, that is subtracted from
    both, so that the fractions are those of the range that light can use. A pixel is saturated if its raw value is at
    or above the saturation level (`Flag.SATURATED`). Every detector is judged by itself, and so is each half of a
    detector that its camera splits.

    A frame whose saturation level is not known cannot be judged; it is dropped, with a reason that says what to do.
    Frames of other kinds or filters are kept without being looked at.
    """

    kind: Kind | list[Kind] = Field("flat", description="Which kinds of frames to judge: one, or a list.")
    min: float | None = Field(
        None, ge=0, lt=1, description="Lowest level.", json_schema_extra={"unit": "fraction of saturation"}
    )
    max: float | None = Field(
        None, gt=0, le=1, description="Highest level.", json_schema_extra={"unit": "fraction of saturation"}
    )
    max_saturated: float | None = Field(
        None, ge=0, lt=1, description="Largest fraction of saturated pixels.", json_schema_extra={"unit": "fraction"}
    )

    @model_validator(mode="after")
    def _limits(self) -> Level:
        if self.min is None and self.max is None and self.max_saturated is None:
            raise ValueError("nothing to select by: give min, max or max_saturated")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"min = {self.min:g} must be below max = {self.max:g}")
        return self

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Keep the frames within the limits; the reasons for the others have their numbers."""
        pedestals = self.pedestals(frames, measured)
        reasons = {
            frame.name: self._reason(frame, measured.get(frame.name), pedestals[frame.name])
            for frame in frames
            if self.judges(frame)
        }
        return without(frames, reasons)

    def _reason(self, frame: Frame, numbers: Mapping[str, float] | None, pedestal: float) -> str:
        if numbers is not None and isfinite(frame.saturation) and self.max_saturated is not None:
            saturated = numbers["saturated"]
            if saturated > self.max_saturated:
                return (
                    f"{percent(saturated)} of its pixels are saturated (at or above {frame.saturation:.0f} adu); "
                    f"at most {percent(self.max_saturated)} is allowed"
                )
            if self.min is None and self.max is None:
                return ""
        fraction, found = self.level_of(frame, numbers, pedestal)
        if not isfinite(fraction):
            return found
        if self.max is not None and fraction > self.max:
            return f"{found}; at most {percent(self.max)} is allowed"
        if self.min is not None and fraction < self.min:
            return f"{found}; at least {percent(self.min)} is required"
        return ""
