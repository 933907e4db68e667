"""What a frame counts in a stack, and what it is multiplied by, from what is known of it before its pixels are read."""

from __future__ import annotations

from math import isfinite
from typing import Literal, TypeAlias

from albireo import AlignedFrame

__all__ = ["Scaling", "Weighting", "flux_scale", "weight"]

Weighting: TypeAlias = Literal["equal", "exposure", "inverse-variance", "seeing", "point-source"]
Scaling: TypeAlias = Literal["stars", "exposure", "none"]


def flux_scale(facts: AlignedFrame, scaling: Scaling, exptime: float) -> float:
    """Give what brings the light of a frame to that of the reference; NaN if it is not known.

    Parameters
    ----------
    facts : AlignedFrame
    scaling : str
    exptime : float
        Exposure time that ``exposure`` brings all frames to, in s.
    """
    if scaling == "none":
        return 1.0
    ratio = facts.star_flux if scaling == "stars" else facts.frame.exptime / exptime
    return 1.0 / ratio if ratio > 0 and isfinite(ratio) else float("nan")


def weight(facts: AlignedFrame, weighting: Weighting, scale: float) -> float:
    """Give the weight of a frame; NaN if what it follows from is not known.

    One number for a whole frame: weights that follow the noise of each pixel follow its light too, and pull the mean
    down.

    Parameters
    ----------
    facts : AlignedFrame
    weighting : str
    scale : float
        What the frame is multiplied by.
    """
    if weighting == "equal":
        return 1.0
    if weighting == "exposure":
        return _positive(facts.frame.exptime)
    seeing = _positive(facts.fwhm / facts.transform.scale) ** -2.0
    if weighting == "seeing":
        return seeing
    noise = _positive(scale * facts.sky_rms * facts.transform.scale) ** -2.0
    return noise if weighting == "inverse-variance" else noise * seeing


def _positive(value: float) -> float:
    return value if value > 0 and isfinite(value) else float("nan")
