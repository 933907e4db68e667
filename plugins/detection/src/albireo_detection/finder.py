"""Sources as segments of the image: connected pixels above a threshold, parted at their peaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from albireo import Finder

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background, Sources

LEAST = 5
"""Pixels of a source, where the filter tells no larger number."""

LONG = 10.0
"""Length of a trail, at least, in widths of a star."""

CROSSED = 4.0
"""Highest pixel over the mean of all that tells a trail that crosses a star from a trail. Of a trail alone, with a
Gaussian section, it is below three."""

PIXEL = 0.289
"""Standard deviation of a row of light one pixel wide: 1 / sqrt(12)."""


class Segments(Finder, name="segments"):
    """Stars and galaxies: connected pixels above a threshold in the filtered image, parted at their peaks.

    The image is divided by its noise map and filtered with a Gaussian; the threshold counts in standard deviations of
    what the filter leaves of the noise. Saturated pixels and bleed trails take part, or a bright star would be a ring;
    other masked pixels count as empty sky. `albireo_detection.part_kernels` says how sources that touch are parted.

    Positions are windowed centroids, close to what a fit of the profile gives and independent of the threshold;
    semi-axes, angle and FWHM are moments under a Gaussian window with the window taken out, exact for a Gaussian and a
    few per cent wide for a Moffat profile. A masked pixel takes the value of the one opposite there. The FWHM is that
    of the image as sampled, the width of the pixel included. Where the moments do not converge (a blend, a trail, a
    faint smudge) the isophotal position and axes stand, and the FWHM is NaN.

    ``flux`` is the isophotal sum, made for ranking: it loses the wings below the threshold. ``flags`` are those of the
    pixels of the source, with `Flag.EDGE` where the border of the image cuts it.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import Background, image
    >>> y, x = np.mgrid[:64, :64]
    >>> star = 500 * np.exp(-((x - 20.3) ** 2 + (y - 30.6) ** 2) / (2 * 1.5**2))
    >>> noise = np.random.default_rng(1).normal(0, 2, (64, 64))
    >>> flat = Background(np.zeros((64, 64), np.float32), np.full((64, 64), 2, np.float32), 0.0, 2.0)
    >>> found = Segments().find(image(star + noise, "electron"), flat)
    >>> len(found), round(float(found.x[0]), 1), round(float(found.y[0]), 1)
    (1, 20.3, 30.6)
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",
        "Bernstein, G. M. & Jarvis, M. 2002, AJ, 123, 583",
    )

    threshold: float = Field(
        5.0, gt=0, description="Detection threshold in standard deviations of the (filtered) background."
    )
    filter_fwhm: float = Field(
        1.7,
        ge=0,
        le=20,
        description="FWHM of the Gaussian that the image is filtered with before the threshold; 0 for no filter. Wider "
        "filters find fainter stars in bad seeing, and cost more.",
        json_schema_extra={"unit": "pixel"},
    )
    min_area: int = Field(
        0,
        ge=0,
        description="Connected pixels above the threshold that make a source; 0 for as many as the filter has within "
        "its half maximum, and five at least.",
    )
    deblend_contrast: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Share of the light of connected pixels that a part must have to be a source; 1 for no deblending.",
    )
    max_sharpness: float = Field(
        0.6,
        gt=0,
        description="Largest share of the brightest pixel in the 3 x 3 pixels around it: 1 for a hot pixel, 0.4 for a "
        "star of FWHM 1.5 pixel. Sharper sources are left out.",
    )
    max_elongation: float = Field(
        5.0,
        ge=0,
        description="Longest over shortest axis of a source that is ten times longer than a star is wide; longer ones "
        "are trails of satellites, and are left out. 0 to keep them. Saturated stars stay with their trails.",
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

        Raises
        ------
        FrameError
            If more than half of the image is above the threshold.
        """
        import numpy as np

        from albireo import Flag, Sources, variance_of
        from albireo_detection import shapes
        from albireo_detection.detect import Planes, find_parts

        planes = Planes.of(image, background)
        area = self.min_area or max(LEAST, round(0.25 * np.pi * self.filter_fwhm**2))
        parts = find_parts(planes, variance_of(image), self.threshold, self.filter_fwhm, area, self.deblend_contrast)
        number, flux, peak, peak_x, peak_y, x, y, xx, yy, xy, flags, cut, sharpness = parts.T
        keep = (sharpness <= self.max_sharpness) & (flux > 0)
        a, b, theta = shapes.axes(xx, yy, xy, PIXEL)
        bits = flags.astype(np.uint16)
        long = _long(a, b, flux)
        bled = (bits & np.uint16(Flag.SATURATED | Flag.BLEED)) != 0
        crossed = peak > CROSSED * flux / number
        if self.max_elongation:
            keep &= ~(long & (a > self.max_elongation * b)) | crossed | bled
        # The middle of a star and the trail that crosses it is not that of the star.
        x, y = np.where(long & crossed, peak_x, x), np.where(long & crossed, peak_y, y)
        order = np.flatnonzero(keep)[np.argsort(-flux[keep], kind="stable")]
        if not order.size:
            return Sources.make([], [])
        flux, peak, x, y, a, b, theta, bits, cut = (
            column[order] for column in (flux, peak, x, y, a, b, theta, bits, cut)
        )
        width = float(np.median(np.sqrt(a * b)[: shapes.BRIGHTEST]))
        shape = shapes.measure(planes, x, y, width)
        failed = ~np.isfinite(shape.x)
        found = Sources.make(
            np.where(failed, x, shape.x),
            np.where(failed, y, shape.y),
            flux=flux,
            a=np.where(failed, a, shape.a),
            b=np.where(failed, b, shape.b),
            theta=np.where(failed, theta, shape.theta),
            fwhm=shape.fwhm,
            peak=peak,
            flags=bits | np.where(cut > 0, np.uint16(Flag.EDGE), np.uint16(0)),
        )
        return found[: self.max_sources] if self.max_sources else found


def _long(a: NDArray[np.float64], b: NDArray[np.float64], flux: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell what is many times longer than the bright stars are wide."""
    import numpy as np

    from albireo_detection import shapes

    brightest = np.argsort(-flux, kind="stable")[: shapes.BRIGHTEST]
    usual = np.median(np.sqrt(a * b)[brightest]) if brightest.size else np.inf
    # A row of light of even brightness is as long as sqrt(12) standard deviations.
    return np.asarray(np.sqrt(12.0) * a > LONG * shapes.FWHM_PER_SIGMA * usual)
