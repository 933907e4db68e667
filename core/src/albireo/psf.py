"""The point-spread function: what a star looks like in one image.

Two profiles have a formula: the elliptical Gaussian, and that of Moffat (1969, A&A 3, 455), whose exponent says how
much light is in the wings. What neither can say (coma, a trailed star, the image of a segmented mirror) is a
correction, sampled finer than the pixels: the effective PSF of Anderson & King (2000, PASP 112, 1360) minus the
formula. It is the share of light in a pixel as a function of where the pixel lies, so that no integral is left to do.

This module holds and draws a PSF. Fitting one is the work of a `PSFEstimator`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, inf, isfinite, log, pi, sin, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from albireo.sources import Sources

__all__ = ["PSF"]

CHUNK = 1 << 16
"""Points of the profile that are worked out at once, so that they stay in the cache."""

FAINTEST = np.float32(-80.0)
"""Logarithm of the faintest light that is told from none; below, numbers lose digits and processors their speed."""

ORDERS = ((0.9, 6), (1.35, 5), (2.2, 4), (4.2, 3), (inf, 2))
"""Points of the Gauss-Legendre sum along a side of a pixel, for stars narrower (FWHM of the minor axis) than this."""

_points = lru_cache(np.polynomial.legendre.leggauss)


@dataclass(frozen=True, eq=False)
class PSF:
    """The shape of a star: an elliptical profile by its widths, and what that lacks.

    Attributes
    ----------
    fwhm : float
        Geometric mean full width at half maximum in pixels, before the integration over pixels.
    elongation : float
        Major over minor axis, at least one.
    theta : float
        Position angle of the major axis in radians, counter-clockwise from +x.
    stars : int
        Number of stars it was measured from.
    beta : float
        Exponent of Moffat's profile, above one; infinity is the Gaussian.
    grid : ndarray of float32, shape (m, m), m odd; or None
        Light that the elliptical profile lacks: the share of a star's light in a pixel minus that of the profile, for a
        pixel whose centre lies ``(column - m // 2) / oversampling`` along x and ``(row - m // 2) / oversampling`` along
        y from the star. Zero beyond. Its sum should be zero, so that shares add up to one.
    oversampling : int
        Samples of ``grid`` along a side of a pixel.

    Raises
    ------
    ValueError
        If the grid is not square with a sample in the middle.
    """

    fwhm: float
    elongation: float = 1.0
    theta: float = 0.0
    stars: int = 0
    beta: float = inf
    grid: NDArray[np.float32] | None = None
    oversampling: int = 1

    def __post_init__(self) -> None:
        if self.grid is not None and (self.grid.ndim != 2 or len(set(self.grid.shape)) > 1 or len(self.grid) % 2 == 0):
            raise ValueError(f"the grid of a PSF is square with an odd number of rows, this one is {self.grid.shape}")

    @classmethod
    def of(cls, sources: Sources, brightest: int = 100) -> PSF | None:
        """Take the median shape of the brightest unflagged sources; None if there is no source to measure.

        Faint sources are left out where there are many: noise that was taken for a source is narrower than a star.
        """
        good = (sources.flags == 0) & (sources.fwhm > 0) & np.isfinite(sources.a) & (sources.b > 0)
        usable = sources[good]
        if not len(usable):
            return None
        stars = usable[np.argsort(-usable.flux, kind="stable")[:brightest]]
        # An angle has no median; double it, because an ellipse looks the same after half a turn.
        double = 2.0 * stars.theta[np.isfinite(stars.theta)]
        theta = 0.5 * float(np.arctan2(np.sum(np.sin(double)), np.sum(np.cos(double))))
        return cls(
            fwhm=float(np.median(stars.fwhm)),
            elongation=float(np.median(stars.a / stars.b)),
            theta=theta,
            stars=len(stars),
        )

    def __eq__(self, other: object) -> bool:
        """Whether the other has the same numbers and the same grid."""
        if not isinstance(other, PSF):
            return NotImplemented
        mine, theirs = self.arrays(), other.arrays()
        same = mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)
        return same and self.numbers() == other.numbers()

    __hash__ = None  # type: ignore[assignment]

    @property
    def width(self) -> float:
        """The length in pixels that scales the profile: standard deviation of a Gaussian, Moffat's alpha otherwise."""
        if not isfinite(self.beta):
            return self.fwhm / (2.0 * sqrt(2.0 * log(2.0)))
        return self.fwhm / (2.0 * sqrt(2.0 ** (1.0 / self.beta) - 1.0))

    def stamps(self, dx: ArrayLike, dy: ArrayLike, reach: int) -> NDArray[np.float64]:
        """Give the share of a star's whole light that falls into each pixel around it.

        The profile is integrated over each pixel with a Gauss-Legendre sum. For a full width at half maximum of 1.2
        pixels and more along the minor axis, each share is right to 1e-5 of the light of the star, and so is their sum.

        Parameters
        ----------
        dx, dy : array_like, shape (n,)
            Centres of the stars along columns and rows, from the centre of the middle pixel, in pixels (-0.5 to 0.5).
        reach : int
            A stamp has ``2 reach + 1`` pixels along each side.

        Returns
        -------
        ndarray of float64, shape (n, 2 reach + 1, 2 reach + 1)
            Rows run along y. Shares over the infinite plane add up to one; NaN where a centre is NaN.

        Examples
        --------
        >>> PSF(fwhm=3.0).stamps([0.0], [0.0], 1).round(3)
        array([[[0.052, 0.07 , 0.052],
                [0.07 , 0.093, 0.07 ],
                [0.052, 0.07 , 0.052]]])
        """
        x, y = (np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (dx, dy))
        side = 2 * reach + 1
        shares = np.empty((len(x), side, side))
        self._profile(x, y, reach, shares)
        if self.grid is not None:
            step = max(1, CHUNK // side**2)
            for start in range(0, len(x), step):
                part = slice(start, start + step)
                shares[part] += self._correction(self.grid, x[part], y[part], reach)
        return shares

    def _profile(self, x: NDArray[np.float64], y: NDArray[np.float64], reach: int, shares: NDArray[np.float64]) -> None:
        """Integrate the elliptical profile over pixels."""
        a, b = self.width * sqrt(self.elongation), self.width / sqrt(self.elongation)
        c, s = cos(self.theta), sin(self.theta)
        # The profile is a function of q = xx u**2 + yy v**2 + xy u v.
        xx, yy, xy = (c / a) ** 2 + (s / b) ** 2, (s / a) ** 2 + (c / b) ** 2, 2.0 * c * s * (1.0 / a**2 - 1.0 / b**2)
        nodes, weights = _points(next(points for narrower, points in ORDERS if b * self.fwhm / self.width < narrower))
        side, order = 2 * reach + 1, len(nodes)
        at = (np.arange(-reach, reach + 1)[:, None] + 0.5 * nodes).ravel()
        half = [0.5 * float(weight) for weight in weights]
        u, v = at - x[:, None], at - y[:, None]
        gaussian = not isfinite(self.beta)
        if gaussian and abs(xy) * (reach + 1.0) ** 2 < 1e-9:
            # Along its axes a Gaussian is a product of two.
            along, across = (
                _total(np.exp(-0.5 * k * t * t).reshape(len(t), side, order), half, 2) * sqrt(k / (2.0 * pi))
                for k, t in ((xx, u), (yy, v))
            )
            np.multiply(across[:, :, None], along[:, None, :], out=shares)
            return
        # Single precision is right to 1e-7 of the peak, and several times as fast.
        height = (self.beta - 1.0) / (pi * a * b) if isfinite(self.beta) else 1.0 / (2.0 * pi * a * b)
        left = np.stack([yy * v * v, xy * v, np.ones_like(v)], axis=2).astype(np.float32)
        right = np.stack([np.ones_like(u), u, xx * u * u], axis=1).astype(np.float32)
        step = max(1, CHUNK // (side * order) ** 2)
        buffer = np.empty((min(step, len(x)), side * order, side * order), dtype=np.float32)
        for start in range(0, len(x), step):
            part = slice(start, min(start + step, len(x)))
            fine = buffer[: part.stop - start]
            np.matmul(left[part], right[part], out=fine)
            if gaussian:
                fine *= np.float32(-0.5)
                np.maximum(fine, FAINTEST, out=fine)
            else:
                fine += np.float32(1.0)
                np.log(fine, out=fine)
                fine *= np.float32(-self.beta)
            np.exp(fine, out=fine)
            rows = _total(fine.reshape(-1, side * order, side, order), half, 3)
            np.multiply(_total(rows.reshape(-1, side, order, side), half, 2), height, out=shares[part])

    def _correction(
        self, grid: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], reach: int
    ) -> NDArray[np.float64]:
        """Interpolate the grid at the centres of pixels by cubic convolution (Keys 1981, IEEE ASSP-29, 1153)."""
        samples = np.pad(grid.astype(np.float64), 1)
        last, middle = len(samples) - 1, len(samples) // 2
        pixels = self.oversampling * np.arange(-reach, reach + 1)

        def taps(centre: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
            at = -self.oversampling * np.nan_to_num(centre)
            first = np.floor(at)
            t = at - first
            weights = 0.5 * np.stack(
                [
                    -t + 2.0 * t**2 - t**3,
                    2.0 - 5.0 * t**2 + 3.0 * t**3,
                    t + 4.0 * t**2 - 3.0 * t**3,
                    -(t**2) + t**3,
                ]
            )
            index = middle + first.astype(np.intp)[None, :, None] + pixels + np.arange(-1, 3)[:, None, None]
            return np.clip(index, 0, last), weights[:, :, None, None]

        (rows, across), (columns, along) = taps(y), taps(x)
        lines = sum(across[k] * samples[rows[k]] for k in range(4))
        return np.asarray(sum(along[k] * np.take_along_axis(lines, columns[k][:, None, :], axis=2) for k in range(4)))

    def numbers(self) -> dict[str, float]:
        """Give what a table of frames says of it."""
        return {"fwhm": self.fwhm, "elongation": self.elongation, "theta": self.theta, "psf_stars": self.stars}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give what `restore` needs besides the numbers, by names that begin with ``psf_``."""
        arrays: dict[str, NDArray[Any]] = {}
        if isfinite(self.beta):
            arrays["psf_beta"] = np.array(self.beta)
        if self.grid is not None:
            arrays |= {"psf_grid": self.grid, "psf_oversampling": np.array(self.oversampling)}
        return arrays

    @classmethod
    def restore(cls, numbers: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]) -> PSF | None:
        """Make it again from what `numbers` and `arrays` gave; None if there were no stars."""
        if not numbers["psf_stars"]:
            return None
        return cls(
            numbers["fwhm"],
            numbers["elongation"],
            numbers["theta"],
            int(numbers["psf_stars"]),
            float(arrays.get("psf_beta", inf)),
            arrays.get("psf_grid"),
            int(arrays.get("psf_oversampling", 1)),
        )


def _total(values: NDArray[Any], weights: Sequence[float], axis: int) -> NDArray[Any]:
    """Weighted sum over a short axis; a product of matrices would start threads that wait for each other."""
    slices = np.moveaxis(values, axis, 0)
    result = slices[0] * values.dtype.type(weights[0])
    for one, weight in zip(slices[1:], weights[1:], strict=True):
        result += one * values.dtype.type(weight)
    return np.asarray(result)
