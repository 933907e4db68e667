"""The light that a measurement misses, from the growth of bright isolated stars up to a large aperture.

The stars of one frame have one shape, so that each flux misses the same share of the light. The share is told by the
ratio of sums over the chosen stars, of their light in the large aperture to what was measured (Howell 1989, PASP 101,
616; for weighted sums Naylor 1998, MNRAS 296, 339, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from albireo import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRIGHTEST = 30
"""Stars that the ratio is taken from at most."""

LEAST_SNR = 20.0
"""Fainter stars in the large aperture are not used."""

COMPANY = 0.003
"""A star with a neighbour brighter than this, relative to its own light, is not isolated."""

APART = 1.5
"""Neighbours within this many radii of the large aperture count."""

OUTLYING = 3.0
"""Ratios further from the median are left out, in standard deviations."""


@dataclass(frozen=True, eq=False)
class Light:
    """What a method measured of each star, for all arrays shape (n,).

    Attributes
    ----------
    flux : ndarray
    squared : ndarray
        Variance of the flux from the pixels, without that of the sky's level.
    crossed : ndarray
        Sum of weights times variance: the covariance with the sum of the same pixels, each counted as one.
    weights : ndarray
        Sum of the weights in pixels: how much the flux falls when the sky rises by one.
    """

    flux: NDArray[np.float64]
    squared: NDArray[np.float64]
    crossed: NDArray[np.float64]
    weights: NDArray[np.float64]


def bright_and_alone(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    large: Light,
    sky_err: NDArray[np.float64],
    clean: NDArray[np.bool_],
    radius: float,
) -> NDArray[np.intp]:
    """Choose the brightest stars that are clean, above the noise, and without neighbours in the list.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Of all stars, in pixels.
    large : Light
        In the large aperture.
    sky_err : ndarray, shape (n,)
        Error of the sky's level in one pixel.
    clean : ndarray of bool, shape (n,)
        Whether no flag is set.
    radius : float
        Of the large aperture, in pixels.

    Returns
    -------
    ndarray of int
        At most `BRIGHTEST`, brightest first.

    Raises
    ------
    FrameError
        If there is none.
    """
    with np.errstate(invalid="ignore"):
        noise = np.sqrt(large.squared + (large.weights * sky_err) ** 2)
        usable = np.flatnonzero(clean & (large.flux > LEAST_SNR * noise))
        chosen: list[int] = []
        for star in usable[np.argsort(-large.flux[usable], kind="stable")]:
            near = np.hypot(x - x[star], y - y[star]) < APART * radius
            near[star] = False
            if not (large.flux[near] > COMPANY * large.flux[star]).any():
                chosen.append(int(star))
            if len(chosen) == BRIGHTEST:
                break
    if not chosen:
        raise FrameError(
            f"no star tells the light beyond the aperture: none of {len(x)} stars is alone within "
            f"{APART * radius:.1f} pixels, free of flags, and {LEAST_SNR:g} times above its noise in the large "
            f'aperture of {radius:.1f} pixels; give a smaller one, or correction = "none"'
        )
    return np.asarray(chosen, dtype=np.intp)


def growth(small: Light, large: Light, sky_err: NDArray[np.float64], stars: NDArray[np.intp]) -> tuple[float, float]:
    """Measure the ratio of the light in the large aperture to what was measured.

    Parameters
    ----------
    small, large : Light
        Of all stars: as measured, and in the large aperture, which holds all pixels of the other.
    sky_err : ndarray, shape (n,)
        Error of the sky's level in one pixel.
    stars : ndarray of int
        Which to use.

    Returns
    -------
    ratio, error : float
        The error is that of the noise of both, common pixels taken into account; larger where the stars scatter more
        than that.
    """

    def variance(ratio: NDArray[np.float64] | float, at: NDArray[np.intp]) -> NDArray[np.float64]:
        """Of ``large - ratio * small``."""
        sky = ((large.weights[at] - ratio * small.weights[at]) * sky_err[at]) ** 2
        return large.squared[at] + ratio**2 * small.squared[at] - 2.0 * ratio * small.crossed[at] + sky

    ratios = large.flux[stars] / small.flux[stars]
    middle = float(np.median(ratios))
    noise = np.sqrt(variance(middle, stars)) / small.flux[stars]
    scatter = 1.4826 * float(np.median(np.abs(ratios - middle)))
    kept = stars[np.abs(ratios - middle) <= OUTLYING * np.hypot(noise, scatter)]
    ratio = float(large.flux[kept].sum() / small.flux[kept].sum())
    spread = variance(ratio, kept)
    error = float(np.sqrt(spread.sum()) / small.flux[kept].sum())
    if len(kept) > 1:
        chi2 = float(((large.flux[kept] - ratio * small.flux[kept]) ** 2 / spread).sum() / (len(kept) - 1))
        error *= max(1.0, chi2) ** 0.5
    return ratio, error
