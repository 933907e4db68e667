"""Power spectra of evenly sampled stretches of a series, averaged.

A series is cut at its gaps, each stretch into segments of one length, and the periodograms of the segments are
averaged. Errors and noise level come from the errors of the points. Nothing is assumed about counts: a relative flux
has no Poisson noise of its own (compare van der Klis 1989, in Timing Neutron Stars, 27).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from albireo_timing.intervals import GAP, good_time_intervals, median_cadence

__all__ = ["PowerSpectrum", "power_spectrum"]

LEAST = 4
"""Points of the shortest segment."""


@dataclass(frozen=True, eq=False)
class PowerSpectrum:
    """Power by frequency; its integral over frequency is the variance.

    Attributes
    ----------
    frequency : ndarray, shape (k,)
        Per unit of time.
    power, power_err : ndarray, shape (k,)
        ``fractional``: squared relative rms per unit of frequency. ``absolute``: squared flux per unit of frequency.
        The noise is contained; subtract ``noise`` to be rid of it. The error is the power over the root of ``n``.
    n : ndarray of int, shape (k,)
        Powers that were averaged: segments, times frequencies of a bin.
    noise, noise_err : float
        Power of the noise that the errors of the points make at every frequency, and the standard deviation about it
        of a power that is averaged over all segments and frequencies.
    segments, points : int
        Number of segments, and of the points in each.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    power_err: NDArray[np.float64]
    n: NDArray[np.int64]
    noise: float
    noise_err: float
    segments: int
    points: int


def power_spectrum(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    segment: float | None = None,
    norm: Literal["fractional", "absolute"] = "fractional",
    factor: float = 0.0,
    gap: float = GAP,
) -> PowerSpectrum:
    """Average the periodograms of segments.

    Parameters
    ----------
    time, flux, flux_err : array_like, shape (n,)
        Points that are not finite, or without a positive error, are left out, and make a gap.
    segment : float, optional
        Length of a segment in units of time; the longest stretch without a gap if it is not given. What is left over
        at the end of a stretch is not used.
    norm : str
        ``fractional`` or ``absolute``, as in `PowerSpectrum`.
    factor : float
        Bins of frequency are wider by this share than the one before, 0.1 for ten percent; zero leaves the frequencies
        as they are.
    gap : float
        A step longer than this many median cadences is a gap.

    Raises
    ------
    ValueError
        If no stretch is as long as a segment of at least four points.
    """
    t, f, e = (np.asarray(values, dtype=np.float64) for values in (time, flux, flux_err))
    good = np.isfinite(t) & np.isfinite(f) & np.isfinite(e) & (e > 0)
    order = np.flatnonzero(good)[np.argsort(t[good], kind="stable")]
    t, f, e = t[order], f[order], e[order]
    cadence = median_cadence(t)
    stretches = [slice(*np.searchsorted(t, ends)) for ends in good_time_intervals(t, gap)]
    longest = max((part.stop - part.start for part in stretches), default=0)
    points = longest if segment is None or not np.isfinite(cadence) else round(segment / cadence)
    if points < LEAST or points > longest:
        raise ValueError(
            f"a segment of {points} points is "
            + (f"shorter than {LEAST}" if points < LEAST else "longer than any stretch without a gap")
            + f"; the longest stretch has {longest} points"
        )
    starts = [first for part in stretches for first in range(part.start, part.stop - points + 1, points)]
    pieces = np.add.outer(starts, np.arange(points))
    values, variance = f[pieces], (e[pieces] ** 2).mean(axis=1)
    level = values.mean(axis=1)
    scale = 2.0 * cadence / points * (1.0 / level**2 if norm == "fractional" else np.ones(len(starts)))
    # The mean is at frequency zero, and the last frequency of an even number has one component only.
    used = slice(1, (points - 1) // 2 + 1)
    powers = scale[:, None] * np.abs(np.fft.rfft(values - level[:, None], axis=1)[:, used]) ** 2
    frequency: NDArray[np.float64] = np.fft.rfftfreq(points, cadence)[used].astype(np.float64)
    noise = float((scale * points * variance).mean())
    power = powers.mean(axis=0)
    index = _geometric(frequency, factor)
    number = np.bincount(index)
    count = len(starts) * number
    power, frequency = np.bincount(index, power) / number, np.bincount(index, frequency) / number
    spread = noise / np.sqrt(len(starts) * powers.shape[1])
    return PowerSpectrum(
        frequency, power, power / np.sqrt(count), count, noise, float(spread), len(starts), int(points)
    )


def _geometric(frequency: NDArray[np.float64], factor: float) -> NDArray[np.int64]:
    """Bin of each frequency; bins grow by ``1 + factor`` and hold one frequency at least."""
    if factor < 0:
        raise ValueError(f"bins of frequency cannot shrink: factor {factor} is below zero")
    index, edge, bin_ = np.empty(len(frequency), dtype=np.int64), -np.inf, -1
    step = frequency[1] - frequency[0] if len(frequency) > 1 else 0.0
    width = step
    for k, value in enumerate(frequency.tolist()):
        if value >= edge - 1e-9 * step:
            bin_ += 1
            edge = value + width
            width *= 1.0 + factor
        index[k] = bin_
    return index
