"""Flats of a lamp in the infrared: the lamp on, less the lamp off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from albireo import FrameError, MasterBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Stack
    from albireo_combine.adjusted import Layer
    from albireo_combine.combining import Combined

LEAST = 2
"""Frames of each kind: the noise of one is not known from itself."""

CLEAR = 0.5
"""Part of the whole range of levels that the gap between lamp off and lamp on must have."""


class DomeFlat(MasterBuilder, name="dome-flat"):
    """Make an infrared flat from frames with the lamp on and off.

    Their difference is free of what telescope and dome radiate by themselves. The largest gap in the levels of the
    frames parts those with the lamp off from those with it on, so that headers need not tell. The mean of those with
    the lamp off is subtracted from each with the lamp on, which is then divided by what the lamp adds to its level, as
    a lamp drifts. Means are sigma-clipped, the result is divided by its median, and its variance is that of both.

    COUNT and REJECTED hold the values of both kinds; a pixel that either lacks is NaN and flagged `Flag.NO_DATA`.

    ``meta``: NCOMBINE, NON and NOFF (frames with the lamp on and off), METHOD, REJECTED, MISSING, LEVELMIN and LEVELMAX
    (of the lamp alone, in the unit of the stack), LEVELOFF (median level with the lamp off).
    """

    kind: str = Field("flat", description="Which kind of master to make: flat.")
    clip: float = Field(
        3.0,
        ge=1.0,
        description="Values this far from the median of their pixel are rejected.",
        json_schema_extra={"unit": "standard deviation"},
    )

    @field_validator("kind")
    @classmethod
    def _is_flat(cls, value: str) -> str:
        if value != "flat":
            raise ValueError(f"kind {value!r} cannot be made by dome-flat; it makes the kind flat")
        return value

    def build(self, stack: Stack) -> CCDData:
        """Combine the frames of a stack.

        Raises
        ------
        FrameError
            If the levels do not fall into two kinds of at least two frames, or no pixel has values of both.
        """
        import numpy as np

        from albireo import Flag, image
        from albireo_combine.adjusted import plane
        from albireo_combine.levels import level_of, median_of

        levels = np.array([level_of(stack, index, dark=True) for index in range(len(stack))])
        off, on = _two_kinds(levels, stack.unit)
        dark = self._clipped_mean(stack, off, np.ones(len(off)))
        base = float(np.median(levels[off]))
        lamp = levels[on] - base
        light = self._clipped_mean(stack, on, lamp, [plane(dark.data)] * len(on))
        data = light.data
        variance = light.variance + dark.variance * np.float32(np.sort(1.0 / lamp).mean() ** 2)
        if not np.isfinite(data).any():
            raise FrameError("no pixel of the flat has values with the lamp on and off: they are masked")
        middle = np.float32(median_of(data))
        meta = {
            "NCOMBINE": len(stack),
            "NON": len(on),
            "NOFF": len(off),
            "METHOD": "clipped mean, lamp on less lamp off",
            "REJECTED": light.total_rejected + dark.total_rejected,
            "MISSING": light.total_missing + dark.total_missing,
            "LEVELMIN": float(lamp.min()),
            "LEVELMAX": float(lamp.max()),
            "LEVELOFF": base,
        }
        flags = np.where(np.isfinite(data), np.uint16(0), np.uint16(Flag.NO_DATA))
        planes = {name: counts + dark.planes[name] for name, counts in light.planes.items()}
        return image(data / middle, "", variance=variance / middle**2, flags=flags, planes=planes, meta=meta)

    def _clipped_mean(
        self, stack: Stack, chosen: list[int], levels: NDArray[np.float64], layers: Sequence[Layer] = ()
    ) -> Combined:
        """Average some frames, each less a layer and divided by a level."""
        from albireo_combine.adjusted import Adjusted
        from albireo_combine.combining import combine_strips
        from albireo_combine.rules import Rule
        from albireo_combine.survey import expected_noise

        part = Adjusted(stack, chosen, layers, subtract=True)
        floor, slope = expected_noise(part, levels)
        rule = Rule(low=self.clip, high=self.clip, noise_floor=floor, noise_slope=slope)
        return combine_strips(part, 1.0 / levels, rule)


def _two_kinds(levels: NDArray[np.float64], unit: str) -> tuple[list[int], list[int]]:
    """Part frames with the lamp off from those with it on, by the largest gap in their levels.

    Raises
    ------
    FrameError
        If there is no such gap, or there are fewer than two frames on one of its sides.
    """
    import numpy as np

    order = np.argsort(levels, kind="stable")
    gaps = np.diff(levels[order])
    cut = int(np.argmax(gaps)) + 1 if gaps.size else 0
    if min(cut, len(levels) - cut) < LEAST or gaps[cut - 1] < CLEAR * (levels.max() - levels.min()):
        shown = ", ".join(f"{level:.4g}" for level in levels[order])
        raise FrameError(
            f"the levels of the {len(levels)} flats ({shown} {unit}) do not fall into two kinds, lamp off and lamp on; "
            f'take at least {LEAST} frames of each, or write use = "combine" for the flat under [[masters]]'
        )
    return sorted(order[:cut].tolist()), sorted(order[cut:].tolist())
