"""How the value between pixels is made: weights of the neighbours, tabulated for every phase.

A kernel with ``2 h`` taps takes, at a place ``h - 1 <= p < h`` of its own, the pixels ``i = 0 ... 2 h - 1``, with the
weight ``k(p - i)``. The weights of each phase add up to one and have their centre at the place, so that a constant and
a slope stay what they are: without the latter, Lanczos3 moves light by up to 0.03 pixel, and where the scale differs
that changes the light of a star by 1 percent. The table has `STEPS` phases to a pixel; the nearest one is taken, so a
place is off by a two-thousandth of a pixel at most, and a shift by whole pixels moves the pixels as they are.

* ``bilinear``: the triangle.
* ``bicubic``: the cubic convolution of Keys (1981, IEEE Trans. ASSP 29, 1153) with a = -0.5, exact for parabolas.
* ``lanczos3``: ``sinc(x) sinc(x / 3)`` to the third zero (Duchon 1979, J. Appl. Meteorol. 18, 1016): the sharpest, and
  it rings around what is undersampled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KERNELS", "STEPS", "noise_gain", "weights_table"]

STEPS = 1024
"""Phases to a pixel."""


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a = np.abs(x)
    near = (1.5 * a - 2.5) * a * a + 1.0
    far = ((-0.5 * a + 2.5) * a - 4.0) * a + 2.0
    return np.where(a < 1.0, near, np.where(a < 2.0, far, 0.0))


def _lanczos3(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


KERNELS: dict[str, tuple[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "bilinear": (2, _bilinear),
    "bicubic": (4, _bicubic),
    "lanczos3": (6, _lanczos3),
}
"""Number of taps and shape of each kernel, by name."""


@lru_cache
def weights_table(name: str) -> NDArray[np.float32]:
    """Give the weights of a kernel.

    Parameters
    ----------
    name : str
        One of `KERNELS`.

    Returns
    -------
    ndarray of float32, shape (STEPS + 1, taps)
        Row ``s`` is for a place ``s / STEPS`` of a pixel beyond the middle one of the taps.
    """
    taps, shape = KERNELS[name]
    place = taps // 2 - 1 + np.arange(STEPS + 1)[:, None] / STEPS
    distance = np.arange(taps) - place
    weights = shape(distance)
    weights[np.abs(weights) < 1e-12] = 0.0  # zeros of the sine, so that whole pixels need no neighbours
    # What is missing to the sum and to the centre goes to the two pixels in the middle, at -s and 1 - s.
    missing, off = 1.0 - weights.sum(axis=1), -(weights * distance).sum(axis=1)
    right = off + np.arange(STEPS + 1) / STEPS * missing
    weights[:, taps // 2 - 1] += missing - right
    weights[:, taps // 2] += right
    return weights.astype(np.float32)


def noise_gain(name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Give the mean of the sum of squared weights over some places: what interpolation leaves of the variance.

    Parameters
    ----------
    name : str
    x, y : ndarray
        Places in pixels of the image that is interpolated.
    """
    squares = (weights_table(name).astype(np.float64) ** 2).sum(axis=1)
    phases = (np.rint((axis - np.floor(axis)) * STEPS).astype(np.intp) for axis in (x, y))
    column, row = (squares[phase] for phase in phases)
    return float(np.mean(column * row))
