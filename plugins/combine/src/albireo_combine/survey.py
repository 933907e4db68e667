"""A first look at frames of the sky: how bright each is, what all of them share, and where stars cover it.

What they share comes first: of the values of each pixel, scaled to one level, the upper three fifths are left out and
the others averaged, so that a star that stays at one place in half of the frames leaves no trace there, where a median
would keep it. What a frame has on top of that are its stars. The level of each frame is then measured again, without
them and relative to what is shared, so that stars and vignetting do not enter it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import FrameError
from albireo_combine.combining import combine_strips
from albireo_combine.levels import level_of, median_of
from albireo_combine.noise import pair_noise, sampled
from albireo_combine.objects import Masks, find_objects
from albireo_combine.rules import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Stack

LEAST = 2
"""Frames that are needed to tell what they share from what only one has."""

PAIRS = 8
"""Pairs of frames that are enough to know the noise."""

SHARED = Rule(method="mean", rejection="percentile", low=0.0, high=0.6)
"""How the frames are combined to see what they share."""


@dataclass(frozen=True)
class Survey:
    """What a first look at a stack of frames of the sky gave.

    Attributes
    ----------
    levels : ndarray, shape (n,)
        Level of the sky in each frame, in the unit of the stack.
    masks : Masks
        Where stars are.
    shared : ndarray of float32
        What the frames have in common, around one.
    """

    levels: NDArray[np.float64]
    masks: Masks
    shared: NDArray[np.float32]

    def ratio(self, stack: Stack, index: int) -> NDArray[np.float32]:
        """One frame over what all share, around one, without its stars."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = stack.pixels(index) / (self.shared * np.float32(self.levels[index]))
        ratio[~np.isfinite(ratio)] = np.nan
        covered = self.masks(index, slice(0, len(ratio)))
        if covered is not None:
            ratio[covered] = np.nan
        return np.asarray(ratio, dtype=np.float32)


def look(stack: Stack, threshold: float, grow: float, box: int) -> Survey:
    """Look through a stack.

    Parameters
    ----------
    stack : Stack
    threshold, grow, box
        See `albireo_combine.objects.find_objects`.

    Raises
    ------
    FrameError
        If there are fewer than three frames, or one has no light.
    """
    if len(stack) < LEAST:
        raise FrameError(
            f"a stack of {len(stack)} is too few to find stars: at least {LEAST} frames are needed to tell what they "
            'share. Take more, or use the builder "combine", which masks no stars'
        )
    rows = sampled(stack.shape)
    levels = np.array([level_of(stack, index) for index in range(len(stack))])
    shared = combine_strips(stack, 1.0 / levels, SHARED).data
    shared /= np.float32(median_of(shared))
    found = []
    for index in range(len(stack)):
        excess = stack.pixels(index) / np.float32(levels[index]) - shared
        found.append(find_objects(excess, threshold, grow, box))
    survey = Survey(levels, Masks(found, stack.shape[1]), shared)
    again = np.array([np.nanmedian(survey.ratio(stack, index)[rows]) for index in range(len(stack))])
    return Survey(levels * again, survey.masks, shared)


def expected_noise(stack: Stack, levels: NDArray[np.float64], masks: Masks | None = None) -> tuple[float, float]:
    """Floor and slope of the variance of one value of frames that are divided by their levels; the mean of all frames.

    Half the variance of the difference of two frames is the mean of theirs. Pairs of frames go by name, whatever the
    order of the stack, and evenly through it, because the noise of a twilight grows with every frame.
    """
    rows = sampled(stack.shape)
    order = sorted(range(len(stack)), key=lambda index: stack.frames[index].name)
    pairs = list(zip(order[::2], [*order[1::2], order[0]], strict=False))  # an odd one goes with the first

    def sample(index: int) -> NDArray[np.float32]:
        pixels = stack.pixels(index) / np.float32(levels[index])
        covered = None if masks is None else masks(index, slice(0, len(pixels)))
        return pixels[rows] if covered is None else np.where(covered, np.float32(np.nan), pixels)[rows]

    step = -(-len(pairs) // PAIRS)
    lines = [pair_noise(sample(one), sample(other), with_light=True) for one, other in pairs[::step]]
    floor, slope = np.mean(lines, axis=0)
    return float(floor), float(slope)
