"""Background on a mesh by photutils, with a choice of statistics for the level and the noise of a box.

The filter and the spline are ours. Those of photutils see nothing beyond the border: the map is flat over the outer
half of the boxes there, which costs 5 % of a sky that rises by a quarter over five boxes. Here the mesh is continued
first, the level along its slope and the noise as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from albireo import BackgroundEstimator, FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background

MIN_PIXELS = 100
"""Fewer usable pixels than this tell nothing of a sky level and its noise."""

LEVELS = {
    "mean": "MeanBackground",
    "median": "MedianBackground",
    "mode": "ModeEstimatorBackground",
    "sextractor": "SExtractorBackground",
    "mmm": "MMMBackground",
    "biweight": "BiweightLocationBackground",
}

WIDTHS = {"std": "StdBackgroundRMS", "mad": "MADStdBackgroundRMS", "biweight": "BiweightScaleBackgroundRMS"}


class PhotutilsMesh(BackgroundEstimator, name="photutils"):
    """Sky level and noise in boxes, by a statistic of your choice, smoothed by a median and joined by a spline.

    Masked and non-finite pixels do not take part. Pixels far from the median of their box are clipped first. Boxes of
    which too little is left take the value of their neighbours; the maps have a value at masked pixels too.

    ==============  ====================================================================================================
    level           of the pixels of a box that are left
    ==============  ====================================================================================================
    ``mean``        mean; the smallest error on an empty sky
    ``median``      median
    ``mode``        3 median - 2 mean
    ``sextractor``  2.5 median - 1.5 mean, or the median where the box is crowded (Bertin & Arnouts 1996)
    ``mmm``         3 median - 2 mean, as in DAOPHOT (Stetson 1987)
    ``biweight``    biweight location (Beers, Flynn & Gebhardt 1990)
    ==============  ====================================================================================================

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import image
    >>> sky = np.random.default_rng(1).normal(100.0, 10.0, (256, 256))
    >>> background = PhotutilsMesh(level="biweight").estimate(image(sky, "electron"))
    >>> abs(background.median - 100.0) < 1.0, abs(background.median_rms - 10.0) < 0.5
    (True, True)
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Bradley, L. et al., photutils, Zenodo, doi:10.5281/zenodo.596036",
        "Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",
        "Beers, T. C., Flynn, K. & Gebhardt, K. 1990, AJ, 100, 32",
    )

    box: int = Field(
        64,
        ge=8,
        description="Width and height of a box, rounded so that boxes of one size fill the image.",
        json_schema_extra={"unit": "pixel"},
    )
    level: Literal["mean", "median", "mode", "sextractor", "mmm", "biweight"] = Field(
        "sextractor", description="Statistic for the level of a box."
    )
    noise: Literal["std", "mad", "biweight"] = Field(
        "std", description="Statistic for the noise: standard deviation, scaled median absolute deviation, or biweight."
    )
    clip: float = Field(
        3.0,
        ge=1,
        description="Pixels of a box further from its median are left out, in standard deviations; ten rounds.",
    )
    exclude_percentile: float = Field(
        50.0,
        ge=0,
        le=100,
        description="Share of a box that may be masked or clipped; boxes with more take the value of their neighbours.",
        json_schema_extra={"unit": "percent"},
    )
    filter: int = Field(
        3, ge=1, description="Width and height of the median filter over the mesh, in boxes; odd; 1 for none."
    )

    @field_validator("filter")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"a filter of {value} boxes has no box in the middle; give an odd number")
        return value

    def estimate(self, image: CCDData) -> Background:
        """Estimate level and noise.

        Parameters
        ----------
        image : CCDData
            Masked and non-finite pixels are left out.

        Returns
        -------
        Background
            Maps in the shape and unit of the image.

        Raises
        ------
        FrameError
            If fewer than 100 usable pixels are left, no box keeps enough of them, or the pixels do not differ.
        """
        import numpy as np
        from astropy.stats import SigmaClip
        from photutils import background

        from albireo import Background
        from albireo_photutils.versions import keyword, quiet

        mask = ~np.isfinite(image.data)
        if image.mask is not None:
            mask |= image.mask
        usable = mask.size - int(np.count_nonzero(mask))
        if usable < MIN_PIXELS:
            raise FrameError(
                f"no sky can be estimated: {usable} usable pixels of {mask.size}, at least {MIN_PIXELS} are needed; "
                "the others are masked or not numbers"
            )
        rms = keyword(background.Background2D, "bkg_rms_estimator", "bkgrms_estimator")
        statistics = {
            "bkg_estimator": getattr(background, LEVELS[self.level])(sigma_clip=None),
            rms: getattr(background, WIDTHS[self.noise])(sigma_clip=None),
        }
        with quiet():
            try:
                mesh = background.Background2D(
                    np.where(mask, np.float32(0.0), image.data),
                    tuple(_box(length, self.box) for length in image.shape),
                    mask=mask,
                    exclude_percentile=self.exclude_percentile,
                    filter_size=1,
                    sigma_clip=SigmaClip(sigma=self.clip, maxiters=10),
                    **statistics,
                )
            except ValueError as error:
                raise FrameError(
                    f"no sky can be estimated: more than {self.exclude_percentile:g} per cent of every box of "
                    f"{self.box} pixels is masked or clipped; give larger boxes or a higher exclude_percentile"
                ) from error
            levels, widths = mesh.background_mesh, mesh.background_rms_mesh
        beyond = self.filter // 2 + 1
        levels = self._smoothed(np.pad(levels, beyond, mode="reflect", reflect_type="odd"))
        widths = self._smoothed(np.pad(widths, beyond, mode="edge"))
        level, noise = (_joined(values, mesh.box_size, image.shape) for values in (levels, widths))
        if not (np.isfinite(level).all() and (noise > 0).all()):
            raise FrameError("the noise of the sky comes out as zero or not a number; the pixels hardly differ")
        median, median_rms = (float(np.median(values[1:-1, 1:-1])) for values in (levels, widths))
        return Background(level, noise, median=median, median_rms=median_rms)

    def _smoothed(self, mesh: NDArray[np.float64]) -> NDArray[np.float64]:
        """Filter a mesh that was continued beyond the border, and give it with one box each way of that."""
        from scipy import ndimage

        cut = self.filter // 2
        smooth: NDArray[np.float64] = ndimage.median_filter(mesh, self.filter)
        return smooth[cut : mesh.shape[0] - cut, cut : mesh.shape[1] - cut]


def _joined(mesh: NDArray[np.float64], box: Sequence[int], shape: Sequence[int]) -> NDArray[np.float32]:
    """Join boxes by a bicubic spline through their centres.

    Parameters
    ----------
    mesh : ndarray, shape (rows + 2, columns + 2)
        Values of the boxes, and of those beyond the border.
    box : (int, int)
        Rows and columns of a box in pixels.
    shape : (int, int)
        Of the map.
    """
    import numpy as np
    from scipy.interpolate import RectBivariateSpline

    centres = [side * (np.arange(count) - 0.5) - 0.5 for side, count in zip(box, mesh.shape, strict=True)]
    spline = RectBivariateSpline(*centres, mesh, kx=min(3, mesh.shape[0] - 1), ky=min(3, mesh.shape[1] - 1))
    return np.asarray(spline(*(np.arange(length) for length in shape)), dtype=np.float32)


def _box(length: int, wanted: int) -> int:
    """Size of the boxes, as near to the wanted one as boxes of one size can fill the length."""
    count = max(1, round(length / wanted))
    return -(-length // count)
