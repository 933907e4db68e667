"""Which code combines: the compiled kernels, or plain numpy where numba cannot be imported."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 1 << 15
"""Pixels that a thread takes at a time; a multiple of the kernel's tile."""


def block_function(n: int) -> Callable[..., None]:
    """Give the function that combines a block of pixels of ``n`` frames; see `albireo_combine.reference`."""
    try:
        from albireo_combine import kernels
    except ImportError as error:
        from albireo_combine import reference

        _warn(error)
        return reference.combine_block

    network = kernels.network(n)

    def compiled(values: Any, start: int, stop: int, *rest: Any) -> None:
        kernels.combine_block(values, start, stop, network, *rest)

    return compiled


def weighted_function(noise: NDArray[np.float64], order: NDArray[np.int64]) -> Callable[..., None]:
    """Give the function that makes weighted means of a block, with the arguments of `block_function`.

    Parameters
    ----------
    noise : ndarray, shape (n, 2)
        Floor and slope of the variance of each frame.
    order : ndarray, shape (n,)
        In which frames are added.
    """
    function: Callable[..., None]
    try:
        from albireo_combine import weighted_kernels

        function = weighted_kernels.weigh_block
    except ImportError as error:
        from albireo_combine import reference

        _warn(error)
        function = reference.weigh_block

    def weigh(values: Any, start: int, stop: int, *rest: Any) -> None:
        _, clipping, _, _, prior, low, high, iterations, _, kept, error, *out = rest
        function(values, start, stop, noise, order, clipping, prior, low, high, iterations, kept, error, *out)

    return weigh


def _warn(error: ImportError) -> None:
    logging.getLogger(__name__).warning(
        "numba cannot be used (%s); masters are combined by numpy, about fifty times slower, with equal results", error
    )
