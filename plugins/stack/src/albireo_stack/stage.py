"""The stacker `stack`: options, which frames take part, and what the header says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from albireo import AlignedFrames, Stacker
from albireo_stack.weighting import Scaling, Weighting

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo_stack.members import Members

__all__ = ["MeanStack"]


class MeanStack(Stacker, name="stack"):
    """Resample frames onto the reference and combine them, with rejection, weights and variance, in bounded memory.

    Each frame is read once, its sky subtracted, its light brought to that of the reference, and interpolated. Then all
    frames are combined some rows at a time; see `albireo_stack.combining` for what is rejected. What is masked in a
    frame (bad and saturated pixels, cosmic rays) has no weight, and a pixel that leans on masked neighbours by more
    than 1 % has no value; nor has one that leans on what is beyond the edge.

    The variance follows the weights of the interpolation. Neighbouring pixels of a stack are correlated: the error of a
    sum over many pixels is NOISECOR times what their variances add up to.
    """

    citations = ("Fruchter and Hook 2002, PASP 114, 144",)

    method: Literal["clipped-mean", "mean", "median"] = Field(
        "clipped-mean", description="How values become one. A mean rejects nothing, and needs no room for the frames."
    )
    kappa: float = Field(
        4.0,
        gt=0,
        description="Distance from the median beyond which a clipped mean rejects a value.",
        json_schema_extra={"unit": "standard deviation"},
    )
    tolerance: float = Field(
        1.0,
        ge=0,
        description="What a value may be off on top of that, in units of the steepest step of the median image to a "
        "neighbour: stars follow the seeing.",
    )
    weights: Weighting = Field(
        "inverse-variance",
        description="What a frame counts in a mean: its exposure time, the inverse variance of its sky, 1 / fwhm^2 "
        "(seeing), or the last two together (point-source). A median has no weights.",
    )
    scaling: Scaling = Field(
        "stars",
        description="What brings frames to the light of the reference: the stars they have in common, the exposure "
        "time, or none.",
    )
    sky: Literal["map", "constant", "none"] = Field(
        "map", description="What is subtracted from a frame: its background, the median of it, or nothing."
    )
    interpolation: Literal["bilinear", "bicubic", "lanczos3"] = Field(
        "bicubic", description="How values between pixels are made."
    )
    area: Literal["reference", "common", "union"] = Field(
        "reference", description="Which pixels the stack has: those of the reference, what all show, or what any shows."
    )

    def stack(self, frames: AlignedFrames) -> CCDData:
        """Combine the frames.

        Returns
        -------
        CCDData
            In the unit of the frames, at the light of the reference. ``meta``: METHOD, WEIGHTS, SCALING, SKYSUB,
            INTERPOL, AREA, KAPPA, NCOMBINE (frames used), NREJECT (values rejected), NOISECOR, SKYLEVEL (mean level
            subtracted), GAIN (electrons that a unit stands for in the noise), SATURATE (lowest level at which a frame
            saturates), LTV1 and LTV2.

        Raises
        ------
        FrameError
            If no frame can be used, they have no pixel in common (where that is asked for), or there is no room.
        """
        import numpy as np

        from albireo import Flag, image
        from albireo_stack.building import build
        from albireo_stack.grid import Grid, common, union
        from albireo_stack.interpolation import KERNELS
        from albireo_stack.members import choose

        members = choose(frames, self.scaling, self.weights)
        transforms = [frames[index].transform for index in members.indices]
        if self.area == "reference":
            grid = Grid(0, 0, frames.shape)
        elif self.area == "common":
            grid = common(transforms, frames.shape, KERNELS[self.interpolation][0] // 2 - 1)
        else:
            grid = union(transforms, frames.shape)
        planes, why, lost = build(frames, members, grid, self)
        planes.clear(grid.outside())
        empty = planes.count == 0
        flags = np.where(empty, why | np.uint16(Flag.NO_DATA), np.uint16(0))
        used = members.without(lost)
        return image(
            planes.data,
            frames.unit,
            variance=planes.variance,
            flags=flags,
            planes={"COUNT": planes.count, "COVERAGE": planes.coverage, "REJECTED": planes.rejected},
            meta={
                **self._cards(frames, used),
                "NREJECT": int(planes.rejected.sum()),
                "LTV1": float(-grid.x0),
                "LTV2": float(-grid.y0),
            },
        )

    def _cards(self, frames: AlignedFrames, used: Members) -> dict[str, Any]:
        from albireo_stack.noise import correlation, gain, saturation, sky_level

        cards: dict[str, Any] = {
            "METHOD": self.method,
            "WEIGHTS": "equal" if self.method == "median" else self.weights,
            "SCALING": self.scaling,
            "SKYSUB": self.sky,
            "INTERPOL": self.interpolation,
            "AREA": self.area,
            "NCOMBINE": len(used.indices),
            "NOISECOR": correlation(frames, used, self.interpolation),
            "GAIN": gain(frames, used),
            "SATURATE": saturation(frames, used, subtracted=self.sky != "none"),
            "SKYLEVEL": sky_level(frames, used) if self.sky != "none" else 0.0,
            "USED": {
                frames[index].frame.name: f"weight {weight:.4g}, times {scale:.4g}"
                for index, weight, scale in zip(used.indices, used.weights, used.scales, strict=True)
            },
            "DROPPED": used.dropped,
        }
        if self.method == "clipped-mean":
            cards["KAPPA"] = self.kappa
        return cards
