"""Backgrounds that are one number for the image, or none at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from albireo import BackgroundEstimator

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Background

SAMPLE = 1 << 20
"""Pixels that are enough for one number: it is known to 0.3 % of the noise of a pixel."""


class Constant(BackgroundEstimator, name="constant"):
    """One sky level and one noise for the whole image, clipped.

    For small or sparse images with a flat sky, where boxes would follow the wings of stars. The level is found as in a
    box of ``mesh``; of an image with more than a million pixels, every so many rows are used.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import image
    >>> sky = np.random.default_rng(1).normal(100.0, 10.0, (256, 256))
    >>> background = Constant().estimate(image(sky, "electron"))
    >>> abs(background.median - 100.0) < 0.5, float(np.ptp(background.level))
    (True, 0.0)
    """

    citations: ClassVar[tuple[str, ...]] = ("Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393",)

    def estimate(self, image: CCDData) -> Background:
        """Estimate level and noise.

        Parameters
        ----------
        image : CCDData
            Masked and non-finite pixels are left out.

        Returns
        -------
        Background
            Constant maps in the shape and unit of the image.

        Raises
        ------
        FrameError
            If fewer than 100 usable pixels are left.
        """
        import numpy as np

        from albireo_detection.boxes import photon_skew

        level, sigma = _clipped(image)
        skew = float(photon_skew(image, np.array(level), np.array(sigma)))
        return _constant(image.shape, level + skew, sigma)


class NoBackground(BackgroundEstimator, name="none"):
    """No sky: level zero, for images whose sky is subtracted already.

    The noise of an image with variance is that of its sky: the clipped variance in boxes, so that the photons of stars
    do not count. Without variance it is the clipped scatter of the pixels, one number.

    Examples
    --------
    >>> import numpy as np
    >>> from albireo import image
    >>> sky = np.random.default_rng(1).normal(0.0, 10.0, (256, 256))
    >>> background = NoBackground().estimate(image(sky, "electron", variance=np.full(sky.shape, 100.0)))
    >>> background.median, background.median_rms
    (0.0, 10.0)
    """

    box: int = Field(
        64,
        ge=8,
        description="Width and height of the boxes in which the variance is clipped.",
        json_schema_extra={"unit": "pixel"},
    )

    def estimate(self, image: CCDData) -> Background:
        """Give level zero and the noise.

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
        import numpy as np

        from albireo import Background, variance_of
        from albireo_detection import map_kernels
        from albireo_detection.boxes import measure, usable_mask

        variance = variance_of(image)
        if variance is None:
            return _constant(image.shape, 0.0, _clipped(image)[1])
        noise = np.sqrt(np.maximum(measure(variance, usable_mask(image), self.box).level, 0.0))
        rms = np.empty(image.shape, dtype=np.float32)
        map_kernels.draw(noise, rms, False)
        return Background(np.zeros_like(rms), rms, median=0.0, median_rms=float(np.median(noise)))


def _clipped(image: CCDData) -> tuple[float, float]:
    """Level and noise of an image as one number each."""
    import numpy as np

    from albireo_detection import box_kernels
    from albireo_detection.boxes import CLIP, MIN_PIXELS, too_few

    step = max(1, round(image.data.size / SAMPLE))
    rows = slice(None, None, min(step + 1 - step % 2, image.shape[0]))  # an odd step sees both rows of a pattern of two
    good: NDArray[np.bool_] = np.isfinite(image.data[rows])
    if image.mask is not None:
        good &= ~image.mask[rows]
    values = np.ascontiguousarray(image.data[rows][good], dtype=np.float32)
    if values.size < MIN_PIXELS:
        raise too_few(values.size, good.size)
    level, sigma = box_kernels.clipped(values, CLIP)
    return level, sigma


def _constant(shape: tuple[int, int], level: float, rms: float) -> Background:
    import numpy as np

    from albireo import Background

    return Background(np.full(shape, level, dtype=np.float32), np.full(shape, rms, dtype=np.float32), level, rms)
