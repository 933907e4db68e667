"""Steps in one compiled function, and raw counts of a file made float32.

The function goes over the image in strips of rows that fit into the second-level cache, and runs the steps over a strip
one after the other. Each step is a loop along the rows that the compiler turns into vector instructions. A master is
read once, in long runs, as the memory likes it; what passes from step to step stays in the cache. The steps of the
common chain (overscan, bias, noise, dark, gain, flat) are put together to one loop, in which a pixel stays in a
register: see `SLOTS`. Such an image takes about a third longer than copying as many bytes.

Every plane comes as address, step between rows and step between columns, so that one function serves any chain: a
row, a column and a number are planes that do not move on one axis or on both. Products and sums are not fused or
reordered, so that the bits are those of `albireo.engine.plain`.

Importing this module compiles two functions, or loads them from numba's cache on disk. They release the global lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from albireo.engine.compiling import kernel
from albireo.engine.steps import Canvas, Op, Step
from albireo.engine.threads import in_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["convert", "run"]

Function = TypeVar("Function", bound=Callable[..., Any])

SUBTRACT, NOISE, FLAG_ABOVE, LINEARISE, MULTIPLY, DIVIDE, FLAG = (int(op) for op in Op)

CHAIN = len(Op)
"""Several steps in one loop, see `_chained`."""

PLANES = 11
"""How many planes the steps of a chain have together."""

DATA, FLAGS, VARIANCE, OUT, OUT_FLAGS, OUT_VARIANCE, OUT_MASK = range(7)
"""Rows of the table of the canvas; a plane that is missing has the address zero."""

ZERO, NAN, INFINITE = np.float32(0.0), np.float32(np.nan), np.float32(np.inf)


def _copied(function: Function) -> Function:
    """Make a function whose text is copied to where it is called, so that a constant argument decides its branches."""
    return cast(Function, numba.njit(function, inline="always", error_model="numpy"))


def _part(function: Function) -> Function:
    """Make a function that is compiled with the one that calls it."""
    return cast(Function, numba.njit(function, error_model="numpy"))


def _pointer(item: Any) -> Any:
    """Make a function of compiled code that turns an address into a pointer to items."""
    kind: Any = types.CPointer(item)  # type: ignore[no-untyped-call]

    def point(context: Any, address: Any) -> Any:
        def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], target.get_value_type(signature.return_type))

        return kind(types.int64), code

    return intrinsic(point)


_float32_at, _uint16_at, _uint8_at = _pointer(types.float32), _pointer(types.uint16), _pointer(types.uint8)


@_part
def _floats(plane: Any, i: int, nx: int) -> Any:
    return numba.carray(_float32_at(plane[0] + i * plane[1]), (nx,))


@_part
def _bits(plane: Any, i: int, nx: int) -> Any:
    return numba.carray(_uint16_at(plane[0] + i * plane[1]), (nx,))


@_part
def _row(plane: Any, i: int, nx: int, spare: Any) -> Any:
    """Row ``i`` of a plane, in the scratch space if one number stands for all columns."""
    if plane[2] != 0:
        return _floats(plane, i, nx)
    spare[:] = _floats(plane, i, 1)[0]
    return spare


@_part
def _begin(canvas: Any, i: int, nx: int) -> None:
    data, x = _floats(canvas[DATA], i, nx), _floats(canvas[OUT], i, nx)
    for j in range(nx):
        x[j] = data[j]
    flags, bits = _bits(canvas[FLAGS], i, nx), _bits(canvas[OUT_FLAGS], i, nx)
    for j in range(nx):
        bits[j] = flags[j]
    if canvas[OUT_VARIANCE, 0]:
        v = _floats(canvas[OUT_VARIANCE], i, nx)
        if canvas[VARIANCE, 0]:
            variance = _floats(canvas[VARIANCE], i, nx)
            for j in range(nx):
                v[j] = variance[j]
        else:
            v[:] = ZERO


@_part
def _subtract(x: Any, v: Any, p: Any, q: Any, a: Any, b: Any, noisy: bool) -> None:
    if noisy and b != ZERO:
        for j in range(x.size):
            x[j] -= a * p[j]
            v[j] += b * q[j]
    else:
        for j in range(x.size):
            x[j] -= a * p[j]


@_part
def _noise(x: Any, v: Any, p: Any, q: Any) -> None:
    for j in range(x.size):
        signal = ZERO if x[j] <= ZERO else x[j]  # NaN stays
        v[j] += signal * p[j] + q[j]


@_part
def _polynomial(x: Any, coefficients: Any, out: Any) -> None:
    out[:] = coefficients[-1]
    for k in range(coefficients.size - 2, -1, -1):
        for j in range(x.size):
            out[j] = out[j] * x[j] + coefficients[k]


@_part
def _linearise(x: Any, v: Any, coefficients: Any, noisy: bool, out: Any) -> None:
    half = coefficients.size // 2
    if noisy:
        _polynomial(x, coefficients[half:], out)
        for j in range(x.size):
            v[j] *= out[j] * out[j]
    _polynomial(x, coefficients[:half], out)
    for j in range(x.size):
        x[j] *= out[j]


@_part
def _multiply(x: Any, v: Any, p: Any, noisy: bool) -> None:
    if noisy:
        for j in range(x.size):
            x[j] *= p[j]
            v[j] *= p[j] * p[j]
    else:
        for j in range(x.size):
            x[j] *= p[j]


@_part
def _divide(x: Any, v: Any, p: Any, q: Any, exact: bool, noisy: bool) -> None:
    if noisy and exact:
        for j in range(x.size):
            good = p[j] > ZERO
            y, w = x[j] / p[j], v[j] / (p[j] * p[j])
            x[j] = y if good else NAN
            v[j] = w if good else NAN
    elif noisy:
        for j in range(x.size):
            good = p[j] > ZERO
            y = x[j] / p[j]
            w = (v[j] + y * y * q[j]) / (p[j] * p[j])
            x[j] = y if good else NAN
            v[j] = w if good else NAN
    else:
        for j in range(x.size):
            y = x[j] / p[j]
            x[j] = y if p[j] > ZERO else NAN


@_part
def _flag_above(bits: Any, x: Any, limit: Any, raised: Any) -> None:
    for j in range(x.size):
        bits[j] |= raised if x[j] > limit else np.uint16(0)


@_part
def _flag(bits: Any, plane: Any, i: int) -> None:
    if plane[2] != 0:
        more = _bits(plane, i, bits.size)
        for j in range(bits.size):
            bits[j] |= more[j]
    else:
        one = _bits(plane, i, 1)[0]
        for j in range(bits.size):
            bits[j] |= one


@_part
def _finish(canvas: Any, i: int, nx: int, no_data: Any, masked: Any) -> None:
    x, bits = _floats(canvas[OUT], i, nx), _bits(canvas[OUT_FLAGS], i, nx)
    mask = numba.carray(_uint8_at(canvas[OUT_MASK, 0] + i * canvas[OUT_MASK, 1]), (nx,))
    for j in range(nx):
        b = bits[j] | (np.uint16(0) if abs(x[j]) < INFINITE else no_data)
        bits[j] = b
        mask[j] = (b & masked) != 0


@_copied
def _silent_chain(x: Any, level: Any, p: Any, r: Any, d: Any, numbers: Any, factor: Any, divide: bool) -> None:
    a, c = numbers[2], numbers[4]
    for j in range(x.size):
        y = ((x[j] - level) - a * p[j]) - c * r[j]
        y = y * factor
        if divide:
            good = d[j] > ZERO
            y = y / d[j]
            y = y if good else NAN
        x[j] = y


@_copied
def _noisy_chain(
    x: Any, v: Any, level: Any, level_v: Any, p: Any, q: Any, slope: Any, floor: Any, r: Any, s: Any, d: Any, e: Any,
    numbers: Any, factor: Any, divide: bool,
) -> None:  # fmt: skip
    a, b, c, f = numbers[2], numbers[3], numbers[4], numbers[5]
    factor2 = factor * factor
    for j in range(x.size):
        y = (x[j] - level) - a * p[j]
        w = (v[j] + level_v) + b * q[j]
        signal = ZERO if y <= ZERO else y  # NaN stays
        w = w + (signal * slope + floor)
        y = (y - c * r[j]) * factor
        w = (w + f * s[j]) * factor2
        if divide:
            good = d[j] > ZERO
            y = y / d[j]
            w = (w + y * y * e[j]) / (d[j] * d[j])
            y, w = y if good else NAN, w if good else NAN
        x[j] = y
        v[j] = w


@_part
def _chain(x: Any, v: Any, planes: Any, i: int, numbers: Any, noisy: bool, spare: Any) -> None:
    """Do the steps of a chain on row ``i``; planes and numbers are those of `SLOTS`, in its order."""
    nx = x.size
    level, factor = numbers[0] * _floats(planes[0], i, 1)[0], _floats(planes[8], i, 1)[0]
    p, r = _row(planes[2], i, nx, spare[0]), _row(planes[6], i, nx, spare[1])
    divide = planes[9, 0] != 0
    d = _row(planes[9], i, nx, spare[2]) if divide else p
    if noisy:
        level_v, slope, floor = (
            numbers[1] * _floats(planes[1], i, 1)[0],
            _floats(planes[4], i, 1)[0],
            _floats(planes[5], i, 1)[0],
        )
        q, s = _row(planes[3], i, nx, spare[3]), _row(planes[7], i, nx, spare[4])
        if divide:
            e = _row(planes[10], i, nx, spare[5])
            _noisy_chain(x, v, level, level_v, p, q, slope, floor, r, s, d, e, numbers, factor, True)
        else:
            _noisy_chain(x, v, level, level_v, p, q, slope, floor, r, s, d, p, numbers, factor, False)
    elif divide:
        _silent_chain(x, level, p, r, d, numbers, factor, True)
    else:
        _silent_chain(x, level, p, r, d, numbers, factor, False)


@kernel(
    "void(int64[:, ::1], int64[:, :, ::1], float32[::1], int64[:, ::1], int64, int64, int64, int64, uint16, uint16)",
    error_model="numpy",
)
def _run(
    steps: Any,
    planes: Any,
    numbers: Any,
    canvas: Any,
    first: int,
    last: int,
    nx: int,
    rows: int,
    no_data: Any,
    masked: Any,
) -> None:
    """Fill the planes of the result from row ``first`` to ``last``; `run` makes the tables."""
    noisy = canvas[OUT_VARIANCE, 0] != 0
    spare = np.empty((6, nx), dtype=np.float32)
    for top in range(first, last, rows):
        strip = range(top, min(top + rows, last))
        for i in strip:
            _begin(canvas, i, nx)
        for k in range(steps.shape[0]):
            op, number, p, q = steps[k, 0], numbers[steps[k, 1] : steps[k, 2]], planes[k, 0], planes[k, 1]
            for i in strip:
                x, v = _floats(canvas[OUT], i, nx), _floats(canvas[OUT_VARIANCE], i, nx)
                if op == CHAIN:
                    _chain(x, v, planes[k], i, number, noisy, spare)
                elif op == SUBTRACT:
                    _subtract(x, v, _row(p, i, nx, spare[0]), _row(q, i, nx, spare[1]), number[0], number[1], noisy)
                elif op == NOISE:
                    _noise(x, v, _row(p, i, nx, spare[0]), _row(q, i, nx, spare[1]))
                elif op == FLAG_ABOVE:
                    _flag_above(_bits(canvas[OUT_FLAGS], i, nx), x, number[0], np.uint16(steps[k, 3]))
                elif op == LINEARISE:
                    _linearise(x, v, number, noisy, spare[0])
                elif op == MULTIPLY:
                    _multiply(x, v, _row(p, i, nx, spare[0]), noisy)
                elif op == DIVIDE:
                    exact = number[0] == ZERO
                    _divide(x, v, _row(p, i, nx, spare[0]), _row(q, i, nx, spare[1]), exact, noisy)
                else:
                    _flag(_bits(canvas[OUT_FLAGS], i, nx), p, i)
        for i in strip:
            _finish(canvas, i, nx, no_data, masked)


Entry: TypeAlias = "tuple[int, Sequence[NDArray[Any] | None], Sequence[float], int]"
"""Operation, planes, numbers and bits, as they come to stand in the tables."""

SLOTS = (
    (Op.SUBTRACT, True),
    (Op.SUBTRACT, False),
    (Op.NOISE, True),
    (Op.SUBTRACT, False),
    (Op.MULTIPLY, True),
    (Op.DIVIDE, False),
)
"""Steps that one loop does, in this order, each of them or not; true if planes are one number in each row."""

NOISE_SLOT = 2
_ZERO, _ONE = np.zeros((1, 1), dtype=np.float32), np.ones((1, 1), dtype=np.float32)
_NOTHING = Step(Op.SUBTRACT, (_ZERO, _ZERO), (1.0, 1.0))
ABSENT = (_NOTHING, _NOTHING, Step(Op.NOISE, (_ZERO, _ZERO)), _NOTHING, Step(Op.MULTIPLY, (_ONE,)), Step(Op.DIVIDE))
"""What stands for a step that a chain does not have; none changes a bit, and without planes nothing is divided."""


def _chained(steps: Sequence[Step], noisy: bool) -> list[Entry]:
    """Put together what one loop can do.

    The common chain (overscan, bias, noise, dark, gain, flat) is one such loop, in which a pixel stays in a register.
    Flags that are added whatever the pixels are go to the end.
    """
    result: list[Entry] = []
    slots: dict[int, Step] = {}

    def close() -> None:
        if len(slots) > 1 and (NOISE_SLOT in slots or not noisy):
            filled = [slots.get(slot, absent) for slot, absent in enumerate(ABSENT)]
            planes = [plane for step in filled for plane in step.planes]
            result.append((CHAIN, planes, [number for step in filled for number in step.numbers], 0))
        else:
            result.extend((step.op, step.planes, step.numbers, step.bits) for step in slots.values())
        slots.clear()

    for step in sorted(steps, key=lambda step: step.op == Op.FLAG):  # the order of others stays
        free = [slot for slot in range(len(SLOTS)) if _fits(step, slot, noisy)]
        if not any(slot > max(slots, default=-1) for slot in free):
            close()
        if free:
            slots[next(slot for slot in free if slot > max(slots, default=-1))] = step
        else:
            result.append((step.op, step.planes, step.numbers, step.bits))
    close()
    return result


def _fits(step: Step, slot: int, noisy: bool) -> bool:
    op, narrow = SLOTS[slot]
    if step.op != op or (op == Op.DIVIDE and noisy and step.numbers[0] == 0.0):
        return False
    return not narrow or all(plane.shape[1] == 1 for plane in step.planes)


def run(steps: list[Step], canvas: Canvas, rows: int) -> None:
    """Fill the planes of the result, ``rows`` rows at a time."""
    ny, nx = canvas.shape
    kept: list[NDArray[Any]] = []  # what the tables point to lives until the end of this function

    def place(plane: NDArray[Any] | None) -> tuple[int, int, int]:
        if plane is None:
            return 0, 0, 0
        if plane.shape[1] > 1 and plane.strides[1] not in (0, plane.itemsize):
            plane = np.ascontiguousarray(plane)
        kept.append(plane)
        row, column = (0 if size == 1 else step for size, step in zip(plane.shape, plane.strides, strict=True))
        return plane.ctypes.data, row, column

    chain = _chained(steps, canvas.out_variance is not None)
    numbers: list[float] = []
    table = np.zeros((len(chain), 4), dtype=np.int64)
    planes = np.zeros((len(chain), PLANES, 3), dtype=np.int64)
    for k, (op, its_planes, its_numbers, bits) in enumerate(chain):
        table[k] = op, len(numbers), len(numbers) + len(its_numbers), bits
        numbers += its_numbers
        for which, plane in enumerate(its_planes):
            planes[k, which] = place(plane)
    order = (canvas.data, canvas.flags, canvas.variance, canvas.out, canvas.out_flags, canvas.out_variance)
    places = np.array([place(plane) for plane in (*order, canvas.out_mask)], dtype=np.int64)
    with np.errstate(over="ignore"):
        values = np.array(numbers, dtype=np.float32)

    def part(first: int, last: int) -> None:
        _run(table, planes, values, places, first, last, nx, rows, canvas.no_data, canvas.masked)

    in_parts(part, ny, nx)


@kernel("void(int64, int64, float32[:, ::1], float32)", error_model="numpy")
def _convert(address: int, step: int, out: Any, zero: Any) -> None:
    for i in range(out.shape[0]):
        row = out[i]
        stored = numba.carray(_uint16_at(address + i * step), (row.size,))
        for j in range(row.size):
            swapped = np.uint16((stored[j] << 8) | (stored[j] >> 8))
            row[j] = np.float32(np.int16(swapped)) + zero


def convert(stored: NDArray[np.int16], zero: float, out: NDArray[np.float32]) -> None:
    """Write ``stored + zero`` for the big-endian 16-bit counts of a file, in one pass.

    Parameters
    ----------
    stored : ndarray of big-endian int16, shape (ny, nx)
        Rows are contiguous.
    zero : float
        The BZERO of the file.
    out : ndarray of float32
        Of the same shape, contiguous.
    """
    address, step = stored.ctypes.data, stored.strides[0]

    def part(first: int, last: int) -> None:
        _convert(address + first * step, step, out[first:last], zero)

    in_parts(part, *out.shape)
