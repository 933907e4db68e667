"""Two masters held against each other: do darks scale with time, and is a master still what it was.

All tests are robust and in units of the errors that the masters claim, so that a few odd pixels or cosmic rays say
nothing. What is reported is what would matter: a rate or level that differs by more than the noise of a pixel of the
masters, or a share of pixels that differ (the comparison with the master before it goes back to the pipeline of Las
Cumbres Observatory, McCully et al. 2018, Proc. SPIE 10707, 107070K).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo import variance_of
from albireo_combine.rules import MAD_TO_SIGMA

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

DIFFERENT = 6.0
"""Errors by which a pixel must differ to count."""

MANY = 0.05
"""Share of such pixels that is worth a word."""

TOLERANCE = 0.05
"""Relative difference of the rates of darks that does not matter."""

HOT = 10.0
"""Standard deviations above the median rate, and errors of its own rate, from which a pixel counts as hot."""

HOT_DIFFERENT = 0.2
"""Share of the hot pixels with another rate that is worth a word."""

HOT_ENOUGH = 20
"""Hot pixels from which that share means something."""


def scaling(master: CCDData, other: CCDData) -> str:
    """Say if two darks of different exposure times do not have the same rate; empty if they do.

    The rate is the value over EXPTIME. Only darks without their bias have one rate.
    """
    pair = sorted((master, other), key=lambda picture: float(picture.meta.get("EXPTIME", 0.0)))
    times = [float(picture.meta.get("EXPTIME", 0.0)) for picture in pair]
    if not 0.0 < times[0] < times[1] or pair[0].shape != pair[1].shape:
        return ""
    (short, long), good, error = _together(pair, times)
    if not good.any():
        return ""
    difference = long - short
    medians = [float(np.median(rate[good])) for rate in (short, long)]
    shift = float(np.median(difference[good]))
    apart = good & (np.abs(difference) > DIFFERENT * error) & _beyond_tolerance(difference, short, long)
    share = float(apart.sum() / good.sum())
    width = MAD_TO_SIGMA * float(np.median(np.abs(long[good] - medians[1])))
    hot = good & (long > medians[1] + HOT * np.maximum(width, error))
    hot_share = float((apart & hot).sum() / hot.sum()) if hot.sum() >= HOT_ENOUGH else 0.0
    off = abs(shift) > float(np.median(error[good])) and abs(shift) > TOLERANCE * max(map(abs, medians))
    if not off and share <= MANY and hot_share <= HOT_DIFFERENT:
        return ""
    unit = master.unit
    text = (
        f"darks of {times[0]:g} s and of {times[1]:g} s do not scale with time: medians {medians[0]:.4g} and "
        f"{medians[1]:.4g} {unit}/s, {share:.0%} of all pixels differ"
    )
    if hot.sum() >= HOT_ENOUGH:
        text += f", and {hot_share:.0%} of {int(hot.sum())} hot pixels"
    return (
        f"{text}; use dark-fit, or darks of the exposure time of the science frames (and subtract the bias from darks "
        "before they are scaled)"
    )


def differences(master: CCDData, other: CCDData, kind: str) -> str:
    """Say if a master is not what another of the same facts is; empty if it is, within its errors."""
    if master.shape != other.shape:
        return (
            f"it has {master.shape[1]} x {master.shape[0]} pixels, the one before {other.shape[1]} x {other.shape[0]}"
        )
    (new, old), good, error = _together((master, other), (1.0, 1.0))
    if not good.any():
        return ""
    difference = new - old
    shift = float(np.median(difference[good]))
    share = float((np.abs(difference - shift) > DIFFERENT * error)[good].mean())
    remarks = []
    if abs(shift) > 3.0 * float(np.median(error[good])):
        remarks.append(f"the level of the {kind} changed by {shift:+.4g} {master.unit}".rstrip())
    if share > MANY:
        remarks.append(f"{share:.0%} of the pixels differ by more than {DIFFERENT:g} of their errors")
    return "; ".join(remarks)


def _together(
    pair: tuple[CCDData, CCDData] | list[CCDData], divisors: tuple[float, float] | list[float]
) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_], NDArray[np.float64]]:
    """Values over a number each, the pixels that both have, and the error of the difference."""
    values = [picture.data.astype(np.float64) / d for picture, d in zip(pair, divisors, strict=True)]
    variance = np.zeros(values[0].shape)
    for picture, divisor in zip(pair, divisors, strict=True):
        plane = variance_of(picture)
        variance += np.nan if plane is None else plane / divisor**2
    good = np.isfinite(values[0]) & np.isfinite(values[1]) & np.isfinite(variance)
    return values, good, np.sqrt(variance)


def _beyond_tolerance(
    difference: NDArray[np.float64], short: NDArray[np.float64], long: NDArray[np.float64]
) -> NDArray[np.bool_]:
    larger: NDArray[np.bool_] = np.abs(difference) > TOLERANCE * np.maximum(np.abs(short), np.abs(long))
    return larger
