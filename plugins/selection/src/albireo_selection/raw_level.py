"""The level of a raw frame as a fraction of saturation: how it is measured, and what is subtracted from it.

The level is the median of the light-sensitive pixels. Observers quote it as a fraction of saturation, of the raw
counts or of the range that is left above the bias; a pedestal makes it the latter.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan
from statistics import median
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import Frame, Frames, Section
from albireo_selection.chosen import ChosenFrames

if TYPE_CHECKING:
    from astropy.nddata import CCDData

SAMPLE = 1_000_000
"""Pixels that are enough for a median; of larger sections every k-th row is taken, with odd k."""


class ByRawLevel(ChosenFrames):
    """A selector that measures raw levels."""

    pedestal: float | Literal["overscan", "bias"] = Field(
        0.0,
        description=(
            "Counts without light, subtracted from level and saturation: a number, 'overscan' for the median of the "
            "frame's own overscan, or 'bias' for the level of the night's bias frames of its detector and set-up."
        ),
        json_schema_extra={"unit": "adu"},
    )

    def wants(self, frame: Frame) -> bool:
        """Whether this frame is to be judged, or the pedestal is to be taken from it."""
        return self.judges(frame) or (self.pedestal == "bias" and frame.kind == "bias")

    def measure(self, image: CCDData, frame: Frame) -> dict[str, float]:
        """Measure ``level`` and ``overscan`` (medians, adu; NaN if there is none) and ``saturated`` (fraction)."""
        import numpy as np

        from albireo import Flag, flags_of

        flags = flags_of(image)

        def middle(sections: list[Section]) -> float:
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
            "level": middle(lit),
            "overscan": middle([amplifier.overscan for amplifier in frame.amplifiers if amplifier.overscan]),
            "saturated": saturated / sum(s.shape[0] * s.shape[1] for s in lit),
        }

    def pedestals(self, frames: Frames, measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Give the pedestal of each frame in adu, by name; NaN where there is none."""
        if self.pedestal == "overscan":
            return {frame.name: measured.get(frame.name, {}).get("overscan", nan) for frame in frames}
        if self.pedestal == "bias":
            levels: dict[tuple[object, ...], list[float]] = {}
            for frame in frames.where(kind="bias"):
                level = measured.get(frame.name, {}).get("level", nan)
                if isfinite(level):
                    levels.setdefault(_readout(frame), []).append(level)
            return {frame.name: median(levels.get(_readout(frame), [nan])) for frame in frames}
        return {frame.name: self.pedestal for frame in frames}

    def level_of(self, frame: Frame, numbers: Mapping[str, float] | None, pedestal: float) -> tuple[float, str]:
        """Give the level of a frame as a fraction of saturation.

        Returns
        -------
        float
            NaN if it cannot be said.
        str
            The numbers behind it in words, or why it cannot be said.
        """
        if numbers is None:
            return nan, "its level could not be measured"
        if not isfinite(numbers["level"]):
            return nan, "it has no valid pixel to measure a level from"
        if not isfinite(frame.saturation):
            return nan, (
                f"its level of {numbers['level']:.0f} adu cannot be judged, because the saturation level is not known; "
                "give `saturation` in the [instrument] table of the recipe, or leave the selection out"
            )
        if not isfinite(pedestal):
            return nan, (
                "it has no overscan to take the pedestal from; give the pedestal in adu"
                if self.pedestal == "overscan"
                else "there is no bias frame of its detector and set-up to take the pedestal from; give it in adu"
            )
        level, full = numbers["level"] - pedestal, frame.saturation - pedestal
        if full <= 0:
            return nan, (
                f"the pedestal of {pedestal:.0f} adu is not below the saturation level of {frame.saturation:.0f} adu"
            )
        above = f" above the pedestal of {pedestal:.0f} adu" if pedestal else ""
        return (
            level / full,
            f"median level {level:.0f} adu{above} is {percent(level / full)} of saturation ({full:.0f})",
        )


def percent(fraction: float) -> str:
    """Write a fraction in per cent."""
    return f"{100.0 * fraction:.3g} %"


def _readout(frame: Frame) -> tuple[object, ...]:
    """What frames with the same pedestal share."""
    return frame.instrument, frame.detector, frame.setup
