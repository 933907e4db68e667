"""Corrections that act on each pixel by itself, and how several of them run as one pass.

Overscan, bias, dark, gain and flat all have one form: subtract something, multiply or divide by something. A
correction of that form states its `Terms`; `apply_terms` then runs any number of them over the image strip by strip,
so that every pixel travels through the caches once, and carries the variance along:

====================  =======================================================
operation             variance
====================  =======================================================
subtract ``o``        ``V + V_o``
multiply by ``m``     ``V m**2``
divide by ``d``       ``V / d**2 + out**2 V_d / d**2`` (``out`` is the result)
====================  =======================================================

The variance begins with `albireo.images.initial_variance` at the moment the electronic pedestal is gone and before
anything that light or dark current left is taken away, whatever order the recipe has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from albireo.frames import Frame, Section
from albireo.images import Flag, flags_of, image, variance_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["Plane", "Terms", "apply_terms"]

Plane: TypeAlias = "float | NDArray[np.float32]"
"""A number, or an array that broadcasts to the image: (ny, nx), (ny, 1) or (1, nx)."""

STRIP_PIXELS = 1 << 16
"""Pixels worked on at a time: data, variance and one master plane of float32 stay in the second-level cache."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one correction does to each pixel: crop, then subtract, then multiply, then divide, then flag.

    Attributes
    ----------
    crop : Section, optional
        Keep only this part of the image as it comes in; the other planes have the cropped shape.
    subtract : float or ndarray
        In the unit of the image.
    subtract_variance : float or ndarray
        Its variance.
    pedestal : bool
        True if what is subtracted is electronic (overscan, bias) and has no photon noise.
    multiply : float or ndarray
        Taken as exact.
    divide : float or ndarray
        For example the flat.
    divide_variance : float or ndarray
        Its variance.
    flags : ndarray of uint16, optional
        Bits of `Flag` to add.
    unit : str, optional
        The unit from here on.
    """

    crop: Section | None = None
    subtract: Plane = 0.0
    subtract_variance: Plane = 0.0
    pedestal: bool = False
    multiply: Plane = 1.0
    divide: Plane = 1.0
    divide_variance: Plane = 0.0
    flags: NDArray[np.uint16] | None = None
    unit: str | None = None

    @property
    def starts_noise(self) -> bool:
        """Whether the noise of the raw counts must be known before this correction."""
        if self.pedestal:
            return False
        return not (_is(self.subtract, 0.0) and _is(self.multiply, 1.0) and _is(self.divide, 1.0))


def amplifier_plane(frame: Frame, name: str, crop: Section | None = None) -> Plane:
    """Gain or read noise as a number, or as a plane where amplifiers differ.

    Parameters
    ----------
    frame : Frame
    name : str
        ``gain`` or ``read_noise``.
    crop : Section, optional
        The part of the raw image the plane is for.
    """
    values = {getattr(amplifier, name) for amplifier in frame.amplifiers}
    if len(values) <= 1:
        return float(values.pop()) if values else float("nan")
    plane = np.full(frame.shape, np.nan, dtype=np.float32)
    for amplifier in frame.amplifiers:
        plane[amplifier.data.slices] = getattr(amplifier, name)
    return plane if crop is None else plane[crop.slices]


def apply_terms(picture: CCDData, frame: Frame, terms: Sequence[Terms], *, last: bool = True) -> CCDData:
    """Run pixel-wise corrections over an image in one pass.

    Parameters
    ----------
    picture : CCDData
        Raw or partly corrected; it is left alone.
    frame : Frame
        Gives gain and read noise for the variance. Without a gain there is no variance.
    terms : sequence of Terms
        In the order of the recipe.
    last : bool
        Whether the variance must exist at the end, even if only pedestals were subtracted.

    Returns
    -------
    CCDData
        NaN pixels and pixels whose divisor is not positive are flagged `Flag.NO_DATA`.
    """
    data: NDArray[np.float32] = picture.data
    variance = variance_of(picture)
    flags = flags_of(picture)
    unit = str(picture.unit)
    crop = None
    for term in terms:
        if term.crop is not None:
            data, flags = data[term.crop.slices], flags[term.crop.slices]
            variance = None if variance is None else variance[term.crop.slices]
            crop = term.crop if crop is None else _nested(crop, term.crop)
        unit = term.unit or unit
    gain, read_noise = amplifier_plane(frame, "gain", crop), amplifier_plane(frame, "read_noise", crop)
    known = np.all(np.isfinite(gain)) and np.all(np.isfinite(read_noise)) and np.all(np.asarray(gain) > 0)
    noisy = variance is not None or bool(known)

    out = np.empty(data.shape, dtype=np.float32)
    out_variance = np.empty(data.shape, dtype=np.float32) if noisy else None
    out_flags = flags.copy()
    rows = max(1, STRIP_PIXELS // max(1, data.shape[1]))
    scratch = np.empty((min(rows, data.shape[0]), data.shape[1]), dtype=np.float32)
    for start in range(0, data.shape[0], rows):
        strip = slice(start, min(start + rows, data.shape[0]))
        x = out[strip]
        np.copyto(x, data[strip])
        spare = scratch[: x.shape[0]]
        v = None if out_variance is None else out_variance[strip]
        # Until the noise of the counts is known, v collects the variance of the pedestals.
        begun = variance is not None
        if v is not None:
            np.copyto(v, variance[strip]) if variance is not None else v.fill(0.0)
        for index, term in enumerate(terms):
            if v is not None and not begun and term.starts_noise:
                _add_counting_noise(x, v, _rows(gain, strip), _rows(read_noise, strip), spare)
                begun = True
            _subtract(x, v, term, strip)
            if not _is(term.multiply, 1.0):
                factor = _rows(term.multiply, strip)
                x *= factor
                if v is not None:
                    np.multiply(factor, factor, out=spare) if isinstance(factor, np.ndarray) else spare.fill(factor**2)
                    v *= spare
            if not _is(term.divide, 1.0):
                _divide(x, v, term, strip, spare, out_flags[strip])
            if term.flags is not None:
                out_flags[strip] |= term.flags[strip]
            del index
        if v is not None and not begun and last:
            _add_counting_noise(x, v, _rows(gain, strip), _rows(read_noise, strip), spare)
        lost = ~np.isfinite(x)
        if lost.any():
            out_flags[strip][lost] |= np.uint16(Flag.NO_DATA)
    has_noise = out_variance is not None and (last or variance is not None or any(t.starts_noise for t in terms))
    return image(out, unit, variance=out_variance if has_noise else None, flags=out_flags, meta=picture.meta)


def _subtract(x: NDArray[np.float32], v: NDArray[np.float32] | None, term: Terms, strip: slice) -> None:
    if not _is(term.subtract, 0.0):
        x -= _rows(term.subtract, strip)
    if v is not None and not _is(term.subtract_variance, 0.0):
        v += _rows(term.subtract_variance, strip)


def _divide(
    x: NDArray[np.float32],
    v: NDArray[np.float32] | None,
    term: Terms,
    strip: slice,
    spare: NDArray[np.float32],
    flags: NDArray[np.uint16],
) -> None:
    divisor = _rows(term.divide, strip)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x /= divisor
        if v is not None:
            if not _is(term.divide_variance, 0.0):
                np.multiply(x, x, out=spare)
                spare *= _rows(term.divide_variance, strip)
                v += spare
            v /= np.multiply(divisor, divisor)
    if isinstance(divisor, np.ndarray):
        dead = ~(divisor > 0)
        if dead.any():
            dead = np.broadcast_to(dead, x.shape)
            x[dead] = np.nan
            flags[dead] |= np.uint16(Flag.NO_DATA)


def _add_counting_noise(
    x: NDArray[np.float32], v: NDArray[np.float32], gain: Any, read_noise: Any, spare: NDArray[np.float32]
) -> None:
    np.maximum(x, np.float32(0.0), out=spare)
    spare /= gain
    v += spare
    v += np.float32((read_noise / gain) ** 2) if isinstance(gain, float) else (read_noise / gain) ** 2


def _rows(plane: Plane, strip: slice) -> Any:
    """The part of a plane that belongs to a strip; broadcast rows are passed through."""
    if isinstance(plane, np.ndarray) and plane.ndim == 2 and plane.shape[0] > 1:
        return plane[strip]
    return plane if isinstance(plane, np.ndarray) else float(plane)


def _is(plane: Plane, value: float) -> bool:
    return not isinstance(plane, np.ndarray) and isfinite(plane) and plane == value


def _nested(outer: Section, inner: Section) -> Section:
    return Section(outer.y0 + inner.y0, outer.y0 + inner.y1, outer.x0 + inner.x0, outer.x0 + inner.x1)
