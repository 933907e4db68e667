"""Fits of a linear model to each curve of an ensemble, and what is left when it is divided out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import MASKED, Ensemble, Flag, FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_differential.detrend import Detrend

    Array = NDArray[np.float64]

UNFIT = np.uint16(MASKED | Flag.NON_LINEAR | Flag.EDGE | Flag.FAILED | Flag.OUTLIER)
"""A measurement with any of these bits does not take part in a fit."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A linear model of one curve.

    Attributes
    ----------
    coefficients : ndarray, shape (k,)
        In the unit of the flux.
    covariance : ndarray, shape (k, k)
        As the residuals show it, where they are larger than the errors.
    chi2 : float
        Per degree of freedom, with the errors of the points.
    bic_gain : float
        By how much the model lowers the Bayesian information criterion of a constant.
    points : int
    """

    coefficients: Array
    covariance: Array
    chi2: float
    bic_gain: float
    points: int


def detrended(options: Detrend, curves: Ensemble) -> Ensemble:
    """Do the work of `Detrend.apply`."""
    outside = np.ones(len(curves.time), dtype=bool)
    for begin, end in options.exclude:
        outside &= (curves.time < begin) | (curves.time > end)
    if len(outside) and not outside.any():
        raise FrameError(
            f"no frame lies outside the windows of detrend: the curves run from {curves.time.min():.5f} to "
            f"{curves.time.max():.5f} ({curves.time_scale})"
        )
    for name, _ in options.powers:
        if curves.time.size and not np.isfinite(getattr(curves, name)).any():
            raise FrameError(f"detrend needs {name}, and it is known for no frame; leave it out of terms")
    flux, error = curves.flux.astype(np.float64), curves.flux_err.astype(np.float64)
    fit = np.isfinite(flux) & (error > 0) & ((curves.flags & UNFIT) == 0) & outside[:, None]
    stars: dict[int, dict[str, Any]] = {}
    left: list[int] = []
    for column, star in enumerate(curves.sources.tolist()):
        design = _design(options, curves, column, fit[:, column])
        known = np.isfinite(design).all(axis=1)
        used = fit[:, column] & known
        found = linear_fit(design[used], flux[used, column], error[used, column])
        if found is None or not found.coefficients[0] > 0:
            left.append(star)
            continue
        level = 1.0 if not curves.unit else found.coefficients[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            model = design @ found.coefficients
            variance = np.einsum("ij,jk,ik->i", design, found.covariance, design)
            model[~(model > 0)] = np.nan
            error[:, column] = level * np.hypot(error[:, column], flux[:, column] * np.sqrt(variance) / model) / model
            flux[:, column] = level * flux[:, column] / model
        stars[star] = {
            "coefficients": (found.coefficients / found.coefficients[0]).tolist(),
            "errors": (np.sqrt(np.diag(found.covariance)) / found.coefficients[0]).tolist(),
            "points": found.points,
            "chi2": found.chi2,
            "bic_gain": found.bic_gain,
        }
    error[~np.isfinite(flux)] = np.nan
    report = {"terms": list(options.terms), "exclude": [list(window) for window in options.exclude]}
    return curves.replace(
        flux=flux, flux_err=error, meta={**curves.meta, "detrend": {**report, "stars": stars, "left": left}}
    )


def _design(options: Detrend, curves: Ensemble, column: int, fit: NDArray[np.bool_]) -> Array:
    """Give the terms of the model for one star, shape (n, k); a column that does not change is zero."""
    terms = [np.ones(len(curves.time))]
    for name, power in options.powers:
        values = np.asarray(getattr(curves, name), dtype=np.float64)
        values = values[:, column] if values.ndim == 2 else values
        seen = values[fit & np.isfinite(values)]
        middle, spread = (float(np.median(seen)), float(np.std(seen))) if seen.size else (0.0, 0.0)
        scaled = (values - middle) / spread if spread > 0 else np.where(np.isfinite(values), 0.0, np.nan)
        # The mean of a power is taken off, so that the constant stays the level of the curve.
        raised = scaled**power
        terms.append(raised - (float(np.mean(raised[fit & np.isfinite(raised)])) if seen.size else 0.0))
    return np.stack(terms, axis=1)


def linear_fit(design: Array, flux: Array, error: Array) -> Fit | None:
    """Fit by weighted linear least squares; None with no more points than coefficients.

    Terms that say the same, or nothing, share what they explain: the solution of smallest norm is taken.

    Parameters
    ----------
    design : ndarray, shape (n, k)
        The first term is the constant.
    flux, error : ndarray, shape (n,)
    """
    points, size = design.shape
    if points <= size:
        return None
    inverse = np.linalg.pinv(design / error[:, None])
    coefficients = inverse @ (flux / error)
    chi2 = float(np.sum(((flux - design @ coefficients) / error) ** 2))
    freedom = points - np.linalg.matrix_rank(design)
    weight = error**-2
    flat = float(np.sum(weight * (flux - np.sum(weight * flux) / np.sum(weight)) ** 2))
    tiny = np.finfo(np.float64).tiny
    gain = points * (np.log(max(flat, tiny)) - np.log(max(chi2, tiny))) - (size - 1) * np.log(points)
    reduced = chi2 / freedom
    covariance = inverse @ inverse.T * max(1.0, reduced)
    return Fit(coefficients, covariance, reduced, float(gain), points)
