"""How far one image is shifted against the reference, from the pixels of both.

Cross-correlation needs no stars: comets, galaxies and crowded fields align as well. The arithmetic is that of
`albireo_alignment.cross_correlation`; this stage judges the peak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from albireo import FrameError, ImageAligner

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray

    from albireo import Transform

__all__ = ["Correlation"]

SIGNIFICANCE = 15.0
"""Least height of the peak over the scatter of the correlation, which is low where the images hardly overlap: the
highest peak of noise alone has 9 to 12."""

RIVAL = 0.62
"""Largest height of another peak, as a fraction of the highest. In simulated fields of five stars and more the true
shift had a rival of 0.50 with few exceptions, which is the edge of the peak itself, unrelated fields had one of 0.68 to
1."""

SMALLEST_OVERLAP = 32
"""Pixels on a side that both images must show."""


class Correlation(ImageAligner, name="correlation"):
    """A shift by cross-correlation of the images, to a few hundredths of a pixel; for comets and crowded fields too.

    The sky is taken off, masked pixels do not count, bright ones are compressed, and nothing wraps around the edges. A
    peak that does not stand out of the noise, or that has a rival, costs the frame. In a field with a single bright
    object there is no rival, and any other such field would fit: set ``max_shift`` there.
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Guizar-Sicairos, M., Thurman, S. T. & Fienup, J. R. 2008, Optics Letters, 33, 156",
    )

    def align_images(self, image: CCDData, reference: CCDData) -> Transform:
        """Find the shift from pixels of the reference to pixels of this image.

        Parameters
        ----------
        image, reference : CCDData
            Masked pixels and values that are not numbers do not count.

        Returns
        -------
        Transform
            A shift; ``rms`` is NaN, and no star was matched.

        Raises
        ------
        FrameError
            If the correlation has no peak that means something, or it is beyond ``max_shift``.
        """
        from albireo import Transform
        from albireo_alignment.cross_correlation import coarse_peak, fine_shift

        here, there = _normalised(image, "this image"), _normalised(reference, "the reference")
        peak = coarse_peak(there, here, self.max_shift)
        if peak.significance < SIGNIFICANCE:
            raise FrameError(
                "no shift brings this image and the reference together: the highest peak of their correlation is "
                f"{peak.significance:.1f} times its scatter, {SIGNIFICANCE:g} are needed; is there anything in both?"
            )
        if not peak.within:
            limits = self.max_shift if isinstance(self.max_shift, tuple) else (self.max_shift,)
            raise FrameError(
                f"the images agree best at a shift of about {peak.dx} and {peak.dy} pixels, which is more than the "
                f"{' and '.join(f'{limit:g}' for limit in limits)} pixels allowed"
            )
        if peak.rival > RIVAL:
            raise FrameError(
                f"the shift is ambiguous: the best one, about {peak.dx} and {peak.dy} pixels, has a rival of "
                f"{100 * peak.rival:.0f} % of its height, as unrelated or rotated fields have; set max_shift if the "
                "field moves little, or use 'patterns'"
            )
        overlap = min(min(n, m) - abs(d) for n, m, d in zip(there.shape, here.shape, (peak.dy, peak.dx), strict=True))
        found = fine_shift(there, here, peak.dx, peak.dy) if overlap >= SMALLEST_OVERLAP else None
        if found is None:
            raise FrameError(
                f"the shift of about {peak.dx} and {peak.dy} pixels has no peak at full resolution; the images have "
                f"{max(overlap, 0)} pixels in common in one direction"
            )
        return Transform(Transform.similarity(*found).matrix, float("nan"), 0)


def _normalised(picture: CCDData, which: str) -> NDArray[np.float32]:
    import numpy as np

    from albireo_alignment.cross_correlation import normalised

    good = np.isfinite(picture.data)
    if picture.mask is not None:
        good &= ~picture.mask
    found = normalised(picture.data, good)
    if found is None:
        raise FrameError(f"{which} has too few good pixels, or no noise, to tell the sky from")
    return found
