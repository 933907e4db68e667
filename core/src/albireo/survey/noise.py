"""Noise and gain from pairs of frames that saw the same.

All works on square boxes, so that slow structure (gradients, drifts of the bias, vignetting) drops out, and pixels far
off (cosmic rays, stars, defects) are clipped in each box. Variances are never taken from the median absolute
deviation: counts are integers, and where the noise is a few adu it takes steps of one adu.

Photon transfer (Janesick 2001, *Scientific Charge-Coupled Devices*, chapter 2): of two exposures with the signals S1
and S2 above the bias, the second is scaled to the first by k = S1 / S2 in each box. With the gain g (e-/adu) and the
read noise R (adu) the difference has the variance

    V = S1 / g + R^2 + k^2 (S2 / g + R^2) = S1 (1 + k) / g + R^2 (1 + k^2)

whatever the response of the single pixels is, which the difference does not see. R includes the rounding to integers
(1/12 adu^2), on both sides of the equation, as the noise model of the reduction does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BOX", "Estimate", "combined", "gain_of_pair", "mean_level", "noise_of_pair"]

Array: TypeAlias = "NDArray[np.float32] | NDArray[np.float64]"

BOX = 32
"""Side of a box in pixels: a thousand pixels give its variance to 4 %, and illumination is flat across it."""

CLIP = 5.0
"""Pixels further than this many standard deviations from the mean of their box do not count."""

ROUNDS = 4

FEWEST_BOXES = 8


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes
    ----------
    value, error : float
    count : int
        How many independent values it comes from.
    """

    value: float
    error: float
    count: int = 1


def boxes(image: Array, side: int = BOX) -> NDArray[np.float64]:
    """Cut an image into boxes; what is left over at the upper and right edges is dropped.

    Parameters
    ----------
    image : ndarray
        Rows and columns. An image smaller than a box is one box.

    Returns
    -------
    ndarray of float64
        One row of pixels for each box.
    """
    ny, nx = image.shape
    height, width = min(side, ny), min(side, nx)
    rows, columns = ny // height, nx // width
    cut = np.asarray(image[: rows * height, : columns * width], dtype=np.float64)
    return cut.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(rows * columns, height * width)


def clipped(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance along the last axis, pixels far off left out; NaN never counts.

    At five standard deviations a normal distribution loses 2e-5 of its variance, which needs no correction.
    """
    good = np.isfinite(values)
    data = np.where(good, values, 0.0)
    mean = variance = np.full(values.shape[:-1], nan)
    for turn in range(ROUNDS):
        number = good.sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (data * good).sum(axis=-1) / number
            apart = data - mean[..., None]
            variance = (apart**2 * good).sum(axis=-1) / (number - 1)
            kept = good & (np.abs(apart) <= CLIP * np.sqrt(variance)[..., None])
        if turn == ROUNDS - 1 or np.array_equal(kept, good):
            break
        good = kept
    return mean, variance


def box_variance(image: Array) -> NDArray[np.float64]:
    """Variance of the pixels of each box about a plane, pixels far off left out.

    The plane takes away what differs slowly: the light of two flats never falls alike, and the bias drifts.
    """
    values = boxes(image)
    height, width = (min(BOX, size) for size in image.shape)
    mean, variance = clipped(values)
    apart = values - mean[:, None]
    with np.errstate(invalid="ignore"):
        apart[~(np.abs(apart) <= CLIP * np.sqrt(variance)[:, None])] = 0.0
    lost = 1
    for axis in np.meshgrid(
        np.arange(height) - 0.5 * (height - 1), np.arange(width) - 0.5 * (width - 1), indexing="ij"
    ):
        along = axis.ravel()
        if along.any():
            values -= (apart @ along / (along @ along))[:, None] * along
            lost += 1
    number = height * width
    corrected: NDArray[np.float64] = clipped(values)[1] * (number - 1) / max(1, number - lost)
    return corrected


def combined(estimates: Sequence[Estimate], shared: int = 0) -> Estimate:
    """Give the weighted mean of several estimates.

    Where they scatter more than their errors allow, the error of the mean grows by the square root of the reduced chi
    squared (the rule of the Particle Data Group).

    Parameters
    ----------
    estimates : sequence of Estimate
    shared : int
        Pairs of neighbouring estimates that have a frame in common. The variances of two differences with one frame in
        common are correlated by 1/4.

    Raises
    ------
    ValueError
        If there is none.
    """
    good = [e for e in estimates if isfinite(e.value) and 0 < e.error < inf]
    if not good:
        raise ValueError("there is nothing to combine")
    values = np.array([e.value for e in good])
    weights = np.array([e.error for e in good]) ** -2.0
    mean = float((weights * values).sum() / weights.sum())
    variance = 1.0 / float(weights.sum())
    if len(good) > 1:
        variance *= max(1.0, float((weights * (values - mean) ** 2).sum()) / (len(good) - 1))
        variance *= 1.0 + 2.0 * 0.25 * shared / len(good)
    return Estimate(mean, sqrt(variance), len(good))


def _mean(values: NDArray[np.float64]) -> Estimate:
    """Mean over boxes, strange ones left out, with the error from their scatter."""
    good = values[np.isfinite(values)]
    for _ in range(ROUNDS):
        middle = np.median(good)
        spread = 1.4826 * np.median(np.abs(good - middle))
        kept = good[np.abs(good - middle) <= CLIP * spread]
        if spread == 0 or len(kept) == len(good):
            break
        good = kept
    if not len(good):
        return Estimate(nan, nan, 0)
    error = float(good.std(ddof=1)) / sqrt(len(good)) if len(good) > 1 else nan
    return Estimate(float(good.mean()), error, len(good))


def mean_level(image: Array) -> float:
    """Give the mean of the normal pixels of an image; finer than the median, which is an integer."""
    return _mean(clipped(boxes(image))[0]).value


def noise_of_pair(first: Array, second: Array) -> Estimate:
    """Standard deviation of one frame from the difference of two that saw nothing.

    Parameters
    ----------
    first, second : ndarray
        Two bias frames, or their overscans, in adu.

    Returns
    -------
    Estimate
        In adu, rounding included. The value is NaN where all pixels agree.
    """
    variance = _mean(box_variance(np.subtract(first, second, dtype=np.float64)))
    if not variance.value > 0:
        return Estimate(nan, nan, 0)
    noise = sqrt(variance.value / 2.0)
    return Estimate(noise, variance.error / (4.0 * noise), variance.count)


def gain_of_pair(first: Array, second: Array, read_noise: float, limit: float = inf) -> tuple[Estimate, float]:
    """Gain from two exposures of the same even light, by photon transfer.

    Parameters
    ----------
    first, second : ndarray
        Counts above the bias, in adu, of the light-sensitive pixels.
    read_noise : float
        In adu.
    limit : float
        Boxes brighter than this do not count.

    Returns
    -------
    Estimate
        Electrons per adu; NaN where too few boxes are left.
    float
        Mean signal of the boxes that counted, in adu.
    """
    level1, level2 = (clipped(boxes(image))[0] for image in (first, second))
    typical = np.median(level1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = level1 / level2
        # Deep in the vignetted corners little is left but structure.
        good = (level1 > 0.1 * typical) & (level2 > 0) & (np.maximum(level1, level2) < limit)
    if good.sum() < min(FEWEST_BOXES, len(level1)) or not typical > 0:
        return Estimate(nan, nan, 0), nan
    scale = scale[good]
    variance = box_variance(first - _spread(scale, good, second.shape) * second)[good]
    # The inverse gain, not the gain: it is linear in the variance, so that its mean is free of bias.
    inverse = _mean((variance - read_noise**2 * (1.0 + scale**2)) / (level1[good] * (1.0 + scale)))
    if not inverse.value > 0:
        return Estimate(nan, nan, 0), nan
    return Estimate(1.0 / inverse.value, inverse.error / inverse.value**2, inverse.count), float(level1[good].mean())


def _spread(scale: NDArray[np.float64], good: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Give each pixel the factor of its box; one for boxes and edges that do not count."""
    ny, nx = shape
    height, width = min(BOX, ny), min(BOX, nx)
    each = np.ones(len(good))
    each[good] = scale
    plane = np.ones(shape)
    rows, columns = ny // height, nx // width
    whole = np.repeat(np.repeat(each.reshape(rows, columns), height, axis=0), width, axis=1)
    plane[: rows * height, : columns * width] = whole
    return plane
