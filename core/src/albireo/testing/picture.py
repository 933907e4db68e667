"""A calibrated image in memory, with everything that is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING

import numpy as np

from albireo.images import Flag, image
from albireo.psf import PSF
from albireo.sources import FWHM_PER_SIGMA, Background, Sources, Transform
from albireo.testing.noise import poisson
from albireo.testing.scene import Scene
from albireo.testing.stars import Profile, draw_stars

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

__all__ = ["Picture", "simulate_image"]


@dataclass(frozen=True, eq=False)
class Picture:
    """A simulated image and its truth.

    Attributes
    ----------
    expected : ndarray of float32
        Electrons of each pixel without noise, sky included.
    sky : ndarray of float32
        Electrons of the sky in each pixel.
    sources : Sources
        The stars: true place, flux over the infinite plane in electrons, shape and identity (from one).
    profile : Profile
    read_noise : float
        In electrons.
    saturation : float
        Electrons at which a pixel is full.
    seed : int
        Of the noise.
    """

    expected: NDArray[np.float32]
    sky: NDArray[np.float32]
    sources: Sources
    profile: Profile
    read_noise: float
    saturation: float
    seed: int

    def realise(self, seed: int) -> CCDData:
        """Draw the noise and make the image.

        Returns
        -------
        CCDData
            In electron; the variance is what a reduction would make of the pixel itself, counts plus read noise
            squared; full pixels are clipped and flagged `Flag.SATURATED`.
        """
        rng = np.random.default_rng(seed)
        data = poisson(rng, self.expected)
        data += np.float32(self.read_noise) * rng.standard_normal(data.shape, dtype=np.float32)
        full = data >= self.saturation
        data[full] = self.saturation
        variance = np.maximum(data, np.float32(0.0)) + np.float32(self.read_noise**2)
        return image(data, "electron", variance=variance, flags=np.where(full, Flag.SATURATED, 0).astype(np.uint16))

    @property
    def image(self) -> CCDData:
        """The image with the noise of this picture's own seed."""
        return self.realise(self.seed)

    @property
    def background(self) -> Background:
        """The true sky and its noise in one pixel."""
        rms = np.sqrt(self.sky + np.float32(self.read_noise**2))
        return Background(self.sky.copy(), rms, float(np.median(self.sky)), float(np.median(rms)))

    @property
    def psf(self) -> PSF:
        """The true shape of a star."""
        return self.profile.psf(len(self.sources))

    @property
    def snr(self) -> NDArray[np.float64]:
        """Signal to noise of each star for an optimal measurement (Naylor 1998, MNRAS 296, 339)."""
        floor = float(np.median(self.sky)) + self.read_noise**2
        flux = self.sources.flux
        return np.asarray(flux / np.sqrt(flux + self.profile.noise_pixels * floor))


def simulate_image(
    scene: Scene,
    shape: tuple[int, int] = (256, 256),
    *,
    profile: Profile | None = None,
    sky: float = 100.0,
    gradient: tuple[float, float] = (0.0, 0.0),
    read_noise: float = 5.0,
    saturation: float = inf,
    exptime: float = 1.0,
    transform: Transform | None = None,
    seed: int = 0,
) -> Picture:
    """Simulate a calibrated image.

    Parameters
    ----------
    scene : Scene
    shape : tuple of int
        Rows and columns.
    profile : Profile, optional
        A Gaussian three pixels wide unless given.
    sky : float
        Electrons in a pixel at the centre of the image.
    gradient : tuple of float
        Change of the sky along x and y, in electrons per pixel and pixel.
    read_noise, saturation : float
        In electrons.
    exptime : float
        In s.
    transform : Transform, optional
        From the pixels of the scene to those of this image.
    seed : int
        Of the noise; the same seed gives the same bytes.

    Examples
    --------
    >>> scene = Scene([20.0], [12.5], [5000.0])
    >>> picture = simulate_image(scene, (32, 40), sky=50.0)
    >>> picture.image.unit, picture.sources.flux
    (Unit("electron"), array([5000.]))
    """
    shown = profile or Profile()
    x, y = (transform or Transform.identity())(scene.x, scene.y)
    flux = scene.flux * exptime
    ny, nx = shape
    rows, columns = np.arange(ny) - 0.5 * (ny - 1), np.arange(nx) - 0.5 * (nx - 1)
    level = (sky + gradient[0] * columns[None, :] + gradient[1] * rows[:, None]).astype(np.float32)
    light = draw_stars(shape, x, y, flux, shown)
    n = len(scene)
    major, minor = shown.axes_fwhm
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    peak = np.full(n, np.nan)
    peak[inside] = light[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)]
    sources = Sources.make(
        x,
        y,
        flux=flux,
        a=np.full(n, major / FWHM_PER_SIGMA),
        b=np.full(n, minor / FWHM_PER_SIGMA),
        theta=np.full(n, shown.theta),
        fwhm=np.full(n, shown.fwhm),
        peak=peak,
        flags=np.where(peak + sky > saturation, Flag.SATURATED, 0) if isfinite(saturation) else np.zeros(n),
        id=np.arange(1, n + 1),
    )
    return Picture(light + level, level, sources, shown, read_noise, saturation, seed)
