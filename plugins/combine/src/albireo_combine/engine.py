"""Which code combines: the compiled kernel, or plain numpy where numba cannot be imported."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

BLOCK = 1 << 15
"""Pixels that a thread takes at a time; a multiple of the kernel's tile."""


def block_function(n: int) -> Callable[..., None]:
    """Give the function that combines a block of pixels of ``n`` frames; see `albireo_combine.reference`."""
    try:
        from albireo_combine import kernels
    except ImportError as error:
        from albireo_combine import reference

        logging.getLogger(__name__).warning(
            "numba cannot be used (%s); masters are combined by numpy, about fifty times slower, with equal results",
            error,
        )
        return reference.combine_block

    comparators = kernels.comparators(n)

    def compiled(values: Any, start: int, stop: int, *rest: Any) -> None:
        kernels.combine_block(values, start, stop, comparators, *rest)

    return compiled
