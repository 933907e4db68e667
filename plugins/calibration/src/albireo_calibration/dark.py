"""Dark: subtract what the detector counts without light, at the exposure time of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import Frame, FrameError, Frames
from albireo_calibration.dark_groups import (
    DarkFrames,
    covers,
    exposures,
    is_several,
    offered,
    same_exposure,
    told,
)

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms

SAFE_RATIO = 2.0
"""Beyond this factor a scaled dark deserves a word: hot pixels do not grow in proportion to time."""


class Dark(DarkFrames, name="dark"):
    """Subtract the master dark at the exposure time of the frame, with its variance.

    A master of one exposure time is scaled by the ratio of exposure times, its variance by the ratio squared. One that
    was fitted to several (`dark-fit`) gives the dark of each pixel on its line, with the variance of that point of the
    line. The noise of a master bias that the dark has in common with the frame is counted as often as it is there:
    see `albireo_calibration.shared_noise`.

    The pedestal must be gone from frame and master, because only dark current grows with time. Among the masters that
    match, one of equal exposure time is taken or one that was fitted around it, else the nearest longer one, else the
    longest; of equals the nearest in temperature, then in time.
    """

    needs = frozenset({"pedestal"})
    provides = frozenset({"dark"})
    excludes = frozenset({"dark"})

    scale: Literal["exposure", "none"] = Field(
        "exposure",
        description=(
            "'exposure' scales the master by the ratio of exposure times; 'none' takes it as it is, and only a master "
            "of equal exposure time or one fitted around it."
        ),
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the master to subtract and its factor.

        Raises
        ------
        FrameError
            If an exposure time is missing, or is not that of the master and must be.
        """
        from albireo import Terms
        from albireo_calibration.fitted_dark import dark_at, fitted_range, is_fitted
        from albireo_calibration.planes import raised_flags, variance_plane
        from albireo_calibration.shared_noise import shared_bias, variance_beside

        dark = masters[self.master]
        exptime = float(dark.meta.get("EXPTIME", nan))
        if is_fitted(dark):
            if not isfinite(frame.exptime):
                raise FrameError(f"the exposure time of {frame.name} is not known, so that its dark is not either")
            data, variance = dark_at(dark, frame.exptime)
            if (bias := shared_bias(dark, masters)) is not None:
                variance = variance - variance_plane(bias)  # the bias of a line is that of each of its frames
            shortest, longest = fitted_range(dark)
            return Terms(
                subtract=data,
                subtract_variance=variance,
                flags=raised_flags(dark),
                note=f"dark: of {frame.exptime:g} s from a fit to {shortest:g} to {longest:g} s",
            )
        factor = frame.exptime / exptime if exptime > 0 else nan
        if self.scale == "none":
            if not same_exposure(frame.exptime, exptime):
                raise FrameError(
                    f"{frame.name} has {frame.exptime:g} s and its master dark {exptime:g} s, and scale = 'none' "
                    "allows no other exposure time"
                )
            factor = 1.0
        elif not isfinite(factor):
            raise FrameError(_no_ratio(frame.exptime, exptime, frame.name))
        bias = shared_bias(dark, masters)
        noise = variance_plane(dark) if bias is None or not factor else variance_beside(dark, bias, factor)
        return Terms(
            subtract=dark.data,
            subtract_variance=noise,
            subtract_scale=factor,
            flags=raised_flags(dark),
            note=f"dark: of {exptime:g} s, times {factor:.6g}",
        )

    def choose_exposure(self, frame: Frame, groups: Sequence[Frames]) -> tuple[Frames | None, str]:
        """Prefer groups that cover the exposure time, then the nearest longer, then the longest."""
        if suited := [group for group in groups if covers(group, frame.exptime)]:
            group, reason = self.nearest(frame, suited)
            assert group is not None  # the nearest of at least one
            which = f"fitted to {told(group)}" if is_several(group) else f"same exposure time ({frame.exptime:g} s)"
            return group, f"{which}; {reason}"
        if self.scale == "none":
            return None, (
                f"no dark of {frame.exptime:g} s (there is {offered(groups)}), and scale = 'none' allows no other"
            )
        longer = [exposures(group)[0] for group in groups if exposures(group)[0] > frame.exptime]
        edge = 0 if longer else 1
        known = [exposures(group)[edge] for group in groups if isfinite(exposures(group)[edge])]
        best = min(longer, default=max(known, default=nan))
        if not (isfinite(best) and isfinite(frame.exptime)):
            return None, _no_ratio(frame.exptime, best, frame.name)
        group, reason = self.nearest(frame, [group for group in groups if exposures(group)[edge] == best])
        assert group is not None
        which = "the nearest longer exposure" if longer else "the longest exposure"
        return group, f"{which} ({told(group)} for {frame.exptime:g} s); {reason}"

    def check_exposure(self, frame: Frame, group: Frames) -> str:
        """Say if a master is scaled by more than a factor of two, cannot be scaled, or is used beyond its fit."""
        if is_several(group):
            return "" if covers(group, frame.exptime) else _beyond(frame.exptime, group)
        if self.scale == "none":
            return ""
        exptime = exposures(group)[0]
        ratio = frame.exptime / exptime if exptime > 0 else nan
        if not isfinite(ratio):
            return _no_ratio(frame.exptime, exptime, frame.name)
        if max(ratio, 1.0 / ratio if ratio > 0 else inf) <= SAFE_RATIO:
            return ""
        return (
            f"a dark of {exptime:g} s is scaled by {ratio:.3g} to frames of {frame.exptime:g} s; beyond a factor of "
            f"{SAFE_RATIO:g} hot pixels are not corrected well: take darks of about {frame.exptime:g} s"
        )


def _beyond(exptime: float, group: Frames) -> str:
    return (
        f"the dark of frames of {exptime:g} s is extrapolated from exposures of {told(group)}: take darks of "
        f"{exptime:g} s too, because hot pixels leave the straight line"
    )


def _no_ratio(exptime: float, dark: float, name: str) -> str:
    return (
        f"a dark cannot be scaled to {name}: exposure times are {exptime:g} s of the frame and {dark:g} s of the dark; "
        "both must be known, and that of the dark above zero"
    )
