"""Lomb-Scargle periodograms of unevenly sampled series, of one band or of several together.

In each band a sine with its own mean, amplitude and phase is fitted at every frequency (Zechmeister & Kuerster 2009,
A&A 496, 577, as `astropy.timeseries.LombScargle` does it). The power of several bands together is the share of their
summed chi squared that sines of one common frequency take away: the sum of the single powers, weighted with the chi
squared about each band's mean (VanderPlas & Ivezic 2015, ApJ 812, 18). A band may lag the others and have an amplitude
of its own.

False-alarm probabilities follow Baluev (2008, MNRAS 385, 1279), carried over to several bands by Davies (1987,
Biometrika 74, 33): the highest peak of noise is a maximum of a chi squared process, with two degrees of freedom for
each band. They hold for white noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, gamma, isfinite, log, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from albireo_timing.intervals import median_cadence
from albireo_timing.sines import Sine, fit_sine

__all__ = ["Periodogram", "false_alarm_power", "false_alarm_probability", "frequency_grid", "lomb_scargle"]

OVERSAMPLING = 10
"""Steps of the grid of frequencies in the width of a peak, one over the length of the series."""

MOST_FREQUENCIES = 2_000_000
"""A longer grid would take minutes; it must be asked for in parts."""

FINE = 64
"""Steps of the second grid in a step of the first, about the highest peak."""

PARAMETERS = 3
"""Of a sine with a free mean."""

LEVELS = (0.1, 0.01, 0.001)
"""False-alarm probabilities whose powers a periodogram states."""

Series = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Time, flux and error."""


@dataclass(frozen=True, eq=False)
class Periodogram:
    """How much of the variance a sine takes away, by frequency.

    Attributes
    ----------
    frequency : ndarray, shape (k,)
        Per unit of time.
    power : ndarray, shape (k,)
        From 0 to 1, of all bands together.
    bands : list of ndarray, shape (k,)
        Power of each band alone, in the order given.
    best, best_err : float
        Frequency of the highest peak and its error (Montgomery & O'Donoghue 1999, Delta Scuti Star Newsl. 13, 28, for
        the given times and errors). The error means something only if the peak is the right one.
    period, period_err : float
        One over it.
    best_power, false_alarm : float
        Height of that peak, and the probability that white noise makes one as high.
    levels : dict of float to float
        False-alarm probability to the power that noise reaches with it.
    sines : list of Sine
        Fit at the best frequency in each band; phases are at ``t0``.
    t0 : float
        Time near the middle of the series.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    bands: list[NDArray[np.float64]]
    best: float
    best_err: float
    best_power: float
    false_alarm: float
    levels: dict[float, float]
    sines: list[Sine] = field(default_factory=list)
    t0: float = 0.0

    @property
    def period(self) -> float:
        """One over the best frequency."""
        return 1.0 / self.best

    @property
    def period_err(self) -> float:
        """Error of the period."""
        return self.best_err / self.best**2


def lomb_scargle(
    *series: Series, minimum: float | None = None, maximum: float | None = None, levels: Sequence[float] = LEVELS
) -> Periodogram:
    """Look for a period in one band or in several.

    Parameters
    ----------
    *series : (time, flux, flux_err)
        One for each band; arrays of shape (n,). Points that are not finite, or have no positive error, are left out.
    minimum, maximum : float, optional
        Range of frequencies. Without them from one cycle in the length of the series to half a cycle in the median
        cadence, in steps of a tenth of the width of a peak.
    levels : sequence of float
        False-alarm probabilities for `Periodogram.levels`.

    Raises
    ------
    ValueError
        If no band has more than three points, all times are the same, or the range of frequencies is empty or longer
        than 2 million steps.
    """
    from astropy.timeseries import LombScargle

    bands = [part for part in map(_clean, series) if len(part[0]) > PARAMETERS]
    if not bands:
        raise ValueError(f"a periodogram needs more than {PARAMETERS} points in a band")
    times = np.concatenate([t for t, _, _ in bands])
    middle = float(times.mean())
    frequency = frequency_grid(times, min(median_cadence(t) for t, _, _ in bands), minimum, maximum)
    tools = [LombScargle(t - middle, f, e, fit_mean=True) for t, f, e in bands]
    weights = np.array([_chi_squared(f, e) for _, f, e in bands])
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(bands), 1.0 / len(bands))

    def powers(at: NDArray[np.float64], method: str) -> list[NDArray[np.float64]]:
        return [
            np.nan_to_num(np.asarray(tool.power(at, method=method, assume_regular_frequency=True))) for tool in tools
        ]

    alone = powers(frequency, "auto")
    together: NDArray[np.float64] = np.tensordot(weights, np.array(alone), 1)
    peak = int(together.argmax())
    step = frequency[1] - frequency[0] if len(frequency) > 1 else 0.0
    near = frequency[peak] + step * np.arange(-FINE, FINE + 1) / FINE
    near = near[(near >= frequency[0]) & (near <= frequency[-1])]
    fine = np.tensordot(weights, np.array(powers(near, "cython")), 1)
    best, height = float(near[fine.argmax()]), float(fine.max())
    sines = [fit_sine(*part, best, middle) for part in bands]
    points, width = sum(len(t) for t, _, _ in bands), _bandwidth(bands, float(frequency[-1] - frequency[0]))
    return Periodogram(
        frequency,
        together,
        alone,
        best,
        _frequency_error(bands, sines),
        height,
        false_alarm_probability(height, points, len(bands), width),
        {level: false_alarm_power(level, points, len(bands), width) for level in levels},
        sines,
        middle,
    )


def frequency_grid(
    time: NDArray[np.float64], cadence: float, minimum: float | None = None, maximum: float | None = None
) -> NDArray[np.float64]:
    """Frequencies at which to look, in even steps.

    Parameters
    ----------
    time : ndarray, shape (n,)
    cadence : float
        Usual step between times.
    minimum, maximum : float, optional
        As for `lomb_scargle`.

    Raises
    ------
    ValueError
        As for `lomb_scargle`.
    """
    length = float(np.ptp(time))
    if not length > 0:
        raise ValueError("all points have the same time: there is no frequency to look at")
    low = 1.0 / length if minimum is None else minimum
    high = 0.5 / cadence if maximum is None else maximum
    if not (low > 0 and high > low and isfinite(high)):
        raise ValueError(f"frequencies from {low:g} to {high:g} are no range: give a minimum above 0 below a maximum")
    number = int((high - low) * length * OVERSAMPLING) + 2
    if number > MOST_FREQUENCIES:
        raise ValueError(
            f"frequencies from {low:g} to {high:g} make {number} steps, more than {MOST_FREQUENCIES}: give a narrower "
            "range, or rebin the series"
        )
    return np.linspace(low, high, number)


def false_alarm_probability(power: float, points: int, bands: int, width: float) -> float:
    """Probability that the highest peak of white noise is at least this high.

    Parameters
    ----------
    power : float
    points : int
        Of all bands together.
    bands : int
    width : float
        Number of peaks that fit in the range of frequencies: its length times ``sqrt(4 pi var(t))``.
    """
    from scipy.special import gammaincc

    if power >= 1.0:
        return 0.0
    z = -0.5 * max(1, points - PARAMETERS * bands) * log(1.0 - max(power, 0.0))
    single = float(gammaincc(bands, z))  # chi squared with two degrees of freedom a band
    crossings = width * exp((bands - 0.5) * log(z) - z) / gamma(bands) if z > 0 else 0.0
    if crossings > 1.0 and z < bands:  # left of the maximum of that rate the first crossing is certain
        return 1.0
    return min(1.0, 1.0 - (1.0 - min(single, 1.0)) * exp(-crossings)) if single > 1e-12 else single + crossings


def false_alarm_power(probability: float, points: int, bands: int, width: float) -> float:
    """Power that the highest peak of white noise reaches with this probability; as `false_alarm_probability`."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if false_alarm_probability(middle, points, bands, width) > probability:
            low = middle
        else:
            high = middle
    return high


def _clean(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    t, f, e = (np.asarray(values, dtype=np.float64) for values in series)
    good = np.isfinite(t) & np.isfinite(f) & np.isfinite(e) & (e > 0)
    return t[good], f[good], e[good]


def _chi_squared(flux: NDArray[np.float64], error: NDArray[np.float64]) -> float:
    """Chi squared about the weighted mean."""
    mean = np.average(flux, weights=error**-2)
    return float((((flux - mean) / error) ** 2).sum())


def _bandwidth(bands: Sequence[tuple[NDArray[np.float64], ...]], span: float) -> float:
    spread = np.mean([np.cov(t, aweights=e**-2, ddof=0) for t, _, e in bands])
    return span * sqrt(4.0 * pi * float(spread))


def _frequency_error(bands: Sequence[tuple[NDArray[np.float64], ...]], sines: Sequence[Sine]) -> float:
    """Error of a frequency that all bands share, each with a phase of its own."""
    information = 0.0
    for (t, _, e), sine in zip(bands, sines, strict=True):
        weight = 1.0 / (e * max(1.0, sine.excess)) ** 2
        away = t - np.average(t, weights=weight)
        information += 2.0 * (pi * sine.amplitude) ** 2 * float((weight * away**2).sum())
    return 1.0 / sqrt(information) if information > 0 else float("inf")
