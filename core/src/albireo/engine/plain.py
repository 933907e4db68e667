"""Steps run by numpy, strip by strip, so that a strip stays in the cache while all steps pass over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.engine.steps import Canvas, Op, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["run"]


def run(steps: list[Step], canvas: Canvas, rows: int) -> None:
    """Fill the planes of the result, ``rows`` rows at a time."""
    ny, nx = canvas.shape
    scratch = np.empty((rows, nx), dtype=np.float32)
    marks = np.empty((rows, nx), dtype=np.bool_)
    with np.errstate(all="ignore"):
        for start in range(0, ny, rows):
            strip = slice(start, min(start + rows, ny))
            x, bits, mask = canvas.out[strip], canvas.out_flags[strip], canvas.out_mask[strip]
            spare, mark = scratch[: len(x)], marks[: len(x)]
            np.copyto(x, canvas.data[strip])
            np.copyto(bits, canvas.flags[strip])
            v = None if canvas.out_variance is None else canvas.out_variance[strip]
            if v is not None:
                v[...] = 0.0 if canvas.variance is None else canvas.variance[strip]
            for step in steps:
                planes = [plane[strip] if plane.shape[0] > 1 else plane for plane in step.planes]
                _do(step, planes, x, v, bits, spare, mark)
            np.isfinite(x, out=mark)
            if not mark.all():
                bits[~mark] |= np.uint16(canvas.no_data)
            np.not_equal(bits & np.uint16(canvas.masked), 0, out=mask)


def _do(
    step: Step,
    planes: Sequence[NDArray[Any]],
    x: NDArray[np.float32],
    v: NDArray[np.float32] | None,
    bits: NDArray[np.uint16],
    spare: NDArray[np.float32],
    mark: NDArray[np.bool_],
) -> None:
    match step.op:
        case Op.SUBTRACT:
            (p, q), (a, b) = planes, step.numbers
            x -= _scaled(p, a, spare)
            if v is not None and b != 0.0:
                v += _scaled(q, b, spare)
        case Op.NOISE:
            assert v is not None, "noise is begun where there is a variance"
            p, q = planes
            np.maximum(x, np.float32(0.0), out=spare)
            spare *= p
            spare += q
            v += spare
        case Op.FLAG_ABOVE:
            np.greater(x, np.float32(step.numbers[0]), out=mark)
            if mark.any():
                bits[mark] |= np.uint16(step.bits)
        case Op.LINEARISE:
            half = len(step.numbers) // 2
            if v is not None:
                slope = _polynomial(x, step.numbers[half:], spare)
                v *= np.square(slope, out=slope)
            x *= _polynomial(x, step.numbers[:half], spare)
        case Op.MULTIPLY:
            (p,) = planes
            x *= p
            if v is not None:
                v *= np.square(p, out=_part(spare, p))
        case Op.DIVIDE:
            p, q = planes
            x /= p
            if v is not None:
                if step.numbers[0] != 0.0:
                    np.square(x, out=spare)
                    spare *= q
                    v += spare
                v /= np.square(p, out=_part(spare, p))
            np.greater(p, 0.0, out=mark)
            if not mark.all():
                np.logical_not(mark, out=mark)
                x[mark] = np.nan
                if v is not None:
                    v[mark] = np.nan
        case Op.FLAG:
            bits |= planes[0]


def _part(spare: NDArray[np.float32], plane: NDArray[Any]) -> NDArray[np.float32]:
    """Scratch space of the shape of a plane."""
    return spare[: plane.shape[0], : plane.shape[1]]


def _scaled(plane: NDArray[np.float32], scale: float, spare: NDArray[np.float32]) -> NDArray[np.float32]:
    return plane if scale == 1.0 else np.multiply(plane, np.float32(scale), out=_part(spare, plane))


def _polynomial(x: NDArray[np.float32], coefficients: Sequence[float], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evaluate c0 + c1 x + c2 x**2 + ... by Horner's rule."""
    out[...] = np.float32(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        out *= x
        out += np.float32(coefficient)
    return out
