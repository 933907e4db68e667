"""Selection by time: after, before, outside of intervals, and away from the ends of a series."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from math import isfinite, isnan
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from albireo import JD_OF_MJD_ZERO, Frame, Frames, Selection, iso_to_mjd, mjd_to_iso
from albireo_selection.chosen import ChosenFrames, without

MINUTES_PER_DAY = 1440.0


def _moment(value: Any) -> Any:
    """Take what a person may write for a moment, and see that it is one."""
    if isinstance(value, date):  # TOML has dates of its own
        value = value.isoformat()
    if isinstance(value, str):
        iso_to_mjd(value)
    elif isinstance(value, float | int) and value > JD_OF_MJD_ZERO / 2:
        raise ValueError(f"{value:g} is a Julian date; give the modified one, which is JD - {JD_OF_MJD_ZERO}")
    return value


Moment = Annotated[str | float, BeforeValidator(_moment)]
"""ISO date and time (UTC where it names no other zone), or modified Julian date."""


class Time(ChosenFrames, name="time"):
    """Drop frames by the middle of their exposure: too early, too late, within an interval, at the ends of a series.

    A moment is an ISO date and time, UTC unless it names another zone, or a modified Julian date; limits themselves
    are kept. A series are the frames to judge of one camera and target. Where only the start of an exposure is known,
    that counts.
    """

    after: Moment | None = Field(
        None, description="Keep frames from this moment on.", json_schema_extra={"unit": "UTC"}
    )
    before: Moment | None = Field(None, description="Keep frames up to this moment.", json_schema_extra={"unit": "UTC"})
    exclude: list[tuple[Moment, Moment]] = Field(
        [],
        description="Intervals to drop, each by its first and last moment: a closed dome, a cloud.",
        json_schema_extra={"unit": "UTC"},
    )
    skip_start: float = Field(
        0.0,
        ge=0,
        description="Drop what is within this time of the first frame of a series.",
        json_schema_extra={"unit": "minute"},
    )
    skip_end: float = Field(
        0.0,
        ge=0,
        description="Drop what is within this time of the last frame of a series.",
        json_schema_extra={"unit": "minute"},
    )
    unknown: Literal["drop", "keep"] = Field("drop", description="What to do with a frame whose time is not known.")

    @model_validator(mode="after")
    def _possible(self) -> Time:
        if not (self.exclude or self.skip_start or self.skip_end) and self.after is None and self.before is None:
            raise ValueError("nothing to select by: give after, before, exclude, skip_start or skip_end")
        if self.after is not None and self.before is not None and _mjd(self.after) > _mjd(self.before):
            raise ValueError(f"no frame can be after {self.after} and before {self.before}")
        for first, last in self.exclude:
            if _mjd(first) > _mjd(last):
                raise ValueError(f"the interval to exclude from {first} to {last} ends before it begins")
        return self

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Keep the frames of the right time; the reasons for the others have theirs."""
        judged = Frames(frame for frame in frames if self.judges(frame))
        reasons: dict[str, str] = {}
        for series in judged.by("instrument", "target").values():
            known = [time for time in map(_time, series) if isfinite(time)]
            ends = (min(known), max(known)) if known else (0.0, 0.0)
            reasons |= {frame.name: self._reason(_time(frame), *ends) for frame in series}
        return without(frames, reasons)

    def _reason(self, time: float, first: float, last: float) -> str:
        if isnan(time):
            return "the time of its exposure is not known" if self.unknown == "drop" else ""
        said = f"the middle of its exposure, {mjd_to_iso(time)}, is"
        if self.after is not None and time < _mjd(self.after):
            return f"{said} before {_said(self.after)}, the first moment to keep"
        if self.before is not None and time > _mjd(self.before):
            return f"{said} after {_said(self.before)}, the last moment to keep"
        for begin, end in self.exclude:
            if _mjd(begin) <= time <= _mjd(end):
                return f"{said} between {_said(begin)} and {_said(end)}, which is to be left out"
        if (since := (time - first) * MINUTES_PER_DAY) < self.skip_start:
            return f"{said} {since:.3g} minutes after the first frame of its series; {self.skip_start:g} are skipped"
        if (until := (last - time) * MINUTES_PER_DAY) < self.skip_end:
            return f"{said} {until:.3g} minutes before the last frame of its series; {self.skip_end:g} are skipped"
        return ""


def _time(frame: Frame) -> float:
    return frame.mid if isfinite(frame.mid) else frame.start


def _mjd(moment: str | float) -> float:
    return iso_to_mjd(moment) if isinstance(moment, str) else moment


def _said(moment: str | float) -> str:
    return mjd_to_iso(_mjd(moment))
