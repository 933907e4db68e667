"""Pixels in and out, and the rules of the house for them.

An image is an `astropy.nddata.CCDData`: native-endian float32 data with a unit, a `VarianceUncertainty` in
float32 where the noise is known, a plane of `Flag` bits, and the boolean mask that follows from the flags.
An algorithm never changes an image it was given; it makes a new one with `image`.

Noise. A raw pixel has the variance ``max(p, 0) / gain + (read_noise / gain)**2`` in adu squared, where ``p`` is what
light and dark current left: raw counts minus the electronic pedestal. `noise_model` is the one place that says
so (Howell 2006, Handbook of CCD Astronomy, section 4.4). A read noise too small to contain the rounding to whole adu
gets that added.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntFlag
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, VarianceUncertainty

from albireo.noise import digitisation_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MASKED",
    "PLANES",
    "Flag",
    "atomic_path",
    "flags_of",
    "image",
    "noise_model",
    "planes_of",
    "raw_image",
    "read_image",
    "variance_of",
    "write_image",
]


class Flag(IntFlag):
    """What is known of a pixel, or of the pixels of a source. Stored as uint16."""

    BAD = 1
    """Dead, or listed as bad."""
    HOT = 2
    """Dark current far above its neighbours'."""
    SATURATED = 4
    """At or above the saturation level in the raw counts."""
    BLEED = 8
    """In the trail of a saturated star."""
    COSMIC_RAY = 16
    NO_DATA = 32
    """Outside the image, or not a number."""
    INTERPOLATED = 64
    """The value was made from its neighbours; usable, with care."""
    NON_LINEAR = 128
    """Above the linear range, below saturation; usable, with care."""
    LOW_RESPONSE = 256
    """The flat is so low here that the value means little."""
    EDGE = 512
    """Of a measurement: its aperture reaches beyond the image."""
    FAILED = 1024
    """Of a measurement: no value could be made."""
    OUTLIER = 2048
    """Of a measurement: it lies too far from its neighbours in the light curve; see the step that clips."""
    NOT_CENTRED = 4096
    """Of a measurement: the star was not found near the place given, which was used as it is."""


MASKED = Flag.BAD | Flag.HOT | Flag.SATURATED | Flag.BLEED | Flag.COSMIC_RAY | Flag.NO_DATA | Flag.LOW_RESPONSE
"""The flags that mask a pixel."""


PLANES = "PLANES"
"""Where ``meta`` keeps further planes."""

DIAGNOSTIC = ("COUNT", "REJECTED")
"""Planes for people and for combining masters: how many values made a pixel, and how many were rejected. Corrections do
without them."""


def image(
    data: NDArray[Any],
    unit: str = "adu",
    *,
    variance: NDArray[Any] | None = None,
    flags: NDArray[np.uint16] | None = None,
    planes: Mapping[str, NDArray[Any]] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> CCDData:
    """Make an image that keeps the house rules; arrays of the right type are not copied.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    unit : str
        ``adu`` or ``electron``.
    variance : ndarray, optional
        Same shape, in the unit squared.
    flags : ndarray of uint16, optional
        Same shape; bits of `Flag`. The mask is set where `MASKED` bits are.
    planes : mapping of str to ndarray, optional
        Further planes of the same shape, by the names of their extensions in a file: ``COUNT`` and ``REJECTED`` of a
        master, or what its correction needs beside the data. `planes_of` gives them back.
    meta : mapping, optional

    Raises
    ------
    ValueError
        If the data have not two dimensions or a plane has another shape.
    """
    pixels = np.asarray(data, dtype=np.float32)
    if pixels.ndim != 2:
        raise ValueError(f"an image has two dimensions, these data have shape {pixels.shape}")
    for name, plane in (("variance", variance), ("flags", flags), *(planes or {}).items()):
        if plane is not None and plane.shape != pixels.shape:
            raise ValueError(f"the {name} plane has shape {plane.shape}, the image {pixels.shape}")
    result = CCDData(
        pixels,
        unit=unit,
        uncertainty=None
        if variance is None
        else VarianceUncertainty(np.asarray(variance, dtype=np.float32), copy=False),
        mask=None if flags is None else (flags & np.uint16(MASKED)) != 0,
        meta=None if meta is None else dict(meta),
        copy=False,
    )
    if flags is not None:
        result.flags = np.asarray(flags, dtype=np.uint16)
    if planes:
        result.meta[PLANES] = dict(planes)
    return result


def planes_of(picture: CCDData) -> Mapping[str, NDArray[Any]]:
    """Give the planes of an image beside data, variance and flags, by name."""
    planes: Mapping[str, NDArray[Any]] = picture.meta.get(PLANES, {})
    return planes


def raw_image(pixels: NDArray[np.float32], saturation: float = np.nan) -> CCDData:
    """Make an image of raw counts, in adu: ``SATURATED`` from a level on, ``NO_DATA`` where a pixel is not a number.

    Parameters
    ----------
    pixels : ndarray of float32, shape (ny, nx)
        Not copied.
    saturation : float
        In adu; NaN if it is not known.
    """
    picture = image(pixels, "adu")
    flags, mask = np.zeros(pixels.shape, dtype=np.uint16), np.zeros(pixels.shape, dtype=np.bool_)
    # Few rows have a pixel to flag; the highest of a row (NaN if there is one) tells. The planes stay untouched
    # elsewhere, and memory nobody writes to costs nothing.
    limit = saturation if np.isfinite(saturation) else np.inf
    rows = np.flatnonzero(~(pixels.max(axis=1) < limit))
    flags[rows] = np.where(pixels[rows] >= limit, np.uint16(Flag.SATURATED), np.uint16(0))
    flags[rows] |= np.where(np.isnan(pixels[rows]), np.uint16(Flag.NO_DATA), np.uint16(0))
    mask[rows] = flags[rows] != 0
    picture.flags, picture.mask = flags, mask
    return picture


def variance_of(picture: CCDData) -> NDArray[np.float32] | None:
    """Give the variance plane, whatever kind of uncertainty the image carries; None without one."""
    if picture.uncertainty is None:
        return None
    if isinstance(picture.uncertainty, VarianceUncertainty):
        array: NDArray[np.float32] = picture.uncertainty.array
        return array
    return np.asarray(picture.uncertainty.represent_as(VarianceUncertainty).array, dtype=np.float32)


def flags_of(picture: CCDData) -> NDArray[np.uint16]:
    """Give the flag plane; made from the mask (as `Flag.BAD`) where an image has none."""
    if picture.flags is not None:
        return np.asarray(picture.flags, dtype=np.uint16)
    if picture.mask is not None:
        return np.where(picture.mask, np.uint16(Flag.BAD), np.uint16(0))
    return np.zeros(picture.shape, dtype=np.uint16)


def noise_model(gain: float, read_noise: float) -> tuple[float, float]:
    """Give the variance of a raw pixel as ``a s + b``, in adu squared, for a signal of ``s`` adu.

    Parameters
    ----------
    gain : float
        Electrons per adu.
    read_noise : float
        Electrons.

    Returns
    -------
    a, b : float
        ``1 / gain`` and ``(read_noise / gain)**2``, with that of rounding to whole adu where the read noise cannot
        contain it (see `albireo.noise.digitisation_noise`). A signal below zero counts as zero.
    """
    return 1.0 / gain, (read_noise**2 + digitisation_noise(gain, read_noise) ** 2) / gain**2


PARTIAL = ".partial"
"""Ending of a file that is being written; one that is left belongs to a process that was killed."""

_numbers = count()
"""Of the files that this process writes: together with its own number they make names that no other has."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; it takes the final name only if nothing went wrong."""
    final = Path(path)
    temporary = final.parent / f".{final.name[:40]}.{os.getpid()}-{next(_numbers)}{PARTIAL}"
    if not final.parent.is_dir():
        final.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_image(path: str | Path, picture: CCDData, header: Mapping[str, Any] | None = None) -> Path:
    """Write an image with its planes: data first, then extensions VARIANCE, FLAGS and others where they exist.

    Parameters
    ----------
    path : path
        Written under a temporary name and renamed.
    picture : CCDData
    header : mapping, optional
        Cards on top of the image's own; several values under ``HISTORY`` or ``COMMENT`` make a card each. What a card
        cannot hold is left out (NaN, infinity, lists) or spelt out (letters beyond ASCII, as Python does).
    """
    cards = fits.Header()
    for key, value in {**dict(picture.meta or {}), **dict(header or {})}.items():
        if key in ("HISTORY", "COMMENT"):
            for line in [value] if isinstance(value, str) else value:
                cards.add_history(_ascii(line)) if key == "HISTORY" else cards.add_comment(_ascii(line))
        elif isinstance(value, str):
            cards[key] = _ascii(value)
        elif isinstance(value, bool | int | float | np.number | np.bool_) and np.isfinite(value):
            cards[key] = value
    cards["BUNIT"] = str(picture.unit)
    units: list[Any] = [fits.PrimaryHDU(np.asarray(picture.data, dtype=np.float32), cards)]
    variance = variance_of(picture)
    if variance is not None:
        units.append(fits.ImageHDU(np.asarray(variance, dtype=np.float32), name="VARIANCE"))
    if picture.flags is not None or picture.mask is not None:
        units.append(fits.ImageHDU(flags_of(picture), name="FLAGS"))
    units += [fits.ImageHDU(np.asarray(plane), name=name) for name, plane in planes_of(picture).items()]
    with atomic_path(path) as temporary:
        fits.HDUList(units).writeto(temporary, overwrite=True)
    return Path(path)


def _ascii(text: object) -> str:
    """Spell out what a FITS card cannot hold: letters beyond ASCII, and ends of lines."""
    plain = str(text).encode("ascii", "backslashreplace").decode("ascii")
    return "".join(letter if letter.isprintable() else " " for letter in plain)


def read_image(path: str | Path, *, diagnostics: bool = True) -> CCDData:
    """Read what `write_image` wrote.

    Parameters
    ----------
    path : path
    diagnostics : bool
        Whether to read the planes ``COUNT`` and ``REJECTED`` of a master too, which no correction needs.

    Raises
    ------
    OSError
        If the file is missing or no FITS image.
    """
    with fits.open(path, memmap=False) as hdus:
        header = hdus[0].header
        if hdus[0].data is None:
            raise OSError(f"{path} holds no image in its first HDU")
        units = {unit.name: unit for unit in hdus[1:] if diagnostics or unit.name not in DIAGNOSTIC}
        planes = {name: unit.data for name, unit in units.items() if unit.data is not None}
        variance, flags = planes.pop("VARIANCE", None), planes.pop("FLAGS", None)
        return image(
            hdus[0].data.astype(np.float32),
            str(header.get("BUNIT", "adu")),
            variance=None if variance is None else variance.astype(np.float32),
            flags=None if flags is None else flags.astype(np.uint16),
            planes={name: plane.astype(plane.dtype.newbyteorder("=")) for name, plane in planes.items()},
            meta=header,
        )
