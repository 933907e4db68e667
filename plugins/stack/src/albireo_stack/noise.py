"""What the header of a stack says of its noise and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo import AlignedFrames, Transform
from albireo_stack.interpolation import noise_gain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_stack.members import Members

__all__ = ["correlation", "gain", "kept_noise", "saturation", "sky_level"]

SAMPLES = 64
"""Places along each axis at which the phases of a frame are looked at."""


def kept_noise(transform: Transform, shape: tuple[int, int], kernel: str) -> float:
    """Give the fraction of the variance of a pixel that interpolation leaves, on average over the reference."""
    ny, nx = shape
    # Steps that are no simple fraction of a pixel, so that a scale or rotation shows all its phases.
    y, x = np.meshgrid(np.linspace(0, ny - 1, SAMPLES), np.linspace(0, nx - 1, SAMPLES), indexing="ij")
    whole_x, whole_y = np.rint(x), np.rint(y)
    return noise_gain(kernel, *transform(whole_x, whole_y))


def correlation(frames: AlignedFrames, used: Members, kernel: str) -> float:
    """Give the error of a sum over many pixels, over the root of the sum of their variances.

    A pixel of the frame passes all of its light on, and so its noise, to several pixels of the stack. They add it up
    again: for a frame of the variance v and the area a of a pixel of the stack in its pixels, the sum over many pixels
    has the variance ``a v`` for each, and the plane says ``a**2 q v``, with q from `kept_noise`.
    """
    summed, claimed = 0.0, 0.0
    for index, weight, scale in zip(used.indices, used.weights, used.scales, strict=True):
        facts = frames[index]
        area = facts.transform.scale**2
        noise = facts.sky_rms**2 if np.isfinite(facts.sky_rms) and facts.sky_rms > 0 else 1.0
        part = (weight * scale) ** 2 * noise * area
        summed += part
        claimed += part * area * kept_noise(facts.transform, frames.shape, kernel)
    return float(np.sqrt(summed / claimed))


def gain(frames: AlignedFrames, used: Members) -> float:
    """Give the electrons that a unit of the stack stands for in its photon noise; NaN unless frames are in electron."""
    if frames.unit != "electron":
        return float("nan")
    return float(used.weights.sum() ** 2 / (used.weights**2 * used.scales).sum())


def saturation(frames: AlignedFrames, used: Members, *, subtracted: bool) -> float:
    """Give the lowest level at which one of the frames saturates, on the scale of the stack; NaN if none is known."""
    levels: list[float] = []
    for index, scale in zip(used.indices, used.scales, strict=True):
        facts = frames[index]
        level = facts.frame.saturation * (facts.frame.gain if frames.unit == "electron" else 1.0)
        levels.append(scale * (level - (facts.sky if subtracted and np.isfinite(facts.sky) else 0.0)))
    known: NDArray[np.float64] = np.array(levels)[np.isfinite(levels)]
    return float(known.min()) if known.size else float("nan")


def sky_level(frames: AlignedFrames, used: Members) -> float:
    """Give the weighted mean of the sky of the frames, on the scale of the stack."""
    skies = np.array([frames[index].sky for index in used.indices])
    return float((used.weights * used.scales * skies).sum() / used.weights.sum())
