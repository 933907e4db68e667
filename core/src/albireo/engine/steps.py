"""A chain of corrections as a list of elementary steps, and the planes they read and write."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Canvas", "Op", "Step"]


class Op(IntEnum):
    """What a step does to the pixel ``x``, its variance ``v`` and its flags, with planes p and q and numbers a, b.

    All numbers are float32, and each operation is rounded to float32, so that every way to run the steps agrees.
    """

    SUBTRACT = 0
    """``x - a p`` and ``v + b q``; v is left alone if b is zero."""
    NOISE = 1
    """``v + (max(x, 0) p + q)``."""
    FLAG_ABOVE = 2
    """Some bits (`Step.bits`) where ``x > a``."""
    LINEARISE = 3
    """``x (a0 + a1 x + ...)`` and ``v (b0 + b1 x + ...)**2``; the numbers are all a, then all b."""
    MULTIPLY = 4
    """``x p`` and ``v (p p)``."""
    DIVIDE = 5
    """``y = x / p`` and ``(v + y y q) / (p p)``, or ``v / (p p)`` if a is zero; both NaN where p is not positive."""
    FLAG = 6
    """The bits of p."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation.

    Attributes
    ----------
    op : Op
    planes : tuple of ndarray
        Two dimensions, float32 (uint16 for flags), of the size of the image or one on either axis.
    numbers : tuple of float
    bits : int
        What `Op.FLAG_ABOVE` sets.
    """

    op: Op
    planes: tuple[NDArray[Any], ...] = ()
    numbers: tuple[float, ...] = ()
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Canvas:
    """The image that comes in and the planes for the one that goes out, all of one shape.

    Attributes
    ----------
    data, flags : ndarray of float32 and of uint16
        Read only.
    variance : ndarray of float32, optional
        Read only; zero if it is missing.
    out, out_flags, out_mask : ndarray of float32, uint16 and bool
        Contiguous.
    out_variance : ndarray of float32, optional
        Without it no variance is computed.
    no_data : int
        The bit for pixels that are not finite.
    masked : int
        The bits that mask a pixel.
    """

    data: NDArray[np.float32]
    flags: NDArray[np.uint16]
    variance: NDArray[np.float32] | None
    out: NDArray[np.float32]
    out_flags: NDArray[np.uint16]
    out_mask: NDArray[np.bool_]
    out_variance: NDArray[np.float32] | None
    no_data: int
    masked: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.out.shape[0], self.out.shape[1]
