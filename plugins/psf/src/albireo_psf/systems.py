"""The equations of stars that stand alone, and of stars whose light overlaps.

Both are asked the same: weigh the pixels by the noise to be expected of a model, and solve for the unknowns of all
stars. Stars that stand alone need no more than blocks of their own, which costs a tenth of what sparse matrices do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from albireo_psf.solve import RIDGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_psf.cuts import Cuts

__all__ = ["Alone", "Answer", "System", "Together"]


@dataclass(frozen=True, eq=False)
class Answer:
    """The solution for n stars with k unknowns each.

    Attributes
    ----------
    value, variance : ndarray, shape (n, k)
        Infinite variance where there is nothing to tell.
    inflation : ndarray, shape (n,)
        Variance of the first unknown relative to that of a star alone, in a known place, under a known sky.
    sky, sky_variance : ndarray, shape (n,)
        The constant in the light around each star; zeros if none is fitted.
    """

    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    inflation: NDArray[np.float64]
    sky: NDArray[np.float64]
    sky_variance: NDArray[np.float64]


class System(Protocol):
    """Pixels of stars, and how to solve for what they tell."""

    @property
    def weight(self) -> NDArray[np.float64]:
        """One over the expected variance of each pixel, zero where it does not take part: shape of the cuts."""

    def weigh(self, shares: NDArray[np.float64], flux: NDArray[np.float64]) -> None:
        """Take the weights that go with stars of these fluxes, whose shares have the shape of the cuts."""

    def solve(self, columns: NDArray[np.float64], *, variances: bool = True) -> Answer:
        """Solve for columns of shape (n, k, side, side), the first of which are the shares.

        Without variances they may be NaN.
        """


class Alone:
    """Stars that share no pixel."""

    def __init__(self, cuts: Cuts, used: NDArray[np.bool_], sky: bool) -> None:
        self.cuts, self.used, self.sky = cuts, used, sky
        self._weight = used / cuts.floor

    @property
    def weight(self) -> NDArray[np.float64]:
        """The weights of the pixels around each star."""
        return self._weight

    def weigh(self, shares: NDArray[np.float64], flux: NDArray[np.float64]) -> None:
        """Take the weights that go with these fluxes."""
        scale = (self.cuts.gain * np.maximum(flux, 0.0))[:, None, None]
        self._weight = self.used / (self.cuts.floor + scale * np.maximum(shares, 0.0))

    def solve(self, columns: NDArray[np.float64], *, variances: bool = True) -> Answer:
        """Solve star by star."""
        del variances  # they cost nothing here
        n, k = columns.shape[:2]
        basis = columns.reshape(n, k, -1)
        weight, light = self._weight.reshape(n, 1, -1), self.cuts.light.reshape(n, -1, 1)
        weighted = basis * weight
        normal = weighted @ basis.transpose(0, 2, 1)
        right = (weighted @ light)[:, :, 0]
        own = normal[:, 0, 0].copy()
        steps = np.arange(k)
        diagonal = normal[:, steps, steps]
        known = diagonal > 0
        # Where fewer pixels are left than unknowns, the ridge gives these a variance that says so.
        normal[:, steps, steps] += np.where(known, RIDGE * diagonal, 1.0)
        level = level_variance = np.zeros(n)
        if self.sky:
            sums, total = weighted.sum(axis=2), (weight @ light)[:, 0, 0]
            weights = np.maximum(weight.sum(axis=(1, 2)), np.finfo(float).tiny)
            normal -= sums[:, :, None] * sums[:, None, :] / weights[:, None, None]
            right = right - sums * (total / weights)[:, None]
        inverse = np.linalg.inv(normal)
        value = (inverse @ right[:, :, None])[:, :, 0]
        if self.sky:
            shift = sums / weights[:, None]
            level = total / weights - (shift * value).sum(axis=1)
            level_variance = 1.0 / weights + (shift[:, None, :] @ inverse @ shift[:, :, None])[:, 0, 0]
        variance = np.where(known, inverse[:, steps, steps], np.inf)
        return Answer(value, variance, inverse[:, 0, 0] * own, level, level_variance)


class Together:
    """Stars whose light overlaps: every pixel near one of them counts once."""

    def __init__(self, cuts: Cuts, used: NDArray[np.bool_], sky: bool, size: int) -> None:
        """Number the pixels; ``size`` is that of the image."""
        self.sky = sky
        pixels = np.unique(cuts.index[used])
        number = np.zeros(size, dtype=np.int32)  # pages of memory that nobody touches are never made
        number[pixels] = np.arange(1, len(pixels) + 1)
        self.number = np.where(cuts.inside, number[cuts.index], 0) - 1
        self.light, self.floor, self.gain = (np.empty(len(pixels)) for _ in range(3))
        at = self.number[used]
        self.light[at], self.floor[at] = cuts.light[used], cuts.floor[used]
        self.gain[at] = np.broadcast_to(cuts.gain[:, None, None], used.shape)[used]
        self.pixel_weight = 1.0 / self.floor

    @property
    def weight(self) -> NDArray[np.float64]:
        """The weights of the pixels around each star."""
        return np.where(self.number >= 0, self.pixel_weight[self.number], 0.0)

    def _matrix(self, columns: NDArray[np.float64]) -> object:
        """One sparse column for each unknown: all of the first star, all of the second, and so on."""
        from scipy.sparse import csc_matrix

        n, k = columns.shape[:2]
        rows = np.broadcast_to(self.number[:, None], columns.shape)
        there = (rows >= 0) & (columns != 0)
        ends = np.concatenate([[0], np.cumsum(there.sum(axis=(2, 3)).ravel())])
        return csc_matrix((columns[there], rows[there], ends), shape=(len(self.light), n * k))

    def weigh(self, shares: NDArray[np.float64], flux: NDArray[np.float64]) -> None:
        """Take the weights that go with these fluxes."""
        model = self._matrix(shares[:, None]) @ flux  # type: ignore[operator]
        self.pixel_weight = 1.0 / (self.floor + self.gain * np.maximum(model, 0.0))

    def solve(self, columns: NDArray[np.float64], *, variances: bool = True) -> Answer:
        """Solve group by group."""
        from albireo_psf.solve import solve_groups

        found = solve_groups(self._matrix(columns), self.light, self.pixel_weight, self.sky, variances)
        shape = columns.shape[:2]
        group = found.group.reshape(shape)[:, 0]
        return Answer(
            found.value.reshape(shape),
            found.variance.reshape(shape),
            found.inflation.reshape(shape)[:, 0],
            found.sky[group],
            found.sky_variance[group],
        )
