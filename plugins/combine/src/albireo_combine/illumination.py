"""The large-scale response that a flat leaves, because its light came another way than that of the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import Frame
from albireo_combine.starless import Starless

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Stack


class Illumination(Starless, name="illumination"):
    """Make an illumination correction: a smooth surface through flat-fielded frames of the sky, without stars.

    Frames of the sky, of twilight or of the targets themselves are divided by the master flat (the recipe has
    ``illumination`` after ``flat``) and by their levels, and averaged without their stars. What is left of the response
    is smooth: a polynomial or a spline through the medians of ``cell`` pixels takes its place, around one, with the
    variance that follows from the scatter of these medians about it (`albireo_combine.smooth_fit`).

    COUNT and REJECTED are those of the average under the surface. ``meta``: NCOMBINE, METHOD, REJECTED, MISSING,
    LEVELMIN, LEVELMAX, OBJECTS (number of ellipses that hide stars), NBOXES (medians that made the surface), PEAK
    (largest deviation of the surface from one).
    """

    makes = "illumination"
    citations = ("Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",)

    kind: str = Field("illumination", description="Which kind of master to make: illumination.")
    frames: Literal["science", "sky", "flat"] = Field(
        "science", description="Which kind of frame to make it from; flats must be of the sky."
    )
    variant: str | None = Field(
        None, description="Which variant of these frames, such as 'sky' of flats that are sky and dome; none for all."
    )
    surface: Literal["polynomial", "spline"] = Field("polynomial", description="What the smooth surface is.")
    degree: int = Field(2, ge=1, le=8, description="Total degree of the polynomial.")
    knots: int = Field(4, ge=1, le=16, description="Intervals of the cubic spline along each axis.")
    cell: int = Field(
        32,
        ge=4,
        description="Side of the boxes whose medians the surface goes through.",
        json_schema_extra={"unit": "pixel"},
    )

    def wants(self, frame: Frame) -> bool:
        """Whether a frame is of the kind and variant that the options say."""
        return frame.kind == self.frames and self.variant in (None, frame.variant)

    def build(self, stack: Stack) -> CCDData:
        """Combine the frames of a stack.

        Raises
        ------
        FrameError
            If there are fewer than two frames, one has no light, or too few pixels are left for the surface.
        """
        import numpy as np

        from albireo import image
        from albireo_combine.smooth_fit import fit_smooth

        master, meta = self.clipped_mean(stack, self.look(stack))
        knots = self.knots if self.surface == "spline" else 0
        data, variance, boxes = fit_smooth(master.data, self.cell, degree=self.degree, knots=knots)
        middle = float(np.median(data))
        data /= middle
        meta |= {"METHOD": f"{self.surface} through a clipped mean", "NBOXES": boxes}
        meta["PEAK"] = float(np.abs(data - 1.0).max())
        flags = np.zeros(stack.shape, dtype=np.uint16)
        return image(data, "", variance=variance / middle**2, flags=flags, planes=master.planes, meta=meta)
