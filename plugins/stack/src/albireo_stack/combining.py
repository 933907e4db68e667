"""From warped frames to one image: running sums, or strips of all frames through the kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from albireo_stack.combining_kernels import clipped_mean, comparators, median_errors, medians
from albireo_stack.median_factor import median_factor
from albireo_stack.scratch import VALUES, VARIANCES, FrameStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_stack.warping import Warped

__all__ = ["Planes", "running_mean", "strip_clipped_mean", "strip_median"]

TILE = 4096
"""Pixels that a thread works on at a time."""


class Planes:
    """The planes of a stack.

    Attributes
    ----------
    data, variance, coverage : ndarray of float32
        NaN, NaN and zero where there is no value.
    count, rejected : ndarray of int32
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.data, self.variance = np.full((2, *shape), np.nan, dtype=np.float32)
        self.coverage = np.zeros(shape, dtype=np.float32)
        self.count, self.rejected = np.zeros((2, *shape), dtype=np.int32)

    def clear(self, where: NDArray[np.bool_]) -> None:
        """Take the values out of some pixels."""
        self.data[where] = self.variance[where] = np.nan
        self.coverage[where] = 0.0
        self.count[where] = self.rejected[where] = 0


def running_mean(
    shape: tuple[int, int],
    warped: Iterable[tuple[int, Warped]],
    weights: NDArray[np.float64],
    exptimes: NDArray[np.float32],
) -> Planes:
    """Average frames as they come, in double precision; nothing is rejected and nothing is kept.

    Parameters
    ----------
    shape : tuple of int
    warped : iterable of (int, Warped)
        Frames with their numbers, always in the same order.
    weights, exptimes : ndarray, shape (n,)
    """
    planes = Planes(shape)
    total, squares, weight = np.zeros((3, *shape))
    for index, frame in warped:
        w = weights[index]
        there = np.isfinite(frame.values)
        np.add(total, w * frame.values, out=total, where=there)
        np.add(squares, w**2 * frame.variances, out=squares, where=there)
        np.add(weight, w, out=weight, where=there)
        planes.coverage += exptimes[index] * there
        planes.count += there
    there = planes.count > 0
    np.divide(total, weight, out=planes.data, where=there, casting="same_kind")
    np.divide(squares, weight**2, out=planes.variance, where=there, casting="same_kind")
    return planes


def strip_median(store: FrameStore, exptimes: NDArray[np.float32], pool: ThreadPoolExecutor) -> Planes:
    """Take medians.

    The variance is that of a median of normal values: ``f n / (sum of 1 / sigma)**2``, with the factor of
    `albireo_stack.median_factor`; exact for frames of equal noise, and for many of different noise.
    """
    planes = Planes(store.shape)
    network = comparators(store.number)
    for strip in store.strips:
        values, variances = store.read(strip, VALUES), store.read(strip, VARIANCES)
        data, inverse, coverage = (
            plane[strip].reshape(-1) for plane in (planes.data, planes.variance, planes.coverage)
        )
        count = planes.count[strip].reshape(-1)
        spread = np.empty_like(data)

        def work(start: int, stop: int) -> None:
            medians(values, network, False, data, spread, start, stop)  # noqa: B023 - done before the next strip
            median_errors(values, variances, exptimes, inverse, coverage, count, start, stop)  # noqa: B023

        _in_tiles(work, data.size, pool)
    numbers = np.arange(store.number + 1)
    there = np.bincount(planes.count.reshape(-1), minlength=store.number + 1) > 0
    factors = np.array([n * median_factor(int(n)) if n and there[n] else np.nan for n in numbers])
    with np.errstate(divide="ignore"):
        planes.variance[:] = factors[planes.count] / np.square(planes.variance, dtype=np.float64)
    return planes


def strip_clipped_mean(
    store: FrameStore,
    weights: NDArray[np.float64],
    exptimes: NDArray[np.float32],
    slopes: NDArray[np.float32],
    kappa: float,
    tolerance: float,
    pool: ThreadPoolExecutor,
) -> Planes:
    """Average what is near the median.

    A value is rejected if it is farther from the median of its pixel than ``kappa`` standard deviations plus
    ``tolerance`` times the steepest step of the median image to a neighbour. The deviation is the larger of the noise
    that the value would have at the median and the scatter of all values of the pixel (1.48 times the median absolute
    deviation). The second term lets stars breathe with the seeing (as in AstroDrizzle; Fruchter and Hook 2002, PASP
    114, 144, section 4). Of two values the lower one is the middle.
    """
    planes = Planes(store.shape)
    middle, spread = np.empty((2, *store.shape), dtype=np.float32)
    network = comparators(store.number)
    for strip in store.strips:
        values = store.read(strip, VALUES)
        center, width = middle[strip].reshape(-1), spread[strip].reshape(-1)

        def find(start: int, stop: int) -> None:
            medians(values, network, True, center, width, start, stop)  # noqa: B023 - done before the next strip

        _in_tiles(find, center.size, pool)
    slack = np.float32(tolerance) * steepest(middle)
    for strip in store.strips:
        values, variances = store.read(strip, VALUES), store.read(strip, VARIANCES)
        rows = [
            plane[strip].reshape(-1)
            for plane in (
                *(middle, spread, slack),
                *(planes.data, planes.variance, planes.coverage, planes.count, planes.rejected),
            )
        ]
        given, made = rows[:3], rows[3:]

        def average(start: int, stop: int) -> None:
            clipped_mean(values, variances, *given, weights, exptimes, slopes, kappa, *made, start, stop)  # noqa: B023

        _in_tiles(average, given[0].size, pool)
    return planes


def steepest(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the largest difference of each pixel to one of its four neighbours; zero where it has none."""
    result = np.zeros_like(image)
    for axis in (0, 1):
        step = np.abs(np.diff(image, axis=axis))
        for part in (slice(None, -1), slice(1, None)):
            index = (part, slice(None)) if axis == 0 else (slice(None), part)
            np.fmax(result[index], step, out=result[index])
    return result


def _in_tiles(work: Callable[[int, int], None], pixels: int, pool: ThreadPoolExecutor) -> None:
    starts = range(0, pixels, TILE)
    list(pool.map(work, starts, (min(start + TILE, pixels) for start in starts)))
