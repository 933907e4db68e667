"""The shape of a star in one image: the stages that a recipe names in its table ``[psf]``."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from pydantic import Field

from albireo import PSFEstimator

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import PSF, Background, Sources
    from albireo_psf.cuts import Cuts
    from albireo_psf.shape import Fitted

__all__ = ["EmpiricalPSF", "GaussianPSF", "MoffatPSF"]

CORE = 0.6
"""Within so many widths of the middle, every pixel of a star must be usable."""

SMALLEST, LARGEST = 4, 25
"""Pixels on each side of a star that are looked at: at least, and at most."""


class _Fit(PSFEstimator, name="fit"):
    """An elliptical profile fitted to bright stars."""

    stars: int = Field(30, ge=1, le=1000, description="Fit at most so many stars, the brightest that stand alone.")
    radius: float = Field(
        2.0,
        gt=0.5,
        le=5.0,
        description="Half the side of the square around a star that is fitted, in full widths at half maximum.",
        json_schema_extra={"unit": "FWHM"},
    )

    def _fitted(
        self, image: CCDData, sources: Sources, background: Background, moffat: bool, spared: float | None = None
    ) -> tuple[Cuts, Fitted] | None:
        """Choose stars and fit a profile to them; None if there is none."""
        import numpy as np

        from albireo import PSF, variance_of
        from albireo_psf.choice import choose, neighbours
        from albireo_psf.cuts import cut
        from albireo_psf.shape import SPARED, fit_shape

        start = PSF.of(sources)
        if start is None:
            return None
        reach = int(np.clip(ceil(self.radius * start.fwhm), SMALLEST, LARGEST))
        stars = choose(sources, image.shape, reach, self.stars)
        if not len(stars):
            return None
        variance = variance_of(image)
        noise = np.square(background.rms) if variance is None else variance
        x, y = sources.x[stars], sources.y[stars]
        cuts = cut(image, background.level, noise, x, y, reach)
        usable = cuts.usable & ~neighbours(sources, stars, np.rint(x), np.rint(y), 1.5 * start.fwhm, reach)
        # A star whose core is masked tells nothing of its width.
        usable &= np.all(usable | ~cuts.within(CORE * start.fwhm), axis=(1, 2), keepdims=True)
        fitted = fit_shape(cuts, usable, start, moffat, SPARED if spared is None else spared)
        return None if fitted is None else (cuts, fitted)


class GaussianPSF(_Fit, name="gaussian"):
    """An elliptical Gaussian, fitted to bright stars with the light integrated over each pixel.

    Right where diffraction or optics make the star; seeing has wider wings, see ``moffat``.
    """

    def fit(self, image: CCDData, sources: Sources, background: Background) -> PSF | None:
        """Fit; None if no star is bright, alone and whole."""
        found = self._fitted(image, sources, background, moffat=False)
        return None if found is None else found[1].psf


class MoffatPSF(_Fit, name="moffat"):
    """An elliptical Moffat profile, fitted to bright stars with the light integrated over each pixel.

    Its exponent tells how much light is in the wings; seeing gives 2.5 to 5.
    """

    citations = ("Moffat 1969, A&A 3, 455",)

    def fit(self, image: CCDData, sources: Sources, background: Background) -> PSF | None:
        """Fit; None if no star is bright, alone and whole."""
        found = self._fitted(image, sources, background, moffat=True)
        return None if found is None else found[1].psf


class EmpiricalPSF(_Fit, name="empirical"):
    """A Moffat profile and, on a grid finer than the pixels, what bright stars show beside it.

    For stars that no formula describes: coma, trails, defocus. Takes some ten stars or more; with few or faint ones the
    Moffat profile remains.
    """

    citations = ("Anderson & King 2000, PASP 112, 1360", "Moffat 1969, A&A 3, 455")

    def fit(self, image: CCDData, sources: Sources, background: Background) -> PSF | None:
        """Fit; None if no star is bright, alone and whole."""
        from albireo_psf.effective import UNEVEN, effective_psf

        found = self._fitted(image, sources, background, moffat=True, spared=UNEVEN)
        return None if found is None else effective_psf(*found, self.radius)
