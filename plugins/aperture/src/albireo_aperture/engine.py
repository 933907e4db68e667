"""Loops over pixels are compiled where numba can be imported, and run as plain Python, slowly, where it cannot.

A module with such loops is imported inside methods only, because the import of numba takes time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from albireo import kernel

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called, with the cache on disk where a folder can be written."""
    try:
        # With numpy's rules for division: no test for zero, which the callers rule out.
        fast: Callable[..., Any] = kernel(error_model="numpy")(function)
    except ImportError as error:
        logging.getLogger(__name__).warning(
            "numba cannot be used (%s); stars are measured by plain Python, some hundred times slower", error
        )
        return function
    return fast
