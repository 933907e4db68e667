"""Corrections that act on each pixel by itself, and how several of them run as one pass.

Overscan, bias, linearity, dark, gain and flat all have one form: subtract something, put the counts on a straight
line, multiply or divide by something. A correction of that form states its `Terms`; `apply_terms` then runs any number
of them over the image strip by strip (see `albireo.engine`), so that every pixel travels through the caches once, and
carries the variance along:

============================  =======================================================
operation                     variance
============================  =======================================================
subtract ``o``                ``V + V_o``
linearise by ``t(x)``         ``V t'(x)**2``
multiply by ``m``             ``V m**2``
divide by ``d``               ``(V + out**2 V_d) / d**2`` (``out`` is the result)
============================  =======================================================

The variance begins with `albireo.images.noise_model` at the moment the electronic pedestal is gone and the counts
are linear, and before anything that light or dark current left is taken away, whatever order the recipe has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from albireo.engine import run_steps
from albireo.engine.memory import empty_plane
from albireo.engine.steps import Canvas, Op, Step
from albireo.frames import Amplifier, Frame, FrameError, Section
from albireo.images import MASKED, Flag, flags_of, image, noise_model, variance_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["Plane", "Terms", "aligned_terms", "amplifier_plane", "apply_terms"]

Plane: TypeAlias = "float | NDArray[np.float32]"
"""A number, or an array that broadcasts to the image: (ny, nx), (ny, 1) or (1, nx)."""

STRIP_PIXELS = 1 << 16
"""Pixels worked on at a time: few enough for data and variance (512 KiB) to stay in the second-level cache, and enough
to read masters in long runs."""

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
    data = np.asarray(picture.data, dtype=np.float32)[window.slices]
    flags = flags_of(picture)[window.slices]
    given = variance_of(picture)
    variance = None if given is None else np.asarray(given, dtype=np.float32)[window.slices]

    known = bool(frame.amplifiers) and all(a.gain > 0 and a.read_noise >= 0 for a in frame.amplifiers)
    noisy = variance is not None or (known and (last or any(term.starts_noise for term in terms)))
    steps: list[Step] = []
    begun = variance is not None or not noisy
    for term in terms:
        if not begun and term.starts_noise:
            steps.append(_noise_step(frame, crop))
            begun = True
        steps += _steps(term)
    if not begun:
        steps.append(_noise_step(frame, crop))

    canvas = Canvas(
        data=data,
        flags=flags,
        variance=variance,
        out=empty_plane(data.shape, np.float32),
        out_flags=empty_plane(data.shape, np.uint16),
        out_mask=empty_plane(data.shape, np.bool_),
        out_variance=empty_plane(data.shape, np.float32) if noisy else None,
        no_data=int(Flag.NO_DATA),
        masked=int(MASKED),
    )
    run_steps(steps, canvas, STRIP_PIXELS)
    unit = next((term.unit for term in reversed(terms) if term.unit), str(picture.unit))
    meta = dict(picture.meta) if crop is None else {**picture.meta, CROP_KEY: crop.to_fits()}
    if notes := [term.note for term in terms if term.note]:
        meta["HISTORY"] = [*meta.get("HISTORY", ()), *notes]
    result = image(canvas.out, unit, variance=canvas.out_variance, meta=meta)
    result.flags, result.mask = canvas.out_flags, canvas.out_mask
    return result


def _steps(term: Terms) -> Iterator[Step]:
    """Spell a term out; until the noise of the counts is known, the variance is that of the pedestals."""
    square = float(np.float32(term.subtract_scale**2))
    certain = _is(term.subtract_variance, 0.0) or square == 0.0
    if not (certain and _is(term.subtract, 0.0)):
        p, a = _scaled(term.subtract, term.subtract_scale)
        q, b = (_plane(0.0), 0.0) if certain else _scaled(term.subtract_variance, square)
        yield Step(Op.SUBTRACT, (p, q), (a, b))
    if term.nonlinear_above < inf:
        yield Step(Op.FLAG_ABOVE, (), (term.nonlinear_above,), int(Flag.NON_LINEAR))
    if term.linearity:
        slope = tuple(power * c for power, c in enumerate(term.linearity, 1))
        yield Step(Op.LINEARISE, (), (*term.linearity, *slope))
    if not _is(term.multiply, 1.0):
        yield Step(Op.MULTIPLY, (_plane(term.multiply),))
    if not _is(term.divide, 1.0):
        exact = _is(term.divide_variance, 0.0)
        yield Step(Op.DIVIDE, (_plane(term.divide), _plane(term.divide_variance)), (0.0 if exact else 1.0,))
    if term.flags is not None:
        yield Step(Op.FLAG, (np.asarray(term.flags, dtype=np.uint16),))


def _noise_step(frame: Frame, crop: Section | None) -> Step:
    """Begin the variance: that of a signal s is ``p s + q``."""
    if len({(amplifier.gain, amplifier.read_noise) for amplifier in frame.amplifiers}) > 1:
        planes = _noise_planes(frame.amplifiers, frame.shape)
        return Step(Op.NOISE, planes if crop is None else tuple(plane[crop.slices] for plane in planes))
    amplifier = frame.amplifiers[0]
    return Step(Op.NOISE, tuple(_plane(value) for value in noise_model(amplifier.gain, amplifier.read_noise)))


@lru_cache(maxsize=2)
def _noise_planes(
    amplifiers: tuple[Amplifier, ...], shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give p and q of the noise where amplifiers differ; the frames of a detector share them."""
    planes = np.full(shape, np.nan, dtype=np.float32), np.full(shape, np.nan, dtype=np.float32)
    for amplifier in amplifiers:
        for plane, value in zip(planes, noise_model(amplifier.gain, amplifier.read_noise), strict=True):
            plane[amplifier.data.slices] = value
    return planes


def _scaled(plane: Plane, scale: float) -> tuple[NDArray[np.float32], float]:
    """Give a plane and what multiplies it; a number is multiplied at once."""
    return (_plane(plane), scale) if isinstance(plane, np.ndarray) else (_plane(plane * scale), 1.0)


def _plane(value: Plane) -> NDArray[np.float32]:
    """Give a number as a plane of one pixel."""
    with np.errstate(over="ignore"):
        return np.asarray(value, dtype=np.float32).reshape(getattr(value, "shape", (1, 1)))


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
