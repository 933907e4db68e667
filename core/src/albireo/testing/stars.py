"""Stars on pixels: Moffat and Gaussian profiles, integrated over each pixel and normalised over the infinite plane.

The profile is that of Moffat (1969, A&A 3, 455), ``I(q) = (beta - 1) / (pi a b) (1 + q)**-beta``, with
``q = (u / a)**2 + (v / b)**2`` along the major and minor axes; its limit for large ``beta`` is the Gaussian. The
integral over a pixel is a Gauss-Legendre sum near the core, where the profile bends, and the value at the centre of the
pixel in the wings. What a pixel gets is right to better than 1e-4 of the flux of the star for a full width at half
maximum of 1.5 pixels and more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, inf, isfinite, log, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from albireo.psf import PSF

__all__ = ["Profile", "draw_stars"]

LOST = 1e-4
"""Fraction of the light that may fall beyond the stamp a star is drawn on."""

SMALLEST_FWHM = 1.0
"""Narrower stars (pixels, minor axis) would need more sampling points than `draw_stars` uses."""


@dataclass(frozen=True)
class Profile:
    """The shape of a star.

    Attributes
    ----------
    fwhm : float
        Geometric mean full width at half maximum, in pixels, before the integration over pixels.
    beta : float
        Exponent of Moffat's profile, above one; infinity is a Gaussian. Seeing gives 3 to 5.
    elongation : float
        Major over minor axis, at least one.
    theta : float
        Position angle of the major axis in radians, counter-clockwise from +x.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    fwhm: float = 3.0
    beta: float = inf
    elongation: float = 1.0
    theta: float = 0.0

    def __post_init__(self) -> None:
        if not (self.beta > 1.0 and self.elongation >= 1.0 and self.axes_fwhm[1] >= SMALLEST_FWHM):
            raise ValueError(
                f"{self} cannot be drawn: beta must be above 1, the elongation at least 1 "
                f"and the minor axis at least {SMALLEST_FWHM} pixel wide"
            )

    @property
    def axes_fwhm(self) -> tuple[float, float]:
        """Full width at half maximum along the major and the minor axis, in pixels."""
        stretch = sqrt(self.elongation)
        return self.fwhm * stretch, self.fwhm / stretch

    @property
    def width(self) -> float:
        """The length that scales the profile: the standard deviation of a Gaussian, Moffat's alpha otherwise."""
        if not isfinite(self.beta):
            return self.fwhm / (2.0 * sqrt(2.0 * log(2.0)))
        return self.fwhm / (2.0 * sqrt(2.0 ** (1.0 / self.beta) - 1.0))

    def enclosed(self, radius: float) -> float:
        """Fraction of the light within a circle of this radius in pixels, for a round star and before pixels."""
        q = (radius / self.width) ** 2
        return 1.0 - exp(-0.5 * q) if not isfinite(self.beta) else 1.0 - float((1.0 + q) ** (1.0 - self.beta))

    @property
    def radius(self) -> float:
        """Radius along the major axis in pixels beyond which less than `LOST` of the light falls."""
        if not isfinite(self.beta):
            reach = sqrt(-2.0 * log(LOST))
        else:
            reach = sqrt(LOST ** (1.0 / (1.0 - self.beta)) - 1.0)
        return self.width * reach * sqrt(self.elongation)

    @property
    def noise_pixels(self) -> float:
        """Pixels whose background noise an optimal measurement collects: one over the integral of P squared."""
        if not isfinite(self.beta):
            return 4.0 * pi * self.width**2
        return pi * self.width**2 * (2.0 * self.beta - 1.0) / (self.beta - 1.0) ** 2

    def psf(self, stars: int = 0) -> PSF:
        """Give the same shape as the `albireo.PSF` that photometers get."""
        from albireo.psf import PSF

        return PSF(fwhm=self.fwhm, elongation=self.elongation, theta=self.theta, stars=stars, beta=self.beta)

    def density(self, dx: NDArray[np.float64], dy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Surface brightness at offsets from the centre, per square pixel, for a star of unit flux."""
        a, b = self.width * sqrt(self.elongation), self.width / sqrt(self.elongation)
        cosine, sine = np.cos(self.theta), np.sin(self.theta)
        u, v = (dx * cosine + dy * sine) / a, (dy * cosine - dx * sine) / b
        q = u * u + v * v
        if not isfinite(self.beta):
            return np.asarray(np.exp(-0.5 * q) / (2.0 * pi * a * b))
        return np.asarray((self.beta - 1.0) / (pi * a * b) * (1.0 + q) ** -self.beta)


def draw_stars(
    shape: tuple[int, int], x: ArrayLike, y: ArrayLike, flux: ArrayLike, profile: Profile
) -> NDArray[np.float32]:
    """Draw stars onto an empty image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    x, y : array_like
        Centres in pixels; a star outside the image leaves the part of its light that falls inside.
    flux : array_like
        Light of each star over the infinite plane.
    profile : Profile

    Returns
    -------
    ndarray of float32
        Light in each pixel, in the unit of ``flux``. A star with a position that is not finite is left out.
    """
    out = np.zeros(shape, dtype=np.float32)
    narrow = profile.axes_fwhm[1]
    order = 4 if narrow < 2.5 else 3 if narrow < 4.0 else 2
    core = ceil(max(4.0 * profile.axes_fwhm[0], 8.0))
    reach = max(ceil(profile.radius), core)
    for x0, y0, light in zip(np.ravel(x), np.ravel(y), np.ravel(flux), strict=True):
        if not (isfinite(x0) and isfinite(y0)):
            continue
        rows, columns = _span(y0, reach, shape[0]), _span(x0, reach, shape[1])
        if not (len(rows) and len(columns)):
            continue
        stamp = _integrated(profile, rows, columns, x0, y0, 1)
        inner_rows, inner_columns = _span(y0, core, shape[0]), _span(x0, core, shape[1])
        if len(inner_rows) and len(inner_columns):
            top, left = inner_rows.start - rows.start, inner_columns.start - columns.start
            stamp[top : top + len(inner_rows), left : left + len(inner_columns)] = _integrated(
                profile, inner_rows, inner_columns, x0, y0, order
            )
        out[rows.start : rows.stop, columns.start : columns.stop] += (light * stamp).astype(np.float32)
    return out


_points = lru_cache(np.polynomial.legendre.leggauss)
"""Nodes and weights of a Gauss-Legendre sum between -1 and 1."""


def _span(centre: float, reach: int, size: int) -> range:
    """Pixels within reach of a centre that are inside the image."""
    middle = round(centre)
    return range(max(middle - reach, 0), max(min(middle + reach + 1, size), 0))


def _integrated(profile: Profile, rows: range, columns: range, x0: float, y0: float, order: int) -> NDArray[np.float64]:
    """Integrate the profile over pixels with a Gauss-Legendre sum of ``order`` points along each axis."""
    nodes, weights = _points(order)
    dx = (np.arange(columns.start, columns.stop)[:, None] + 0.5 * nodes - x0).ravel()
    dy = (np.arange(rows.start, rows.stop)[:, None] + 0.5 * nodes - y0).ravel()
    fine = profile.density(dx[None, :], dy[:, None])
    if order == 1:
        return fine
    fine = fine.reshape(len(rows), order, len(columns), order)
    return np.asarray(np.einsum("iajb,a,b->ij", fine, 0.5 * weights, 0.5 * weights))
