"""What selectors by facts of the frames have in common: which frames they judge, and how they say what they decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from albireo import Frame, Frames, Selection, Selector

Kind = Literal["science", "bias", "dark", "flat", "sky"]
"""What a frame can be that takes part in a reduction."""


class ChosenFrames(Selector):
    """Judges frames of some kinds and filters; the others are kept without being looked at."""

    kind: Kind | list[Kind] = Field("science", description="Which kinds of frames to judge: one, or a list.")
    filter: str | list[str] = Field("", description="Judge only frames in this filter, or these; empty for all.")

    def judges(self, frame: Frame) -> bool:
        """Whether this frame is of a kind and filter to judge."""
        kinds = [self.kind] if isinstance(self.kind, str) else self.kind
        filters = [self.filter] if isinstance(self.filter, str) else self.filter
        return frame.kind in kinds and (not any(filters) or frame.filter in filters)


def without(frames: Frames, reasons: Mapping[str, str]) -> Selection:
    """Drop the frames for which there is a reason that is not empty, by name."""
    dropped = {name: reason for name, reason in reasons.items() if reason}
    return Selection(Frames(frame for frame in frames if frame.name not in dropped), dropped)
