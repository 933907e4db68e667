"""The fit of the PSF to stars by photutils, with what it needs to be true: the sky, the noise, each pixel once.

*Weights.* A pixel's own counts are no measure of its variance: a pixel that came out low would weigh more, and the fit
would lose some 50 electrons of every star of FWHM 4.7 pixels, 0.7 of the error of a faint one. The variance here is
that of the sky in the ring plus the light that the stars put into the pixel. What a pixel has far above that, such as
the noise of its dark current, it keeps.

*Groups.* photutils fits the stars of a group to the pixels of all their windows, and counts a pixel that lies in two
windows twice, so that errors come out too small. Here the variance of a pixel is multiplied by the number of windows of
the group it lies in. Light of stars of other groups is subtracted first; groups whose windows meet need another image
each, and are fitted in separate calls.

*Sky.* The ring is measured with the light of all stars subtracted, as in ALLSTAR (Stetson 1987, PASP 99, 191).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from albireo_photutils.equations import change_of_flux, weight_sums
from albireo_photutils.ring import clipped_mean
from albireo_photutils.star_model import rendered, shares
from albireo_photutils.versions import quiet
from albireo_photutils.windows import Windows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from photutils.psf import ImagePSF
    from scipy.sparse import csc_array

    from albireo import PSF

    Floats: TypeAlias = NDArray[np.float64]

WINGS = 4.0
"""How far the light of a star is drawn, in FWHM of the major axis."""

ROUNDS = 3
"""Of sky and light, which depend on each other: the third changes fluxes by less than a hundredth of their errors."""

NOISY = 5.0
"""A pixel keeps a variance that exceeds what is expected by so many standard deviations of its counts."""

LEAST_VARIANCE = 1e-6
"""In the unit of the image squared: a pixel without any noise would take all the weight."""

MAX_ITERATIONS = 100
"""Of a fit."""

NO_CONVERGENCE = 8
"""The bit of photutils' flags for a fit that may not have converged."""

AT_THE_LIMIT = 0.99
"""Share of the tolerance from which a fitted position counts as on its limit: the fitter stays a little inside."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image as the fit wants it.

    Attributes
    ----------
    data, variance : ndarray of float64, shape (ny, nx)
        Zero and one where ``hidden``.
    hidden : ndarray of bool
        Pixels that take no part.
    """

    data: Floats
    variance: Floats
    hidden: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Settings:
    """How to fit.

    Attributes
    ----------
    half : int
        Half-width of the windows in pixels.
    grouping : float
        Stars nearer than this, in pixels, are fitted together.
    tolerance : float or None
        How far positions may move, in pixels; None if they are held.
    local_sky : bool
        Whether to subtract the level of the ring; it tells the noise of the sky in any case.
    ring : (float, float)
        Inner and outer radius in pixels.
    clip : float
        Of the ring, in standard deviations.
    """

    half: int
    grouping: float
    tolerance: float | None
    local_sky: bool
    ring: tuple[float, float]
    clip: float


def fit_stars(pixels: Pixels, psf: PSF, x: Floats, y: Floats, settings: Settings) -> dict[str, Floats]:
    """Fit all stars, those near each other together.

    Parameters
    ----------
    pixels : Pixels
    psf : PSF
    x, y : ndarray, shape (n,)
        Positions in pixels; each window must hold light of its star on usable pixels.
    settings : Settings

    Returns
    -------
    dict of ndarray, shape (n,)
        ``flux``, ``flux_err``, ``x``, ``y``, ``x_err``, ``y_err``, ``sky``, ``sky_err`` (zero without a local sky) and
        ``area``. NaN where the ring has too few pixels, the fit did not converge or the position lies on the limit.
    """
    from photutils.psf import SourceGrouper

    group = np.ones(1, dtype=int) if len(x) == 1 else np.asarray(SourceGrouper(settings.grouping)(x, y))
    windows = Windows.around(x, y, settings.half, pixels.data.shape)
    stars = _Stars(pixels, psf, x, y, group, windows, windows.apart(group), settings)
    fitted = stars.fit(x, y)
    if settings.tolerance is not None:
        # The light was drawn where the catalogue has the stars; now it can be drawn where they are.
        found = np.isfinite(fitted["x"])
        fitted = stars.fit(np.where(found, fitted["x"], x), np.where(found, fitted["y"], y))
    return fitted


@dataclass(frozen=True, eq=False)
class _Stars:
    """Stars in groups, and the groups in parts whose windows do not meet."""

    pixels: Pixels
    psf: PSF
    x: Floats
    y: Floats
    group: NDArray[np.int_]
    windows: Windows
    parts: list[NDArray[np.intp]]
    settings: Settings

    def fit(self, at_x: Floats, at_y: Floats) -> dict[str, Floats]:
        """Fit, with the light of the stars drawn at these positions for sky, noise and neighbours."""
        pixels, group, shape = self.pixels, self.group, self.pixels.data.shape
        wings = int(np.ceil(WINGS * self.psf.fwhm * np.sqrt(self.psf.elongation)))
        light = shares(self.psf, at_x, at_y, wings, shape)
        own = [
            _in_windows(light[:, part], self.windows[part].owners(group[part])[0], group[part], pixels.hidden)
            for part in self.parts
        ]
        flux, stars = np.zeros(len(group)), np.zeros(shape)
        sky, sky_err = np.zeros(len(group)), np.zeros(len(group))
        for _ in range(ROUNDS):
            left = pixels.data - stars
            if self.settings.local_sky:
                sky, sky_err = self._ring(left, at_x, at_y)
            for part, seen in zip(self.parts, own, strict=True):
                flux[part] += change_of_flux(seen, left.ravel(), np.nan_to_num(sky[part]), group[part])
            stars = (light @ flux).reshape(shape)
        noise, _ = self._ring(pixels.variance - stars, at_x, at_y)

        names = ("flux", "flux_err", "x", "y", "x_err", "y_err", "area")
        fitted = {name: np.full(len(group), np.nan) for name in names}
        model = rendered(self.psf, wings, held=self.settings.tolerance is None)
        for part, seen in zip(self.parts, own, strict=True):
            owner, times = self.windows[part].owners(group[part])
            level, quiet_noise = (_painted(np.nan_to_num(values[part]), group[part], owner) for values in (sky, noise))
            others = stars - (seen @ flux[part]).reshape(shape)
            work = pixels.data - level
            variance = _expected_variance(pixels.variance, work, stars, quiet_noise)
            total, fitted["area"][part] = weight_sums(seen, variance.ravel(), group[part])
            known = part[np.isfinite(sky[part]) & np.isfinite(noise[part])]
            table: dict[str, NDArray[Any]] = {
                "x": self.x[known],
                "y": self.y[known],
                "flux": flux[known],
                "group_id": group[known],
            }
            error = np.sqrt(variance * np.maximum(times, 1))
            result = _photutils(work - others, error, pixels.hidden, table, model, self.settings)
            for name, values in result.items():
                fitted[name][known] = values
            fitted["flux_err"][part] = np.hypot(fitted["flux_err"][part], total * sky_err[part])
        return {**fitted, "sky": sky, "sky_err": sky_err}

    def _ring(self, plane: Floats, at_x: Floats, at_y: Floats) -> tuple[Floats, Floats]:
        """Clipped mean of a plane in the ring of each star, and its error; means over the stars of a group."""
        values = clipped_mean(plane, self.pixels.hidden, at_x, at_y, self.settings.ring, self.settings.clip)
        mean, error = (_group_means(v, self.group) for v in values)
        return mean, error


def _photutils(
    data: Floats,
    error: Floats,
    hidden: NDArray[np.bool_],
    stars: dict[str, NDArray[Any]],
    model: ImagePSF,
    settings: Settings,
) -> dict[str, Floats]:
    """Run the fit; rows in the order of the stars, NaN where it failed."""
    from astropy.modeling.fitting import LMLSQFitter, TRFLSQFitter
    from astropy.table import QTable
    from photutils.psf import PSFPhotometry

    count = len(stars["x"])
    if not count:
        return {}
    names = {name: f"{name}_init" for name in ("x", "y", "flux")}
    table = QTable({"id": np.arange(1, count + 1), **{names.get(key, key): values for key, values in stars.items()}})
    photometry = PSFPhotometry(
        model,
        (2 * settings.half + 1,) * 2,
        # Levenberg-Marquardt is faster; limits need the trust region.
        fitter=LMLSQFitter() if settings.tolerance is None else TRFLSQFitter(),
        fitter_maxiters=MAX_ITERATIONS,
        xy_bounds=settings.tolerance,
    )
    with quiet():
        rows = photometry(data, mask=hidden, error=error, init_params=table)
    rows.sort("id")
    result = {name: np.array(rows[f"{name}_fit"], dtype=np.float64) for name in names}
    # Positions that are held have no error.
    result |= {
        key: np.array(rows[key], dtype=np.float64) for key in rows.colnames if key in ("flux_err", "x_err", "y_err")
    }
    failed = (np.asarray(rows["flags"]) & NO_CONVERGENCE) != 0
    if settings.tolerance is not None:
        for name in ("x", "y"):
            failed |= np.abs(result[name] - stars[name]) >= AT_THE_LIMIT * settings.tolerance
    for values in result.values():
        values[failed] = np.nan
    return result


def _expected_variance(own: Floats, data: Floats, stars: Floats, noise: Floats) -> Floats:
    """Variance of each pixel: noise of the sky, light of the stars, and what its own has far above its counts.

    ``data`` are without the sky.
    """
    expected = noise + np.maximum(stars, 0.0)
    more = own - noise - data
    far_above = more > NOISY * np.sqrt(np.maximum(expected, 0.0))
    return np.maximum(np.where(far_above, expected + more, expected), LEAST_VARIANCE)


def _in_windows(
    light: csc_array, owner: NDArray[np.int32], group: NDArray[np.int_], hidden: NDArray[np.bool_]
) -> csc_array:
    """Leave only the light that stars put into usable pixels in windows of their own group."""
    from scipy.sparse import csc_array

    star = np.repeat(np.arange(light.shape[1]), np.diff(light.indptr))
    kept = (owner.ravel()[light.indices] == group[star]) & ~hidden.ravel()[light.indices]
    return csc_array((light.data[kept], (light.indices[kept], star[kept])), shape=light.shape)


def _group_means(values: Floats, group: NDArray[np.int_]) -> Floats:
    """Mean over the stars of the group that have a value, for each star; NaN if none has."""
    _, which = np.unique(group, return_inverse=True)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        means = np.bincount(which, np.where(known, values, 0.0)) / np.bincount(which, known)
    return np.asarray(means[which])


def _painted(values: Floats, group: NDArray[np.int_], owner: NDArray[np.int32]) -> Floats:
    """Put the value of each group into the pixels of its windows; zero elsewhere."""
    by_group = np.zeros(int(group.max()) + 1)
    by_group[group] = values
    return np.asarray(by_group[owner])
