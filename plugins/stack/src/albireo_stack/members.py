"""Which frames take part in a stack, with their weights and scales, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import AlignedFrame, AlignedFrames, FrameError
from albireo_stack.grid import overlaps
from albireo_stack.weighting import Scaling, Weighting, flux_scale, weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Members", "choose"]

MISSING = {
    "exposure": "its exposure time is not known",
    "inverse-variance": "the noise of its sky is not known",
    "seeing": "the width of its stars is not known",
    "point-source": "the noise of its sky or the width of its stars is not known",
}
"""Why a frame has no weight."""


@dataclass(frozen=True, eq=False)
class Members:
    """Frames of a stack.

    Attributes
    ----------
    indices : list of int
        Which of the frames, in their order.
    weights, scales : ndarray, shape (n,)
        One for each; the mean weight is one.
    dropped : dict of str to str
        Reasons for the others, by name.
    """

    indices: list[int]
    weights: NDArray[np.float64]
    scales: NDArray[np.float64]
    dropped: dict[str, str]

    def without(self, lost: Mapping[int, tuple[str, str]]) -> Members:
        """Leave out those that could not be read: name and reason by their place in `indices`."""
        stay = [place for place in range(len(self.indices)) if place not in lost]
        return Members(
            [self.indices[place] for place in stay],
            self.weights[stay],
            self.scales[stay],
            {**self.dropped, **dict(lost[place] for place in sorted(lost))},
        )


def choose(frames: AlignedFrames, scaling: Scaling, weighting: Weighting) -> Members:
    """Give frames that overlap with the reference their weights and scales.

    Raises
    ------
    FrameError
        If there is none.
    """
    exptimes = [facts.frame.exptime for facts in frames if facts.frame.exptime > 0]
    longest = max(exptimes, default=float("nan"))
    indices: list[int] = []
    weights: list[float] = []
    scales: list[float] = []
    dropped: dict[str, str] = {}
    for index, facts in enumerate(frames):
        scale = flux_scale(facts, scaling, longest)
        counts = weight(facts, weighting, scale)
        if reason := _trouble(facts, frames.shape, scale, counts, weighting):
            dropped[facts.frame.name] = reason
        else:
            indices.append(index)
            weights.append(counts)
            scales.append(scale)
    if not indices:
        reasons = "; ".join(dict.fromkeys(dropped.values()))
        raise FrameError(f"none of {len(frames)} frames can be stacked: {reasons}")
    normal = np.array(weights) / np.mean(weights)
    return Members(indices, normal, np.array(scales), dropped)


def _trouble(facts: AlignedFrame, shape: tuple[int, int], scale: float, counts: float, weighting: Weighting) -> str:
    if not overlaps(facts.transform, shape):
        return "it shows nothing of the reference"
    if np.isnan(scale):
        return "its light cannot be compared with that of the reference: no star in common, or no exposure time"
    return "" if np.isfinite(counts) else MISSING[weighting]
