"""Which dark frames suit a frame: by the temperature of the detector, by exposure time, by time.

A group of one exposure time makes a master of that time; a group of several makes one that is fitted to them and suits
every time between the shortest and the longest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import inf, isfinite, nan

from pydantic import Field

from albireo import Frame, Frames, PixelwiseCorrection

SAME_EXPOSURE = 0.01
"""Exposure times that differ by less than this fraction count as equal."""

SAME_TEMPERATURE = 0.5
"""Detectors whose temperatures differ by less than this (deg C) count as equally cold."""

LARGE_OFFSET = 2.0
"""Temperatures that differ by more than this (deg C) deserve a word: dark current grows by about a quarter."""


class DarkFrames(PixelwiseCorrection):
    """What corrections by master darks have in common: how they choose among the groups of dark frames."""

    master = "dark"

    temperature_tolerance: float | None = Field(
        None,
        ge=0,
        description=(
            "Darks whose mean detector temperature is farther from that of the frame are not used; leave it out to use "
            "any, the nearest first."
        ),
        json_schema_extra={"unit": "deg C"},
    )

    @abstractmethod
    def choose_exposure(self, frame: Frame, groups: Sequence[Frames]) -> tuple[Frames | None, str]:
        """Choose among groups that are near enough in temperature."""

    @abstractmethod
    def check_exposure(self, frame: Frame, group: Frames) -> str:
        """Say what is wrong with the exposure times of a frame and of its darks; empty if nothing."""

    def choose(self, frame: Frame, masters: Sequence[Frames]) -> tuple[Frames | None, str]:
        """Prefer groups of the frame's exposure time, of these the nearest in temperature, of these in time."""
        limit = self.temperature_tolerance
        near = [group for group in masters if limit is None or not temperature_offset(frame, group) > limit]
        if near:
            return self.choose_exposure(frame, near)
        offered = ", ".join(f"{value:.1f}" for value in sorted({temperature_of(group) for group in masters}))
        return None, (
            f"no dark within {limit:g} deg C of the {frame.temperature:.1f} deg C of the frame (there are darks of "
            f"{offered} deg C)"
        )

    def nearest(self, frame: Frame, groups: Sequence[Frames]) -> tuple[Frames | None, str]:
        """Choose the group nearest in temperature, and of equally cold ones the nearest in time."""
        offsets = [temperature_offset(frame, group) for group in groups]
        best = min((offset for offset in offsets if isfinite(offset)), default=inf)
        near = [group for group, offset in zip(groups, offsets, strict=True) if offset <= best + SAME_TEMPERATURE]
        if not near or len(near) == len(groups):
            return super().choose(frame, groups)
        group, reason = super().choose(frame, near)
        cold = min(temperature_of(group) for group in near)
        return group, f"nearest temperature ({cold:.1f} for {frame.temperature:.1f} deg C); {reason}"

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say what exposure times or temperatures do not suit."""
        if group is None:
            return ""
        return "; ".join(filter(None, (self.check_exposure(frame, group), self._check_temperature(frame, group))))

    def _check_temperature(self, frame: Frame, group: Frames) -> str:
        offset = temperature_offset(frame, group)
        if self.temperature_tolerance is None:
            if not offset > LARGE_OFFSET:
                return ""
            return (
                f"darks of {temperature_of(group):.0f} deg C are used for frames of {frame.temperature:.0f} deg C; "
                "dark current doubles within 6 to 8 deg C: take darks at the temperature of the frames"
            )
        if isfinite(offset):
            return ""
        whose = "the frames" if isfinite(temperature_of(group)) else "the darks"
        return (
            f"the detector temperature of {whose} is not known, so that temperature_tolerance = "
            f"{self.temperature_tolerance:g} was not applied"
        )


def temperature_of(group: Frames) -> float:
    """Mean detector temperature of a group in deg C; NaN if it is not known."""
    known = [frame.temperature for frame in group if isfinite(frame.temperature)]
    return sum(known) / len(known) if known else nan


def temperature_offset(frame: Frame, group: Frames) -> float:
    """By how much the temperatures of a frame and a group differ, in deg C; NaN if one is not known."""
    return abs(frame.temperature - temperature_of(group))


def exposures(group: Frames) -> tuple[float, float]:
    """Shortest and longest exposure time of a group in s; NaN if one is not known."""
    times = [frame.exptime for frame in group]
    return (min(times), max(times)) if all(isfinite(time) for time in times) else (nan, nan)


def same_exposure(a: float, b: float) -> bool:
    """Whether two exposure times count as equal; false if one is not known."""
    return abs(a - b) <= SAME_EXPOSURE * max(abs(a), abs(b))


def is_several(group: Frames) -> bool:
    """Whether a group holds several exposure times, so that its master is fitted to them."""
    shortest, longest = exposures(group)
    return shortest < longest and not same_exposure(shortest, longest)


def covers(group: Frames, exptime: float) -> bool:
    """Whether an exposure time lies within those of a group, or equals one."""
    shortest, longest = exposures(group)
    inside = shortest <= exptime <= longest
    return inside or same_exposure(exptime, shortest) or same_exposure(exptime, longest)


def told(group: Frames) -> str:
    """Say the exposure times of a group."""
    shortest, longest = exposures(group)
    return f"{shortest:g} to {longest:g} s" if is_several(group) else f"{shortest:g} s"


def offered(groups: Sequence[Frames]) -> str:
    """Say the exposure times of several groups, shortest first."""
    return ", ".join(dict.fromkeys(told(group) for group in sorted(groups, key=exposures)))
