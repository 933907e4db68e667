"""Which code does the two steps that take time: compiled kernels, or plain numpy where numba cannot be imported."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from albireo_lacosmic import reference

__all__ = ["PLAIN", "Engine", "compiled", "engine"]

ROOM = 1 << 16
"""Places that the first screening has room for; with more it runs a second time."""


class Engine(NamedTuple):
    """The two steps; see `albireo_lacosmic.reference` for what they take and give."""

    screen: Callable[
        [NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], np.float32],
        NDArray[np.int64],
    ]
    medians: Callable[..., tuple[NDArray[np.float32], NDArray[np.int64]]]


PLAIN = Engine(reference.screen, reference.medians)


def compiled() -> Engine:
    """Give the compiled steps.

    Raises
    ------
    ImportError
        If numba cannot be imported.
    """
    from albireo_lacosmic import kernels

    def screen(
        pixels: NDArray[np.float32], variance: NDArray[np.float32], closed: NDArray[np.bool_], limit: np.float32
    ) -> NDArray[np.int64]:
        found = np.empty(ROOM, dtype=np.int64)
        number = kernels.screen(pixels, variance, closed, limit, found)
        if number > ROOM:
            found = np.empty(number, dtype=np.int64)
            kernels.screen(pixels, variance, closed, limit, found)
        return found[:number]

    return Engine(screen, kernels.medians)


def engine() -> Engine:
    """Give the fastest steps that run here."""
    try:
        return compiled()
    except ImportError as error:
        logging.getLogger(__name__).warning(
            "numba cannot be used (%s); cosmic rays are searched by numpy, slower, with equal results", error
        )
        return PLAIN
