"""Frames of the sky as fringes around zero: without background and objects, in units of the level of the sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from albireo_combine.adjusted import Adjusted
from albireo_combine.combining import Combined, combine_strips
from albireo_combine.noise import sampled
from albireo_combine.objects import Masks
from albireo_combine.rules import MAD_TO_SIGMA, Rule
from albireo_combine.surface import Surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Stack

OUTLIER = 4.0
"""Widths of the distribution beyond which a pixel does not take part in the fit of a contrast."""

LEAST_WIDTH = 1e-12
"""Of the noise of a frame, in units of its level; keeps the weights of frames without noise finite."""

ROUNDS = 3
"""Rounds of that fit."""


@dataclass(frozen=True)
class FringeFrames:
    """Frames of a stack with what is needed to see their fringes.

    Attributes
    ----------
    stack : Stack
    levels : ndarray, shape (n,)
        Of the sky in each frame.
    masks : Masks
        Where objects are.
    box : int
        Side in pixels of the boxes in which the background of a frame is measured.
    backgrounds : list of Surface
        In the unit of the stack.
    """

    stack: Stack
    levels: NDArray[np.float64]
    masks: Masks
    box: int
    backgrounds: list[Surface] = field(init=False)

    def __post_init__(self) -> None:
        found = [Surface.of(self._without_objects(index), self.box) for index in range(len(self.stack))]
        object.__setattr__(self, "backgrounds", found)

    def _without_objects(self, index: int) -> NDArray[np.float32]:
        pixels = self.stack.pixels(index)
        covered = self.masks(index, slice(0, len(pixels)))
        return pixels if covered is None else np.where(covered, np.float32(np.nan), pixels)

    def fringes(self, index: int) -> NDArray[np.float64]:
        """Fringes of one frame in units of the level of its sky; NaN under objects."""
        fringes: NDArray[np.float64] = (self._without_objects(index) - self.backgrounds[index]()) / self.levels[index]
        return fringes

    def variances(self, template: NDArray[np.float32] | None, contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Robust variance of a pixel of each frame, in units of its level squared.

        Parameters
        ----------
        template : ndarray, optional
            The fringes, as far as they are known: noise is what is left of a frame without them.
        contrasts : ndarray, shape (n,)
            How often the template goes into each frame.
        """
        rows = sampled(self.stack.shape)
        found = np.ones(len(self.stack))
        for index, amplitude in enumerate(contrasts):
            left = self.fringes(index)[rows]
            if template is not None:
                left = left - amplitude * template[rows]
            left = left[np.isfinite(left)]
            if left.size:
                width = MAD_TO_SIGMA * float(np.median(np.abs(left - np.median(left))))
                found[index] = max(width, LEAST_WIDTH) ** 2
        # A frame is a part of the template itself.
        return found if template is None else found / (1.0 - 1.0 / len(self.stack))

    def mean(
        self, clip: float, variances: NDArray[np.float64], contrasts: NDArray[np.float64], chosen: Sequence[int]
    ) -> Combined:
        """Average the fringes of some frames, divided by their contrasts and weighted by the inverse of their variance.

        Parameters
        ----------
        clip : float
            Limit of the rejection in standard deviations.
        variances, contrasts : ndarray, shape (n,)
        chosen : sequence of int
            Which frames, in rising order.
        """
        kept, amplitudes = list(chosen), contrasts[chosen]
        scaled = variances[chosen] / amplitudes**2
        rule = Rule(
            low=clip,
            high=clip,
            noise_floor=float(np.sort(scaled).mean()),
            frame_noise=tuple((float(variance), 0.0) for variance in scaled),
        )
        part = Adjusted(self.stack, kept, [self.backgrounds[i] for i in kept], subtract=True)
        masks = Masks([self.masks.ellipses[i] for i in kept], self.stack.shape[1])
        return combine_strips(part, 1.0 / (self.levels[kept] * amplitudes), rule, masks)


def contrast(fringes: NDArray[np.float64], template: NDArray[np.float32], weight: float) -> tuple[float, float]:
    """How often a template goes into the fringes of a frame that is a part of it, and the error of that.

    Least squares without outliers. What the frame itself gave to the template is taken out of it first, or noise would
    be taken for fringes; the template then lacks so much of the contrast too. The noise of the other frames makes the
    result too small, for all frames alike.

    Parameters
    ----------
    fringes : ndarray of float64
        NaN where nothing is known.
    template : ndarray of float32
    weight : float
        With which the frame entered the template, of one in all.
    """
    rows = sampled(template.shape)
    y = fringes[rows].ravel()
    x = template[rows].ravel() - weight * y
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    amplitude, error = np.nan, np.inf
    kept = np.ones(x.shape, dtype=np.bool_)
    for _ in range(ROUNDS):
        power = float((x[kept] ** 2).sum())
        if not power > 0:
            break
        amplitude = float((x[kept] * y[kept]).sum()) / power
        off = np.abs(y - amplitude * x)
        width = MAD_TO_SIGMA * float(np.median(off))
        error = width / power**0.5
        kept = off <= OUTLIER * width
    whole = 1.0 + weight * amplitude
    return amplitude / whole, error / whole**2
