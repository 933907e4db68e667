"""How kernels are compiled: they release the global lock, and are kept in a cache on disk.

A module of kernels compiles its functions when it is imported, or loads them from the cache. It is imported inside the
methods of a stage, so that a recipe can be checked without numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from albireo import kernel

__all__ = ["compiled", "part", "reordered"]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(signature: str) -> Callable[[Function], Function]:
    """Compile for these types, with numpy's rules for division."""
    return cast("Callable[[Function], Function]", kernel(signature, error_model="numpy"))


def part(function: Function) -> Function:
    """Make a function that is compiled with the one that calls it."""
    return cast(Function, numba.njit(function, error_model="numpy"))


def reordered(function: Function) -> Function:
    """Make a part that counts: its sums may be taken in any order, so that they become vector instructions.

    Values that are not numbers keep their meaning. For counts in float32, exact up to 2**24, the order does not
    matter; a sum of other values would depend on what the compiler makes of it.
    """
    return cast(Function, numba.njit(function, fastmath={"reassoc", "nsz", "contract"}, error_model="numpy"))
