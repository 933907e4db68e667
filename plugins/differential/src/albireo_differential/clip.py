"""The curve step: points far from their neighbours in time are outliers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from albireo import CurveStep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from albireo import Ensemble

CHUNK = 1 << 21
"""Values sorted at a time, so that memory stays small for many stars."""

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""

MIN_STARS = 3
"""Fewer stars have nothing in common that could be told from one of them."""

MIN_POINTS = 5
"""A curve with fewer points has no outliers."""


class Clip(CurveStep, name="clip"):
    """Leave out points that lie too far from a running median of their curve.

    The distance of a point from the running median is taken in its own errors, so that a point that is known badly may
    lie further off. A curve's standard deviation of these distances comes from their median absolute deviation; points
    beyond ``sigma`` of it are outliers, the running median is taken again without them, and so on until nothing
    changes. What lasts for half of the window or longer, such as a transit, moves the median with it and stays. Fluxes
    that are not relative yet are first divided by what all stars have in common in a frame, so that a cloud is no
    outlier; the step does its best work after ``differential``.

    No point goes silently: each has `Flag.OUTLIER`, the table of stars counts them, and the record of the run names
    stars and frames.
    """

    sigma: float = Field(5.0, gt=0, description="Points further from the running median than this are outliers.")
    window: int = Field(15, ge=3, description="Points of the running median, an odd number.")
    rounds: int = Field(10, ge=1, description="How often to look again without the outliers, at most.")
    keep: bool = Field(False, description="Whether outliers keep their values; else they become NaN.")

    @field_validator("window")
    @classmethod
    def _is_odd(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError(f"a running median has a point in its middle: give an odd number, such as {window + 1}")
        return window

    def apply(self, curves: Ensemble) -> Ensemble:
        """Flag outliers of every star.

        Parameters
        ----------
        curves : Ensemble
            In order of time. NaN stay as they are.

        Returns
        -------
        Ensemble
            ``flags`` with `Flag.OUTLIER`; fluxes and errors of outliers are NaN unless they are kept. ``meta`` gains
            ``clip``: ``points`` (number of outliers), ``stars`` (identity to the names of its frames) and ``frames``
            (name of each frame with outliers to their number).
        """
        import numpy as np

        from albireo import Flag

        common = transparency(curves.flux) if curves.unit else np.ones(len(curves.flux))
        with np.errstate(divide="ignore", invalid="ignore"):
            outlier = self.outliers(curves.flux / common[:, None], curves.flux_err / common[:, None])
        flags = np.where(outlier, curves.flags | np.uint16(Flag.OUTLIER), curves.flags)
        stars = {
            int(star): curves.frames[outlier[:, column]].tolist()
            for column, star in enumerate(curves.sources)
            if outlier[:, column].any()
        }
        counts = outlier.sum(axis=1)
        frames = {str(curves.frames[row]): int(counts[row]) for row in np.flatnonzero(counts)}
        report = {"points": int(outlier.sum()), "stars": stars, "frames": frames}
        flux, error = curves.flux, curves.flux_err
        if not self.keep:
            flux, error = (np.where(outlier, np.nan, values) for values in (flux, error))
        return curves.replace(flux=flux, flux_err=error, flags=flags, meta={**curves.meta, "clip": report})

    def outliers(self, flux: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which points are outliers.

        Parameters
        ----------
        flux, error : ndarray, shape (n, m)
            Curves in columns.

        Returns
        -------
        ndarray of bool, shape (n, m)
        """
        import numpy as np

        result = np.zeros(flux.shape, dtype=bool)
        step = max(1, CHUNK // max(1, len(flux) * self.window))
        for first in range(0, flux.shape[1], step):
            part = slice(first, first + step)
            result[:, part] = self._outliers(flux[:, part], error[:, part])
        return result

    def _outliers(self, flux: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.bool_]:
        import numpy as np

        known = np.isfinite(flux) & (error > 0)
        good = known
        for _ in range(self.rounds):
            values = np.where(good, flux, np.nan)
            distance = np.where(known, flux - running_median(values, self.window), np.nan)
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = np.abs(distance / error)
            spread = MAD_TO_SIGMA * medians(np.where(good, distance, np.nan).T)
            enough = (good.sum(axis=0) >= MIN_POINTS) & (spread > 0)
            with np.errstate(invalid="ignore"):
                kept = known & ~(enough & (distance > self.sigma * spread))
            if np.array_equal(kept, good):
                break
            good = kept
        return known & ~good


def transparency(flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light of each frame that all stars have in common, as the median of their relative fluxes; ones for few stars.

    Parameters
    ----------
    flux : ndarray, shape (n, m)

    Returns
    -------
    ndarray, shape (n,)
    """
    import numpy as np

    if flux.shape[1] < MIN_STARS:
        return np.ones(len(flux))
    level = medians(flux.T)
    level[~(level > 0)] = np.nan
    return medians(flux / level)


def running_median(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Median of the points around each, NaN left out; at the ends of what there is of the window.

    Parameters
    ----------
    values : ndarray, shape (n, m)
        Curves in columns.
    window : int
        Odd number of points.

    Returns
    -------
    ndarray, shape (n, m)
        NaN where a whole window is.
    """
    import numpy as np

    if not len(values):
        return values
    half = window // 2
    padded = np.pad(values, ((half, half), (0, 0)), constant_values=np.nan)
    return medians(np.lib.stride_tricks.sliding_window_view(padded, window, axis=0))


def medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median along the last axis, NaN left out; NaN where all are.

    `numpy.nanmedian` does the same, many times slower for short rows.
    """
    import numpy as np

    length = values.shape[-1]
    if not length:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, length - 1)
    middle = 0.5 * (np.take_along_axis(ordered, low, axis=-1) + np.take_along_axis(ordered, high, axis=-1))
    result: NDArray[np.float64] = np.where(count > 0, middle, np.nan)[..., 0]
    return result
