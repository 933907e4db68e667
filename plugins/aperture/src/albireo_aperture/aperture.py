"""The photometer: sums in circles on stamps around the stars, less the sky, with errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, model_validator

from albireo import FrameError, Photometer

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import PSF, Background, Sources

CHUNK = 512
"""Stars measured at a time: their stamps and rings take some tens of MB at usual radii."""

ANNULUS = {"pixel": (10.0, 20.0), "fwhm": (3.0, 5.0)}
"""Ring for the sky where the recipe names none."""

FAR = -1e6
"""Position in pixels for a source without one: beyond the edge of any image."""

LEAST_AREA = 0.5
"""A smaller share of the aperture than this says too little of the rest."""


class _Needs:
    """What a photometer needs: more with some options than by default."""

    def __get__(self, stage: Aperture | None, owner: type) -> frozenset[str]:
        terms = {"pedestal", "electron"}
        if stage is not None and stage.sky == "background":
            terms.add("background")
        if stage is not None and stage.unit == "fwhm":
            terms.add("psf")
        return frozenset(terms)


class Aperture(Photometer, name="aperture"):
    """Sum in one or more circles around each star, above the sky in a ring or the background map.

    The overlap of circle and pixels is exact. The error has three parts, each counted once: the variance of the pixels
    (counting noise of star and sky, read noise, calibration), and for a ring the error of its level times the area::

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
    `Flag.FAILED`. The flags of a value are all flags of the pixels its circle touches.

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

    needs: ClassVar[frozenset[str]] = _Needs()  # type: ignore[assignment]
    citations: ClassVar[tuple[str, ...]] = ("Howell, S. B. 2006, Handbook of CCD Astronomy, 2nd ed., chapter 5",)

    radius: PositiveFloat | Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = Field(
        4.0, description="Radius of the circle, or a list of several.", json_schema_extra={"unit": "pixel or FWHM"}
    )
    unit: Literal["pixel", "fwhm"] = Field(
        "pixel", description="Unit of radius and annulus: pixel, or the width of a star in each image."
    )
    sky: Literal["annulus", "background"] = Field(
        "annulus", description="Where the sky comes from: a ring around each star, or the background map."
    )
    annulus: tuple[PositiveFloat, PositiveFloat] | None = Field(
        None,
        description="Inner and outer radius of the ring, outside all circles; none for 10 and 20 pixels, or 3 and 5 "
        "FWHM.",
        json_schema_extra={"unit": "pixel or FWHM"},
    )
    statistic: Literal["mean", "median"] = Field(
        "mean", description="Level of the ring after clipping. The mean has the smaller error, also on coarse counts."
    )
    clip: float = Field(
        3.0, ge=1, description="Pixels of the ring further from its median are left out, in standard deviations."
    )

    @model_validator(mode="after")
    def _ring_outside(self) -> Aperture:
        inner, outer = self._ring
        if inner >= outer:
            raise ValueError(f"annulus [{inner:g}, {outer:g}]: the inner radius must be below the outer one")
        if self.sky == "annulus" and inner < max(self._radii):
            raise ValueError(
                f"the annulus begins at {inner:g} {self.unit}, inside the circle of radius {max(self._radii):g}; "
                'give an annulus outside it, or sky = "background"'
            )
        return self

    @property
    def _radii(self) -> tuple[float, ...]:
        return self.radius if isinstance(self.radius, tuple) else (self.radius,)

    @property
    def _ring(self) -> tuple[float, float]:
        return self.annulus or ANNULUS[self.unit]

    def measure(self, image: CCDData, sources: Sources, sky: Background | None, psf: PSF | None) -> dict[str, Any]:
        """Measure all sources in all circles.

        Parameters
        ----------
        image : CCDData
            With variance; flags where pixels are bad.
        sources : Sources
            Positions in pixels of this image; those that are not finite fail.
        sky : Background or None
            Used with ``sky = "background"``.
        psf : PSF or None
            Used with ``unit = "fwhm"``.

        Returns
        -------
        dict of ndarray
            One row for each source and circle, circles of a source together: ``id``, ``flux`` and ``flux_err`` (unit of
            the image), ``aperture`` (pixels), ``sky`` and ``sky_err`` (unit of the image per pixel), ``area`` (pixels
            summed, without masked ones), ``flags``.

        Raises
        ------
        FrameError
            If the image has no variance, or lacks the FWHM or the background map that the options ask for.
        """
        import numpy as np

        from albireo import flags_of, variance_of

        variance = variance_of(image)
        if variance is None:
            raise FrameError(
                "the image has no variance, so that fluxes would have no errors; "
                "gain and read noise must be known: give them under [instrument]"
            )
        if self.sky == "background" and sky is None:
            raise FrameError('sky = "background" needs the map of a [background] stage, and there is none')
        if self.unit == "fwhm" and (psf is None or not psf.fwhm > 0):
            raise FrameError("no star was good enough to tell the FWHM that the aperture is given in")
        scale = psf.fwhm if self.unit == "fwhm" and psf is not None else 1.0
        radii = [scale * radius for radius in self._radii]
        ring = (scale * self._ring[0], scale * self._ring[1])
        level = sky.level if self.sky == "background" and sky is not None else None
        planes = image.data, variance, flags_of(image)
        parts = [
            self._measure(*planes, level, sources.x[i : i + CHUNK], sources.y[i : i + CHUNK], radii, ring)
            for i in range(0, max(1, len(sources)), CHUNK)
        ]
        columns = {name: np.concatenate([part[name] for part in parts]).ravel() for name in parts[0]}
        return {"id": np.repeat(sources.id, len(radii)), "aperture": np.tile(radii, len(sources)), **columns}

    def _measure(
        self,
        data: NDArray[np.float32],
        variance: NDArray[np.float32],
        flags: NDArray[np.uint16],
        level: NDArray[np.float32] | None,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        radii: list[float],
        ring: tuple[float, float],
    ) -> dict[str, NDArray[Any]]:
        """Measure some sources; columns of shape (n, radii)."""
        import numpy as np

        from albireo import MASKED, Flag
        from albireo_aperture.overlap import circle_overlap
        from albireo_aperture.sky import clipped_sky, ring_pixels

        ny, nx = data.shape
        # Far outside is as good as nowhere, and keeps the integers small.
        x, y = (np.clip(np.nan_to_num(v, nan=FAR, posinf=FAR, neginf=FAR), FAR, -FAR) for v in (x, y))
        column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
        reach = int(np.ceil(max(radii))) + 1
        grid = np.arange(-reach, reach + 1)
        # Pixels beyond the image stand for others here; circles that touch them fail.
        at = np.clip(row[:, None] + grid, 0, ny - 1)[:, :, None], np.clip(column[:, None] + grid, 0, nx - 1)[:, None, :]
        light, noise, bits = data[at].astype(np.float64), variance[at].astype(np.float64), flags[at]
        hidden = (bits & np.uint16(MASKED & ~(Flag.SATURATED | Flag.BLEED))) != 0
        lost = ~(np.isfinite(light) & np.isfinite(noise) | hidden)
        bits[lost] |= np.uint16(Flag.NO_DATA)
        hidden |= lost
        flagged = bool(bits.any())

        if level is None:
            pixels, usable = ring_pixels(data, flags, x, y, ring)
            sky, sky_err = clipped_sky(pixels, usable, self.clip, self.statistic)
            light -= sky[:, None, None]
        else:
            map_there = level[at].astype(np.float64)
            sky, sky_err = map_there[:, reach, reach], np.zeros(len(x))
            light -= map_there
        light[hidden], noise[hidden] = 0.0, 0.0

        shape = (len(x), len(radii))
        flux, flux_err, area = (np.full(shape, np.nan) for _ in range(3))
        flags_out = np.zeros(shape, dtype=np.uint16)
        for k, radius in enumerate(radii):
            near = int(np.ceil(radius)) + 1
            middle = slice(reach - near, reach + near + 1)
            share = circle_overlap(x - column, y - row, radius, near)
            full = np.pi * radius**2
            inside = (x - radius >= -0.5) & (y - radius >= -0.5) & (x + radius <= nx - 0.5) & (y + radius <= ny - 0.5)
            total = _dot(share, light[:, middle, middle])
            squared = _dot(share**2, noise[:, middle, middle])
            seen = np.full(len(x), full)
            if flagged:
                seen -= _dot(share, hidden[:, middle, middle])
                touched = np.where(share > 0, bits[:, middle, middle], np.uint16(0))
                flags_out[:, k] = np.bitwise_or.reduce(touched.reshape(len(x), -1), axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                value = total * full / seen
                squared = squared * (full / seen) ** 2 + (full * sky_err) ** 2
            good = inside & (seen >= LEAST_AREA * full) & np.isfinite(value) & np.isfinite(squared)
            flux[good, k], flux_err[good, k], area[inside, k] = value[good], np.sqrt(squared[good]), seen[inside]
            flags_out[~inside, k] |= np.uint16(Flag.EDGE)
            flags_out[~good, k] |= np.uint16(Flag.FAILED)
        sky, sky_err = (np.broadcast_to(values[:, None], shape) for values in (sky, sky_err))
        return {"flux": flux, "flux_err": flux_err, "sky": sky, "sky_err": sky_err, "area": area, "flags": flags_out}


def _dot(share: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    """Sum of the products over each stamp."""
    n, rows, columns = share.shape
    total: NDArray[np.float64] = share.reshape(n, 1, rows * columns) @ values.reshape(n, rows * columns, 1)
    return total[:, 0, 0]
