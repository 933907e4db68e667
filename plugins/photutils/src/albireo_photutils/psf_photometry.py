"""PSF photometry by photutils: what the stage takes and gives. The fit is in `psf_fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, model_validator

from albireo import FrameError, Photometer

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import PSF, Background, Sources
    from albireo_photutils.windows import Windows

LEAST_LIGHT = 0.5
"""Share of the light of its window that a star must have on usable pixels."""


class _Needs:
    """What a photometer needs: more with some options than by default."""

    def __get__(self, stage: PsfPhotometry | None, owner: type) -> frozenset[str]:
        terms = {"pedestal", "electron", "psf"}
        if stage is not None and stage.sky == "background":
            terms.add("background")
        return frozenset(terms)


class PsfPhotometry(Photometer, name="photutils-psf"):
    """Fit of the PSF of the frame to each star and its neighbours at once, by photutils: for crowded fields.

    Positions are those of the catalogue, or fitted within a tolerance. Fluxes are total, in the unit of the image. The
    error is that of the fit with the noise of the sky and of the light of the stars, and that of the level of the sky::

        flux_err**2 = covariance of the fit + (sum of the weights * sky_err)**2

    The background map's own error is not known; with ``sky = "background"`` it is taken as zero. That the PSF is
    true is taken for granted.

    ====================================  ==============================================================================
    a pixel in the window that is         is treated so
    ====================================  ==============================================================================
    masked (saturated too), or NaN        left out of the fit, and flagged; if less than half of the star's light is
                                          left, the value is NaN with `Flag.FAILED`
    beyond the image                      the same, with `Flag.EDGE`
    ====================================  ==============================================================================

    A fit that does not converge, and a fitted position on the limit of the tolerance, give NaN with `Flag.FAILED`; so
    does a ring with fewer than 20 usable pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import PSF, Sources, image
    >>> psf, pixels = PSF(fwhm=3.0), np.full((64, 64), 100.0)
    >>> pixels[22:43, 22:43] += 1000.0 * psf.stamps([0.0], [0.0], 10)[0]
    >>> pixels[22:43, 25:46] += 5000.0 * psf.stamps([0.0], [0.0], 10)[0]
    >>> pair = Sources.make([32.0, 35.0], [32.0, 32.0])
    >>> rows = PsfPhotometry().measure(image(pixels, "electron", variance=pixels), pair, None, psf)
    >>> rows["flux"].round(0).tolist()
    [1000.0, 5000.0]
    """

    needs: ClassVar[frozenset[str]] = _Needs()  # type: ignore[assignment]
    citations: ClassVar[tuple[str, ...]] = (
        "Bradley, L. et al., photutils, Zenodo, doi:10.5281/zenodo.596036",
        "Stetson, P. B. 1987, PASP, 99, 191",
    )

    positions: Literal["forced", "free"] = Field(
        "forced",
        description="Whether stars are measured where the catalogue has them, or their positions are fitted too.",
    )
    tolerance: float = Field(
        1.0,
        gt=0,
        description="How far a fitted position may lie from that of the catalogue, in x and in y.",
        json_schema_extra={"unit": "pixel"},
    )
    reach: float = Field(
        1.0,
        gt=0.3,
        description="Half-width of the window that is fitted around each star.",
        json_schema_extra={"unit": "FWHM"},
    )
    grouping: float = Field(
        2.0,
        gt=0,
        description="Stars nearer than this are fitted together. Light of stars further off is subtracted first.",
        json_schema_extra={"unit": "FWHM"},
    )
    sky: Literal["annulus", "background"] = Field(
        "annulus",
        description="Where the sky comes from: a ring around each star, without the light of stars, or the background "
        "map.",
    )
    annulus: tuple[PositiveFloat, PositiveFloat] = Field(
        (3.0, 6.0),
        description="Inner and outer radius of the ring. With a background map it still tells the noise.",
        json_schema_extra={"unit": "FWHM"},
    )
    clip: float = Field(
        3.0, ge=1, description="Pixels of the ring further from its median are left out, in standard deviations."
    )

    @model_validator(mode="after")
    def _in_order(self) -> PsfPhotometry:
        if self.annulus[0] >= self.annulus[1]:
            raise ValueError(
                f"annulus [{self.annulus[0]:g}, {self.annulus[1]:g}]: the inner radius must be below the outer one"
            )
        return self

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
            What is fitted.

        Returns
        -------
        dict of ndarray, shape (n,)
            ``id``, ``flux`` and ``flux_err`` (unit of the image), ``aperture`` (NaN), ``sky`` and ``sky_err`` (unit of
            the image per pixel), ``area`` (noise-equivalent, in pixels), ``flags``; with fitted positions also ``x``,
            ``y``, ``x_err`` and ``y_err`` in pixels.

        Raises
        ------
        FrameError
            If the image has no variance, or there is no PSF, or no background map where one is asked for.
        """
        import numpy as np

        from albireo import MASKED, Flag, flags_of, variance_of
        from albireo_photutils.psf_fit import Pixels, Settings, fit_stars
        from albireo_photutils.windows import Windows

        variance = variance_of(image)
        if variance is None:
            raise FrameError(
                "the image has no variance, so that fluxes would have no errors; "
                "gain and read noise must be known: give them under [instrument]"
            )
        if psf is None or not psf.fwhm > 0:
            raise FrameError("no star was good enough to tell the PSF that is to be fitted")
        if self.sky == "background" and sky is None:
            raise FrameError('sky = "background" needs the map of a [background] stage, and there is none')

        flags = flags_of(image)
        hidden = (flags & np.uint16(MASKED)) != 0
        lost = ~(np.isfinite(image.data) & np.isfinite(variance) | hidden)
        hidden |= lost
        level = sky.level if self.sky == "background" and sky is not None else None
        pixels = Pixels(
            np.where(hidden, 0.0, image.data if level is None else image.data - level).astype(np.float64),
            np.where(hidden, 1.0, variance).astype(np.float64),
            hidden,
        )
        free = self.positions == "free"
        settings = Settings(
            half=max(1, round(self.reach * psf.fwhm * float(np.sqrt(psf.elongation)))),
            grouping=self.grouping * psf.fwhm,
            tolerance=self.tolerance if free else None,
            local_sky=level is None,
            ring=(self.annulus[0] * psf.fwhm, self.annulus[1] * psf.fwhm),
            clip=self.clip,
        )
        windows = Windows.around(sources.x, sources.y, settings.half, image.shape)
        names = [
            "flux",
            "flux_err",
            "aperture",
            "sky",
            "sky_err",
            "area",
            *(("x", "y", "x_err", "y_err") if free else ()),
        ]
        columns: dict[str, NDArray[Any]] = {name: np.full(len(sources), np.nan) for name in names}
        able = np.flatnonzero(_light_left(psf, sources.x, sources.y, windows, hidden) >= LEAST_LIGHT)
        if len(able):
            fitted = fit_stars(pixels, psf, sources.x[able], sources.y[able], settings)
            for name in fitted.keys() & columns.keys():
                columns[name][able] = fitted[name]
            if level is not None:
                ny, nx = image.shape
                row, column = (
                    np.clip(np.rint(v[able]).astype(np.intp), 0, n - 1) for v, n in ((sources.y, ny), (sources.x, nx))
                )
                columns["sky"][able] = level[row, column]
        failed = ~(np.isfinite(columns["flux"]) & np.isfinite(columns["flux_err"]))
        for name in {"flux", "flux_err", "x", "y", "x_err", "y_err"} & columns.keys():
            columns[name][failed] = np.nan
        bits = windows.flags(np.where(lost, flags | np.uint16(Flag.NO_DATA), flags))
        bits[failed] |= np.uint16(Flag.FAILED)
        return {"id": sources.id, **columns, "flags": bits}


def _light_left(
    psf: PSF, x: NDArray[np.float64], y: NDArray[np.float64], windows: Windows, hidden: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Share of the light in the window of each star that falls on usable pixels; zero outside the image."""
    import numpy as np

    share = np.zeros(len(windows))
    for index in range(len(windows)):
        rows, columns = windows.inside(index)
        if rows.stop > rows.start and columns.stop > columns.start:
            x0, y0 = int(windows.x0[index]), int(windows.y0[index])
            light = psf.stamps(x[index] - x0 - windows.half, y[index] - y0 - windows.half, windows.half)[0]
            inside = light[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
            share[index] = inside[~hidden[rows, columns]].sum() / light.sum()
    return share
