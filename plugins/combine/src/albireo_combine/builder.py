"""The master builder for frames of one kind and one setting: its options, and what becomes of the combined pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from albireo import FrameError, Frames, MasterBuilder

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Stack
    from albireo_combine.combining import Combined
    from albireo_combine.levels import Levels
    from albireo_combine.rules import Rule

KINDS = ("bias", "dark", "flat", "sky")

SCALED = ("flat", "sky")
"""Kinds whose frames differ in level, and whose master is around one."""

OF_REJECTION = {
    "low": ("sigma", "winsorised"),
    "high": ("sigma", "winsorised"),
    "scale": ("sigma",),
    "iterations": ("sigma", "winsorised"),
    "lowest": ("minmax",),
    "highest": ("minmax",),
    "low_fraction": ("percentile",),
    "high_fraction": ("percentile",),
}
"""Which rejections an option belongs to."""

OF_KIND = {
    "temperature_step": ("dark",),
    "hot": ("dark",),
    "hot_rate": ("dark",),
    "dead_below": ("flat",),
    "dead_above": ("flat",),
}
"""Which kinds of master an option belongs to."""


class Combine(MasterBuilder, name="combine"):
    """Combine calibration frames pixel by pixel: mean, weighted mean or median, after rejection of outliers.

    Bias and dark frames are combined as they are. Flat and sky frames are first divided by their level, the median of
    their unmasked pixels, and the result is divided by its own median, so that a master flat or sky is dimensionless
    and around one. Stars vanish from flats and skies of the sky where the telescope moved between the frames.

    By default the result is a mean after sigma rejection. A value is rejected by its distance from the median of its
    pixel, in units of the noise it should have or of the width of the pixel's values, whichever is larger; the noise
    comes from the difference of two of the frames. The variance pools the scatter of each pixel with that noise, so
    that it can be trusted for few frames too. `albireo_combine.rules`, `albireo_combine.factors` and
    `albireo_combine.noise` define all of it exactly. One frame alone is taken as it is, with its own variance.

    Masked pixels (NaN in a strip) take no part; a pixel without any value is NaN and flagged `Flag.NO_DATA`. The planes
    ``COUNT`` and ``REJECTED`` say how many values made a pixel, and how many were rejected. The result does not depend
    on the order of the frames, on the height of the strips or on threads.

    ``meta`` of the result: NCOMBINE (frames), METHOD, REJECTED and MISSING (values, over all pixels); LEVEL (median of
    the master, bias and dark); LEVELMIN and LEVELMAX (of the flat or sky frames, in the unit of the stack); RDNOISE
    (bias of at least two frames: robust noise of one corrected frame, in the unit of the stack); NHOT and NDEAD (pixels
    flagged, where that was asked for).
    """

    citations = (
        "Janesick, J. R. 2001, Scientific Charge-Coupled Devices (SPIE Press), chapter 2",
        "Smyth, G. K. 2004, Statistical Applications in Genetics and Molecular Biology, 3, 3",
    )

    method: Literal["mean", "median"] = Field(
        "mean", description="What is made of the values of a pixel that are left after rejection."
    )
    weights: Literal["equal", "inverse-variance"] = Field(
        "equal",
        description="Weights of the frames of a mean: the same, or the inverse of the variance that a flat or sky "
        "frame of its level should have.",
    )
    rejection: Literal["none", "sigma", "minmax", "percentile", "winsorised"] = Field(
        "sigma",
        description="Which values are left out: those far from the median (sigma, winsorised), or so many (minmax) or "
        "such a share (percentile) of the lowest and highest.",
    )
    low: float = Field(
        3.0,
        ge=1.0,
        description="Values this far below the median of their pixel are rejected by sigma and winsorised.",
        json_schema_extra={"unit": "standard deviation"},
    )
    high: float = Field(
        3.0,
        ge=1.0,
        description="Values this far above the median of their pixel are rejected by sigma and winsorised.",
        json_schema_extra={"unit": "standard deviation"},
    )
    scale: Literal["mad", "deviation"] = Field(
        "mad",
        description="Width of a pixel's values for sigma: from their median absolute deviation, or their standard "
        "deviation. Never less than the noise they should have.",
    )
    iterations: int = Field(5, ge=1, le=100, description="Rounds of sigma and winsorised at most.")
    lowest: int = Field(1, ge=0, description="How many of the lowest values minmax drops.")
    highest: int = Field(1, ge=0, description="How many of the highest values minmax drops.")
    low_fraction: float = Field(0.1, ge=0.0, lt=1.0, description="Share of the lowest values that percentile drops.")
    high_fraction: float = Field(0.1, ge=0.0, lt=1.0, description="Share of the highest values that percentile drops.")
    temperature_step: float | None = Field(
        None,
        gt=0.0,
        description="Darks whose detector temperatures differ by more make masters of their own; not looked at unless "
        "given.",
        json_schema_extra={"unit": "deg C"},
    )
    hot: float | None = Field(
        None,
        ge=3.0,
        description="Pixels of a dark this far above its median are flagged as hot, if they reach hot_rate too; none "
        "unless given.",
        json_schema_extra={"unit": "standard deviation of the pixels of the master"},
    )
    hot_rate: float = Field(
        0.0,
        ge=0.0,
        description="Dark rate above the median that a hot pixel has at least.",
        json_schema_extra={"unit": "unit of the frames per second"},
    )
    dead_below: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="Pixels of a flat with a smaller response are flagged as bad; none unless given.",
    )
    dead_above: float | None = Field(
        None, gt=1.0, description="Pixels of a flat with a larger response are flagged as bad; none unless given."
    )

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        if value not in KINDS:
            raise ValueError(f"kind {value!r} cannot be combined; it must be one of {', '.join(KINDS)}")
        return value

    @model_validator(mode="after")
    def _options_go_together(self) -> Combine:
        fields = type(self).model_fields
        changed = {name for name in fields if getattr(self, name) != fields[name].default}
        for name in sorted(changed & OF_REJECTION.keys()):
            if self.rejection not in (wanted := OF_REJECTION[name]):
                raise ValueError(
                    f"{name} belongs to rejection = {_either(wanted)}, not to {self.rejection!r}; leave it out"
                )
        for name in sorted(changed & OF_KIND.keys()):
            if self.kind not in (wanted := OF_KIND[name]):
                raise ValueError(f"{name} belongs to kind = {_either(wanted)}, not to {self.kind!r}; leave it out")
        if self.low_fraction + self.high_fraction >= 1.0:
            raise ValueError(
                f"low_fraction {self.low_fraction:g} and high_fraction {self.high_fraction:g} leave no value; "
                "their sum must be below one"
            )
        if self.hot_rate > 0 and self.hot is None:
            raise ValueError("hot_rate is a second condition beside hot; give hot too, for example hot = 8")
        if self.weights == "inverse-variance":
            self._weights_make_sense()
        return self

    def _weights_make_sense(self) -> None:
        if self.kind not in SCALED:
            raise ValueError(
                f"weights = 'inverse-variance' is for frames of different levels, {_either(SCALED)}; all {self.kind} "
                "frames of a master have the same noise"
            )
        if self.method != "mean":
            raise ValueError(f"a {self.method} has no weights; use method = 'mean' with weights = 'inverse-variance'")
        if self.rejection in ("minmax", "percentile"):
            raise ValueError(
                f"rejection = {self.rejection!r} drops by order, so mostly from the frames whose values scatter most "
                "and weigh least; use 'sigma', 'winsorised' or 'none' with weights = 'inverse-variance'"
            )

    def split(self, frames: Frames) -> Iterable[Frames]:
        """Split by exposure time and temperature (darks) and by variant."""
        groups = super().split(frames)
        if self.temperature_step is None:
            return groups
        return [part for group in groups for part in _by_temperature(group, self.temperature_step)]

    def comparable(self, frames: Frames, others: Frames) -> bool:
        """Whether both are darks, of different exposure times and of one temperature."""
        if self.kind != "dark" or frames[0].exptime == others[0].exptime:
            return False
        if self.temperature_step is None:
            return True
        return len(_by_temperature(Frames([*frames, *others]), self.temperature_step)) == 1

    def compare(self, master: CCDData, other: CCDData) -> str:
        """Say whether darks scale with time, and whether two masters of the same facts differ."""
        from albireo_combine.comparison import differences, scaling

        times = [picture.meta.get("EXPTIME") for picture in (master, other)]
        if self.kind == "dark" and times[0] != times[1]:
            return scaling(master, other)
        return differences(master, other, self.kind)

    def build(self, stack: Stack) -> CCDData:
        """Combine the frames of a stack.

        Raises
        ------
        FrameError
            If the stack is empty, if a flat or sky frame has no light, or if the rejection would leave nothing.
        """
        import numpy as np

        from albireo import Flag, image
        from albireo_combine.combining import combine_strips
        from albireo_combine.levels import levels_of, median_of

        if len(stack) == 0:
            raise FrameError(f"there is no {self.kind} frame to combine")
        if self.rejection == "minmax" and self.lowest + self.highest >= len(stack):
            raise FrameError(
                f"rejection 'minmax' drops the {self.lowest} lowest and {self.highest} highest values, and there are "
                f"{len(stack)} {self.kind} frames; take more frames, or another rejection"
            )
        found = levels_of(stack, self.kind, scaled=self.kind in SCALED)
        self._others_can_contradict(found, stack.frames)
        scale = None if found.levels is None else 1.0 / found.levels
        if len(stack) == 1:
            combined, method = _alone(stack, 1.0 if scale is None else float(scale[0])), "single frame"
        else:
            combined, method = combine_strips(stack, scale, self._rule(found)), self._words()
        data, variance = combined.data, combined.variance
        if not np.isfinite(data).any():
            raise FrameError(f"no pixel of the master {self.kind} has a value: all pixels of all frames are masked")
        level = median_of(data)
        meta: dict[str, Any] = {
            "NCOMBINE": len(stack),
            "METHOD": method,
            "REJECTED": combined.total_rejected,
            "MISSING": combined.total_missing,
        }
        if found.levels is None:
            meta["LEVEL"] = level
        else:
            meta.update(LEVELMIN=float(found.levels.min()), LEVELMAX=float(found.levels.max()))
            data /= np.float32(level)
            variance /= np.float32(level) ** 2
        if self.kind == "bias" and len(stack) > 1:
            meta["RDNOISE"] = found.noise_floor**0.5
        flags = np.where(np.isfinite(data), np.uint16(0), np.uint16(Flag.NO_DATA))
        if self.hot is not None:
            meta["NHOT"] = _flag(flags, self._is_hot(data, level, stack.frames), Flag.HOT)
        if self.dead_below is not None or self.dead_above is not None:
            dead = (data < (self.dead_below or -np.inf)) | (data > (self.dead_above or np.inf))
            meta["NDEAD"] = _flag(flags, dead, Flag.BAD)
        unit = stack.unit if found.levels is None else ""
        return image(data, unit, variance=variance, flags=flags, planes=combined.planes, meta=meta)

    def _rule(self, found: Levels) -> Rule:
        from albireo_combine.rules import Rule

        low, high = {
            "minmax": (self.lowest, self.highest),
            "percentile": (self.low_fraction, self.high_fraction),
        }.get(self.rejection, (self.low, self.high))
        return Rule(
            method=self.method,
            rejection=self.rejection,
            low=low,
            high=high,
            scale=self.scale,
            iterations=self.iterations,
            noise_floor=found.noise_floor,
            noise_slope=found.noise_slope,
            frame_noise=found.frame_noise if self.weights == "inverse-variance" else (),
        )

    def _others_can_contradict(self, found: Levels, frames: Frames) -> None:
        """Refuse to look for outliers where one frame outweighs all others together."""
        if self.weights == "equal" or self.rejection == "none" or len(frames) < 3:
            return
        pull = [(floor + slope) ** -0.5 if floor + slope > 0 else 1.0 for floor, slope in found.frame_noise]
        if max(pull) >= 0.5 * sum(pull):
            best = frames[pull.index(max(pull))]
            raise FrameError(
                f"{self.kind} frame {best.name} has so much less noise than the others that they cannot show which of "
                "its values are outliers; drop the faint frames by a [[select]] stage, or use weights = 'equal'"
            )

    def _words(self) -> str:
        weights = "" if self.weights == "equal" else f", weights {self.weights}"
        return f"{self.method}, rejection {self.rejection}{weights}"

    def _is_hot(self, data: NDArray[np.float32], level: float, frames: Frames) -> NDArray[np.bool_]:
        """Which pixels are farther above the median than others scatter, and than the smallest rate of a hot pixel."""
        import numpy as np

        from albireo_combine.levels import median_of
        from albireo_combine.rules import MAD_TO_SIGMA

        assert self.hot is not None
        limit = self.hot * MAD_TO_SIGMA * median_of(np.abs(data - np.float32(level)))
        if self.hot_rate > 0:
            exptime = frames[0].exptime
            if not exptime > 0:
                raise FrameError(f"dark {frames[0].name} has the exposure time {exptime:g} s; hot_rate needs it")
            limit = max(limit, self.hot_rate * exptime)
        hot: NDArray[np.bool_] = data > level + limit
        return hot


def _either(words: Iterable[str]) -> str:
    return " or ".join(repr(word) for word in words)


def _by_temperature(frames: Frames, step: float) -> list[Frames]:
    """Cut at the widest gaps in temperature until no group spans more than ``step``; unknown temperatures are apart."""
    known = sorted((f for f in frames if f.temperature == f.temperature), key=lambda frame: frame.temperature)
    groups, waiting = [], [known] if known else []
    while waiting:
        group = waiting.pop()
        degrees = [frame.temperature for frame in group]
        if degrees[-1] - degrees[0] <= step:
            members = {frame.name for frame in group}
            groups.append(Frames(frame for frame in frames if frame.name in members))
            continue
        cut = max(range(1, len(group)), key=lambda index: degrees[index] - degrees[index - 1])
        waiting += [group[cut:], group[:cut]]
    if unknown := [frame for frame in frames if frame.temperature != frame.temperature]:
        groups.append(Frames(unknown))
    return groups


def _flag(flags: NDArray[np.uint16], where: NDArray[np.bool_], bit: int) -> int:
    """Set a bit and give the number of pixels."""
    flags[where] |= flags.dtype.type(bit)
    return int(where.sum())


def _alone(stack: Stack, factor: float) -> Combined:
    """Scale the only frame, with its own variance; NaN where that is unknown."""
    import numpy as np

    from albireo import variance_of
    from albireo_combine.combining import Combined

    data = stack.pixels(0) * np.float32(factor)
    given = variance_of(stack[0])
    variance = np.full(data.shape, np.nan, dtype=np.float32) if given is None else given * np.float32(factor**2)
    count = np.isfinite(data).astype(np.uint16)
    totals = np.array([0, count.size - int(count.sum())])
    return Combined(data, variance, count, np.zeros_like(count), totals)
