"""Background on a mesh of boxes, smoothed by a median and joined by a spline."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from albireo import BackgroundEstimator

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Background
    from albireo_detection.boxes import Boxes


class Mesh(BackgroundEstimator, name="mesh"):
    """Sky level and noise in boxes, smoothed by a median and joined by a spline.

    Masked and non-finite pixels do not take part; a box with less than a quarter of its pixels takes the value of its
    neighbours. Stars are clipped, so that a box should be some ten times wider than a star, and narrower than the
    structure of the sky. `albireo_detection.boxes` says how a box is measured.

    The level goes on with its slope from the centres of the outer boxes to the border. The noise is joined by straight
    lines, so that it is never below that of the quietest box.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import image
    >>> sky = np.random.default_rng(1).normal(100.0, 10.0, (256, 256))
    >>> background = Mesh(box=64).estimate(image(sky, "electron"))
    >>> abs(background.median - 100.0) < 0.5, abs(background.median_rms - 10.0) < 0.2
    (True, True)
    """

    citations: ClassVar[tuple[str, ...]] = ("Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",)

    box: int = Field(
        64,
        ge=8,
        description="Width and height of a box, rounded so that boxes of one size fill the image.",
        json_schema_extra={"unit": "pixel"},
    )
    filter: int = Field(
        3,
        ge=1,
        description="Width and height of the median filter over the mesh, in boxes; 1 for none. An even number counts "
        "as the next odd one.",
    )
    filter_threshold: float = Field(
        0.0,
        ge=0,
        description="Smallest deviation of a box from the median of its neighbours that the filter corrects.",
        json_schema_extra={"unit": "unit of the image"},
    )
    thin: bool = Field(
        False,
        description="Whether to use every second row only: nearly twice as fast, at 1.4 times the statistical error.",
    )
    mask_sources: int = Field(
        0,
        ge=0,
        description="Measure twice, the second time without the pixels of sources and those this near to them, for "
        "fields where sources fill a good part of the boxes; 0 for once.",
        json_schema_extra={"unit": "pixel"},
    )

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
            If fewer than 100 usable pixels are left.
        """
        from albireo_detection.boxes import measure, usable_mask

        mask, step = usable_mask(image), 2 if self.thin else 1
        background = self._drawn(measure(image.data, mask, self.box, step), image)
        if not self.mask_sources:
            return background
        from albireo_detection.detect import covered

        sources = covered(image, background, self.mask_sources)
        return self._drawn(measure(image.data, sources | mask if mask.size else sources, self.box, step), image)

    def _drawn(self, boxes: Boxes, image: CCDData) -> Background:
        """Smooth the mesh and make the maps."""
        import numpy as np

        from albireo import Background, empty_plane
        from albireo_detection import map_kernels
        from albireo_detection.boxes import photon_skew

        level, sigma = boxes.level + photon_skew(image, boxes.level, boxes.sigma), boxes.sigma
        if self.filter > 1:
            smooth_level = map_kernels.smooth(level, self.filter, True)
            smooth_sigma = map_kernels.smooth(sigma, self.filter, False)
            outlier = np.abs(smooth_level - level) >= self.filter_threshold
            level, sigma = np.where(outlier, smooth_level, level), np.where(outlier, smooth_sigma, sigma)
        planes = empty_plane(image.shape, np.float32), empty_plane(image.shape, np.float32)
        map_kernels.draw(level, planes[0], True)
        map_kernels.draw(sigma, planes[1], False)
        return Background(*planes, median=float(np.median(level)), median_rms=float(np.median(sigma)))
