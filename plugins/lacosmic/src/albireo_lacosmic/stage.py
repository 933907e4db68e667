"""The correction `cosmic-rays`: options, flags, and what becomes of the pixels that were hit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import Correction, Frame, FrameError, Frames

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo_lacosmic.planes import Planes


class CosmicRays(Correction, name="cosmic-rays"):
    """Find cosmic rays in a single frame by their sharp edges, and mask or replace their pixels (L.A.Cosmic).

    A pixel is of a ray if the Laplacian of the image stands out there by ``sigclip`` standard deviations, and
    ``objlim`` times as far as the fine structure, which a star has and a ray has not; see `albireo_lacosmic.detection`.
    Beside a ray, ``sigfrac * sigclip`` will do.

    The noise comes from the variance plane, and so knows of the sky, the read noise and the masters, in any unit and
    before or after the flat and the subtraction of the sky. Because the light of the ray itself is in the variance of
    its pixel, the median of the 5 x 5 variances around is taken, here as in all steps.

    Masked pixels and the overscan take no part and are no rays. Saturated stars are left alone up to four pixels from
    their saturated pixels. At the edge the image counts as mirrored.

    A frame with more than ``max_fraction`` of its pixels hit is at fault: that is no effect of cosmic rays.
    """

    uses_noise = True
    needs = frozenset({"electron"})
    citations = ("van Dokkum 2001, PASP 113, 1420",)

    sigclip: float = Field(
        4.5,
        gt=0,
        description="How far the Laplacian of a ray stands out of the noise.",
        json_schema_extra={"unit": "standard deviation"},
    )
    sigfrac: float = Field(0.3, gt=0, le=1, description="Fraction of sigclip that is enough beside a ray.")
    objlim: float = Field(
        5.0,
        gt=0,
        description="Least ratio of the Laplacian to the fine structure. Raise it if cores of sharp stars are taken.",
    )
    iterations: int = Field(4, ge=1, description="Rounds of search at most; each finds what the one before uncovered.")
    grow: int = Field(
        0,
        ge=0,
        le=4,
        description="Treat all pixels this near to a pixel of a ray like it, for detectors where charge spreads.",
        json_schema_extra={"unit": "pixel"},
    )
    treat: Literal["mask", "interpolate"] = Field(
        "mask",
        description="Mask the pixels, or give them the median of their good neighbours to be used with care.",
    )
    max_fraction: float = Field(
        0.02, gt=0, le=1, description="A frame with a larger fraction of its pixels hit is at fault."
    )

    def correct(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> CCDData:
        """Flag the pixels of cosmic rays, or replace them.

        Parameters
        ----------
        image : CCDData
            With variance.
        frame : Frame
            Its amplifiers tell what sees light, if the image is not trimmed.
        masters
            Not used.

        Returns
        -------
        CCDData
            With ``treat="mask"``, `Flag.COSMIC_RAY` is added, which masks a pixel, and data and variance are as they
            were. With ``treat="interpolate"``, pixels have `Flag.INTERPOLATED` instead and are not masked; their
            variance is such that the error of a sum over them and their neighbours is right. Those without a good
            neighbour, and those that are saturated, are masked then too. A line of ``meta["HISTORY"]`` says how many
            there are.

        Raises
        ------
        FrameError
            If the image has no variance, or too many pixels seem to be hit.
        """
        import numpy as np

        from albireo import Flag, flags_of, planes_of, variance_of
        from albireo import image as new_image
        from albireo_lacosmic.engine import engine
        from albireo_lacosmic.planes import Planes
        from albireo_lacosmic.repair import repaired

        known = variance_of(image)
        if known is None:
            raise FrameError(
                "the noise of this image is not known, and cosmic rays are told from noise; place `cosmic-rays` after "
                "`gain`, and give `gain` and `read_noise` in the [instrument] table if the camera does not"
            )
        data, variance, flags = image.data.copy(), known.copy(), flags_of(image).copy()
        flags[~np.isfinite(data)] |= np.uint16(Flag.NO_DATA)
        planes = Planes.of(image, _lit(image, frame), engine())
        note = "there is no good pixel"
        if planes is not None:
            hit, note = self._hit(planes)
            places = planes.outside(hit)
            marks = np.full(hit.size, Flag.COSMIC_RAY, dtype=np.uint16)
            if self.treat == "interpolate":
                values, variances, use = repaired(planes, hit)
                use &= (flags.reshape(-1)[places] & np.uint16(Flag.SATURATED)) == 0
                data.reshape(-1)[places[use]], variance.reshape(-1)[places[use]] = values[use], variances[use]
                marks[use] = Flag.INTERPOLATED
                note += f", {np.count_nonzero(use)} of them replaced"
            flags.reshape(-1)[places] |= marks
        meta = {**image.meta, "HISTORY": [*image.meta.get("HISTORY", ()), f"{self.name}: {note}"]}
        return new_image(data, str(image.unit), variance=variance, flags=flags, planes=planes_of(image), meta=meta)

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say if the read noise of this frame is missing; without it there is no variance."""
        if frame.amplifiers and all(amplifier.read_noise >= 0 for amplifier in frame.amplifiers):
            return ""
        return (
            f"the read noise of {frame.name} is not known, and without it cosmic rays cannot be told from noise; give "
            "it in electrons as `read_noise` in the [instrument] table of the recipe, or leave the correction "
            "`cosmic-rays` out"
        )

    def _hit(self, planes: Planes) -> tuple[NDArray[np.int64], str]:
        """Positions of the pixels that count as hit, in the planes, where they are holes now; and a note of them."""
        from albireo_lacosmic.detection import Limits, find_rays
        from albireo_lacosmic.rules import reached

        rays, rounds = find_rays(planes, Limits(self.sigclip, self.sigfrac, self.objlim), self.iterations)
        hit = rays
        if self.grow and rays.size:
            hit = reached(rays, self.grow, planes.columns)
            hit = hit[~planes.closed.reshape(-1)[hit]]
            planes.hole.reshape(-1)[hit] = True
        fraction = hit.size / max(1, planes.closed.size - int(planes.closed.sum()))
        if fraction > self.max_fraction:
            raise FrameError(
                f"{100 * fraction:.1f} % of the pixels look like those of cosmic rays, more than max_fraction = "
                f"{self.max_fraction:g} allows; either the noise of the image is too small (look at gain and read "
                "noise) or its stars are sharper than 1.8 pixels at half maximum (raise `objlim`); if there are really "
                "so many rays, raise `max_fraction`"
            )
        return hit, f"{hit.size} pixels ({100 * fraction:.2g} %) in {rounds} rounds"


def _lit(image: CCDData, frame: Frame) -> NDArray[np.bool_] | None:
    """Which pixels see light; None for all. Between overscan and data there is an edge like that of a ray."""
    import numpy as np

    if image.shape != frame.shape or not frame.amplifiers:
        return None
    lit = np.zeros(frame.shape, dtype=np.bool_)
    for amplifier in frame.amplifiers:
        lit[amplifier.data.slices] = True
    return None if lit.all() else lit
