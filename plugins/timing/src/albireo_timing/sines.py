"""A sine of known frequency in a series, and the lag between two series at that frequency.

For series without gaps and with even steps, the phase of a fitted sine is that of the discrete Fourier transform, and
the difference of two phases is the phase of the cross spectrum. The fit also holds where sampling is uneven, where
there are gaps, and where the two bands were not exposed at the same moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PhaseLag", "Sine", "fit_sine", "phase_lag"]

PARAMETERS = 3
"""Of a sine with a free mean."""


@dataclass(frozen=True)
class Sine:
    """``mean + amplitude sin(2 pi (frequency t + phase))``, fitted.

    Attributes
    ----------
    mean, amplitude, amplitude_err : float
        In the unit of the series.
    phase, phase_err : float
        In turns, at time ``t0``.
    excess : float
        Root of the reduced chi squared of the fit.
    """

    mean: float
    amplitude: float
    amplitude_err: float
    phase: float
    phase_err: float
    excess: float


@dataclass(frozen=True)
class PhaseLag:
    """By how much one series lags another at one frequency; positive where the second comes later.

    Attributes
    ----------
    frequency : float
    phase, phase_err : float
        In radians, from -pi to pi.
    lag, lag_err : float
        The same in units of time; whole periods more or less cannot be told.
    """

    frequency: float
    phase: float
    phase_err: float
    lag: float
    lag_err: float


def fit_sine(time: ArrayLike, flux: ArrayLike, flux_err: ArrayLike, frequency: float, t0: float = 0.0) -> Sine:
    """Fit a sine of given frequency by weighted least squares.

    Errors come from those of the points; where points scatter more about the fit than their errors say, they are
    multiplied by that factor.

    Parameters
    ----------
    time, flux, flux_err : array_like, shape (n,)
        Points that are not finite, or without a positive error, are left out.
    frequency : float
        Per unit of time.
    t0 : float
        Time to which the phase refers.

    Raises
    ------
    ValueError
        If there are fewer than four points, or their times do not tell the phase.
    """
    t, f, e = (np.asarray(values, dtype=np.float64) for values in (time, flux, flux_err))
    good = np.isfinite(t) & np.isfinite(f) & np.isfinite(e) & (e > 0)
    t, f, e = t[good], f[good], e[good]
    if len(t) <= PARAMETERS:
        raise ValueError(f"a sine needs more than {PARAMETERS} points; there are {len(t)}")
    angle = 2.0 * pi * frequency * (t - t0)
    design: NDArray[np.float64] = np.column_stack([np.ones(len(t)), np.sin(angle), np.cos(angle)]) / e[:, None]
    if np.linalg.matrix_rank(design) < PARAMETERS:
        raise ValueError(f"these times do not tell a phase at the frequency {frequency:g}")
    solution, *_ = np.linalg.lstsq(design, f / e, rcond=None)
    covariance = np.linalg.inv(design.T @ design)
    excess = sqrt(float(((f / e - design @ solution) ** 2).sum()) / (len(t) - PARAMETERS))
    mean, sine, cosine = solution.tolist()
    amplitude = float(np.hypot(sine, cosine))
    along = np.array([sine, cosine]) / amplitude if amplitude else np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]])
    inner = covariance[1:, 1:] * max(1.0, excess**2)
    turn = float(np.arctan2(cosine, sine)) / (2.0 * pi)
    phase_err = sqrt(float(across @ inner @ across)) / amplitude / (2.0 * pi) if amplitude else float("inf")
    return Sine(mean, amplitude, sqrt(float(along @ inner @ along)), turn, phase_err, excess)


def phase_lag(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    other_time: ArrayLike,
    other_flux: ArrayLike,
    other_err: ArrayLike,
    frequency: float,
) -> PhaseLag:
    """Measure by how much the second series lags the first at one frequency.

    Parameters
    ----------
    time, flux, flux_err : array_like, shape (n,)
        The first series.
    other_time, other_flux, other_err : array_like, shape (m,)
        The second series, on the same time scale.
    frequency : float
        Per unit of time.

    Raises
    ------
    ValueError
        If a sine cannot be fitted to one of them.
    """
    # Phases refer to the middle of the data: far from it the frequency's last digits would matter.
    times = np.concatenate([np.ravel(time), np.ravel(other_time)]).astype(np.float64)
    middle = float(np.nanmean(times)) if np.isfinite(times).any() else 0.0
    one = fit_sine(time, flux, flux_err, frequency, middle)
    two = fit_sine(other_time, other_flux, other_err, frequency, middle)
    turns = one.phase - two.phase
    turns -= round(turns)
    error = sqrt(one.phase_err**2 + two.phase_err**2)
    error = error if isfinite(error) else float("inf")
    return PhaseLag(frequency, 2.0 * pi * turns, 2.0 * pi * error, turns / frequency, error / frequency)
