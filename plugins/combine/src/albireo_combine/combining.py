"""The pass over the strips of a stack that every builder here makes: values, variance and counts of each pixel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from albireo import available_cores
from albireo_combine.engine import BLOCK, block_function, weighted_function
from albireo_combine.rules import PRIOR_WEIGHT, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo import Stack

Hidden: TypeAlias = "Callable[[int, slice], NDArray[np.bool_] | None]"
"""Which pixels of a frame, in these rows, take no part: shape (rows, nx), or None for none of them."""

THREADS = 8
"""Threads at most: more are not faster than memory."""


@dataclass(frozen=True, slots=True)
class Combined:
    """What a stack was combined to; all planes have the shape of the stack.

    Attributes
    ----------
    data : ndarray of float32
        NaN where there is no value.
    variance : ndarray of float32
        Of the data; NaN where there is no value.
    count : ndarray of uint16
        Values that made the pixel.
    rejected : ndarray of uint16
        Values that were rejected.
    totals : ndarray of int64, shape (2,)
        Numbers of values rejected and missing, over all pixels.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    count: NDArray[np.uint16]
    rejected: NDArray[np.uint16]
    totals: NDArray[np.int64]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Combined:
        """Make room for a result."""
        return cls(
            np.empty(shape, dtype=np.float32),
            np.empty(shape, dtype=np.float32),
            np.empty(shape, dtype=np.uint16),
            np.empty(shape, dtype=np.uint16),
            np.zeros(2, dtype=np.int64),
        )

    @property
    def total_rejected(self) -> int:
        """Values rejected, over all pixels."""
        return int(self.totals[0])

    @property
    def total_missing(self) -> int:
        """Values masked, over all pixels."""
        return int(self.totals[1])

    @property
    def planes(self) -> dict[str, NDArray[np.uint16]]:
        """The counts as planes of an image."""
        return {"COUNT": self.count, "REJECTED": self.rejected}

    def lines(self, rows: slice) -> tuple[Any, ...]:
        """Some rows of all planes as flat arrays, and the totals, as the kernels fill them."""
        planes = (self.data, self.variance, self.count, self.rejected)
        return (*(plane[rows].reshape(-1) for plane in planes), self.totals)


def combine_strips(
    stack: Stack, scale: NDArray[np.float64] | None, rule: Rule, hidden: Hidden | None = None
) -> Combined:
    """Combine the frames of a stack pixel by pixel.

    The result does not depend on the order of the frames, on the height of the strips or on threads.

    Parameters
    ----------
    stack : Stack
        At least one frame.
    scale : ndarray, shape (n,), optional
        Multiply each frame by a number first. The noise of the rule is that of the scaled values.
    rule : Rule
    hidden : callable, optional
        Pixels that take no part in a frame, beside those that are masked.
    """
    from albireo_combine.factors import variance_factors

    n = len(stack)
    options = arguments(rule, rule.drops(n), *variance_factors(rule, n))
    function = block_function(n)
    if rule.frame_noise:
        function = weighted_function(np.array(rule.frame_noise, dtype=np.float64), _by_name(stack))
    combined = Combined.empty(stack.shape)
    with ThreadPoolExecutor(max_workers=min(THREADS, available_cores())) as pool:
        for strip in stack.strips(scale):
            if hidden is not None:
                _hide(strip.data, strip.rows, hidden)
            values = np.ascontiguousarray(strip.data, dtype=np.float32).reshape(n, -1)
            *out, totals = combined.lines(strip.rows)

            def work(start: int, values: NDArray[np.float32] = values, out: Any = out) -> NDArray[np.int64]:
                counted = np.zeros(2, dtype=np.int64)
                function(values, start, min(start + BLOCK, values.shape[1]), *options, *out, counted)
                return counted

            for counted in pool.map(work, range(0, values.shape[1], BLOCK)):
                totals += counted
    return combined


def arguments(
    rule: Rule, drops: NDArray[np.int64], kept: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[Any, ...]:
    """Give the options of a rule in the order of the kernels; see `albireo_combine.reference.combine_block`."""
    return (
        rule.method == "median",
        rule.clipping,
        float(rule.noise_floor),
        float(rule.noise_slope),
        PRIOR_WEIGHT,
        float(rule.low),
        float(rule.high),
        rule.iterations,
        drops,
        kept,
        error,
    )


def _hide(data: NDArray[np.float32], rows: slice, hidden: Hidden) -> None:
    """Make hidden values missing; the buffer of a strip is filled anew for the next one."""
    for index in range(len(data)):
        mask = hidden(index, rows)
        if mask is not None:
            data[index][mask] = np.nan


def _by_name(stack: Stack) -> NDArray[np.int64]:
    """Give the order in which weighted values are added: by name, so that the order of the frames does not matter."""
    return np.array(sorted(range(len(stack)), key=lambda index: stack.frames[index].name), dtype=np.int64)
