"""The PSF of a frame as photutils and as linear algebra want it.

`rendered` gives a model that photutils can fit. `shares` gives the light of every star in every pixel as a sparse
matrix: times the fluxes it is the image of the stars, and its normal equations are those of a fit at known positions.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from photutils.psf import ImagePSF
    from scipy.sparse import csc_array

    from albireo import PSF

OVERSAMPLING = 5
"""Samples along a pixel for the spline of photutils; with 5 a star of FWHM 1.5 pixel is right to 1e-5 of its light.
Odd, so that a sample lies on the centre of a pixel."""

LEAST_SHARE = 1e-8
"""Of a star's light; pixels with less are left out of the matrix."""


def rendered(psf: PSF, reach: int, held: bool) -> ImagePSF:
    """Draw a PSF finer than the pixels, each sample the share of light in a whole pixel around it.

    Parameters
    ----------
    psf : PSF
    reach : int
        How far it is drawn, in pixels either way.
    held : bool
        Whether positions are held in the fit.
    """
    from photutils.psf import ImagePSF
    from scipy.interpolate import RectBivariateSpline

    middle = OVERSAMPLING // 2
    offset = (np.arange(OVERSAMPLING) - middle) / OVERSAMPLING
    side = 2 * reach + 1
    # A pixel that lies at +offset from the star is the middle pixel of a star at -offset.
    dy, dx = np.meshgrid(-offset, -offset, indexing="ij")
    stamps = psf.stamps(dx.ravel(), dy.ravel(), reach).reshape(OVERSAMPLING, OVERSAMPLING, side, side)
    fine = stamps.transpose(2, 0, 3, 1).reshape(OVERSAMPLING * side, OVERSAMPLING * side)
    samples = np.arange(len(fine))
    # photutils copies the model for each star: a spline of the class is made once.
    spline = RectBivariateSpline(samples, samples, fine.T)
    # photutils 3.0 keeps its models of groups for the whole process, by the name of the class: with one name for all,
    # the groups of every later frame would be fitted with the PSF of the first.
    digest = sha256(fine.tobytes()).hexdigest()[:16]
    cls = type(f"FramePSF_{'held' if held else 'free'}_{digest}", (ImagePSF,), {"interpolator": spline})
    model: Any = cls(fine, oversampling=OVERSAMPLING)
    model.x_0.fixed = model.y_0.fixed = held
    return model


def shares(psf: PSF, x: NDArray[np.float64], y: NDArray[np.float64], reach: int, shape: tuple[int, int]) -> csc_array:
    """Share of the light of each star in each pixel.

    Parameters
    ----------
    psf : PSF
    x, y : ndarray, shape (n,)
        Positions in pixels.
    reach : int
        How far each star is drawn, in pixels either way.
    shape : (int, int)
        Of the image.

    Returns
    -------
    csc_array, shape (ny * nx, n)
        A column for each star; pixels in the order of ``image.ravel()``.
    """
    from scipy.sparse import csc_array

    ny, nx = shape
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    stamps = psf.stamps(x - column, y - row, reach)
    grid = np.arange(-reach, reach + 1)
    rows, columns = (row[:, None] + grid)[:, :, None], (column[:, None] + grid)[:, None, :]
    kept = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx) & (stamps > LEAST_SHARE)
    pixel = np.broadcast_to(rows * nx + columns, stamps.shape)[kept]
    return csc_array((stamps[kept], (pixel, np.nonzero(kept)[0])), shape=(ny * nx, len(x)))
