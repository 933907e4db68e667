"""What the photometers of this part share: the sky, the place of a star, and the light that is missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, model_validator

from albireo import FrameError, Photometer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from albireo import PSF, Background, Sources
    from albireo_aperture.planes import Planes
    from albireo_aperture.sky import Sky

ANNULUS = {"pixel": (10.0, 20.0), "fwhm": (3.0, 5.0)}
"""Ring for the sky where the recipe names none."""

TOLERANCE = {"pixel": 3.0, "fwhm": 1.0}
"""How far a star may be from where it should be, where the recipe does not say."""

FWHM_PER_SIGMA = 2.354820045
"""Of a Gaussian."""


class Needs:
    """What a photometer needs: more with some options than by default."""

    def __init__(self, *always: str) -> None:
        self.always = frozenset({"pedestal", "electron", *always})

    def __get__(self, stage: StarPhotometer | None, owner: type) -> frozenset[str]:
        terms = set(self.always)
        if stage is not None and stage.sky == "background":
            terms.add("background")
        if stage is not None and stage.wants_psf:
            terms.add("psf")
        return frozenset(terms)


@dataclass(frozen=True, eq=False)
class Places:
    """Where each star was measured.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        In pixels.
    columns : dict of ndarray
        ``x``, ``y``, ``x_err`` and ``y_err`` for the rows; empty where places were taken as given.
    flags : ndarray of uint16, shape (n,)
        `Flag.NOT_CENTRED` where the star was not found near the place given, which then counts.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    columns: dict[str, NDArray[np.float64]]
    flags: NDArray[np.uint16]


class StarPhotometer(Photometer):
    """A photometer that measures each star by itself above a local sky."""

    needs: ClassVar[frozenset[str]] = Needs()  # type: ignore[assignment]

    unit: Literal["pixel", "fwhm"] = Field(
        "pixel", description="Unit of all lengths in these options: pixel, or the width of a star in each image."
    )
    sky: Literal["annulus", "background"] = Field(
        "annulus", description="Where the sky comes from: a ring around each star, or the background map."
    )
    annulus: tuple[PositiveFloat, PositiveFloat] | None = Field(
        None,
        description="Inner and outer radius of the ring, outside all apertures; none for 10 and 20 pixels, or 3 and 5 "
        "FWHM.",
        json_schema_extra={"unit": "pixel or FWHM"},
    )
    statistic: Literal["mean", "median", "mode"] = Field(
        "mean",
        description="Level of the ring after clipping. The mean has the smallest error, also on coarse counts; the "
        "mode, 2.5 median - 1.5 mean, gives the least weight to faint stars in the ring, for twice the error.",
    )
    clip: float = Field(
        3.0, ge=1, description="Pixels of the ring further from its median are left out, in standard deviations."
    )
    recenter: Literal["none", "windowed", "moments"] = Field(
        "none",
        description="Where to measure: at the places given (none), or where a star is found near them, by moments in a "
        "Gaussian window of the width of a star, or in a circle with the radius of one FWHM.",
    )
    tolerance: PositiveFloat | None = Field(
        None,
        description="A star found further away keeps the place given, with the flag NOT_CENTRED; none for 3 pixels, or "
        "1 FWHM.",
        json_schema_extra={"unit": "pixel or FWHM"},
    )
    correction: PositiveFloat | Literal["none"] = Field(
        "none",
        description="Radius of a large aperture: fluxes are multiplied by the ratio of the light in it to what was "
        "measured, as the bright isolated stars of each frame tell it; or none.",
        json_schema_extra={"unit": "pixel or FWHM"},
    )

    @model_validator(mode="after")
    def _ring_outside(self) -> StarPhotometer:
        inner, outer = self._ring
        if inner >= outer:
            raise ValueError(f"annulus [{inner:g}, {outer:g}]: the inner radius must be below the outer one")
        largest = self._largest_radius
        if self.correction != "none":
            if self.correction <= largest:
                raise ValueError(
                    f"correction = {self.correction:g} is not larger than the largest radius, {largest:g} {self.unit}"
                )
            largest = self.correction
        if self.sky == "annulus" and inner < largest:
            raise ValueError(
                f"the annulus begins at {inner:g} {self.unit}, inside the aperture of radius {largest:g}; "
                'give an annulus outside it, or sky = "background"'
            )
        return self

    @property
    def _largest_radius(self) -> float:
        """Of the apertures, in the unit of the options; zero without one."""
        return 0.0

    @property
    def _ring(self) -> tuple[float, float]:
        return self.annulus or ANNULUS[self.unit]

    @property
    def wants_psf(self) -> bool:
        """Whether the options ask for the shape of a star in each image."""
        return self.unit == "fwhm" or self.recenter != "none"

    def _pixels_per_unit(self, psf: PSF | None) -> float:
        """Give the length of the unit in pixels.

        Raises
        ------
        FrameError
            If it is the FWHM, and that is not known.
        """
        return self._fwhm(psf, "the aperture is given in") if self.unit == "fwhm" else 1.0

    def _fwhm(self, psf: PSF | None, what_for: str) -> float:
        if psf is None or not psf.fwhm > 0:
            raise FrameError(f"no star was good enough to tell the FWHM that {what_for}")
        return psf.fwhm

    def _map(self, sky: Background | None) -> Background | None:
        """Give the background map if the sky comes from it.

        Raises
        ------
        FrameError
            If there is none.
        """
        if self.sky == "background" and sky is None:
            raise FrameError('sky = "background" needs the map of a [background] stage, and there is none')
        return sky if self.sky == "background" else None

    def _sky(
        self,
        planes: Planes,
        background: Background | None,
        sources: Sources,
        scale: float,
        elongation: NDArray[np.float64],
        theta: NDArray[np.float64],
    ) -> Sky:
        """Measure the sky of each star."""
        from albireo_aperture.sky import sky_of_map, sky_of_rings

        if background is not None:
            return sky_of_map(background, sources.x, sources.y)
        ring = scale * self._ring[0], scale * self._ring[1]
        options: dict[str, Any] = {"clip": self.clip, "statistic": self.statistic}
        return sky_of_rings(planes, sources.x, sources.y, ring, elongation, theta, **options)

    def _places(self, planes: Planes, sky: Sky, sources: Sources, scale: float, psf: PSF | None) -> Places:
        """Find each star near the place given, if asked for."""
        import numpy as np

        flags = np.zeros(len(sources), dtype=np.uint16)
        if self.recenter == "none":
            return Places(sources.x, sources.y, {}, flags)
        from albireo import Flag
        from albireo_aperture.kernels import centroids
        from albireo_aperture.planes import HIDDEN

        gaussian = self.recenter == "windowed"
        fwhm = self._fwhm(psf, "stars are centred with")
        tolerance = scale * (self.tolerance or TOLERANCE[self.unit])
        places, arrived = np.full((4, len(sources)), np.nan), np.zeros(len(sources), dtype=np.bool_)
        centroids(
            *planes.arguments(HIDDEN),
            sky.level,
            sources.x,
            sources.y,
            gaussian,
            fwhm / FWHM_PER_SIGMA if gaussian else fwhm,
            tolerance,
            places,
            arrived,
        )
        flags[~arrived] = Flag.NOT_CENTRED
        x, y = np.where(arrived, places[0], sources.x), np.where(arrived, places[1], sources.y)
        return Places(x, y, {"x": x, "y": y, "x_err": places[2], "y_err": places[3]}, flags)
