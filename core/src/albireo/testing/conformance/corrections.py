"""What a correction must do.

The image a correction is tried on follows from what it ``needs``: in electrons if it needs ``electron``, trimmed if it
needs ``trim``. The masters belong to that image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.frames import Amplifier, Frame, Section
from albireo.images import Flag, flags_of, image, variance_of
from albireo.pixelwise import Terms, apply_terms
from albireo.roles import Correction, PixelwiseCorrection
from albireo.testing.conformance.kit import Check, changed, fingerprint, require, skip, with_flags

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["CHECKS", "typical"]

ROUNDING = 1e-5
"""Relative difference of two ways of computing the same pixel in float32."""


def _frame() -> Frame:
    data, overscan = Section(0, 60, 0, 80), Section(0, 60, 80, 92)
    return Frame(
        "science-0001.fits",
        instrument="kit",
        kind="science",
        filter="r",
        exptime=60.0,
        start=60310.25,
        mid=60310.25 + 30.0 / 86400.0,
        scale=0.4,
        airmass=1.2,
        ra=132.8,
        dec=11.8,
        shape=(60, 92),
        amplifiers=(Amplifier(data, overscan, 1.6, 5.0),),
        saturation=60000.0,
        linearity=(1.003, -1.2e-6, 1.3e-11),
        dark_current=0.1,
        setup=(("binning", "1x1"),),
    )


def _image(stage: Correction) -> CCDData:
    """Counts of 500 above a pedestal of 1000 that the overscan shows, with one saturated pixel."""
    rng = np.random.default_rng(7)
    frame = _frame()
    data = 1000.0 + 3.0 * rng.standard_normal(frame.shape)
    data[:, :80] += rng.normal(500.0, 18.0, (60, 80))
    if "pedestal" in stage.needs or "electron" in stage.needs:
        data -= 1000.0
    flags = np.zeros(frame.shape, dtype=np.uint16)
    data[30, 40], flags[30, 40] = 60000.0, Flag.SATURATED
    variance = None
    unit = "adu"
    if "electron" in stage.needs:
        data *= 1.6
        unit, variance = "electron", np.maximum(data, 0.0) + 25.0
    if "trim" in stage.needs:
        data, flags = data[:, :80], flags[:, :80]
        variance = None if variance is None else variance[:, :80]
    return image(data.copy(), unit, variance=None if variance is None else variance.copy(), flags=flags.copy())


def _masters(stage: Correction, picture: CCDData) -> dict[str, CCDData]:
    rng = np.random.default_rng(8)
    shape, cards = picture.shape, {"EXPTIME": _frame().exptime, "NFRAMES": 9}

    def plane(level: float, scatter: float, unit: str, meta: Mapping[str, Any]) -> CCDData:
        data = rng.normal(level, scatter, shape)
        return image(
            data, unit, variance=np.full(shape, (0.1 * scatter) ** 2), flags=np.zeros(shape, np.uint16), meta=meta
        )

    masters = {
        "bias": plane(10.0, 1.0, str(picture.unit), {"EXPTIME": 0.0}),
        "dark": plane(6.0, 1.0, str(picture.unit), cards),
        "flat": plane(1.0, 0.02, "", cards),
        "sky": plane(1.0, 0.02, "", cards),
        "fringe": plane(0.0, 0.02, "", cards),
        "illumination": plane(1.0, 0.02, "", cards),
        "bad": image((rng.random(shape) < 0.01).astype(np.float32), "", flags=np.zeros(shape, np.uint16), meta=cards),
    }
    return {stage.master: masters[stage.master]} if stage.master in masters else {}


def _arguments(stage: Correction) -> tuple[CCDData, Frame, dict[str, CCDData]]:
    picture = _image(stage)
    return picture, _frame(), _masters(stage, picture)


def _noisy(picture: CCDData) -> CCDData:
    """Copy an image and give it a variance if it has none: the noise of pedestals has a place to go to then."""
    variance = variance_of(picture)
    plane = np.full(picture.shape, 400.0) if variance is None else variance.copy()
    return image(picture.data.copy(), str(picture.unit), variance=plane, flags=flags_of(picture).copy())


def typical(stage: Correction) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try."""
    yield "correct", _arguments(stage)


def gives_an_image(stage: Correction) -> None:
    """The result is another image in native float32, in electrons if the stage provides them, else in the same unit."""
    picture, frame, masters = _arguments(stage)
    result = stage.correct(picture, frame, masters)
    require(result is not picture, "it gave the same object back; make a new image")
    require(result.data.dtype == np.dtype(np.float32), f"the data are {result.data.dtype}; they must be native float32")
    wanted = "electron" if "electron" in stage.provides else str(picture.unit)
    require(
        str(result.unit) == wanted, f"the unit is {result.unit}; provides={sorted(stage.provides)} makes it {wanted}"
    )
    require(np.isfinite(result.data).all(), "pixels became NaN although all of them and all masters are good")
    if "trim" in stage.provides:
        require(result.shape == (60, 80), f"the shape is {result.shape}; trimming gives the light-sensitive (60, 80)")


def variance_is_finite(stage: Correction) -> None:
    """Where the result has a variance it is finite and not negative, and an image that came with one keeps one."""
    picture, frame, masters = _arguments(stage)
    for start in (picture, _noisy(picture)):
        result = stage.correct(start, frame, masters)
        found = variance_of(result)
        if found is None:
            require(variance_of(start) is None, "the variance of the image was lost")
            continue
        good = np.isfinite(result.data)
        require(np.isfinite(found[good]).all() and (found[good] >= 0).all(), "the variance is not finite, or negative")


def keeps_flags(stage: Correction) -> None:
    """A flagged pixel stays flagged, and the mask follows from the flags."""
    picture, frame, masters = _arguments(stage)
    result = stage.correct(picture, frame, masters)
    saturated = (flags_of(result) & np.uint16(Flag.SATURATED)) != 0
    require(saturated.sum() >= 1, "the flag of a saturated pixel was lost")
    require(result.mask is not None and result.mask[saturated].all(), "a saturated pixel is no longer masked")


def survives_nan_pixels(stage: Correction) -> None:
    """A NaN pixel harms no other; it stays NaN with Flag.NO_DATA, or it is repaired."""
    picture, frame, masters = _arguments(stage)
    clean = stage.correct(picture, frame, masters)
    data = picture.data.copy()
    data[12, 17] = np.nan
    result = stage.correct(with_flags(picture, flags_of(picture), data), frame, masters)
    lost = ~np.isfinite(result.data)
    require(lost.sum() <= 1, f"one NaN pixel became {lost.sum()}")
    require((flags_of(result)[lost] & np.uint16(Flag.NO_DATA)).all(), "a NaN pixel is not flagged Flag.NO_DATA")
    require(result.shape == clean.shape, "a NaN pixel changed the shape of the result")


def works_without_flags(stage: Correction) -> None:
    """An image without mask and flags is corrected like one where nothing is flagged."""
    picture, frame, masters = _arguments(stage)
    plain = stage.correct(with_flags(picture, None), frame, masters)
    empty = stage.correct(with_flags(picture, np.zeros(picture.shape, np.uint16)), frame, masters)
    part = changed(fingerprint(empty.data), fingerprint(plain.data), "data")
    require(not part, "pixels differ between an image without flags and one where nothing is flagged")


def plain_and_fused_agree(stage: Correction) -> None:
    """One pass over several corrections gives what each by itself gives."""
    if not isinstance(stage, PixelwiseCorrection):
        skip("it does not state terms")
    picture, frame, masters = _arguments(stage)
    picture = _noisy(picture)
    terms = stage.terms(picture, frame, masters)
    after = Terms(multiply=2.5, subtract=3.0)
    one_by_one = apply_terms(stage.correct(picture, frame, masters), frame, [after])
    in_one = apply_terms(picture, frame, [terms, after])
    require(one_by_one.shape == in_one.shape, f"shapes differ: {one_by_one.shape} and {in_one.shape} in one pass")
    require(str(one_by_one.unit) == str(in_one.unit), f"units differ: {one_by_one.unit} and {in_one.unit} in one pass")
    require(np.allclose(one_by_one.data, in_one.data, rtol=ROUNDING, atol=1e-3, equal_nan=True), "pixels differ")
    first, second = (np.asarray(variance_of(picture), dtype=float) for picture in (one_by_one, in_one))
    require(np.allclose(first, second, rtol=ROUNDING, equal_nan=True), "variances differ")
    part = changed(fingerprint(flags_of(one_by_one)), fingerprint(flags_of(in_one)))
    require(not part, "flags differ")


CHECKS: list[Check] = [
    gives_an_image,
    variance_is_finite,
    keeps_flags,
    survives_nan_pixels,
    works_without_flags,
    plain_and_fused_agree,
]
