"""Flats of the sky, without its stars, its clouds and its changing gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from albireo import FrameError
from albireo_combine.starless import Starless

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Stack
    from albireo_combine.combining import Combined
    from albireo_combine.surface import Surface
    from albireo_combine.survey import Survey


class TwilightFlat(Starless, name="twilight-flat"):
    """Combine flats of the sky into a master flat: stars masked, and if asked for, clouds and gradients taken out.

    Each frame is divided by its level. Stars are found in what a frame has on top of all others, and hidden; values of
    each pixel are then averaged with sigma clipping, as the builder ``combine`` does. A star that the telescope did not
    move from in half of the frames leaves no trace. Frames of a lamp may be given too: nothing is found in them.

    With ``smooth`` each frame is divided by its own large-scale shape before, relative to the median shape of all, so
    that only the response of small scales is averaged. ``clouds`` leaves out frames whose large-scale shape differs
    from the median by more than a fraction somewhere. With ``high`` only frames of at least that level make the master;
    with ``low`` too, those of at most that level make another, and pixels whose ratio of the two differs from their
    neighbourhood's by more than ``nonlinear``, and 5 standard deviations, are flagged `Flag.NON_LINEAR`. These four are
    ideas of the pipeline AutoWISP.

    Variance, COUNT, REJECTED and `Flag.NO_DATA` are as in every master. The result does not depend on the order of the
    frames or the height of the strips.

    ``meta``: NCOMBINE, METHOD, REJECTED, MISSING, LEVELMIN, LEVELMAX, OBJECTS (number of ellipses that hide stars),
    CLOUDY (frames left out), NONLIN (number of pixels flagged); DROPPED (names of frames left out, with reasons).
    """

    makes = "flat"
    citations = ("Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",)

    kind: str = Field("flat", description="Which kind of master to make: flat.")
    smooth: int | None = Field(
        None,
        ge=8,
        description="Side of the boxes whose medians make the large-scale shape of a frame; none to leave it.",
        json_schema_extra={"unit": "pixel"},
    )
    clouds: float | None = Field(
        None, gt=0.0, description="Largest deviation from the median large-scale shape, as a fraction; none for any."
    )
    high: float | None = Field(
        None,
        gt=0.0,
        description="Level from which on a frame takes part in the master; none for all.",
        json_schema_extra={"unit": "unit of the frames"},
    )
    low: float | None = Field(
        None,
        gt=0.0,
        description="Level up to which a frame is held against the master to find pixels that are not linear.",
        json_schema_extra={"unit": "unit of the frames"},
    )
    nonlinear: float = Field(
        0.02,
        gt=0.0,
        description="Fraction by which the response of a pixel may differ between bright and faint frames.",
    )

    @model_validator(mode="after")
    def _levels_apart(self) -> Self:
        if self.low is not None and (self.high is None or self.low >= self.high):
            raise ValueError("low is for frames to be held against the bright ones: give high too, above low")
        return self

    def build(self, stack: Stack) -> CCDData:
        """Combine the frames of a stack.

        Raises
        ------
        FrameError
            If there are fewer than two frames to combine, one has no light, or all are cloudy.
        """
        import numpy as np

        from albireo import Flag, image
        from albireo_combine.adjusted import Adjusted
        from albireo_combine.levels import level_of
        from albireo_combine.response import not_linear

        levels = np.array([level_of(stack, index) for index in range(len(stack))])
        bright = [i for i, level in enumerate(levels) if self.high is None or level >= self.high]
        faint = [i for i, level in enumerate(levels) if self.low is not None and level <= self.low]
        if self.high is not None and not bright:
            raise FrameError(f"no flat has the level {self.high:g} {stack.unit}; the brightest has {levels.max():g}")
        master, meta = self._combined(Adjusted(stack, bright))
        between = {
            stack.frames[i].name: f"its level of {levels[i]:.0f} {stack.unit} is below high = {self.high:g}"
            for i in range(len(stack))
            if i not in bright and i not in faint
        }
        if between:
            meta["DROPPED"] = {**between, **meta.get("DROPPED", {})}
        flags = np.where(np.isfinite(master.data), np.uint16(0), np.uint16(Flag.NO_DATA))
        if faint:
            other, _ = self._combined(Adjusted(stack, faint))
            odd = not_linear(master, other, self.smooth or self.box, self.nonlinear)
            flags[odd] |= np.uint16(Flag.NON_LINEAR)
            meta["NONLIN"] = int(odd.sum())
        return image(master.data, "", variance=master.variance, flags=flags, planes=master.planes, meta=meta)

    def _combined(self, stack: Stack) -> tuple[Combined, dict[str, Any]]:
        """Combine the frames that are not cloudy, around one; with cards."""
        seen = self.look(stack)
        shapes = self._shapes(stack, seen)
        reasons = self._cloudy(stack, shapes)
        kept = [i for i in range(len(stack)) if i not in reasons]
        if not kept:
            raise FrameError(
                f"all {len(stack)} flats differ by more than {self.clouds:g} from their median large-scale shape; "
                "raise clouds, or take flats of a clear sky"
            )
        combined, meta = self.clipped_mean(stack, seen, kept, [shapes[i] for i in kept] if self.smooth else [])
        meta["CLOUDY"] = len(reasons)
        if reasons:
            meta["DROPPED"] = {stack.frames[i].name: reason for i, reason in reasons.items()}
        return combined, meta

    def _cloudy(self, stack: Stack, shapes: list[Surface]) -> dict[int, str]:
        """Say of each cloudy frame, by its number, how far it is off."""
        import numpy as np

        limit = self.clouds
        if limit is None:
            return {}
        off = [float(np.nanmax(np.abs(shape.grid - 1.0))) for shape in shapes]
        return {
            i: f"its large-scale shape differs by {100 * far:.1f} % from the others, by more than {100 * limit:.3g} %"
            for i, far in enumerate(off)
            if far > limit
        }

    def _shapes(self, stack: Stack, seen: Survey) -> list[Surface]:
        """Large-scale shape of each frame relative to the median of all; none where nothing asks for them."""
        import numpy as np

        from albireo_combine.surface import Surface

        if self.smooth is None and self.clouds is None:
            return []
        grids = np.array([Surface.of(seen.ratio(stack, i), self.smooth or self.box).grid for i in range(len(stack))])
        usual = np.median(grids, axis=0)
        return [Surface(grid / usual, stack.shape) for grid in grids]
