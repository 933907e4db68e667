"""Dark: subtract what the detector counts without light, scaled to the exposure time of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isclose, isfinite, nan
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import Frame, FrameError, Frames, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms

SAME_EXPOSURE = 0.01
"""Exposure times that differ by less than this fraction count as equal."""

SAFE_RATIO = 2.0
"""Beyond this factor a scaled dark deserves a word: hot pixels do not grow in proportion to time."""


class Dark(PixelwiseCorrection, name="dark"):
    """Subtract the master dark, scaled by the ratio of exposure times, with its variance (times the ratio squared).

    The pedestal must be gone from frame and master, because only dark current grows with time. Among the masters that
    match, one of equal exposure time is taken, else the nearest longer one, else the longest.
    """

    master = "dark"
    needs = frozenset({"pedestal"})
    provides = frozenset({"dark"})
    excludes = frozenset({"dark"})

    scale: Literal["exposure", "none"] = Field(
        "exposure",
        description=(
            "'exposure' scales the master by the ratio of exposure times; 'none' takes it as it is, and only a master "
            "of equal exposure time."
        ),
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the master to subtract and its factor.

        Raises
        ------
        FrameError
            If an exposure time is missing that the factor needs.
        """
        from albireo import Terms
        from albireo_calibration.planes import raised_flags, variance_plane

        dark = masters[self.master]
        factor = 1.0
        if self.scale == "exposure":
            exptime = float(dark.meta.get("EXPTIME", nan))
            factor = frame.exptime / exptime if exptime > 0 else nan
            if not isfinite(factor):
                raise FrameError(_no_ratio(frame.name, frame.exptime, exptime))
        return Terms(
            subtract=dark.data,
            subtract_variance=variance_plane(dark),
            subtract_scale=factor,
            flags=raised_flags(dark),
        )

    def choose(self, frame: Frame, masters: Sequence[Frames]) -> tuple[Frames | None, str]:
        """Prefer equal exposure time, then the nearest longer, then the longest; the nearest in time of equals."""
        times = [_exptime(group) for group in masters]
        equal = [group for group, time in zip(masters, times, strict=True) if _same(time, frame.exptime)]
        if equal:
            group, reason = super().choose(frame, equal)
            return group, f"same exposure time ({frame.exptime:g} s); {reason}"
        if self.scale == "none":
            offered = ", ".join(f"{time:g} s" for time in sorted(set(times)))
            return None, f"no dark of {frame.exptime:g} s (there is {offered}), and scale = 'none' allows no other"
        longer = [time for time in times if time > frame.exptime]
        best = min(longer, default=max((time for time in times if isfinite(time)), default=nan))
        if not (isfinite(best) and isfinite(frame.exptime)):
            return None, _no_ratio(frame.name, frame.exptime, best)
        group, reason = super().choose(frame, [g for g, time in zip(masters, times, strict=True) if time == best])
        which = "the nearest longer exposure" if longer else "the longest exposure"
        return group, f"{which} ({best:g} s for {frame.exptime:g} s); {reason}"

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say if the master is scaled by more than a factor of two, or cannot be scaled."""
        if group is None or self.scale == "none":
            return ""
        exptime = _exptime(group)
        ratio = frame.exptime / exptime if exptime > 0 else nan
        if not isfinite(ratio):
            return _no_ratio(frame.name, frame.exptime, exptime)
        if max(ratio, 1.0 / ratio if ratio > 0 else inf) <= SAFE_RATIO:
            return ""
        return (
            f"a dark of {exptime:g} s is scaled by {ratio:.3g} to {frame.exptime:g} s for {frame.name}; beyond a "
            f"factor of {SAFE_RATIO:g} hot pixels are not corrected well: take darks of about {frame.exptime:g} s"
        )


def _exptime(group: Frames) -> float:
    return group[0].exptime


def _same(a: float, b: float) -> bool:
    return isclose(a, b, rel_tol=SAME_EXPOSURE)


def _no_ratio(name: str, exptime: float, dark: float) -> str:
    return (
        f"a dark cannot be scaled to {name}: exposure times are {exptime:g} s of the frame and {dark:g} s of the dark; "
        "both must be known, and that of the dark above zero"
    )
