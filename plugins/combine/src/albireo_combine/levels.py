"""What must be known of the frames of a stack before they are combined: their levels, and the noise of their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import FrameError
from albireo_combine.noise import pair_noise, sampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Stack


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels and noise of the frames of a stack.

    Attributes
    ----------
    levels : ndarray of float64, shape (n,), or None
        Median of the unmasked pixels of each frame; None for frames that are not scaled.
    noise_floor, noise_slope : float
        Expected variance of one value, after scaling to the level one where that is done: floor plus slope times level.
    frame_noise : tuple of (float, float)
        The same for each frame by itself; empty for frames that are not scaled, which have one noise.
    """

    levels: NDArray[np.float64] | None
    noise_floor: float = 0.0
    noise_slope: float = 0.0
    frame_noise: tuple[tuple[float, float], ...] = ()


def levels_of(stack: Stack, kind: str, *, scaled: bool) -> Levels:
    """Find levels (of frames that are to be scaled) and noise.

    Two frames are enough for the noise: the first two by name, whatever the order of the stack.

    Parameters
    ----------
    stack : Stack
        At least one frame.
    kind : str
        Of the master; a bias has no noise that grows with the level.
    scaled : bool
        Whether frames will be divided by their levels.

    Raises
    ------
    FrameError
        If a frame that is to be scaled has no light.
    """
    n = len(stack)
    pair = sorted(range(n), key=lambda index: stack.frames[index].name)[:2]
    levels = np.ones(n)
    samples = {}
    for index in range(n) if scaled else pair if n > 1 else ():
        sample = stack.pixels(index)[sampled(stack.shape)]
        if scaled:
            levels[index] = _level(sample, f"{kind} frame", stack, index)
        if index in pair:
            samples[index] = sample / levels[index]
    floor, slope = pair_noise(*(samples[i] for i in pair), with_light=kind != "bias") if n > 1 else (0.0, 0.0)
    if not scaled:
        return Levels(None, floor, slope)
    # In units of the level, read noise goes with 1 / level**2 and photon noise with 1 / level.
    inverse = 1.0 / levels
    floors = floor * inverse**2 / np.mean(inverse[pair] ** 2)
    slopes = slope * inverse / np.mean(inverse[pair])
    frame_noise = tuple(zip(floors.tolist(), slopes.tolist(), strict=True))
    return Levels(levels, _mean(floors), _mean(slopes), frame_noise)


def median_of(data: NDArray[np.float32]) -> float:
    """Median of the finite pixels of an image, or of a large sample of them."""
    values = data[sampled(data.shape)]
    finite = values[np.isfinite(values)]
    return float(np.median(finite if finite.size else data[np.isfinite(data)]))


def level_of(stack: Stack, index: int, *, dark: bool = False) -> float:
    """Median of a frame.

    Parameters
    ----------
    dark : bool
        Whether a frame without light may be one of the stack.

    Raises
    ------
    FrameError
        If all pixels are masked, or the level of a frame with light is not above zero.
    """
    return _level(stack.pixels(index)[sampled(stack.shape)], "frame", stack, index, dark)


def _level(sample: NDArray[np.float32], what: str, stack: Stack, index: int, dark: bool = False) -> float:
    level = float(np.nanmedian(sample)) if np.isfinite(sample).any() else float("nan")
    if not (level > 0 or (dark and np.isfinite(level))):
        raise FrameError(
            f"{what} {stack.frames[index].name} has the level {level:g} {stack.unit} after correction, so that "
            "it cannot be scaled; drop it by a [[select]] stage"
        )
    return level


def _mean(values: NDArray[np.float64]) -> float:
    """Mean that does not depend on the order of the values."""
    return float(np.sort(values).mean())
