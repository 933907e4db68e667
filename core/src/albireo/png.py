"""Pictures for a page: 8-bit PNG with a palette, as every browser reads it.

The format is that of the PNG specification (W3C Recommendation, third edition): chunks with a checksum each, and rows
packed by deflate.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["encode_png", "png_note"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NOTE = b"Comment\x00"


def encode_png(indices: NDArray[np.uint8], palette: NDArray[Any], note: str = "") -> bytes:
    """Write a picture in which every pixel is an entry of a palette.

    Parameters
    ----------
    indices : ndarray of uint8, shape (ny, nx)
        Entries of the palette. The first row is drawn at the bottom, as the rows of an image are counted.
    palette : ndarray, shape (n, 3)
        Red, green and blue of each entry, 0 to 255. The last entry is transparent. There are at most 256; with up to
        sixteen the picture takes half the room.
    note : str
        What the file says of itself, in Latin letters; see `png_note`.
    """
    ny, nx = indices.shape
    depth = 4 if len(palette) <= 16 else 8
    body = indices[::-1]
    if depth == 4:
        even = np.zeros((ny, nx + nx % 2), np.uint8)
        even[:, :nx] = body
        body = np.bitwise_or(even[:, ::2] << np.uint8(4), even[:, 1::2])
    rows = np.concatenate([np.zeros((ny, 1), np.uint8), body], axis=1)  # each row begins with its filter: none
    return SIGNATURE + b"".join(
        _chunk(kind, body)
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", nx, ny, depth, 3, 0, 0, 0)),
            *([(b"tEXt", _NOTE + note.encode("latin-1"))] if note else []),
            (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
            (b"tRNS", b"\xff" * (len(palette) - 1) + b"\x00"),
            (b"IDAT", zlib.compress(rows.tobytes(), 6)),
            (b"IEND", b""),
        )
    )


def png_note(start: bytes) -> str:
    """Give the note of a picture that `encode_png` wrote, from the first bytes of the file; empty if there is none."""
    place = len(SIGNATURE) + 12 + 13  # behind the header
    size = int.from_bytes(start[place : place + 4])
    kind, body = start[place + 4 : place + 8], start[place + 8 : place + 8 + size]
    return body.removeprefix(_NOTE).decode("latin-1") if kind == b"tEXt" else ""


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
