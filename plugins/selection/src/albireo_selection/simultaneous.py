"""Selection by partners: exposures that all bands, or all detectors, of a camera have seen."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from albireo import Frame, Frames, Selection, Selector
from albireo_selection.chosen import without


class Simultaneous(Selector, name="simultaneous"):
    """Keep science frames whose exposure is complete: one frame in every filter, or of every detector, that is named.

    Frames belong to one exposure if the camera says that they were exposed at once. What selectors before this one
    dropped is missing here. Frames of other kinds are kept.
    """

    filters: list[str] = Field([], description="Filters that an exposure must have.")
    detectors: list[str] = Field([], description="Detectors that an exposure must have.")

    @model_validator(mode="after")
    def _something(self) -> Simultaneous:
        if not (self.filters or self.detectors):
            raise ValueError("nothing to select by: give filters or detectors")
        return self

    def select(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> Selection:
        """Keep the frames of complete exposures; the reasons for the others name the missing partner."""
        science = frames.where(kind="science")
        groups = science.by("instrument", "exposure")
        reasons = {frame.name: self._reason(frame, groups[frame.instrument, frame.exposure]) for frame in science}
        return without(frames, reasons)

    def _reason(self, frame: Frame, together: Frames) -> str:
        if not frame.exposure:
            return "the camera does not say which frames were exposed with it"
        missing = [f"filter {name}" for name in self.filters if not together.where(filter=name)]
        missing += [f"detector {name}" for name in self.detectors if not together.where(detector=name)]
        if not missing:
            return ""
        there = ", ".join(" of ".join(filter(None, (f.filter, f.detector))) or f.name for f in together)
        return f"its exposure {frame.exposure} has no frame in {' and '.join(missing)}; there is {there}"
