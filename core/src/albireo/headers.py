"""FITS headers without pixels: the header of the image in a file, and the celestial coordinates it promises.

Opening a packed file with astropy costs several milliseconds, because it prepares the decompression. A night has
thousands of files and indexing needs their headers only, so `read_header` walks over the header blocks by itself.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from albireo.frames import FrameError

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

__all__ = [
    "as_float",
    "as_text",
    "celestial_wcs",
    "identifying_header",
    "read_header",
    "read_images",
    "sexagesimal",
    "tangent_wcs",
    "walk_headers",
]

BLOCK = 2880
_WCS_CARD = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|(A|B|AP|BP)_(\d_\d|ORDER)"
    r"|EQUINOX|RADESYS|LONPOLE|LATPOLE"
)
_WCS_TEXT = re.compile(r"(CTYPE|CUNIT)[12]|RADESYS")
_SEXAGESIMAL = re.compile(r"([+-]?)\s*(\d+)[:\s]+(\d+)(?:[:\s]+(\d+(?:[.,]\d*)?))?")


def read_header(path: str | Path, hdu: int | None = None) -> tuple[int, Header]:
    """Read the header of an image, touching no pixel.

    Parameters
    ----------
    path : path
        Plain, packed by tiles (``.fz``) or gzipped.
    hdu : int, optional
        Index of the HDU; else the first that holds an image.

    Returns
    -------
    int
        Index of the HDU.
    Header
        BITPIX, NAXIS, NAXIS1 and NAXIS2 are those of the image, also where it is packed.

    Raises
    ------
    FrameError
        If the file is no FITS file, is truncated, or has no such image.
    """
    return read_images(path, hdu)[1][0]


def read_images(
    path: str | Path, hdu: int | None = None, *, every: bool = False
) -> tuple[Header | None, list[tuple[int, Header]]]:
    """Read the headers of the images in a file, touching no pixel.

    Parameters
    ----------
    path : path
    hdu : int, optional
        Index of the HDU; else the first that holds an image.
    every : bool
        All images in place of one.

    Returns
    -------
    Header or None
        The primary header, where it is not that of the first of these images.
    list of (int, Header)
        Index and header of each image; at least one.

    Raises
    ------
    FrameError
        If the file is no FITS file, is truncated, or has no such image.
    """
    primary: Header | None = None
    images: list[tuple[int, Header]] = []
    count = 0
    for index, header, image in walk_headers(path):
        count = index + 1
        if index == 0:
            primary = header
        if index == hdu and not image:
            raise FrameError(f"HDU {hdu} of {path} holds no image; hdu = 'first' finds the one that does")
        if image and (every or hdu in (None, index)):
            images.append((index, header))
            if not every:
                break
    if not images:
        wanted = "no image" if hdu is None else f"no HDU {hdu}"
        raise FrameError(f"{path} holds {wanted}; it has {count} HDU{'s' * (count != 1)}")
    return (None if images[0][0] == 0 else primary), images


def identifying_header(path: str | Path) -> Header:
    """Give the cards by which a camera knows its files: those of the first image, and what only the primary header has.

    Packed files have all cards in an extension; files of several amplifiers name the camera in the primary header.

    Raises
    ------
    FrameError
        If the file is no FITS file, is truncated before its first image, or holds none.
    """
    primary, ((_, header),) = read_images(path)
    if primary is not None:
        header.extend(primary, unique=True)
    return header


def walk_headers(path: str | Path) -> Iterator[tuple[int, Header, bool]]:
    """Go through the headers of a file, touching no pixel.

    Yields
    ------
    int
        Index of the HDU.
    Header
        BITPIX, NAXIS, NAXIS1 and NAXIS2 are those of the image, also where it is packed.
    bool
        Whether it holds an image.

    Raises
    ------
    FrameError
        If the file is no FITS file or is truncated.
    """
    from astropy.io import fits

    try:
        with open(path, "rb") as plain, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            magic = plain.read(6)
            plain.seek(0)
            packed = magic[:2] == b"\x1f\x8b"
            stream: BinaryIO = gzip.GzipFile(fileobj=plain) if packed else plain  # type: ignore[assignment]
            size = None if packed else os.fstat(plain.fileno()).st_size
            if not packed and magic != b"SIMPLE":
                raise FrameError(f"{path} is not a FITS file: it does not begin with SIMPLE")
            index = 0
            while True:
                try:
                    header = fits.Header.fromfile(stream)
                except EOFError as error:
                    if packed and "end-of-stream" in str(error):
                        raise FrameError(
                            f"{path} is truncated: its packed bytes end too early; copy it again"
                        ) from None
                    return
                end = stream.tell() + _data_bytes(header)
                if size is not None and end > size:
                    raise FrameError(
                        f"{path} is truncated: HDU {index} should end at byte {end}, the file has {size}; copy it again"
                    )
                yield index, header, _image_header(header)
                stream.seek(end + (-end) % BLOCK)
                index += 1
    except (OSError, ValueError, TypeError, KeyError, EOFError, fits.VerifyError) as error:
        reason = " ".join(str(error).split())
        if "END card" in reason or "multiple of" in reason:
            reason = "the header has no end; the file is truncated"
        raise FrameError(f"{path} cannot be read: {reason or type(error).__name__}") from error


def _data_bytes(header: Header) -> int:
    """Bytes of data after a header (FITS standard 4.0, equations 1 and 2)."""
    axes = [int(header[f"NAXIS{axis}"]) for axis in range(1, int(header.get("NAXIS", 0)) + 1)]
    if not axes:
        return 0
    count = int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + math.prod(axes))
    return abs(int(header["BITPIX"])) // 8 * count


def _image_header(header: Header) -> bool:
    """Whether this HDU holds an image; gives a packed one the size cards of what is inside."""
    if header.get("ZIMAGE"):
        for key in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2"):
            if f"Z{key}" in header:
                header[key] = header[f"Z{key}"]
        return True
    axes = [int(header[f"NAXIS{axis}"]) for axis in range(1, int(header.get("NAXIS", 0)) + 1)]
    return len(axes) >= 2 and math.prod(axes) > 0 and header.get("XTENSION", "IMAGE").strip() == "IMAGE"


def as_float(value: Any) -> float | None:
    """Read a number, also from a text and with a decimal comma; None if it is none or not finite."""
    if isinstance(value, bool):
        return None
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def as_text(value: Any) -> str:
    """Write a value as text; a whole number without a fraction."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def sexagesimal(text: str) -> float | None:
    """Give the number that a text such as ``-02:11:07.1`` or ``08 24 50`` stands for; None if it is none."""
    match = _SEXAGESIMAL.fullmatch(text.strip())
    if match is None:
        return None
    sign, whole, minutes, seconds = match.groups()
    value = int(whole) + int(minutes) / 60.0 + float((seconds or "0").replace(",", ".")) / 3600.0
    return -value if sign == "-" else value


def tangent_wcs(
    ra: float, dec: float, x: float, y: float, scale: float, angle: float, name: str = "guess from the pointing"
) -> WCS:
    """Make celestial coordinates from a pointing: a gnomonic projection (TAN), north up and east left at angle zero.

    The matrix is ``[[-s cos a, s sin a], [s sin a, s cos a]]``.

    Parameters
    ----------
    ra, dec : float
        Of the reference pixel, in degrees.
    x, y : float
        The reference pixel, counted from one.
    scale : float
        Arcsec per pixel.
    angle : float
        Of the y axis, from north through east, in degrees.
    name : str
        WCSNAME, by which coordinates that were not measured on stars can be told.
    """
    from astropy.wcs import WCS

    step, turned = scale / 3600.0, math.radians(angle)
    wcs = WCS(naxis=2)
    wcs.wcs.name = name
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [x, y]
    wcs.wcs.cd = [
        [-step * math.cos(turned), step * math.sin(turned)],
        [step * math.sin(turned), step * math.cos(turned)],
    ]
    wcs.wcs.set()
    return wcs


def celestial_wcs(header: Header) -> WCS | None:
    """Read the celestial coordinates of a header, mending what is often written wrong.

    Numbers written as texts are converted, a sexagesimal CRVAL1 counts as hours of right ascension, and the old
    RADECSYS is understood. Terms PVi_j beside a tangential projection, as SCAMP writes them, are its distortion (later
    named TPV; Shupe et al. 2012, Proc. SPIE 8451, 84511M); wcslib sees that as soon as they are numbers.

    Returns
    -------
    WCS or None
        For zero-based pixels of the raw image; None if the header has no celestial axes, or values that cannot be.
    """
    from astropy.io import fits
    from astropy.wcs import WCS, WcsError

    types = [str(header.get(f"CTYPE{axis}", "")).strip().upper() for axis in (1, 2)]
    if sorted(name[:4] for name in types) not in (["DEC-", "RA--"], ["GLAT", "GLON"]):
        return None
    cards = fits.Header()
    for key in filter(_WCS_CARD.fullmatch, header):
        try:
            value = header[key]
        except fits.VerifyError:
            return None
        if _WCS_TEXT.fullmatch(key):
            cards[key] = str(value).strip()
            continue
        number = _number(value)
        if number is None and key.startswith("CRVAL"):
            number = sexagesimal(str(value))
            if number is not None and types[int(key[-1]) - 1].startswith("RA"):
                number *= 15.0
        if number is None or not math.isfinite(number):
            return None
        cards[key] = int(number) if key.endswith("ORDER") else number
    if "RADESYS" not in cards and str(header.get("RADECSYS", "")).strip():
        cards["RADESYS"] = str(header["RADECSYS"]).strip()
    if any(f"{key}{axis}" not in cards for key in ("CRVAL", "CRPIX") for axis in (1, 2)):
        return None
    if not {"CD1_1", "CD1_2", "CDELT1"} & set(cards):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(cards)
            return wcs if wcs.has_celestial else None
        except (WcsError, ValueError):
            return None


def _number(value: object) -> float | None:
    try:
        return float(str(value).strip().replace("D", "E"))
    except ValueError:
        return None
