"""Selection by level: frames that are too faint, too bright, or saturated in too many pixels.

The level of a frame is the median of its light-sensitive raw pixels. Observers quote it as a fraction of saturation;
so do the limits here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from albireo import Frame, Frames, Section, Selection, Selector

if TYPE_CHECKING:
    from astropy.nddata import CCDData

SAMPLE = 1_000_000
"""Pixels that are enough for a median; of larger sections every k-th row is taken, with odd k."""


class Level(Selector, name="level"):
    """Drop frames of one kind whose level or number of saturated pixels is out of bounds.

    The level is the median of the raw pixels in the data sections, saturated ones included, missing ones (NaN or
    `Flag.NO_DATA`) not. Limits are fractions of the saturation level; with a ``pedestal``, that is subtracted from
    both, so that the fractions are those of the range that light can use. A pixel is saturated if its raw value is at
    or above the saturation level (`Flag.SATURATED`).

    A frame whose saturation level is not known cannot be judged; it is dropped, with a reason that says what to do.
    Frames of other kinds or filters are kept without being looked at.
    """

    kind: Literal["science", "bias", "dark", "flat"] = Field("flat", description="Which frames to judge.")
    filter: str = Field("", description="Judge only frames in this filter; empty for all.")
    min: float | None = Field(
        None, ge=0, lt=1, description="Lowest level.", json_schema_extra={"unit": "fraction of saturation"}
    )
    max: float | None = Field(
        None, gt=0, le=1, description="Highest level.", json_schema_extra={"unit": "fraction of saturation"}
    )
    pedestal: float | Literal["overscan"] = Field(
        0.0,
        description=(
            "Counts without light, subtracted from level and saturation: a number, or 'overscan' for the median of the "
            "frame's own overscan."
        ),
        json_schema_extra={"unit": "adu"},
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

    def wants(self, frame: Frame) -> bool:
        """Whether this frame is of the kind and filter to judge."""
        return frame.kind == self.kind and (not self.filter or frame.filter == self.filter)

    def measure(self, image: CCDData, frame: Frame) -> dict[str, float]:
        """Measure ``level`` and ``overscan`` (medians, adu; NaN if there is none) and ``saturated`` (fraction)."""
        import numpy as np

        from albireo import Flag, flags_of

        flags = flags_of(image)

        def median(sections: list[Section]) -> float:
            pixels = sum(rows * columns for rows, columns in (section.shape for section in sections))
            step = max(1, -(-pixels // SAMPLE)) | 1
            values = [np.empty(0, dtype=np.float32)]
            for section in sections:
                missing = flags[section.slices][::step] & np.uint16(Flag.NO_DATA) != 0
                part = image.data[section.slices][::step]
                values.append(part[~missing & np.isfinite(part)])
            joined = np.concatenate(values)
            return float(np.median(joined)) if joined.size else nan

        ny, nx = image.shape
        lit = [amplifier.data for amplifier in frame.amplifiers] or [Section(0, ny, 0, nx)]
        saturated = sum(int(np.count_nonzero(flags[s.slices] & np.uint16(Flag.SATURATED))) for s in lit)
        return {
            "level": median(lit),
            "overscan": median([amplifier.overscan for amplifier in frame.amplifiers if amplifier.overscan]),
            "saturated": saturated / sum(s.shape[0] * s.shape[1] for s in lit),
        }

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Keep the frames within the limits; the reasons for the others have their numbers."""
        reasons = {frame.name: self._reason(frame, measured.get(frame.name)) for frame in frames if self.wants(frame)}
        dropped = {name: reason for name, reason in reasons.items() if reason}
        return Selection(Frames(frame for frame in frames if frame.name not in dropped), dropped)

    def _reason(self, frame: Frame, numbers: Mapping[str, float] | None) -> str:
        if numbers is None:
            return "its level could not be measured"
        if not isfinite(numbers["level"]):
            return "it has no valid pixel to measure a level from"
        if not isfinite(frame.saturation):
            return (
                f"its level of {numbers['level']:.0f} adu cannot be judged, because the saturation level is not known; "
                "give `saturation` in the [instrument] table of the recipe, or leave the selection out"
            )
        if self.max_saturated is not None and numbers["saturated"] > self.max_saturated:
            return (
                f"{_percent(numbers['saturated'])} of its pixels are saturated (at or above {frame.saturation:.0f} "
                f"adu); at most {_percent(self.max_saturated)} is allowed"
            )
        pedestal = numbers["overscan"] if self.pedestal == "overscan" else float(self.pedestal)
        if not isfinite(pedestal):
            return "it has no overscan to take the pedestal from; give the pedestal in adu"
        level, full = numbers["level"] - pedestal, frame.saturation - pedestal
        fraction = level / full if full > 0 else nan
        if not isfinite(fraction):
            return f"the pedestal of {pedestal:.0f} adu is not below the saturation level of {frame.saturation:.0f} adu"
        above = f" above the pedestal of {pedestal:.0f} adu" if pedestal else ""
        found = f"median level {level:.0f} adu{above} is {_percent(fraction)} of saturation ({full:.0f})"
        if self.max is not None and fraction > self.max:
            return f"{found}; at most {_percent(self.max)} is allowed"
        if self.min is not None and fraction < self.min:
            return f"{found}; at least {_percent(self.min)} is required"
        return ""


def _percent(fraction: float) -> str:
    return f"{100.0 * fraction:.3g} %"
