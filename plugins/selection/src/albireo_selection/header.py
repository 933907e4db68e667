"""Selection by what headers say: exposure time, airmass, temperature, filter, target, name, set-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from albireo import Frame, Frames, Selection
from albireo_selection.chosen import ChosenFrames, without
from albireo_selection.conditions import Condition, check, meets, told, written


class Header(ChosenFrames, name="header"):
    """Keep or drop frames by conditions on what their headers say, as the camera understands them.

    Of the kinds and filters to judge, a frame stays if it meets every condition of ``keep``, and goes if it meets every
    condition of ``drop``. Conditions may be on airmass, dec, detector, exposure, exptime, filter, gain, instrument,
    name, ra, read_noise, saturation, scale, target, temperature, variant, and settings such as ``"setup.binning"``.

    A number may be given as it is, as a limit (``"<= 2"``) or as a range with its ends (``"10 to 60"``). A text may
    have ``*`` for any letters and ``?`` for one; large and small letters differ, because filters do. A name may be that
    of the frame or of its file, with or without folders. Of a list one has to fit.

    A header that does not say a number or a setting meets no condition of ``drop``; for ``keep`` the option ``unknown``
    says what to do.
    """

    keep: dict[str, Condition] = Field({}, description="Conditions that a frame must meet, all of them, to stay.")
    drop: dict[str, Condition] = Field({}, description="Conditions of which a frame must meet all to be dropped.")
    unknown: Literal["drop", "keep"] = Field(
        "drop", description="What to do with a frame whose header does not say what a condition of keep is about."
    )

    @field_validator("keep", "drop")
    @classmethod
    def _understood(cls, conditions: dict[str, Condition]) -> dict[str, Condition]:
        problems = []
        for attribute, condition in conditions.items():
            try:
                check(attribute, condition)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return conditions

    @model_validator(mode="after")
    def _something(self) -> Header:
        if not (self.keep or self.drop):
            raise ValueError('nothing to select by: give conditions such as keep = { airmass = "<= 2" }')
        return self

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Keep the frames that meet the conditions; the reasons for the others have their values."""
        return without(frames, {frame.name: self._reason(frame) for frame in frames if self.judges(frame)})

    def _reason(self, frame: Frame) -> str:
        failed = []
        for attribute, condition in self.keep.items():
            met = meets(frame, attribute, condition)
            if met is False:
                failed.append(f"{told(frame, attribute)} is not {written(condition)}")
            elif met is None and self.unknown == "drop":
                failed.append(f"its header does not say {attribute}, which has to be {written(condition)}")
        if not failed and self.drop and all(meets(frame, *item) for item in self.drop.items()):
            failed = [f"{told(frame, attribute)} is {written(condition)}" for attribute, condition in self.drop.items()]
        return "; ".join(failed)
