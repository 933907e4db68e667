"""Sources by image segmentation with photutils: connected pixels above a threshold, deblended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from albireo import Finder

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background, Sources

FWHM_PER_SIGMA = 2.3548
"""Of a Gaussian."""


class Segmentation(Finder, name="segmentation"):
    """Stars and galaxies as segments of an image above a threshold, by photutils.

    The image is divided by its noise and smoothed with a Gaussian; the threshold counts in the noise of what is
    smoothed. Connected pixels above it are a segment; segments with several peaks are taken apart by thresholds of
    their own and a watershed.

    Saturated pixels and bleed trails take part, or a bright star would be a ring; other masked pixels count as empty
    sky. Positions, semi-axes, angle and FWHM are moments under a Gaussian window with the window taken out: they do
    not depend on the threshold, and are exact for a Gaussian star, the pixel included. Where they do not converge (a
    blend, a trail, a faint smudge) the moments of the segment stand, and the FWHM is NaN.

    ``flux`` is the sum over the segment; it loses the wings below the threshold. ``flags`` are those of the pixels in
    the rectangle around the segment, with `Flag.EDGE` where the image cuts it.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import Background, image
    >>> y, x = np.mgrid[:64, :64]
    >>> star = 500 * np.exp(-((x - 20.3) ** 2 + (y - 30.6) ** 2) / (2 * 1.5**2))
    >>> noise = np.random.default_rng(1).normal(0, 2, (64, 64))
    >>> flat = Background(np.zeros((64, 64), np.float32), np.full((64, 64), 2, np.float32), 0.0, 2.0)
    >>> found = Segmentation().find(image(star + noise, "electron"), flat)
    >>> len(found), round(float(found.x[0]), 1), round(float(found.y[0]), 1)
    (1, 20.3, 30.6)
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Bradley, L. et al., photutils, Zenodo, doi:10.5281/zenodo.596036",
        "Bernstein, G. M. & Jarvis, M. 2002, AJ, 123, 583",
    )

    threshold: float = Field(
        5.0, gt=0, description="Detection threshold in standard deviations of the (filtered) background."
    )
    min_area: int = Field(
        5,
        ge=1,
        description="Connected pixels above the threshold that make a source.",
        json_schema_extra={"unit": "pixel"},
    )
    filter_fwhm: float = Field(
        1.7,
        ge=0,
        le=20,
        description="FWHM of the Gaussian that the image is filtered with before the threshold; 0 for no filter.",
        json_schema_extra={"unit": "pixel"},
    )
    connectivity: Literal[4, 8] = Field(8, description="Neighbours of a pixel: 4 along its sides, or 8 with corners.")
    deblend_levels: int = Field(
        32, ge=0, description="Levels at which a segment is tried for parts; 0 for no deblending."
    )
    deblend_contrast: float = Field(
        0.001, ge=0, le=1, description="Share of the flux of a segment that a part must have to be a source."
    )
    deblend_mode: Literal["exponential", "linear", "sinh"] = Field(
        "exponential", description="Spacing of the levels: in equal ratios, in equal steps, or between the two."
    )
    max_sharpness: float = Field(
        0.6,
        gt=0,
        description="Largest share of the brightest pixel in the 3 x 3 pixels around it: 1 for a hot pixel, 0.4 for a "
        "star of FWHM 1.5 pixel. Sharper sources are left out.",
    )
    border: int = Field(
        0,
        ge=0,
        description="Sources with their centre within so many pixels of the border are left out.",
        json_schema_extra={"unit": "pixel"},
    )
    max_sources: int = Field(0, ge=0, description="How many of the brightest sources to keep; 0 for all.")

    def find(self, image: CCDData, background: Background) -> Sources:
        """Find sources, brightest first.

        Parameters
        ----------
        image : CCDData
        background : Background
            Level and noise in the unit of the image. Pixels without a positive noise count as masked.

        Returns
        -------
        Sources
            Empty where nothing is above the threshold.
        """
        import numpy as np
        from scipy import ndimage

        from albireo import Sources, flags_of
        from albireo_photutils.moments import axes, measure
        from albireo_photutils.signal import box_flags, sharpness, significance

        signal, hidden = significance(image, background)
        labels = self._segments(signal, hidden)
        count = int(labels.max(initial=0))
        inside = np.flatnonzero(labels)
        if not count:
            return Sources.make([], [])

        at, light = labels.ravel()[inside] - 1, signal.ravel()[inside].astype(np.float64)
        rows, columns = np.unravel_index(inside, labels.shape)
        noise = background.rms.ravel()[inside].astype(np.float64)
        order = np.lexsort((light, at))
        brightest = order[np.cumsum(np.bincount(at, minlength=count)) - 1]
        flux = np.bincount(at, light * noise, count)
        x, y, xx, yy, xy = _moments(at, np.maximum(light, 0.0), columns, rows, count)
        boxes = np.array([(r.start, r.stop - 1, c.start, c.stop - 1) for r, c in ndimage.find_objects(labels)])
        peak = light[brightest] * noise[brightest]
        kept = sharpness(signal, rows[brightest], columns[brightest]) <= self.max_sharpness
        kept &= np.isfinite(x) & (flux > 0)
        ny, nx = labels.shape
        kept &= (x >= self.border) & (x <= nx - 1 - self.border) & (y >= self.border) & (y <= ny - 1 - self.border)
        index = np.flatnonzero(kept)
        index = index[np.argsort(-flux[index], kind="stable")]
        if self.max_sources:
            index = index[: self.max_sources]
        if not len(index):
            return Sources.make([], [])

        x, y, xx, yy, xy = (values[index] for values in (x, y, xx, yy, xy))
        seen = measure(signal, x, y, float(np.median((xx * yy - xy**2)[:50] ** 0.25)))
        failed = ~np.isfinite(seen.x)
        a, b, theta = axes(*(np.where(failed, old, new) for old, new in ((xx, seen.xx), (yy, seen.yy), (xy, seen.xy))))
        return Sources.make(
            np.where(failed, x, seen.x),
            np.where(failed, y, seen.y),
            flux=flux[index],
            a=a,
            b=b,
            theta=theta,
            fwhm=seen.fwhm,
            peak=peak[index],
            flags=box_flags(flags_of(image), boxes[index]),
        )

    def _segments(self, signal: NDArray[np.float32], hidden: NDArray[np.bool_]) -> NDArray[np.int_]:
        """Label segments from one; zero is sky."""
        import numpy as np
        from photutils.segmentation import deblend_sources, detect_sources
        from scipy import ndimage

        from albireo_photutils.versions import keyword, quiet

        smooth, noise = signal, 1.0
        if self.filter_fwhm:
            sigma = self.filter_fwhm / FWHM_PER_SIGMA
            smooth = ndimage.gaussian_filter(signal, sigma, mode="constant", truncate=3.0)
            point = np.zeros(2 * int(3.0 * sigma + 0.5) + 3)
            point[len(point) // 2] = 1.0
            # Along each axis the kernel sums to one; the noise of the mean it takes is the root of its squares.
            noise = float(np.sum(ndimage.gaussian_filter1d(point, sigma, mode="constant", truncate=3.0) ** 2))
        with quiet():
            found = detect_sources(
                smooth, self.threshold * noise, self.min_area, connectivity=self.connectivity, mask=hidden
            )
            if found is None:
                return np.zeros(signal.shape, dtype=np.int_)
            if self.deblend_levels:
                levels = keyword(deblend_sources, "n_levels", "nlevels")
                found = deblend_sources(
                    smooth,
                    found,
                    self.min_area,
                    contrast=self.deblend_contrast,
                    mode=self.deblend_mode,
                    connectivity=self.connectivity,
                    progress_bar=False,
                    **{levels: self.deblend_levels},
                )
        labels: NDArray[np.int_] = found.data
        return labels


def _moments(
    at: NDArray[np.int_],
    light: NDArray[np.float64],
    columns: NDArray[np.int_],
    rows: NDArray[np.int_],
    count: int,
) -> tuple[NDArray[np.float64], ...]:
    """Centre (x, y) and covariance (xx, yy, xy) of each segment; at least that of a pixel."""
    import numpy as np

    def mean(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(at, light * values, count) / total

    total = np.bincount(at, light, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = mean(columns), mean(rows)
        dx, dy = columns - x[at], rows - y[at]
        pixel = 1.0 / 12.0
        return x, y, mean(dx * dx) + pixel, mean(dy * dy) + pixel, mean(dx * dy)
