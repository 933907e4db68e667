"""Background: subtract the level of the sky, as one number or as a smooth surface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from albireo import Frame, FrameError, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms

SAMPLE = 1 << 20
"""Pixels that are enough for one level."""

LEAST = 100
"""Fewer pixels than this tell nothing of one level."""


class Background(PixelwiseCorrection, name="background"):
    """Subtract the level of the sky, for stacks and images to look at.

    Photometry in apertures with a ring of sky around each star does not need it, and does better: the ring is measured
    where the star is. The variance stays what it was, with the photon noise of the sky, plus the error of the level.
    Masked pixels take no part; pixels of stars are clipped. `albireo_calibration.mesh` says how a level is found.

    A surface follows what is not small against a box. Take boxes twenty times as wide as a star: within four times its
    width it then loses a quarter of its photon noise or less (0.2 % of 1e5 electrons, 0.03 % of 1e6, on a sky of 1000).
    """

    looks_at_pixels: ClassVar[bool] = True
    needs = frozenset({"pedestal", "flat"})
    citations = ("Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",)

    method: Literal["mesh", "global"] = Field(
        "mesh", description="'mesh': a smooth surface through the levels of boxes; 'global': one level for the image."
    )
    box: int = Field(
        128,
        ge=8,
        description="Side of the boxes; larger than anything that shall stay. Only for method = 'mesh'.",
        json_schema_extra={"unit": "pixel"},
    )
    clip: float = Field(
        3.0,
        ge=1,
        description="Pixels farther than this from the median of their box do not enter its level.",
        json_schema_extra={"unit": "standard deviation"},
    )

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Measure the level and give it to subtract.

        Raises
        ------
        FrameError
            If too few pixels are left to measure it.
        """
        import numpy as np

        from albireo import Terms
        from albireo_calibration.mesh import measure_mesh, sky_level, surface

        good = np.isfinite(image.data)
        if image.mask is not None:
            good &= ~image.mask
        if self.method == "global":
            step = max(1, image.shape[0] * image.shape[1] // SAMPLE)
            rows = slice(None, None, min(step + 1 - step % 2, image.shape[0]))
            values = image.data[rows][good[rows]]
            if values.size < LEAST:
                raise FrameError(
                    f"the sky of {frame.name} cannot be measured: {values.size} usable pixels of {good[rows].size} "
                    f"looked at, at least {LEAST} are needed; the others are masked or not numbers"
                )
            level, variance = sky_level(np.sort(values).astype(np.float64), self.clip)
            told = f"{level:.6g} +- {variance**0.5:.2g} {image.unit}"
            return Terms(subtract=level, subtract_variance=variance, note=f"background: {told}")
        mesh = measure_mesh(image.data, good, self.box, self.clip)
        if mesh is None:
            raise FrameError(
                f"the sky of {frame.name} cannot be measured: no box of {self.box} pixels has enough usable ones, "
                f"{good.sum()} of {good.size} are usable in all"
            )
        rows_and_columns = f"{mesh.levels.shape[0]} x {mesh.levels.shape[1]} boxes"
        told = f"{np.median(mesh.levels):.6g} {image.unit}, {mesh.levels.min():.6g} to {mesh.levels.max():.6g}"
        plane, error = surface(mesh, image.shape)
        return Terms(subtract=plane, subtract_variance=error, note=f"background: median {told} in {rows_and_columns}")
