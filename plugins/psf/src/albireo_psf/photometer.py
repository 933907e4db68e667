"""Brightness of stars by fitting the PSF: the stage of the recipe."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from albireo import FrameError, Photometer

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import PSF, Background, Sources

__all__ = ["PSFPhotometer"]

BEYOND = 1.0
"""A star's light counts in the pixels of its neighbours up to so many widths beyond the radius."""

SEEN = 0.5
"""Share of a star's light within the radius that must lie on usable pixels."""

INFLATED = 1e4
"""Variance, relative to that of a star alone, above which a star cannot be told from its neighbour."""

CHUNK = 64
"""Stars that stand alone are measured so many at a time: their pixels stay in the cache, and memory is bounded."""


class PSFPhotometer(Photometer, name="psf"):
    """Total flux by a weighted fit of the PSF at given places; stars that overlap are solved together.

    Linear least squares (Stetson 1987, PASP 99, 191) with one over the variance to be expected of sky, read noise and
    model as weights.
    """

    needs = frozenset({"background", "psf"})
    citations = ("Stetson 1987, PASP 99, 191",)

    radius: float = Field(
        2.0,
        gt=0.3,
        le=10.0,
        description="Pixels within this distance of a star are fitted, in full widths at half maximum.",
        json_schema_extra={"unit": "FWHM"},
    )
    sky: Literal["background", "fit"] = Field(
        "background",
        description="``background`` takes the map as it is; ``fit`` adds a constant for each star, or for each group "
        "of stars that overlap.",
    )
    recenter: bool = Field(
        False, description="Whether to fit the place of stars with a signal to noise of five and more, too."
    )
    tolerance: float = Field(
        0.5,
        gt=0.0,
        le=3.0,
        description="A fitted place further away than this is given up, and the star is measured where it was given.",
        json_schema_extra={"unit": "FWHM"},
    )

    def measure(self, image: CCDData, sources: Sources, sky: Background | None, psf: PSF | None) -> dict[str, Any]:
        """Measure all sources.

        Parameters
        ----------
        image : CCDData
            With variance. Masked pixels and those that are not numbers have no weight.
        sources : Sources
            Positions in pixels of this image; those that are not finite fail.
        sky : Background
            Its map is subtracted; it counts as known without error.
        psf : PSF
            Counts as known without error.

        Returns
        -------
        dict of ndarray
            One row for each source: ``id``; ``flux`` and ``flux_err`` (unit of the image), of the whole light; ``x``
            and ``y`` (pixels), with ``x_err`` and ``y_err`` where they were fitted, NaN elsewhere; ``sky`` and
            ``sky_err`` (unit of the image per pixel), the error being zero unless a constant is fitted; ``area``
            (pixels), the noise-equivalent area; ``flags`` of the pixels within the radius. A star of whose light less
            than half lies on usable pixels, or that stands in the place of another, has NaN and `Flag.FAILED`.

        Raises
        ------
        FrameError
            If the image has no variance, or there is no background or no PSF.
        """
        import numpy as np

        from albireo import Flag, variance_of
        from albireo_psf.cuts import cut
        from albireo_psf.fluxes import fit_stars
        from albireo_psf.systems import Alone, System, Together

        variance = variance_of(image)
        if variance is None:
            raise FrameError(
                "the image has no variance, so that fluxes would have no errors; "
                "gain and read noise must be known: give them under [instrument]"
            )
        if sky is None:
            raise FrameError("PSF photometry needs the map of a [background] stage, and there is none")
        if psf is None or not psf.fwhm > 0:
            raise FrameError("no star was good enough to tell the shape of a star")
        radius = max(self.radius * psf.fwhm, 1.0)
        near, far = ceil(radius), ceil(radius + BEYOND * psf.fwhm)
        tolerance = self.tolerance * psf.fwhm if self.recenter else None
        touching = _touching(sources.x, sources.y, radius + far)
        alone = np.flatnonzero(~touching)
        parts = [(alone[start : start + CHUNK], near, False) for start in range(0, len(alone), CHUNK)]
        if touching.any():
            crowd = np.flatnonzero(touching)
            # Stars near each other stand close together in the equations, too.
            tile = np.floor_divide(sources.y[crowd], 2.0 * far)
            parts.append((crowd[np.lexsort((sources.x[crowd], tile))], far, True))

        n = len(sources)
        names = ("flux", "flux_err", "area", "x", "y", "x_err", "y_err", "sky", "sky_err")
        columns: dict[str, Any] = {name: np.full(n, np.nan) for name in names}
        flags = np.full(n, Flag.FAILED, dtype=np.uint16)
        for rows, reach, together in parts:
            x, y = sources.x[rows], sources.y[rows]
            cuts = cut(image, sky.level, variance, x, y, reach)
            circle = cuts.within(radius)
            used = circle & cuts.usable
            fit_sky = self.sky == "fit"
            system: System = Together(cuts, used, fit_sky, image.data.size) if together else Alone(cuts, used, fit_sky)
            found = fit_stars(cuts, psf, system, tolerance)
            seen = (found.shares * used).sum(axis=(1, 2)) / (found.shares * circle).sum(axis=(1, 2))
            touched = np.bitwise_or.reduce(np.where(circle, cuts.flags, np.uint16(0)).reshape(len(rows), -1), axis=1)
            edge = (circle & ~cuts.inside).any(axis=(1, 2))
            error = np.sqrt(found.variance)
            with np.errstate(invalid="ignore"):
                good = (seen >= SEEN) & (found.inflation < INFLATED) & np.isfinite(found.flux) & (error[:, 0] > 0)
            good &= np.isfinite(error[:, 0])
            flags[rows] = touched | np.where(edge, Flag.EDGE, 0) | np.where(good, 0, Flag.FAILED)
            level = _at(sky.level, x, y)
            values = {
                "flux": found.flux,
                "flux_err": error[:, 0],
                "area": found.area,
                "x": x + found.dx - cuts.dx,
                "y": y + found.dy - cuts.dy,
                "x_err": error[:, 1],
                "y_err": error[:, 2],
            }
            for name, value in values.items():
                columns[name][rows] = np.where(good, value, np.nan)
            columns["sky"][rows] = level + np.where(good, found.sky, 0.0)
            columns["sky_err"][rows] = np.where(good, np.sqrt(found.sky_variance), 0.0)
        return {"id": sources.id, **columns, "flags": flags}


def _at(level: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The background in the pixels of stars, or in the nearest pixel of the image."""
    import numpy as np

    rows, columns = (
        np.clip(np.rint(np.nan_to_num(place, posinf=0.0, neginf=0.0)), 0, size - 1).astype(np.intp)
        for place, size in ((y, level.shape[0]), (x, level.shape[1]))
    )
    return level[rows, columns].astype(np.float64)


def _touching(x: NDArray[np.float64], y: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Tell which places have another one within a distance."""
    import numpy as np

    order = np.argsort(x, kind="stable")  # what is not a number comes last
    along, across = x[order], y[order]
    close = np.zeros(len(x), dtype=bool)
    with np.errstate(invalid="ignore"):
        for step in range(1, len(x)):
            apart = along[step:] - along[:-step]
            if not (apart < distance).any():
                break
            pairs = apart**2 + (across[step:] - across[:-step]) ** 2 < distance**2
            close[step:] |= pairs
            close[:-step] |= pairs
    result = np.empty(len(x), dtype=bool)
    result[order] = close
    return result
