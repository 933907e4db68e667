"""How one image lies on the reference, from the celestial coordinates of both.

A grid of points of the reference goes to the sky by its coordinates and to the image by those of the image. The affine
map that fits the grid best is the result; what it leaves over is the difference of the distortions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from albireo import FrameError, ImageAligner

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from albireo import Transform

__all__ = ["Coordinates"]

GRID = 9
"""Points on a side of the grid."""


class Coordinates(ImageAligner, name="wcs"):
    """By the celestial coordinates in the headers of both images; needs no stars.

    The map is as good as the coordinates are: a plate solution of each frame is good to a tenth of a pixel or so. Where
    a telescope believes to point may be off by minutes of arc, and then another aligner is better.
    """

    tolerance: float = Field(
        0.5,
        gt=0,
        description="Largest rms distance of the grid from the affine map: more means that the images are distorted "
        "in different ways.",
        json_schema_extra={"unit": "pixel"},
    )

    def align_images(self, image: CCDData, reference: CCDData) -> Transform:
        """Find the map from pixels of the reference to pixels of this image.

        Parameters
        ----------
        image, reference : CCDData
            With ``wcs``; their pixels are not looked at.

        Returns
        -------
        Transform
            Affine. ``rms`` is that of the grid, in pixels of the image; no star was matched.

        Raises
        ------
        FrameError
            If either has no coordinates, they do not overlap, or no affine map fits.
        """
        import numpy as np

        here, there = _coordinates(image, "this image"), _coordinates(reference, "the reference")
        ny, nx = reference.shape
        columns, rows = (
            side.ravel() for side in np.meshgrid(np.linspace(0, nx - 1, GRID), np.linspace(0, ny - 1, GRID))
        )
        points = np.stack([columns, rows], axis=1)
        moved = _carried(points, there, here)
        if not np.isfinite(moved).all():
            raise FrameError("the coordinates of this image do not reach the field of the reference: another field?")
        inside = ((moved > -0.5) & (moved < np.array(image.shape[::-1]) - 0.5)).all(axis=1)
        if not inside.any():
            x, y = moved[len(moved) // 2]
            raise FrameError(
                f"by its coordinates this image does not overlap the reference, whose middle is at {x:.0f}, {y:.0f}: "
                "another field, or coordinates that are wrong"
            )
        found = _affine(points, moved)
        if found.rms > self.tolerance:
            raise FrameError(
                f"no affine map fits the coordinates: they differ from it by {found.rms:.2f} pixels rms, "
                f"{self.tolerance:g} are allowed"
            )
        return found


def _coordinates(picture: CCDData, which: str) -> WCS:
    wcs = picture.wcs
    if wcs is None or not wcs.has_celestial:
        raise FrameError(
            f"{which} has no celestial coordinates that the camera vouches for; use another aligner, such as 'patterns'"
        )
    return wcs.celestial


def _carried(points: NDArray[np.float64], there: WCS, here: WCS) -> NDArray[np.float64]:
    """Carry pixels of one image over the sky to those of another, shape (n, 2); NaN or infinite where that fails."""
    import numpy as np
    from astropy.wcs import NoConvergence
    from astropy.wcs.utils import pixel_to_pixel

    try:
        return np.stack(pixel_to_pixel(there, here, points[:, 0], points[:, 1]), axis=1)
    except (NoConvergence, ValueError):
        # The distortion of the image was fitted inside of it and may not be inverted far outside.
        return np.full_like(points, np.nan)


def _affine(points: NDArray[np.float64], moved: NDArray[np.float64]) -> Transform:
    from albireo import Transform
    from albireo_alignment.fitting import fit

    found = fit(points, moved, "affine")
    return Transform(found.matrix, found.rms, 0)
