"""An elliptical profile fitted to many stars at once.

All stars have one shape; each has its own flux, place and local sky. The fit is that of Gauss and Newton with damping
(Levenberg 1944, Marquardt 1963) on the pixels of all stars together, with the profile integrated over each pixel. The
numbers of one star meet those of the others only through the shape, so that they are eliminated star by star (the
Schur complement) and what is left to solve are the three or four equations of the shape.

The shape is described by the logarithm of the width, by two components of the ellipticity, ``log(elongation)`` times
the cosine and the sine of twice the angle, and by ``1 / beta``, which is zero for a Gaussian: none of them has a seam.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, hypot, inf, log
from typing import TYPE_CHECKING

import numpy as np

from albireo import PSF

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_psf.cuts import Cuts

__all__ = ["OUTLIER", "SPARED", "Fitted", "fit_shape", "flux_and_sky"]

ROUNDS = 12
"""Steps at most; four to six are usual."""

CONVERGED = 1e-3
"""Change of the shape (relative widths, ellipticity, 1 / beta) below which the fit ends."""

MISMATCH = 0.02
"""Error of the model relative to the light of a star in a pixel, beside the noise: no formula is a star, and without
it the core of the brightest one would decide alone."""

OUTLIER = 5.0
"""A pixel further from the model than this, in standard deviations beside `SPARED`, is left out."""

SPARED = 0.05
"""Difference from the model, relative to the peak of the star, that makes no outlier: wings are no rays."""

STEP = 1e-3
"""Of the shape and in pixels, for derivatives."""

LARGEST = np.array([0.5, 0.5, 0.5, 0.2])
"""Change of the shape in one step."""

STEEPEST, SHALLOWEST = 1.0 / 100.0, 1.0 / 1.2
"""Limits of 1 / beta. Above an exponent of a hundred, Moffat's profile is a Gaussian to 1 % of its width."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """The shape, and each star with it.

    Attributes
    ----------
    psf : PSF
    flux, sky, dx, dy : ndarray, shape (n,)
        In the unit of the image, and in pixels from the centre of the middle pixel.
    weight : ndarray, shape (n, side, side)
        One over the expected variance; zero where a pixel was left out.
    """

    psf: PSF
    flux: NDArray[np.float64]
    sky: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    weight: NDArray[np.float64]


def fit_shape(cuts: Cuts, usable: NDArray[np.bool_], start: PSF, moffat: bool, spared: float = SPARED) -> Fitted | None:
    """Fit the shape of a star.

    Parameters
    ----------
    cuts : Cuts
        Pixels around the stars.
    usable : ndarray of bool, shape of the cuts
        Pixels that take part.
    start : PSF
        Where to begin.
    moffat : bool
        Whether to fit the exponent too; otherwise the profile is a Gaussian.
    spared : float
        Difference from the model, relative to the peak of a star, that makes no outlier.

    Returns
    -------
    Fitted or None
        None if the numbers run away: these are no stars.
    """
    shape = _parameters(start, moffat)
    n = len(cuts.dx)
    dx, dy = cuts.dx.copy(), cuts.dy.copy()
    free = usable.astype(np.float64)
    psf = _psf(shape, n)
    model = psf.stamps(dx, dy, cuts.reach)
    weight = free / cuts.floor
    flux, sky = flux_and_sky(model, cuts.light, weight)
    damping, last, basis = 1e-3, inf, None
    for turn in range(ROUNDS):
        if turn < 3:
            weight, last = _weights(cuts, free, model, flux, sky, spared if turn > 0 else inf), inf
        if turn < 2:
            basis = _derivatives(shape, dx, dy, cuts.reach, model)
        assert basis is not None
        residual = cuts.light - flux[:, None, None] * model - sky[:, None, None]
        step, shifts = _step(basis, flux, weight, residual, damping, len(shape))
        if not (np.isfinite(step).all() and np.isfinite(shifts).all()):
            return None
        step = np.clip(step, -LARGEST[: len(shape)], LARGEST[: len(shape)])
        shifts = np.clip(shifts, -0.5, 0.5)
        trial = shape + step
        if moffat:
            trial[3] = np.clip(trial[3], STEEPEST, SHALLOWEST)
        if not (abs(trial[0] - log(start.fwhm)) < 1.5 and hypot(trial[1], trial[2]) < 2.0):
            return None
        psf_there = _psf(trial, n)
        there = psf_there.stamps(dx + shifts[0], dy + shifts[1], cuts.reach)
        flux_there, sky_there = flux_and_sky(there, cuts.light, weight)
        left = cuts.light - flux_there[:, None, None] * there - sky_there[:, None, None]
        chi2 = float((weight * left * left).sum())
        if chi2 > last * (1.0 + 1e-9):
            damping *= 10.0
            if damping > 1e6:
                break
            continue
        done = turn >= 3 and np.abs(trial - shape).max() < CONVERGED
        shape, psf, model, flux, sky, last = trial, psf_there, there, flux_there, sky_there, chi2
        dx, dy, damping = dx + shifts[0], dy + shifts[1], damping / 10.0
        if done:
            break
    good = (flux > 0) & (np.hypot(dx - cuts.dx, dy - cuts.dy) < max(1.0, 0.5 * start.fwhm))
    if not good.any():
        return None
    return Fitted(replace(psf, stars=int(good.sum())), flux, sky, dx, dy, weight * good[:, None, None])


def _parameters(psf: PSF, moffat: bool) -> NDArray[np.float64]:
    stretch = min(log(max(psf.elongation, 1.0)), 1.0)
    shape = [log(psf.fwhm), stretch * np.cos(2.0 * psf.theta), stretch * np.sin(2.0 * psf.theta)]
    return np.array([*shape, 0.25] if moffat else shape)


def _psf(shape: NDArray[np.float64], stars: int) -> PSF:
    theta = 0.5 * float(np.arctan2(shape[2], shape[1]))
    beta = 1.0 / float(shape[3]) if len(shape) > 3 else inf
    return PSF(exp(shape[0]), exp(hypot(shape[1], shape[2])), theta, stars, beta)


def flux_and_sky(
    model: NDArray[np.float64], light: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux and sky of each star by linear least squares."""
    wm = weight * model
    pp, p, one = (wm * model).sum(axis=(1, 2)), wm.sum(axis=(1, 2)), weight.sum(axis=(1, 2))
    pd, d = (wm * light).sum(axis=(1, 2)), (weight * light).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        flux = (pd * one - p * d) / (pp * one - p * p)
        sky = (d - flux * p) / one
    return np.nan_to_num(flux), np.nan_to_num(sky)


def _weights(
    cuts: Cuts,
    free: NDArray[np.float64],
    model: NDArray[np.float64],
    flux: NDArray[np.float64],
    sky: NDArray[np.float64],
    spared: float,
) -> NDArray[np.float64]:
    """One over the expected variance of each pixel, zero for outliers (none if ``spared`` is infinite)."""
    expected = np.maximum(flux, 0.0)[:, None, None] * model
    peak = expected.max(axis=(1, 2), keepdims=True)
    noise = cuts.floor + cuts.gain[:, None, None] * expected
    weight = free / (noise + (MISMATCH * peak) ** 2)
    residual = cuts.light - flux[:, None, None] * model - sky[:, None, None]
    with np.errstate(invalid="ignore"):
        weight[np.abs(residual) > OUTLIER * np.sqrt(noise) + spared * peak] = 0.0
    return np.asarray(weight)


def _derivatives(
    shape: NDArray[np.float64],
    dx: NDArray[np.float64],
    dy: NDArray[np.float64],
    reach: int,
    model: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Change of the shares with x, y and the shape, for a star of unit flux: (n, 2 + parameters, pixels)."""
    columns = [_psf(shape, 0).stamps(dx + ex, dy + ey, reach) for ex, ey in ((STEP, 0.0), (0.0, STEP))]
    columns += [_psf(shape + STEP * unit, 0).stamps(dx, dy, reach) for unit in np.eye(len(shape))]
    basis = (np.stack(columns, axis=1) - model[:, None]) / STEP
    ones = np.ones_like(model)
    return np.concatenate([np.stack([model, ones], axis=1), basis], axis=1).reshape(len(dx), len(columns) + 2, -1)


def _step(
    basis: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    residual: NDArray[np.float64],
    damping: float,
    parameters: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve for the change of the shape and of each place; shapes (parameters,) and (2, n)."""
    n = len(flux)
    columns = basis.copy()
    columns[:, 2:] *= flux[:, None, None]
    weighted = columns * weight.reshape(n, 1, -1)
    normal = weighted @ columns.transpose(0, 2, 1)
    right = (weighted @ residual.reshape(n, -1, 1))[:, :, 0]
    diagonal = np.arange(normal.shape[1])
    normal[:, diagonal, diagonal] *= 1.0 + damping
    # A star without pixels has nothing but zeros here, and takes no step.
    normal[:, diagonal, diagonal] += np.where(normal[:, diagonal, diagonal] > 0, 0.0, 1.0)
    own, border, common = normal[:, :4, :4], normal[:, :4, 4:], normal[:, 4:, 4:]
    empty = ~(weight.reshape(n, -1).sum(axis=1) > 0)
    common[empty] = 0.0
    solved = np.linalg.solve(own, np.concatenate([border, right[:, :4, None]], axis=2))
    inner, alone = solved[:, :, :parameters], solved[:, :, parameters]
    left = (common - border.transpose(0, 2, 1) @ inner).sum(axis=0)
    towards = (right[:, 4:] - (border.transpose(0, 2, 1) @ alone[:, :, None])[:, :, 0]).sum(axis=0)
    try:
        step = np.linalg.solve(left, towards)
    except np.linalg.LinAlgError:
        return np.full(parameters, np.nan), np.zeros((2, n))
    each = alone - inner @ step
    return np.asarray(step), np.asarray(each[:, 2:4].T)
