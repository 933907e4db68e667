"""Small products on disk: arrays and a note of plain values in one file, quick to write and to read.

A run of thousands of frames opens several products for each. The file is a line that says what it is, the length and
the checksum of what follows, a JSON text with the note and the places of the arrays, and the arrays as they lie in
memory. A file that was cut off or damaged is found out by the checksum.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.tasks import DamagedProductError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["load_arrays", "save_arrays"]

MAGIC = b"albireo product 1\n"
_LENGTHS = struct.Struct("<QQI")
"""Bytes of the JSON text, bytes of the arrays, and the checksum (CRC-32) of both."""

ALIGNMENT = 16


def save_arrays(path: Path, arrays: Mapping[str, Any], note: Mapping[str, Any]) -> None:
    """Write arrays and a note of plain values to one file."""
    from albireo.images import atomic_path  # brings astropy, which those who only read do without

    parts: list[NDArray[Any]] = []
    places: dict[str, Any] = {}
    offset = 0
    for name, given in arrays.items():
        array = np.asarray(given, order="C")
        if array.dtype.hasobject:
            raise TypeError(f"the array {name!r} holds objects, which a product cannot")
        places[name] = [array.dtype.str, array.shape, offset]
        parts.append(array)
        offset += array.nbytes + -array.nbytes % ALIGNMENT
    body = bytearray(offset)
    for array, (_, _, begin) in zip(parts, places.values(), strict=True):
        body[begin : begin + array.nbytes] = array.tobytes()
    text = json.dumps({"note": dict(note), "arrays": places}).encode()
    text += b" " * (-(len(MAGIC) + _LENGTHS.size + len(text)) % ALIGNMENT)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + _LENGTHS.pack(len(text), offset, zlib.crc32(body, zlib.crc32(text))))
        file.write(text)
        file.write(body)


def load_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `save_arrays` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedProductError
        If it is damaged; it is removed, so that it will be made anew.
    """
    with path.open("rb") as file:
        whole = bytearray(file.read())
    begin = len(MAGIC) + _LENGTHS.size
    try:
        if whole[: len(MAGIC)] != MAGIC:
            raise ValueError("it is no product")
        length, size, checksum = _LENGTHS.unpack_from(whole, len(MAGIC))
        view = memoryview(whole)
        text, body = view[begin : begin + length], view[begin + length :]
        if len(body) != size or zlib.crc32(body, zlib.crc32(text)) != checksum:
            raise ValueError("its checksum is wrong")
        known = json.loads(bytes(text))
    except (ValueError, struct.error) as error:
        path.unlink()
        raise DamagedProductError(f"{path} was damaged and is removed; run again, and it will be made anew") from error
    arrays = {}
    for name, (form, shape, offset) in known["arrays"].items():
        dtype = np.dtype(form)
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(whole, dtype, count, begin + length + offset).reshape(shape)
    return arrays, known["note"]
