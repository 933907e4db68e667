"""How one band follows another: correlation by lag, and the lag with its error.

**Sign.** A positive lag means that the second series comes later: it looks at time ``t + lag`` as the first at ``t``.

Two ways to the correlation, both without an even sampling:

- interpolated: each series in turn is interpolated between its points at the times of the other, shifted by the lag;
  the mean of both is taken (Gaskell & Peterson 1987, ApJS 65, 1), normalised with the means and variances of the
  points that overlap at that lag (White & Peterson 1994, PASP 106, 879). Nothing is interpolated across a gap.
- discrete: products of all pairs of points, averaged in bins of their distance in time (Edelson & Krolik 1988, ApJ 333,
  646). Nothing is interpolated at all, and the noise that the errors state is taken out of the normalisation.

The error of the lag is that of Peterson et al. (1998, PASP 110, 660): many times, points are drawn with replacement,
fluxes are changed by their errors, and the lag is measured again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from albireo_timing.intervals import GAP, good_time_intervals, inside, median_cadence

__all__ = ["Correlation", "Lag", "cross_correlation", "discrete_correlation", "time_lag"]

LEAST = 5
"""With fewer points, or pairs of points, there is no correlation."""

CENTROID = 0.8
"""The lag is the centroid of the correlation above this share of its maximum."""

FINE = 20
"""Parts of a step of lag in which the centroid looks for the sides of the peak."""

QUANTILES = (0.158655, 0.841345)
"""Of a normal distribution: one standard deviation to either side."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Correlation:
    """Correlation coefficient by lag.

    Attributes
    ----------
    lag : ndarray, shape (k,)
        In units of time; positive where the second series comes later.
    correlation, correlation_err : ndarray, shape (k,)
        NaN where too few points overlap. The interpolated correlation has no error of its own.
    n : ndarray of int, shape (k,)
        Points, or pairs of points, that made it.
    """

    lag: Floats
    correlation: Floats
    correlation_err: Floats
    n: NDArray[np.int64]

    @property
    def peak(self) -> tuple[float, float]:
        """Lag and height of the maximum; NaN if there is none."""
        if not np.isfinite(self.correlation).any():
            return float("nan"), float("nan")
        at = int(np.nanargmax(self.correlation))
        return float(self.lag[at]), float(self.correlation[at])

    @property
    def centroid(self) -> float:
        """Centroid of the peak above 0.8 of its height; NaN if there is no positive correlation."""
        if not np.nanmax(self.correlation, initial=-1.0) > 0:
            return float("nan")
        # Between lags the correlation is taken as straight, so that the sides of the peak do not jump by whole steps.
        lag = np.interp(np.arange((len(self.lag) - 1) * FINE + 1) / FINE, np.arange(len(self.lag)), self.lag)
        values = np.interp(lag, self.lag, self.correlation)
        at = int(np.nanargmax(values))
        high = values >= CENTROID * values[at]
        low = np.flatnonzero(~high)
        first = low[low < at].max(initial=-1) + 1
        last = low[low > at].min(initial=len(values))
        weight = values[first:last]
        return float((weight * lag[first:last]).sum() / weight.sum())


@dataclass(frozen=True, eq=False)
class Lag:
    """The lag of the second series behind the first.

    Attributes
    ----------
    lag : float
        Centroid of the peak, in units of time; positive where the second series comes later.
    low, high : float
        Ends of the interval that holds 68 percent of the trials.
    peak : float
        Height of the correlation.
    trials : ndarray, shape (t,)
        Lags of the trials, NaN where one had no peak.
    """

    lag: float
    low: float
    high: float
    peak: float
    trials: Floats

    @property
    def error(self) -> float:
        """Half the length of the interval."""
        return 0.5 * (self.high - self.low)


def cross_correlation(
    time: ArrayLike,
    flux: ArrayLike,
    other_time: ArrayLike,
    other_flux: ArrayLike,
    max_lag: float | None = None,
    step: float | None = None,
    gap: float = GAP,
) -> Correlation:
    """Correlate by interpolation.

    Parameters
    ----------
    time, flux : array_like, shape (n,)
        The first series. Points that are not finite are left out.
    other_time, other_flux : array_like, shape (m,)
        The second series, on the same time scale.
    max_lag : float, optional
        Longest lag to either side; a quarter of the length of the shorter series if it is not given.
    step : float, optional
        Step of the lags; half the shorter median cadence if it is not given.
    gap : float
        A step longer than this many median cadences is a gap.

    Raises
    ------
    ValueError
        If a series has fewer than five points.
    """
    one, two = _series(time, flux), _series(other_time, other_flux)
    lags = _lags(one[0], two[0], max_lag, step)
    goods = [good_time_intervals(t, gap) for t in (one[0], two[0])]
    return _interpolated(one, two, lags, goods)


def discrete_correlation(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    other_time: ArrayLike,
    other_flux: ArrayLike,
    other_err: ArrayLike,
    max_lag: float | None = None,
    step: float | None = None,
) -> Correlation:
    """Correlate by pairs of points: the discrete correlation function.

    Parameters
    ----------
    time, flux, flux_err : array_like, shape (n,)
        The first series. Points that are not finite, or without a positive error, are left out.
    other_time, other_flux, other_err : array_like, shape (m,)
        The second series, on the same time scale.
    max_lag : float, optional
        As for `cross_correlation`.
    step : float, optional
        Width of the bins of lag; the longer median cadence if it is not given.

    Raises
    ------
    ValueError
        If a series has fewer than five points, or scatters no more than its errors say: then there is nothing to
        correlate.
    """
    one, two = _series(time, flux, flux_err), _series(other_time, other_flux, other_err)
    if step is None:
        step = max(median_cadence(one[0]), median_cadence(two[0]))
    lags = _lags(one[0], two[0], max_lag, step)
    a, b = (f - f.mean() for _, f, _ in (one, two))
    strength = 1.0
    for values, (_, _, e) in ((a, one), (b, two)):
        own = float(values.var() - np.mean(e**2))
        if not own > 0:
            raise ValueError("a series scatters no more than its errors say: there is nothing to correlate")
        strength *= own
    edges = np.r_[lags - 0.5 * step, lags[-1] + 0.5 * step]
    n, total, square = np.zeros((3, len(lags)))
    for t, value in zip(one[0].tolist(), a.tolist(), strict=True):
        first, last = np.searchsorted(two[0], (t + edges[0], t + edges[-1]))
        which = np.searchsorted(edges, two[0][first:last] - t, side="right") - 1
        product = value * b[first:last] / np.sqrt(strength)
        for sums, what in ((n, None), (total, product), (square, product**2)):
            sums += np.bincount(which, what, minlength=len(lags))[: len(lags)]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(n >= LEAST, total / n, np.nan)
        error = np.sqrt(np.maximum(square - n * mean**2, 0.0)) / (n - 1)
    return Correlation(lags, mean, error, n.astype(np.int64))


def time_lag(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    other_time: ArrayLike,
    other_flux: ArrayLike,
    other_err: ArrayLike,
    max_lag: float | None = None,
    step: float | None = None,
    gap: float = GAP,
    trials: int = 200,
    seed: int = 1,
) -> Lag:
    """Measure the lag of the second series behind the first, with its error.

    Parameters
    ----------
    time, flux, flux_err, other_time, other_flux, other_err, max_lag, step, gap
        As for `cross_correlation` and `discrete_correlation`.
    trials : int
        How often points are drawn again.
    seed : int
        Of the random numbers.

    Raises
    ------
    ValueError
        If a series has fewer than five points.
    """
    one, two = _series(time, flux, flux_err), _series(other_time, other_flux, other_err)
    lags = _lags(one[0], two[0], max_lag, step)
    goods = [good_time_intervals(t, gap) for t in (one[0], two[0])]
    found = _interpolated(one[:2], two[:2], lags, goods)
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [_interpolated(_redrawn(one, rng), _redrawn(two, rng), lags, goods).centroid for _ in range(trials)]
    )
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, QUANTILES) if known.size else (np.nan, np.nan)
    return Lag(found.centroid, float(low), float(high), found.peak[1], drawn)


def _series(*columns: ArrayLike) -> tuple[Floats, ...]:
    """Known points in order of time."""
    arrays = [np.asarray(values, dtype=np.float64) for values in columns]
    good = np.all([np.isfinite(values) for values in arrays], axis=0)
    if len(arrays) > 2:
        good &= arrays[2] > 0
    if np.count_nonzero(good) < LEAST:
        raise ValueError(f"a correlation needs at least {LEAST} points in each series")
    order = np.flatnonzero(good)[np.argsort(arrays[0][good], kind="stable")]
    return tuple(values[order] for values in arrays)


def _lags(one: Floats, two: Floats, max_lag: float | None, step: float | None) -> Floats:
    if step is None:
        step = 0.5 * min(median_cadence(one), median_cadence(two))
    longest = 0.25 * min(np.ptp(one), np.ptp(two)) if max_lag is None else max_lag
    if not (step > 0 and longest > 0):
        raise ValueError(f"lags up to {longest:g} in steps of {step:g} are none: both must be positive")
    count = int(longest / step + 1e-9)
    lags: Floats = step * np.arange(-count, count + 1, dtype=np.float64)
    return lags


def _interpolated(one: tuple[Floats, ...], two: tuple[Floats, ...], lags: Floats, goods: list[Floats]) -> Correlation:
    """Mean of both interpolations at each lag."""
    ways = ((one, two, goods[1], 1.0), (two, one, goods[0], -1.0))
    values, counts = np.full((2, len(lags)), np.nan), np.zeros((2, len(lags)), dtype=np.int64)
    for way, ((t, f), (other_t, other_f), good, sign) in enumerate(ways):
        for k, lag in enumerate(lags.tolist()):
            at = t + sign * lag
            there = inside(at, good) & (at >= other_t[0]) & (at <= other_t[-1])
            counts[way, k] = np.count_nonzero(there)
            if counts[way, k] >= LEAST:
                a = f[there] - f[there].mean()
                b = np.interp(at[there], other_t, other_f)
                b -= b.mean()
                norm = np.sqrt((a @ a) * (b @ b))
                values[way, k] = (a @ b) / norm if norm > 0 else np.nan
    return Correlation(lags, values.mean(axis=0), np.full(len(lags), np.nan), counts.sum(axis=0))


def _redrawn(series: tuple[Floats, ...], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Points drawn with replacement, with fluxes changed by their errors; a point drawn twice is known better."""
    t, f, e = series
    which, times = np.unique(rng.integers(0, len(t), len(t)), return_counts=True)
    return t[which], f[which] + e[which] / np.sqrt(times) * rng.standard_normal(len(which))
