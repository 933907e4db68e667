"""Folding with a period, and the mean curve in bins of phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Phased", "fold", "phase_bin"]


@dataclass(frozen=True, eq=False)
class Phased:
    """A folded series in bins of phase.

    Attributes
    ----------
    phase : ndarray, shape (n_bins,)
        Middle of each bin; bin ``k`` reaches from ``k / n_bins`` to ``(k + 1) / n_bins``.
    flux, flux_err : ndarray, shape (n_bins,)
        NaN in a bin without points.
    n : ndarray of int, shape (n_bins,)
        Points in each bin.
    """

    phase: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    n: NDArray[np.int64]


def fold(time: ArrayLike, period: float, t0: float = 0.0) -> NDArray[np.float64]:
    """Phase of each time, from 0 up to but not including 1.

    Parameters
    ----------
    time : array_like, any shape
        NaN stay NaN.
    period : float
        In the unit of time.
    t0 : float
        Time of phase zero.

    Raises
    ------
    ValueError
        If the period is not a positive number.
    """
    if not (period > 0 and np.isfinite(period)):
        raise ValueError(f"a period is a positive number, not {period}")
    phase = np.mod((np.asarray(time, dtype=np.float64) - t0) / period, 1.0)
    result: NDArray[np.float64] = np.where(phase >= 1.0, 0.0, phase)  # a hair before zero is rounded to one
    return result


def phase_bin(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike | None = None,
    *,
    period: float,
    t0: float = 0.0,
    n_bins: int = 10,
) -> Phased:
    """Fold one series and average it in bins of equal width.

    Parameters
    ----------
    time, flux : array_like, shape (n,)
        Points that are not finite are left out.
    flux_err : array_like, shape (n,), optional
        Points count by ``1 / flux_err**2``, and the error of a bin follows from theirs; points without a positive error
        are left out. Without errors points count alike, and the error of a bin is the standard deviation of its points
        over the root of their number: NaN with fewer than two.
    period, t0 : float
        As for `fold`.
    n_bins : int
        Number of bins.

    Raises
    ------
    ValueError
        If the period or the number of bins is not positive.
    """
    if n_bins < 1:
        raise ValueError(f"there must be at least one bin, not {n_bins}")
    phase, values = fold(time, period, t0), np.asarray(flux, dtype=np.float64)
    good = np.isfinite(phase) & np.isfinite(values)
    weight = np.ones(values.shape)
    if flux_err is not None:
        errors = np.asarray(flux_err, dtype=np.float64)
        good &= np.isfinite(errors) & (errors > 0)
        weight = 1.0 / np.where(good, errors, 1.0) ** 2
    values, weight = values[good], weight[good]
    which = np.minimum((phase[good] * n_bins).astype(np.int64), n_bins - 1)

    def total(what: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = np.bincount(which, what, minlength=n_bins).astype(np.float64)
        return result

    n, weights = np.bincount(which, minlength=n_bins), total(weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total(weight * values) / weights
        if flux_err is None:
            variance = total((values - mean[which]) ** 2) / (n - 1)
            error = np.where(n > 1, np.sqrt(variance / n), np.nan)
        else:
            error = np.where(n > 0, 1.0 / np.sqrt(weights), np.nan)
    return Phased((np.arange(n_bins) + 0.5) / n_bins, mean, error, n)
