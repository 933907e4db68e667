"""The photometer `optimal`: sums weighted by the profile of a star, of Naylor (1998, MNRAS 296, 339)."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from albireo import FrameError
from albireo_aperture.base import Needs, StarPhotometer

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import PSF, Background, Sources
    from albireo_aperture.planes import Planes
    from albireo_aperture.sky import Sky

REACH = 2.0
"""Half the side of a stamp in FWHM along the major axis: beyond it a Gaussian adds 1e-7 to the weight."""

ROOM = 1 << 22
"""Bytes for the stamps of profiles at a time."""

LEAST_LIGHT = 0.5
"""A smaller share of the star's light in pixels that take part says too little of the rest."""

EDGE_LIGHT = 0.01
"""A star with more than this share of its light beyond the image is flagged."""

ROUNDS = 3
"""Measurements with weights that know of the star's own light; the third changes nothing that matters."""


class Optimal(StarPhotometer, name="optimal"):
    """Sum with the profile of a star as weight, above the sky in a ring or the background map.

    With the share ``P`` of a star's light in each pixel, the flux of the whole star is::

        flux = sum(w (data - sky)) / sum(w P),     w = P / V

    for any ``V``. By default ``V`` is the same in all pixels of a star, as if there were only the sky. Such weights are
    best for faint stars, and an error of the profile changes the fluxes of all stars by the same factor, whatever their
    brightness. With ``weights = "full"`` ``V`` has the star's own light as well, from a first measurement and the
    profile, not from the noisy pixels. Then errors of bright stars are the smallest there are, and errors of the
    profile make a factor that depends on the brightness.

    The error is that of the weighted sum, with the variance of each pixel and that of the sky::

        flux_err**2 = sum(w**2 variance) / sum(w P)**2 + (sum(w) / sum(w P) * sky_err)**2

    The background map's own error is not known; with ``sky = "background"`` it is taken as zero.

    ====================================  ==============================================================================
    a pixel of the star that is           is treated so
    ====================================  ==============================================================================
    masked or NaN, also if saturated      has no weight; flagged if it has 1 % of the light of the brightest pixel or
                                          more. If more than half of the star's light is lost so, or beyond the image,
                                          the value is NaN with `Flag.FAILED`
    beyond the image                      has no weight; with more than 1 % of the light there, `Flag.EDGE`
    ====================================  ==============================================================================

    In the ring, all masked pixels and those beyond the image are ignored; fewer than 20 others make the value NaN with
    `Flag.FAILED`.

    With ``correction`` all fluxes and errors are multiplied by one factor, which the columns ``correction`` and
    ``correction_err`` give: the profile correction of Naylor's section 3.3, for the light that the profile does not
    describe. Its error is common to all stars of a frame, and not in ``flux_err``.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import PSF, Sources, image
    >>> psf, sky = PSF(fwhm=3.0), np.full((64, 64), 100.0, np.float32)
    >>> sky[21:42, 21:42] += np.float32(5000) * psf.stamps([0.25], [0.0], 10)[0]
    >>> rows = Optimal().measure(image(sky, "electron", variance=sky), Sources.make(31.25, 31), None, psf)
    >>> rows["flux"].round(1).tolist()
    [5000.0]
    """

    needs: ClassVar[frozenset[str]] = Needs("psf")  # type: ignore[assignment]
    citations: ClassVar[tuple[str, ...]] = ("Naylor, T. 1998, MNRAS, 296, 339",)

    weights: Literal["sky", "full"] = Field(
        "sky",
        description="Noise that weights know of: that of the sky, or of the sky and the star itself.",
    )
    psf: Literal["frame", "reference"] = Field(
        "frame",
        description="Whose profile: of each frame, or the median shape of the catalogue's stars on the reference.",
    )

    def measure(self, image: CCDData, sources: Sources, sky: Background | None, psf: PSF | None) -> dict[str, Any]:
        """Measure all sources.

        Parameters
        ----------
        image : CCDData
            With variance; flags where pixels are bad.
        sources : Sources
            Positions in pixels of this image; those that are not finite fail.
        sky : Background or None
            Used with ``sky = "background"``.
        psf : PSF or None

        Returns
        -------
        dict of ndarray
            One row for each source: ``id``, ``flux`` and ``flux_err`` (unit of the image), ``sky`` and ``sky_err``
            (unit of the image per pixel), ``area`` (pixels, noise-equivalent: ``sum(w**2) / sum(w P)**2``), ``flags``;
            ``x``, ``y``, ``x_err`` and ``y_err`` (pixels) where stars were centred; ``correction`` and
            ``correction_err`` where there is one.

        Raises
        ------
        FrameError
            If the image has no variance, or lacks the PSF or the background map that the options ask for, or has no
            star to tell the correction from.
        """
        import numpy as np

        from albireo import Flag
        from albireo_aperture.planes import Planes

        background = self._map(sky)
        planes = Planes.of(image, background)
        profile = self._profile(sources, psf)
        scale = self._pixels_per_unit(psf)
        round_ = np.ones(len(sources)), np.zeros(len(sources))
        around = self._sky(planes, background, sources, scale, *round_)
        places = self._places(planes, around, sources, scale, psf)

        sums, flags = self._sums(planes, profile, around, places.x, places.y)
        flux, squared, _, weights, area, seen, beyond = sums
        with np.errstate(invalid="ignore"):
            noise = np.sqrt(squared + (weights * around.error) ** 2)
        good = (seen >= LEAST_LIGHT) & np.isfinite(flux) & np.isfinite(noise)
        flags[(beyond > EDGE_LIGHT) | (seen + beyond == 0)] |= np.uint16(Flag.EDGE)
        flags[~good] |= np.uint16(Flag.FAILED)
        for values in (flux, noise, area):
            values[~good] = np.nan

        columns: dict[str, Any] = {}
        if self.correction != "none" and len(sources):
            factor, error = self._factor(planes, around, places.x, places.y, sums, flags == 0, scale)
            flux, noise, area = flux * factor, noise * factor, area * factor**2
            columns = {"correction": np.full(len(flux), factor), "correction_err": np.full(len(flux), error)}
        return {
            "id": sources.id,
            "flux": flux,
            "flux_err": noise,
            "sky": around.level,
            "sky_err": around.error,
            "area": area,
            "flags": flags | places.flags,
            **places.columns,
            **columns,
        }

    def _profile(self, sources: Sources, psf: PSF | None) -> PSF:
        from albireo import PSF

        from_catalogue = self.psf == "reference" and len(sources)  # an empty list needs no profile
        profile = PSF.of(sources) if from_catalogue else psf
        if profile is None or not profile.fwhm > 0:
            where = "in this image" if self.psf == "frame" else "of the catalogue"
            raise FrameError(f"no star {where} was good enough to tell the profile")
        return profile

    def _sums(
        self, planes: Planes, profile: PSF, sky: Sky, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint16]]:
        """Sum with weights: see `albireo_aperture.kernels.weighted_sums`."""
        import numpy as np

        from albireo import MASKED
        from albireo_aperture.kernels import weighted_sums

        reach = max(3, ceil(REACH * profile.fwhm * profile.elongation**0.5))
        step = max(1, ROOM // (8 * (2 * reach + 1) ** 2))
        sums, flags = np.empty((7, len(x))), np.empty(len(x), dtype=np.uint16)
        known = np.isfinite(x) & np.isfinite(y)
        dx, dy = (np.where(known, v - np.rint(v), 0.0) for v in (np.where(known, x, 0.0), np.where(known, y, 0.0)))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            shares = profile.stamps(dx[part], dy[part], reach)
            given = *planes.arguments(np.uint16(MASKED)), sky.level[part], x[part], y[part], shares
            floor, signal = np.ones(len(shares)), np.zeros(len(shares))
            out = sums[:, part], flags[part]
            weighted_sums(*given, floor, signal, *out)
            if self.weights == "full":
                floor = np.where(sky.rms[part] > 0, sky.rms[part], 1.0) ** 2
                for _ in range(ROUNDS - 1):
                    signal = np.maximum(np.nan_to_num(sums[0, part]), 0.0)
                    weighted_sums(*given, floor, signal, *out)
        return sums, flags

    def _factor(
        self,
        planes: Planes,
        sky: Sky,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        sums: NDArray[np.float64],
        clean: NDArray[np.bool_],
        scale: float,
    ) -> tuple[float, float]:
        """Factor to the light in a large circle, and its error."""
        import numpy as np

        from albireo_aperture.correction import Light, bright_and_alone, growth
        from albireo_aperture.kernels import aperture_sums
        from albireo_aperture.planes import HIDDEN

        radius = scale * float(self.correction)
        shape = (len(x), 1)
        total, touched, inside = np.empty((4, *shape)), np.empty(shape, dtype=np.uint16), np.empty(shape, np.bool_)
        circle = np.array([radius]), np.ones(len(x)), np.zeros(len(x))
        aperture_sums(*planes.arguments(HIDDEN), sky.level, x, y, *circle, total, touched, inside)
        flux, squared, crossed, area = total[:, :, 0]
        large = Light(flux, squared, crossed, area)
        clean = clean & inside[:, 0] & (touched[:, 0] == 0)
        stars = bright_and_alone(x, y, large, sky.error, clean, radius)
        return growth(Light(*sums[:4]), large, sky.error, stars)
