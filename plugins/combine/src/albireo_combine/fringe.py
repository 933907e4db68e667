"""The interference pattern that emission lines of the night sky make in a thinned chip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from albireo import Frame, FrameError
from albireo_combine.starless import Starless

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Stack
    from albireo_combine.fringe_frames import FringeFrames

FAINT = 0.1
"""Frames whose fringes have less than this part of the usual contrast tell nothing of them."""

SURE = 5.0
"""Standard deviations by which the contrast of all frames together must differ from none."""


class Fringe(Starless, name="fringe"):
    """Make the template of the fringes in one filter from frames of the sky at different places, without stars.

    The background of each frame (the median of each box of ``background`` pixels, or one level) is subtracted, and the
    frame divided by the level of its sky. Fringes follow the emission lines and not all light of the sky: with
    ``scale = "fringe"`` each frame is also divided by the contrast of its fringes, which is fitted to a first template,
    and objects are found again with the fringes taken out. Frames then weigh by the inverse of their variance in the
    clipped mean, so that those with weak fringes add no noise.

    The result is dimensionless and around zero: the fringes of the average frame in units of the level of its sky, with
    variance, COUNT, REJECTED, and `Flag.NO_DATA` where objects cover every frame.

    ``meta``: NCOMBINE, METHOD, REJECTED, MISSING, LEVELMIN, LEVELMAX, OBJECTS (number of ellipses that hide objects),
    CONTRAST (standard deviation of the template, robust, noise included), AMPMIN and AMPMAX (contrasts of the frames
    relative to their mean). Frames without fringes are left out and named in DROPPED.
    """

    makes = "fringe"
    citations = (
        "Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",
        "Snodgrass, C. & Carry, B. 2013, The Messenger, 152, 14",
    )

    kind: str = Field("fringe", description="Which kind of master to make: fringe.")
    frames: Literal["science", "sky"] = Field("science", description="Which kind of frame to make it from.")
    scale: Literal["fringe", "sky"] = Field(
        "fringe", description="By what frames are brought together: the contrast of their fringes, or their sky alone."
    )
    background: int = Field(
        128,
        ge=0,
        description=(
            "Side of the boxes in which the background of a frame is measured; larger than the distance of fringes. "
            "0 subtracts one level."
        ),
        json_schema_extra={"unit": "pixel"},
    )

    def wants(self, frame: Frame) -> bool:
        """Whether a frame is of the kind that `frames` says."""
        return frame.kind == self.frames

    def build(self, stack: Stack) -> CCDData:
        """Combine the frames of a stack.

        Raises
        ------
        FrameError
            If there are fewer than two frames, one has no light, none has fringes, or no pixel has a value.
        """
        import numpy as np

        from albireo import Flag, image
        from albireo_combine.fringe_frames import FringeFrames, contrast
        from albireo_combine.levels import median_of
        from albireo_combine.rules import MAD_TO_SIGMA

        seen = self.look(stack)
        box = self.background or max(stack.shape)
        frames = FringeFrames(stack, seen.levels, seen.masks, box)
        everything, contrasts = list(range(len(stack))), np.ones(len(stack))
        variances = frames.variances(None, contrasts)
        template = frames.mean(self.clip, variances, contrasts, everything).data
        lost: list[int] = []
        if self.scale == "fringe":
            weights = 1.0 / variances / np.sort(1.0 / variances).sum()
            fits = [contrast(frames.fringes(i), template, weights[i]) for i in everything]
            contrasts, errors = np.array(fits).T
            usual = float(np.median(contrasts))
            if not usual > SURE * np.median(errors) / len(stack) ** 0.5:
                raise FrameError(
                    f"the {len(stack)} frames share no fringes that stand out of their noise; leave the master fringe "
                    "out of the recipe"
                )
            lost = [i for i in everything if not contrasts[i] > FAINT * usual]
            contrasts = contrasts / np.sort(np.delete(contrasts, lost)).mean()
            frames = self._looked_again(frames, template, contrasts)
        chosen = [i for i in everything if i not in lost]
        master = frames.mean(self.clip, frames.variances(template, contrasts), contrasts, chosen)
        if not np.isfinite(master.data).any():
            raise FrameError("no pixel of the fringe template has a value: all pixels of all frames are masked")
        data = master.data - np.float32(median_of(master.data))
        meta: dict[str, Any] = {
            "NCOMBINE": len(chosen),
            "METHOD": "weighted clipped mean without stars",
            "REJECTED": master.total_rejected,
            "MISSING": master.total_missing,
            "LEVELMIN": float(seen.levels[chosen].min()),
            "LEVELMAX": float(seen.levels[chosen].max()),
            "OBJECTS": sum(len(frames.masks.ellipses[i]) for i in chosen),
            "CONTRAST": MAD_TO_SIGMA * median_of(np.abs(data)),
            "AMPMIN": float(contrasts[chosen].min()),
            "AMPMAX": float(contrasts[chosen].max()),
        }
        if lost:
            meta["DROPPED"] = {stack.frames[i].name: "it has hardly any fringes" for i in lost}
        flags = np.where(np.isfinite(data), np.uint16(0), np.uint16(Flag.NO_DATA))
        return image(data, "", variance=master.variance, flags=flags, planes=master.planes, meta=meta)

    def _looked_again(
        self, frames: FringeFrames, template: NDArray[np.float32], contrasts: NDArray[np.float64]
    ) -> FringeFrames:
        """Find objects in what frames have on top of their own fringes, and measure their backgrounds without them."""
        import numpy as np

        from albireo_combine.fringe_frames import FringeFrames
        from albireo_combine.objects import Masks, find_objects

        found = []
        for index, amplitude in enumerate(contrasts):
            excess = frames.stack.pixels(index) / np.float32(frames.levels[index]) - template * np.float32(amplitude)
            found.append(find_objects(excess, self.threshold, self.grow, self.box))
        return FringeFrames(frames.stack, frames.levels, Masks(found, frames.stack.shape[1]), frames.box)
