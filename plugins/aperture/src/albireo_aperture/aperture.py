"""The photometer `aperture`: sums in circles or ellipses around the stars, less the sky, with errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from albireo import FrameError
from albireo_aperture.base import Needs, StarPhotometer

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import PSF, Background, Sources
    from albireo_aperture.correction import Light
    from albireo_aperture.planes import Planes

LEAST_AREA = 0.5
"""A smaller share of the aperture than this says too little of the rest."""

LONGEST = 10.0
"""Axis ratio of an aperture at most: a source that seems longer is a trail or noise."""


class Aperture(StarPhotometer, name="aperture"):
    """Sum in one or more circles or ellipses around each star, above the sky in a ring or the background map.

    The overlap of aperture and pixels is exact. The error has three parts, each counted once: the variance of the
    pixels (counting noise of star and sky, read noise, calibration), and for a ring the error of its level times the
    area::

        flux_err**2 = sum(share**2 * variance) + (area * sky_err)**2

    The background map's own error is not known; with ``sky = "background"`` it is taken as zero.

    ====================================  ==============================================================================
    a pixel in the aperture that is       is treated so
    ====================================  ==============================================================================
    saturated, or in a bleed trail        summed as it is; the value is kept, and flagged
    masked for another reason, or NaN     left out, the sum scaled to the full area, and flagged; if more than half of
                                          the area is left out, the value is NaN with `Flag.FAILED`
    beyond the image                      the value is NaN with `Flag.EDGE` and `Flag.FAILED`
    ====================================  ==============================================================================

    In the ring, all masked pixels and those beyond the image are ignored; fewer than 20 others make the value NaN with
    `Flag.FAILED`. The flags of a value are all flags of the pixels its aperture touches.

    An ellipse has the area of the circle of its radius, and its ring has the same axis ratio and angle.

    With ``correction`` all fluxes and errors of an aperture are multiplied by one factor, which the columns
    ``correction`` and ``correction_err`` give. Its error is not in ``flux_err``: it is common to all stars of a frame,
    and falls out of a differential light curve.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import Sources, image
    >>> sky = np.full((64, 64), 100.0, np.float32)
    >>> sky[30:33, 30:33] += 1000.0
    >>> rows = Aperture(radius=[4, 5]).measure(image(sky, "electron", variance=sky), Sources.make(31, 31), None, None)
    >>> rows["flux"].round(3).tolist(), rows["aperture"].tolist()
    ([9000.0, 9000.0], [4.0, 5.0])
    """

    needs: ClassVar[frozenset[str]] = Needs()  # type: ignore[assignment]
    citations: ClassVar[tuple[str, ...]] = ("Howell, S. B. 2006, Handbook of CCD Astronomy, 2nd ed., chapter 5",)

    radius: PositiveFloat | Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = Field(
        4.0,
        description="Radius of the circle, or a list of several; of an ellipse the geometric mean of its semi-axes.",
        json_schema_extra={"unit": "pixel or FWHM"},
    )
    shape: Literal["circle", "ellipse"] = Field("circle", description="Shape of apertures and rings.")
    ellipse: Literal["psf", "source"] | tuple[Annotated[float, Field(ge=1, le=LONGEST)], float] = Field(
        "psf",
        description="Axis ratio and angle of ellipses: those of a star in each image, of each source in the "
        "catalogue, or given as two numbers, major over minor axis and degrees from x counter-clockwise.",
    )

    @property
    def _radii(self) -> tuple[float, ...]:
        return self.radius if isinstance(self.radius, tuple) else (self.radius,)

    @property
    def _largest_radius(self) -> float:
        return max(self._radii)

    @property
    def wants_psf(self) -> bool:
        """Whether the options ask for the shape of a star in each image."""
        return super().wants_psf or (self.shape == "ellipse" and self.ellipse == "psf")

    def measure(self, image: CCDData, sources: Sources, sky: Background | None, psf: PSF | None) -> dict[str, Any]:
        """Measure all sources in all apertures.

        Parameters
        ----------
        image : CCDData
            With variance; flags where pixels are bad.
        sources : Sources
            Positions in pixels of this image; those that are not finite fail.
        sky : Background or None
            Used with ``sky = "background"``.
        psf : PSF or None
            Used with ``unit = "fwhm"``, for ellipses of its shape, and to find centres.

        Returns
        -------
        dict of ndarray
            One row for each source and aperture, those of a source together: ``id``, ``flux`` and ``flux_err`` (unit of
            the image), ``aperture`` (radius in pixels), ``sky`` and ``sky_err`` (unit of the image per pixel), ``area``
            (pixels summed, without masked ones, times the square of a correction), ``flags``; ``x``, ``y``, ``x_err``
            and ``y_err`` (pixels) where stars were centred; ``correction`` and ``correction_err`` where there is one.

        Raises
        ------
        FrameError
            If the image has no variance, lacks the FWHM or the background map that the options ask for, or has no star
            to tell the correction from.
        """
        import numpy as np

        from albireo import Flag
        from albireo_aperture.planes import Planes

        background = self._map(sky)
        planes = Planes.of(image, background)
        scale = self._pixels_per_unit(psf)
        elongation, theta = self._ellipses(sources, psf)
        around = self._sky(planes, background, sources, scale, elongation, theta)
        places = self._places(planes, around, sources, scale, psf)

        radii = scale * np.array(self._radii)
        corrected = self.correction != "none"
        every = np.append(radii, scale * float(self.correction)) if corrected else radii
        light, seen, flags, inside = self._sums(planes, around.level, places.x, places.y, every, elongation, theta)
        full = np.pi * every**2
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = full / seen
            flux, squared = light[0] * whole, light[1] * whole**2
            noise = np.sqrt(squared + (full * around.error[:, None]) ** 2)
        good = inside & (seen >= LEAST_AREA * full) & np.isfinite(flux) & np.isfinite(noise)
        flags[~inside] |= np.uint16(Flag.EDGE)
        flags[~good] |= np.uint16(Flag.FAILED)
        flux[~good] = noise[~good] = np.nan
        seen[~inside] = np.nan

        shape = (len(sources), len(radii))
        columns: dict[str, Any] = {}
        if corrected and len(sources):
            measured = [_light(flux[:, k], squared[:, k], light[2, :, k], full[k]) for k in range(len(every))]
            factor, error = self._growth(places.x, places.y, measured, around.error, flags[:, -1] == 0, every[-1])
            flux, noise, seen = flux[:, :-1] * factor, noise[:, :-1] * factor, seen[:, :-1] * factor**2
            columns = {"correction": np.broadcast_to(factor, shape), "correction_err": np.broadcast_to(error, shape)}
        kept = slice(None, len(radii))
        columns |= {"flux": flux[:, kept], "flux_err": noise[:, kept], "area": seen[:, kept]}
        columns["flags"] = flags[:, kept] | places.flags[:, None]
        columns["aperture"] = np.broadcast_to(radii, shape)
        of_stars = {"id": sources.id, "sky": around.level, "sky_err": around.error, **places.columns}
        columns |= {name: np.broadcast_to(values[:, None], shape) for name, values in of_stars.items()}
        return {name: column.ravel() for name, column in columns.items()}

    def _ellipses(self, sources: Sources, psf: PSF | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Axis ratio and position angle (radians) of the apertures of each source; one and zero for circles."""
        import numpy as np

        n = len(sources)
        if self.shape == "circle":
            return np.ones(n), np.zeros(n)
        if self.ellipse == "source":
            with np.errstate(divide="ignore", invalid="ignore"):
                elongation = np.clip(sources.a / sources.b, 1.0, LONGEST)
            known = np.isfinite(elongation) & np.isfinite(sources.theta)
            return np.where(known, elongation, 1.0), np.where(known, sources.theta, 0.0)
        if self.ellipse == "psf":
            if psf is None or not psf.elongation >= 1:
                raise FrameError("no star was good enough to tell the shape that the aperture is to have")
            return np.full(n, min(psf.elongation, LONGEST)), np.full(n, psf.theta)
        ratio, degrees = self.ellipse
        return np.full(n, ratio), np.full(n, np.deg2rad(degrees))

    def _sums(
        self,
        planes: Planes,
        level: NDArray[np.float64],
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        radii: NDArray[np.float64],
        elongation: NDArray[np.float64],
        theta: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint16], NDArray[np.bool_]]:
        """Sum: light, variance and shares times variance (3, n, k); area, flags, whether in the image (n, k)."""
        import numpy as np

        from albireo_aperture.kernels import aperture_sums
        from albireo_aperture.planes import HIDDEN

        shape = (len(x), len(radii))
        sums, touched, inside = np.empty((4, *shape)), np.empty(shape, dtype=np.uint16), np.empty(shape, dtype=np.bool_)
        of_stars = level, x, y, radii, elongation, theta
        aperture_sums(*planes.arguments(HIDDEN), *of_stars, sums, touched, inside)
        return sums[:3], sums[3], touched, inside

    def _growth(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        measured: list[Light],
        sky_err: NDArray[np.float64],
        clean: NDArray[np.bool_],
        radius: float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Factor of each aperture to the last, large one, and its error."""
        import numpy as np

        from albireo_aperture.correction import bright_and_alone, growth

        *small, large = measured
        stars = bright_and_alone(x, y, large, sky_err, clean, radius)
        factors = np.array([growth(light, large, sky_err, stars) for light in small])
        return factors[:, 0], factors[:, 1]


def _light(flux: NDArray[np.float64], squared: NDArray[np.float64], crossed: NDArray[np.float64], area: float) -> Light:
    import numpy as np

    from albireo_aperture.correction import Light

    return Light(flux, squared, crossed, np.full(len(flux), area))
