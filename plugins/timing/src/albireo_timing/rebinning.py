"""Rebinning in time: several exposures into one point, never across a gap.

Bins are laid out afresh in each good-time interval, from half a cadence before its first exposure on, so that a bin
holds what lies together. Bins without exposures do not appear.

The error of a bin comes from the errors of its points. `excess` compares these errors with the scatter of the points
about their bin: a number well above one says that the points are worse than their errors, and so are the bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from albireo_timing.intervals import GAP, good_time_intervals, median_cadence

__all__ = ["Method", "Rebinned", "combine", "excess", "rebin", "sums", "time_bins"]

Method = Literal["weighted", "mean", "sum"]


@dataclass(frozen=True, eq=False)
class Rebinned:
    """A series in bins.

    Attributes
    ----------
    time : ndarray, shape (k,)
        Mean time of the points in each bin.
    flux, flux_err : ndarray, shape (k,)
    n : ndarray of int, shape (k,)
        Points in each bin.
    """

    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    n: NDArray[np.int64]


def rebin(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    width: float | None = None,
    points: int | None = None,
    method: Method = "weighted",
    gap: float = GAP,
) -> Rebinned:
    """Rebin one series in time.

    Parameters
    ----------
    time, flux, flux_err : array_like, shape (n,)
        In any order. Points where any of them is not finite, or the error is not positive, are left out.
    width : float, optional
        Length of a bin, in the unit of time.
    points : int, optional
        Or the number of points in a bin; the last bin of an interval may have fewer.
    method : str
        ``weighted``: mean with weights ``1 / flux_err**2``; ``mean``: all points count alike; ``sum``: their sum.
    gap : float
        No bin spans a step longer than this many median cadences; ``inf`` lets bins span any gap.

    Raises
    ------
    ValueError
        If not exactly one of ``width`` and ``points`` is given, or it is not positive.
    """
    t, f, e = (np.asarray(values, dtype=np.float64) for values in (time, flux, flux_err))
    good = np.isfinite(t) & np.isfinite(f) & np.isfinite(e) & (e > 0)
    order = np.flatnonzero(good)[np.argsort(t[good], kind="stable")]
    t, f, e = t[order], f[order], e[order]
    index = time_bins(t, width, points, gap)
    value, error, n = combine(index, f[:, None], e[:, None], method)
    return Rebinned(sums(index, t) / np.maximum(n[:, 0], 1), value[:, 0], error[:, 0], n[:, 0])


def time_bins(
    time: NDArray[np.float64], width: float | None = None, points: int | None = None, gap: float = GAP
) -> NDArray[np.int64]:
    """Number of the bin of each time.

    Parameters
    ----------
    time : ndarray, shape (n,)
        Finite, in order.
    width, points, gap
        As for `rebin`.

    Returns
    -------
    ndarray of int, shape (n,)
        From zero, without holes.
    """
    if (width is None) == (points is None):
        raise ValueError("give either the width of a bin or the number of its points")
    if not (width or points or 0) > 0:
        raise ValueError("the width of a bin, or the number of its points, must be positive")
    if not len(time):
        return np.empty(0, dtype=np.int64)
    cadence = median_cadence(time)
    starts = good_time_intervals(time, gap, cadence)[:, 0] if np.isfinite(cadence) else time[:1]
    interval = np.searchsorted(starts, time, side="right") - 1
    if points is None:
        inner = np.floor((time - starts[interval]) / (width or np.inf))
    else:
        first = np.searchsorted(interval, np.arange(len(starts)))
        inner = (np.arange(len(time)) - first[interval]) // points
    new = (np.diff(interval) != 0) | (np.diff(inner) != 0)
    return np.r_[0, np.cumsum(new)].astype(np.int64)


def combine(
    index: NDArray[np.int64], flux: NDArray[np.float64], flux_err: NDArray[np.float64], method: Method
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Combine the points of each bin.

    Parameters
    ----------
    index : ndarray of int, shape (n,)
        Bin of each row, from zero, in order.
    flux, flux_err : ndarray, shape (n, m)
        Series in columns; what is not finite, or has no positive error, is left out.
    method : str

    Returns
    -------
    flux, flux_err, n : ndarray, shape (k, m)
        NaN, NaN and zero where a bin has no points.
    """
    good = np.isfinite(flux) & np.isfinite(flux_err) & (flux_err > 0)
    n = sums(index, good.astype(np.int64))
    value, error = np.where(good, flux, 0.0), np.where(good, flux_err, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == "weighted":
            weight = np.where(good, 1.0 / error**2, 0.0)
            total = sums(index, weight)
            return sums(index, weight * value) / total, np.where(n > 0, 1.0 / np.sqrt(total), np.nan), n
        number = np.where(n > 0, n if method == "mean" else 1, 0)
        return sums(index, value) / number, np.sqrt(sums(index, error**2)) / number, n


def excess(index: NDArray[np.int64], flux: NDArray[np.float64], flux_err: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scatter of points about the mean of their bin, in units of their errors: the root of the reduced chi squared.

    Parameters
    ----------
    index, flux, flux_err
        As for `combine`.

    Returns
    -------
    ndarray, shape (m,)
        One if errors tell the truth and the source is constant within a bin; NaN where no bin has two points.
    """
    mean, _, n = combine(index, flux, flux_err, "weighted")
    with np.errstate(divide="ignore", invalid="ignore"):
        chi = np.nan_to_num(((flux - mean[index]) / flux_err) ** 2, nan=0.0, posinf=0.0)
        free = np.maximum(n - 1, 0).sum(axis=0)
        return np.sqrt(np.where(free > 0, chi.sum(axis=0) / free, np.nan))


def sums(index: NDArray[np.int64], values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray:  # type: ignore[type-arg]
    """Sum of the rows of each bin; ``index`` counts from zero without holes, in order."""
    if not len(index):
        return np.zeros((0, *values.shape[1:]), dtype=values.dtype)
    result: NDArray[np.float64] = np.add.reduceat(values, np.flatnonzero(np.r_[True, np.diff(index) > 0]), axis=0)
    return result
