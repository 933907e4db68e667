"""What a formula does not say of a star, sampled finer than the pixels (Anderson & King 2000, PASP 112, 1360).

Each pixel of each star tells the effective PSF at one place: the share of light in a pixel at that distance from the
star. Stars lie differently on the pixels, so that together they sample it finely. What is gathered here is the
difference from an elliptical profile, which is small and smooth: it is averaged on a grid, smoothed, and the average of
what is still left is added, some rounds long. Where the stars are too faint to tell, the profile alone remains; beyond
the grid it goes on too, which takes the place of a correction for light outside a radius.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from albireo_psf.shape import OUTLIER, SPARED, flux_and_sky

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import PSF
    from albireo_psf.cuts import Cuts
    from albireo_psf.shape import Fitted

__all__ = ["effective_psf"]

UNEVEN = 0.3
"""Difference from the first profile, relative to the peak of a star, that makes no outlier yet."""

ROUNDS = 5
"""Each takes what smoothing kept from the one before."""

SAMPLES = 6.0
"""Samples of the grid in a full width at half maximum, at least: then a cubic interpolates it to 1e-3 of the peak."""

FINEST = 4
"""Samples along a side of a pixel at most."""

LARGEST = 63
"""Samples on each side of the middle one at most: 64 KiB in all."""

EXPECTED = (0.1, 1e-5)
"""Difference from the profile that is expected beforehand: relative to the profile, and a share of the light."""

SMOOTH = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0


def effective_psf(cuts: Cuts, fitted: Fitted, radius: float) -> PSF:
    """Add to a fitted profile what it lacks.

    Parameters
    ----------
    cuts : Cuts
        Pixels around the stars.
    fitted : Fitted
        The profile, and each star with it.
    radius : float
        Half the side of the grid, in widths.

    Returns
    -------
    PSF
        With a grid. The shares within the grid and those of the profile beyond it add up to one. The centre is where
        the places of the sources in ``cuts`` say, on average: an uneven star has no other centre.
    """
    base = fitted.psf
    oversampling = int(np.clip(ceil(SAMPLES / base.fwhm), 1, FINEST))
    half = min(ceil(radius * base.fwhm * oversampling), cuts.reach * oversampling, LARGEST)
    stars, weight = ((fitted.flux > 0) & (fitted.weight > 0).any(axis=(1, 2)))[:, None, None], fitted.weight
    dx, dy = (
        fitted_place + float(np.median((place - fitted_place)[stars[:, 0, 0]]))
        for fitted_place, place in ((fitted.dx, cuts.dx), (fitted.dy, cuts.dy))
    )
    grid = np.zeros((2 * half + 1, 2 * half + 1))
    profile = _sampled(base, oversampling, half)
    prior = 1.0 / (EXPECTED[0] * profile + EXPECTED[1]) ** 2
    place = _Places(dx, dy, cuts.reach, oversampling, half)
    psf = base
    for turn in range(ROUNDS):
        model = psf.stamps(dx, dy, cuts.reach)
        # The light of a star, and the sky under it, are what makes the whole model fit.
        flux, sky = (values[:, None, None] for values in flux_and_sky(model, cuts.light, weight))
        flux = np.where(stars, np.maximum(flux, 0.0), 0.0)
        missing = cuts.light - sky - flux * model
        if turn > 1:
            far = OUTLIER * np.sqrt(cuts.floor + cuts.gain[:, None, None] * flux * model)
            peak = flux * model.max(axis=(1, 2), keepdims=True)
            weight = np.where(np.abs(missing) > far + SPARED * peak, 0.0, fitted.weight)
        upper, lower = _smooth(place.spread(weight * flux * missing)), _smooth(place.spread(weight * flux**2))
        grid = grid + upper / (lower + prior)
        grid = _normalised(grid, profile, oversampling)
        psf = replace(base, grid=grid.astype(np.float32), oversampling=oversampling)
    return psf


def _normalised(grid: NDArray[np.float64], profile: NDArray[np.float64], oversampling: int) -> NDArray[np.float64]:
    """Scale what is within the grid so that the grid itself has no light: the profile alone has all of it.

    Profile and grid together hold ``inner + surplus``, and should hold ``inner``, the share of the profile.
    """
    inner, surplus = profile.sum() / oversampling**2, grid.sum() / oversampling**2
    factor = inner / (inner + surplus)
    return np.asarray(factor * (profile + grid) - profile)


def _sampled(psf: PSF, oversampling: int, half: int) -> NDArray[np.float64]:
    """The share of light in a pixel at each place of the grid."""
    reach = half // oversampling + 1
    phases = np.arange(oversampling) / oversampling
    dy, dx = (axis.ravel() for axis in np.meshgrid(phases, phases, indexing="ij"))
    stamps = psf.stamps(-dx, -dy, reach).reshape(oversampling, oversampling, 2 * reach + 1, 2 * reach + 1)
    fine = stamps.transpose(2, 0, 3, 1).reshape((2 * reach + 1) * oversampling, -1)
    middle = reach * oversampling
    return np.asarray(fine[middle - half : middle + half + 1, middle - half : middle + half + 1])


class _Places:
    """Where the pixels of stars fall on the grid."""

    def __init__(
        self, dx: NDArray[np.float64], dy: NDArray[np.float64], reach: int, oversampling: int, half: int
    ) -> None:
        pixels = np.arange(-reach, reach + 1)
        self.side = 2 * half + 1
        columns, rows = (half + oversampling * (pixels - centre[:, None]) for centre in (dx, dy))
        left, below = np.floor(columns).astype(np.intp), np.floor(rows).astype(np.intp)
        self.share = (columns - left)[:, None, :], (rows - below)[:, :, None]
        self.at = left[:, None, :], below[:, :, None]

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share values of pixels out to the four samples around each of them."""
        total = np.zeros(self.side * self.side)
        for j in (0, 1):
            for i in (0, 1):
                column, row = self.at[0] + i, self.at[1] + j
                along = self.share[0] if i else 1.0 - self.share[0]
                across = self.share[1] if j else 1.0 - self.share[1]
                there = (column >= 0) & (column < self.side) & (row >= 0) & (row < self.side)
                index = np.broadcast_to(row * self.side + column, values.shape)[there]
                total += np.bincount(index, weights=(values * along * across)[there], minlength=total.size)
        return total.reshape(self.side, self.side)


def _smooth(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth along both axes with a binomial of five samples; beyond the grid is nothing."""
    for _ in range(2):
        padded = np.pad(grid, ((2, 2), (0, 0)))
        grid = sum(SMOOTH[k] * padded[k : k + len(grid)] for k in range(5)).T
    return grid
