"""Memory for the planes of images, used again when nobody holds it any more.

A fresh array of many MiB costs more than what is computed into it: the system gives its pages one by one, filled with
zeros. A worker makes planes of the same sizes for each frame, so what one image leaves serves the next. An array is
taken back when the last reference to it or to a view of it is gone, never before.
"""

from __future__ import annotations

from collections import deque
from math import prod
from typing import TYPE_CHECKING, Any
from weakref import finalize

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["empty_plane"]

WORTHWHILE = 1 << 20
"""Bytes of the smallest array that is kept; the memory of smaller ones does not go back to the system at once."""

KEPT = 240 << 20
"""Bytes that are kept at most: the planes of an image of 3072 x 3080 pixels, raw and corrected, and its background."""

# Finalizers may run at any moment and in any thread: only operations that cannot be interrupted touch this.
_free: deque[NDArray[np.uint8]] = deque()


def empty_plane(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array like `numpy.empty`, of memory that was used before if there is some of this size."""
    size = prod(shape) * np.dtype(dtype).itemsize
    if size < WORTHWHILE:
        return np.empty(shape, dtype)
    memory = _taken(size)
    # The buffer between them makes this array, and not the memory, what views of it refer to.
    array = np.frombuffer(memory.data, dtype)
    finalize(array, _give_back, memory).atexit = False
    return array.reshape(shape)


def _taken(size: int) -> NDArray[np.uint8]:
    for _ in range(len(_free)):
        try:
            memory = _free.popleft()
        except IndexError:
            break
        if memory.size == size:
            return memory
        _free.append(memory)
    if _free:  # of other sizes: the oldest makes room for the sizes in use
        _free.popleft()
    return np.empty(size, dtype=np.uint8)


def _give_back(memory: NDArray[np.uint8]) -> None:
    if sum(each.size for each in tuple(_free)) + memory.size <= KEPT:
        _free.append(memory)
