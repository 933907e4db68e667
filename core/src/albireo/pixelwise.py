"""Corrections that act on each pixel by itself, and how several of them run as one pass.

Overscan, bias, linearity, dark, gain and flat all have one form: subtract something, put the counts on a straight
line, multiply or divide by something. A correction of that form states its `Terms`; `apply_terms` then runs any number
of them over the image strip by strip, so that every pixel travels through the caches once, and carries the variance
along:

============================  =======================================================
operation                     variance
============================  =======================================================
subtract ``o``                ``V + V_o``
linearise by ``t(x)``         ``V t'(x)**2``
multiply by ``m``             ``V m**2``
divide by ``d``               ``(V + out**2 V_d) / d**2`` (``out`` is the result)
============================  =======================================================

The variance begins with `albireo.images.initial_variance` at the moment the electronic pedestal is gone and the counts
are linear, and before anything that light or dark current left is taken away, whatever order the recipe has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from albireo.frames import Frame, FrameError, Section
from albireo.images import Flag, flags_of, image, initial_variance, variance_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["Plane", "Terms", "aligned_terms", "amplifier_plane", "apply_terms"]

Plane: TypeAlias = "float | NDArray[np.float32]"
"""A number, or an array that broadcasts to the image: (ny, nx), (ny, 1) or (1, nx)."""

STRIP_PIXELS = 1 << 17
"""Pixels worked on at a time: few enough for data, variance, scratch and a master plane (2 MiB) to stay in a cache, and
enough to make the calls of numpy not count."""

CROP_KEY = "CROPSEC"
"""Where ``meta`` remembers which part of the raw image is left, as a FITS section."""

REBIN_KEY = "REBIN"
"""Where ``meta`` remembers how many raw pixels on a side make a pixel, if more than one."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one correction does to each pixel: crop, subtract, linearise, multiply, divide and flag, in this order.

    A plane has the shape the image has at this point, after the term's own ``crop``. A plane with the shape of the
    raw image (`Frame.shape`) is good as well, and is cut like the image was.

    Attributes
    ----------
    crop : Section, optional
        Keep only this part of the image as it comes in.
    subtract : float or ndarray
        In the unit of the image.
    subtract_variance : float or ndarray
        Its variance.
    subtract_scale : float
        Multiplies what is subtracted, and its square the variance of it; for a dark of another exposure time.
    pedestal : bool
        True if what is subtracted is electronic (overscan, bias) and has no photon noise.
    linearity : tuple of float
        Coefficients c0, c1, ...: counts x become ``x (c0 + c1 x + c2 x**2 + ...)``. Empty where they are linear.
    nonlinear_above : float
        Counts above it, before they are linearised, are flagged `Flag.NON_LINEAR`.
    multiply : float or ndarray
        Taken as exact.
    divide : float or ndarray
        For example the flat. Pixels where it is not positive become NaN.
    divide_variance : float or ndarray
        Its variance.
    flags : ndarray of uint16, optional
        Bits of `Flag` to add.
    unit : str, optional
        The unit from here on.
    note : str
        What was found of this frame, such as the level of its overscan, for the header of the calibrated image.
    """

    crop: Section | None = None
    subtract: Plane = 0.0
    subtract_variance: Plane = 0.0
    subtract_scale: float = 1.0
    pedestal: bool = False
    linearity: tuple[float, ...] = ()
    nonlinear_above: float = inf
    multiply: Plane = 1.0
    divide: Plane = 1.0
    divide_variance: Plane = 0.0
    flags: NDArray[np.uint16] | None = None
    unit: str | None = None
    note: str = ""

    @property
    def starts_noise(self) -> bool:
        """Whether the noise of the raw counts must be known before this correction.

        Not for linearity: electrons are counted before the electronics bends their number, so that it is the linear
        counts whose photon noise is that of Poisson.
        """
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

    Returns
    -------
    float or ndarray of float32
        NaN where it is unknown, and outside the data sections of amplifiers that differ.
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
        Gives gain and read noise for the variance. Without both there is no variance.
    terms : sequence of Terms
        In the order of the recipe.
    last : bool
        Whether the variance must exist at the end, even if only pedestals were subtracted. If it need not, the
        (small) variance of the pedestals is dropped with it.

    Returns
    -------
    CCDData
        NaN pixels and pixels whose divisor is not positive are flagged `Flag.NO_DATA`. ``meta["CROPSEC"]`` says which
        part of the raw image this is, once it was cropped.

    Raises
    ------
    FrameError
        If a plane does not fit the image.
    """
    before = picture.meta.get(CROP_KEY)
    crop = None if before is None else Section.from_fits(before)
    window = Section(0, picture.shape[0], 0, picture.shape[1])
    for term in terms:
        if term.crop is not None:
            window = window.part(term.crop)
            crop = term.crop if crop is None else crop.part(term.crop)
    terms = aligned_terms(terms, picture.shape, frame.shape, crop)
    data: NDArray[np.float32] = picture.data[window.slices]
    flags = flags_of(picture)[window.slices]
    given = variance_of(picture)
    variance = None if given is None else given[window.slices]

    gain, read_noise = amplifier_plane(frame, "gain", crop), amplifier_plane(frame, "read_noise", crop)
    known = bool(frame.amplifiers) and all(a.gain > 0 and a.read_noise >= 0 for a in frame.amplifiers)
    noisy = variance is not None or (known and (last or any(term.starts_noise for term in terms)))

    out = np.empty(data.shape, dtype=np.float32)
    out_variance = np.empty(data.shape, dtype=np.float32) if noisy else None
    out_flags = np.empty(data.shape, dtype=np.uint16)
    rows = min(data.shape[0], max(1, STRIP_PIXELS // data.shape[1]))
    scratch = np.empty((rows, data.shape[1]), dtype=np.float32)
    marks = np.empty((rows, data.shape[1]), dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, data.shape[0], rows):
            strip = slice(start, min(start + rows, data.shape[0]))
            x, bits = out[strip], out_flags[strip]
            spare, mark = scratch[: x.shape[0]], marks[: x.shape[0]]
            np.copyto(x, data[strip])
            np.copyto(bits, flags[strip])
            v = None if out_variance is None else out_variance[strip]
            begun = variance is not None
            if v is not None:
                # Until the noise of the counts is known, v collects the variance of the pedestals.
                v[...] = 0.0 if variance is None else variance[strip]
            for term in terms:
                if v is not None and not begun and term.starts_noise:
                    v += initial_variance(x, _rows(gain, strip), _rows(read_noise, strip), out=spare)
                    begun = True
                _subtract(x, v, term, strip, spare)
                _linearise(x, v, term, bits, spare, mark)
                _multiply(x, v, term, strip, spare)
                _divide(x, v, term, strip, spare, mark)
                if term.flags is not None:
                    bits |= _rows(term.flags, strip)
            if v is not None and not begun:
                v += initial_variance(x, _rows(gain, strip), _rows(read_noise, strip), out=spare)
            np.isfinite(x, out=mark)
            if not mark.all():
                bits[~mark] |= np.uint16(Flag.NO_DATA)
    unit = next((term.unit for term in reversed(terms) if term.unit), str(picture.unit))
    meta = dict(picture.meta) if crop is None else {**picture.meta, CROP_KEY: crop.to_fits()}
    if notes := [term.note for term in terms if term.note]:
        meta["HISTORY"] = [*meta.get("HISTORY", ()), *notes]
    return image(out, unit, variance=out_variance, flags=out_flags, meta=meta)


def _subtract(
    x: NDArray[np.float32], v: NDArray[np.float32] | None, term: Terms, strip: slice, spare: NDArray[np.float32]
) -> None:
    if not _is(term.subtract, 0.0):
        x -= _scaled(_rows(term.subtract, strip), term.subtract_scale, spare)
    if v is not None and not _is(term.subtract_variance, 0.0):
        v += _scaled(_rows(term.subtract_variance, strip), term.subtract_scale**2, spare)


def _linearise(
    x: NDArray[np.float32],
    v: NDArray[np.float32] | None,
    term: Terms,
    bits: NDArray[np.uint16],
    spare: NDArray[np.float32],
    mark: NDArray[np.bool_],
) -> None:
    if term.nonlinear_above < inf:
        np.greater(x, term.nonlinear_above, out=mark)
        if mark.any():
            bits[mark] |= np.uint16(Flag.NON_LINEAR)
    if not term.linearity:
        return
    if v is not None:
        slope = _polynomial(x, [power * c for power, c in enumerate(term.linearity, 1)], spare)
        v *= np.square(slope, out=slope)
    x *= _polynomial(x, term.linearity, spare)


def _polynomial(x: NDArray[np.float32], coefficients: Sequence[float], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evaluate c0 + c1 x + c2 x**2 + ... by Horner's rule."""
    out[...] = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        out *= x
        out += coefficient
    return out


def _multiply(
    x: NDArray[np.float32], v: NDArray[np.float32] | None, term: Terms, strip: slice, spare: NDArray[np.float32]
) -> None:
    if _is(term.multiply, 1.0):
        return
    factor = _rows(term.multiply, strip)
    x *= factor
    if v is not None:
        v *= _squared(factor, spare)


def _divide(
    x: NDArray[np.float32],
    v: NDArray[np.float32] | None,
    term: Terms,
    strip: slice,
    spare: NDArray[np.float32],
    mark: NDArray[np.bool_],
) -> None:
    if _is(term.divide, 1.0):
        return
    divisor = _rows(term.divide, strip)
    x /= divisor
    if v is not None:
        if not _is(term.divide_variance, 0.0):
            np.multiply(x, x, out=spare)
            spare *= _rows(term.divide_variance, strip)
            v += spare
        v /= _squared(divisor, spare)
    np.greater(divisor, 0.0, out=mark)
    if not mark.all():
        np.logical_not(mark, out=mark)
        x[mark] = np.nan
        if v is not None:
            v[mark] = np.nan


def _squared(plane: Any, spare: NDArray[np.float32]) -> Any:
    """Square a number or plane, in the scratch space."""
    return plane * plane if isinstance(plane, float) else np.square(plane, out=_part(spare, plane))


def _scaled(plane: Any, scale: float, spare: NDArray[np.float32]) -> Any:
    """Multiply a plane by a number, in the scratch space."""
    if scale == 1.0:
        return plane
    return plane * scale if isinstance(plane, float) else np.multiply(plane, scale, out=_part(spare, plane))


def _part(spare: NDArray[np.float32], plane: NDArray[np.float32]) -> NDArray[np.float32]:
    return spare[: plane.shape[0], : plane.shape[1]]


def _rows(plane: Any, strip: slice) -> Any:
    """Give the part of a plane that belongs to a strip; a single row is passed through."""
    if isinstance(plane, np.ndarray):
        return plane[strip] if plane.shape[0] > 1 else plane
    return plane


def _is(plane: Plane, value: float) -> bool:
    return not isinstance(plane, np.ndarray) and isfinite(plane) and plane == value


def aligned_terms(
    terms: Sequence[Terms], shape: tuple[int, int], raw: tuple[int, int], crop: Section | None
) -> list[Terms]:
    """Cut the planes of each term to what the crops of all terms leave of the image.

    Parameters
    ----------
    terms : sequence of Terms
    shape : tuple of int
        Of the image that comes in.
    raw : tuple of int
        Of the raw image.
    crop : Section or None
        What is left of the raw image in the end.

    Raises
    ------
    FrameError
        If a plane does not fit.
    """
    shapes = []
    for term in terms:
        if term.crop is not None:
            if not term.crop.within(shape):
                raise FrameError(f"section {term.crop.to_fits()} to keep reaches beyond the image of shape {shape}")
            shape = term.crop.shape
        shapes.append(shape)
    result: list[Terms] = []
    later: Section | None = None
    for term, here in zip(reversed(terms), reversed(shapes), strict=True):
        planes = {
            name: _fitted(getattr(term, name), here, later, raw, crop)
            for name in ("subtract", "subtract_variance", "multiply", "divide", "divide_variance", "flags")
        }
        result.append(replace(term, **planes))
        if term.crop is not None:
            later = term.crop if later is None else term.crop.part(later)
    return result[::-1]


def _fitted(
    plane: Any, here: tuple[int, int], later: Section | None, raw: tuple[int, int], crop: Section | None
) -> Any:
    if not isinstance(plane, np.ndarray) or plane.ndim == 0:
        return None if plane is None else float(plane)
    for shape, section in ((here, later), (raw, crop)):
        if plane.ndim == 2 and all(size in (1, full) for size, full in zip(plane.shape, shape, strict=True)):
            if section is None:
                return plane
            rows, columns = section.slices
            return plane[rows if plane.shape[0] > 1 else slice(None), columns if plane.shape[1] > 1 else slice(None)]
    raise FrameError(
        f"a correction has a plane of shape {plane.shape}, but the image is {here} there; was its master made for "
        "another window or binning, or before another trim?"
    )
