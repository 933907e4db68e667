"""How loops over pixels are compiled: with the global lock released, and kept in a cache on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["kernel"]


def kernel(signature: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with numba, with the cache on disk, or without it where no folder can be written.

    A module of kernels compiles them when it is imported, or loads them from the cache. Import such a module inside
    methods: a recipe can then be checked without numba.

    Parameters
    ----------
    signature : str, optional
        Types of the result and the arguments, as numba writes them; none to compile at the first call, for whatever
        types it has.
    **options
        More options of ``numba.njit``, such as ``error_model="numpy"``: with numpy's rules for division no divisor is
        tested for zero.

    Raises
    ------
    ImportError
        If there is no numba.
    """
    import numba

    njit: Any = numba.njit

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(signature, nogil=True, cache=True, **options)(function)
        except (RuntimeError, OSError):
            return njit(signature, nogil=True, **options)(function)

    return decorate
