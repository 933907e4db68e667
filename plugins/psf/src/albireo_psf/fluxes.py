"""Fluxes of stars of a known shape, and their places where asked.

The weights are one over the variance that sky, read noise and the fitted light let expect, and never that of the pixels
themselves (see `albireo_psf.cuts`). They need the fluxes, so that the linear fit is made twice: with the noise of the
sky alone, then with that of its result. A second-order change of the weights does not move the flux.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import PSF
    from albireo_psf.cuts import Cuts
    from albireo_psf.systems import Answer, System

__all__ = ["Measured", "fit_stars"]

ROUNDS = 8
"""Steps of a place at most; three are usual."""

STEP = 0.01
"""In pixels, for derivatives."""

LONGEST = 0.5
"""Pixels that a place may change in one step."""

CONVERGED = 0.05
"""Change of a place, relative to the error that a star alone would have, below which it has been found."""

BRIGHT = 5.0
"""Signal to noise from which a place is fitted."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What the fit of n stars gave.

    Attributes
    ----------
    flux : ndarray, shape (n,)
    variance : ndarray, shape (n, 3)
        Of the flux, and of x and y in square pixels: NaN where the place was not fitted.
    inflation, area, sky, sky_variance : ndarray, shape (n,)
        See `albireo_psf.systems.Answer`; the area is the noise-equivalent one, in pixels.
    dx, dy : ndarray, shape (n,)
        From the centre of the middle pixel of the cuts.
    shares : ndarray, shape of the cuts
        Of a star's light in each pixel.
    """

    flux: NDArray[np.float64]
    variance: NDArray[np.float64]
    inflation: NDArray[np.float64]
    area: NDArray[np.float64]
    sky: NDArray[np.float64]
    sky_variance: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    shares: NDArray[np.float64]


def fit_stars(cuts: Cuts, psf: PSF, system: System, tolerance: float | None) -> Measured:
    """Fit stars.

    Parameters
    ----------
    cuts : Cuts
    psf : PSF
    system : System
        Of the same cuts.
    tolerance : float or None
        How far in pixels a star may lie from where it is said to be; None keeps all in their places.
    """
    shares = psf.stamps(cuts.dx, cuts.dy, cuts.reach)
    system.weigh(shares, system.solve(shares[:, None], variances=False).value[:, 0])
    answer = system.solve(shares[:, None])
    dx, dy = cuts.dx, cuts.dy
    free = np.zeros(len(dx), dtype=bool)
    if tolerance is not None:
        answer, dx, dy, shares, free = _move(cuts, psf, system, tolerance, answer, shares)
    weighted = system.weight * shares
    with np.errstate(divide="ignore", invalid="ignore"):
        area = (weighted**2).sum(axis=(1, 2)) / (weighted * shares).sum(axis=(1, 2)) ** 2 * answer.inflation
    variance = np.full((len(dx), 3), np.nan)
    variance[:, 0] = answer.variance[:, 0]
    if free.any():
        variance[free, 1:] = answer.variance[free, 1:]
    return Measured(
        answer.value[:, 0], variance, answer.inflation, area, answer.sky, answer.sky_variance, dx, dy, shares
    )


def _move(
    cuts: Cuts, psf: PSF, system: System, tolerance: float, answer: Answer, shares: NDArray[np.float64]
) -> tuple[Answer, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Fit fluxes and places together, by Gauss and Newton; stars that wander off go back and stay."""
    dx, dy = cuts.dx.copy(), cuts.dy.copy()
    flux = answer.value[:, 0]
    with np.errstate(invalid="ignore"):
        free = flux > BRIGHT * np.sqrt(answer.variance[:, 0])
    for _ in range(ROUNDS):
        columns = _columns(psf, dx, dy, np.where(free, flux, 0.0), shares)
        answer = system.solve(columns, variances=False)
        flux = answer.value[:, 0]
        step = np.where(free[:, None], np.clip(answer.value[:, 1:], -LONGEST, LONGEST), 0.0)
        known = (system.weight[:, None] * columns[:, 1:] ** 2).sum(axis=(2, 3))
        found = np.abs(step) * np.sqrt(known) <= CONVERGED
        dx, dy = dx + step[:, 0], dy + step[:, 1]
        lost = free & (((dx - cuts.dx) ** 2 + (dy - cuts.dy) ** 2 > tolerance**2) | ~(flux > 0))
        dx[lost], dy[lost] = cuts.dx[lost], cuts.dy[lost]
        free = free & ~lost
        shares = psf.stamps(dx, dy, cuts.reach)
        system.weigh(shares, flux)
        if found.all() and not lost.any():
            break
    answer = system.solve(_columns(psf, dx, dy, np.where(free, flux, 0.0), shares))
    return answer, dx, dy, shares, free


def _columns(
    psf: PSF, dx: NDArray[np.float64], dy: NDArray[np.float64], flux: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shares, and the change of the light with x and y, of shape (n, 3, side, side)."""
    reach = shares.shape[1] // 2
    slopes = [
        (psf.stamps(dx + ex, dy + ey, reach) - psf.stamps(dx - ex, dy - ey, reach))
        * (flux / (2.0 * STEP))[:, None, None]
        for ex, ey in ((STEP, 0.0), (0.0, STEP))
    ]
    return np.stack([shares, *slopes], axis=1)
