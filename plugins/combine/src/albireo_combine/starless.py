"""What builders share that combine frames of the sky without its stars: options, and the clipped mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from albireo import FrameError, MasterBuilder

if TYPE_CHECKING:
    from albireo import Stack
    from albireo_combine.combining import Combined
    from albireo_combine.surface import Surface
    from albireo_combine.survey import Survey


class Starless(MasterBuilder):
    """Combines frames of the sky without its stars."""

    makes: ClassVar[str] = ""
    """The one kind of master that a builder makes."""

    threshold: float = Field(
        4.0,
        ge=2.0,
        description="Objects stand out of the smoothed frame by this much.",
        json_schema_extra={"unit": "standard deviation"},
    )
    grow: float = Field(1.7, ge=1.0, description="By what the ellipse around an object is made larger.")
    box: int = Field(
        64,
        ge=8,
        description="Side of the boxes in which the background of objects is measured; larger than any object.",
        json_schema_extra={"unit": "pixel"},
    )
    clip: float = Field(
        3.0,
        ge=1.0,
        description="Values this far from the median of their pixel are rejected.",
        json_schema_extra={"unit": "standard deviation"},
    )

    @field_validator("kind")
    @classmethod
    def _is_made(cls, value: str) -> str:
        if value != cls.makes:
            raise ValueError(f"kind {value!r} cannot be made by {cls.name}; it makes the kind {cls.makes}")
        return value

    def look(self, stack: Stack) -> Survey:
        """Find levels and stars of the frames.

        Raises
        ------
        FrameError
            If there are fewer than two frames, or one has no light.
        """
        from albireo_combine.survey import look

        return look(stack, self.threshold, self.grow, self.box)

    def clipped_mean(
        self, stack: Stack, seen: Survey, chosen: Sequence[int] | None = None, surfaces: Sequence[Surface] = ()
    ) -> tuple[Combined, dict[str, Any]]:
        """Average frames that are divided by their levels (and by a surface each), without stars.

        Parameters
        ----------
        stack : Stack
        seen : Survey
        chosen : sequence of int, optional
            Which frames, in rising order; all unless given.
        surfaces : sequence of Surface
            One for each chosen frame, or none.

        Returns
        -------
        Combined
            Around one.
        dict
            Cards: NCOMBINE, METHOD, REJECTED, MISSING, LEVELMIN, LEVELMAX, OBJECTS (ellipses that hide stars).

        Raises
        ------
        FrameError
            If no pixel has a value.
        """
        import numpy as np

        from albireo_combine.adjusted import Adjusted
        from albireo_combine.combining import combine_strips
        from albireo_combine.levels import median_of
        from albireo_combine.objects import Masks
        from albireo_combine.rules import Rule
        from albireo_combine.survey import expected_noise

        kept = list(range(len(stack))) if chosen is None else list(chosen)
        part = Adjusted(stack, kept, surfaces)
        masks, levels = Masks([seen.masks.ellipses[i] for i in kept], stack.shape[1]), seen.levels[kept]
        floor, slope = expected_noise(part, levels, masks)
        rule = Rule(low=self.clip, high=self.clip, noise_floor=floor, noise_slope=slope)
        combined = combine_strips(part, 1.0 / levels, rule, masks)
        if not np.isfinite(combined.data).any():
            raise FrameError(f"no pixel of the {self.kind} has a value: all pixels of all frames are masked")
        middle = np.float32(median_of(combined.data))
        combined.data[:] /= middle
        combined.variance[:] /= middle**2
        return combined, {
            "NCOMBINE": len(kept),
            "METHOD": "clipped mean without stars",
            "REJECTED": combined.total_rejected,
            "MISSING": combined.total_missing,
            "LEVELMIN": float(levels.min()),
            "LEVELMAX": float(levels.max()),
            "OBJECTS": sum(len(ellipses) for ellipses in masks.ellipses),
        }
