"""What every check of the kit is made of: ways to fail, to skip, and to compare.

A check is a function of a configured stage with a docstring that says what must hold. It returns if it holds, calls
`require` with a reason in words where it does not, and `skip` where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
from unittest import SkipTest

import numpy as np

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo.sources import Sources

__all__ = ["Check", "ConformanceWarning", "NonConformance", "Typical", "changed", "fingerprint", "require", "skip"]

Check: TypeAlias = "Callable[[Any], None]"
Typical: TypeAlias = "Callable[[Any], Iterator[tuple[str, tuple[Any, ...]]]]"
"""Gives names of methods and arguments for them, one for each kind of work of a role; the same every time."""


class NonConformance(AssertionError):
    """A stage does not keep the contract of its role."""


class ConformanceWarning(UserWarning):
    """A stage keeps its contract, and could do better."""


def require(holds: object, message: str) -> None:
    """Fail with a reason if something does not hold."""
    if not holds:
        raise NonConformance(message)


def skip(reason: str) -> NoReturn:
    """Leave a check; pytest and `certify` show the reason."""
    raise SkipTest(reason)


def fingerprint(value: Any) -> Any:
    """Turn a value into plain objects that are equal exactly if all its arrays are equal byte for byte."""
    from astropy.nddata import CCDData
    from astropy.table import Table

    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes())
    if isinstance(value, CCDData):
        uncertainty = None if value.uncertainty is None else value.uncertainty.array
        planes = {"data": value.data, "uncertainty": uncertainty, "mask": value.mask, "flags": value.flags}
        return fingerprint({**planes, "unit": str(value.unit), "meta": dict(value.meta)})
    if isinstance(value, Table):
        return {name: fingerprint(np.asarray(value[name])) for name in value.colnames}
    if isinstance(value, Mapping):
        return {str(key): fingerprint(entry) for key, entry in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: fingerprint(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, list | tuple):
        return [fingerprint(entry) for entry in value]
    return repr(value)


def changed(before: Any, after: Any, name: str = "") -> str:
    """Name the first part in which two fingerprints differ; empty if they do not."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        pairs = [(f"{name}.{key}".lstrip("."), before[key], after[key]) for key in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(f"{name}[{index}]", *pair) for index, pair in enumerate(zip(before, after, strict=True))]
    else:
        return "" if before == after else name or "the value"
    return next((part for part in (changed(b, a, key) for key, b, a in pairs) if part), "")


def with_flags(picture: CCDData, flags: NDArray[np.uint16] | None, data: NDArray[np.float32] | None = None) -> CCDData:
    """Copy an image with another flag plane (None: neither flags nor mask) and perhaps other pixels."""
    from albireo.images import image, variance_of

    variance = variance_of(picture)
    pixels = picture.data.copy() if data is None else data
    return image(
        pixels,
        str(picture.unit),
        variance=None if variance is None else variance.copy(),
        flags=None if flags is None else flags.copy(),
        meta=picture.meta,
    )


def disturbed(picture: CCDData, where: NDArray[np.bool_], value: float) -> CCDData:
    """Copy an image with some pixels flagged bad and set to a value that must not matter."""
    from albireo.images import Flag, flags_of

    flags, data = flags_of(picture).copy(), picture.data.copy()
    flags[where] |= np.uint16(Flag.BAD)
    data[where] = value
    return with_flags(picture, flags, data)


def patch(shape: tuple[int, ...], sources: Sources, index: int, dx: int = 1, dy: int = 0) -> NDArray[np.bool_]:
    """Mark two pixels beside the centre of a source."""
    where = np.zeros(shape, dtype=bool)
    row, column = round(float(sources.y[index])) + dy, round(float(sources.x[index])) + dx
    where[row : row + 2, column] = True
    return where


RUBBISH = (1e6, -1e6, float("nan"))
"""What masked pixels are filled with, in electrons: a result must not depend on it."""
