"""Light curves on their way: every source of one field in one filter, by one method, through time.

An `Ensemble` is the rectangle that curve steps work on: rows are exposures, columns are sources. A step takes
one and gives one; what a source could not be measured in is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Ensemble"]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """All light curves of one field, detector, filter, method and aperture.

    Attributes
    ----------
    target, detector, filter, method : str
        What the frames point at, and how the fluxes were made.
    aperture : float
        Radius in pixels, NaN for a method without one.
    frames : ndarray of str, shape (n,)
        Names of the frames, in order of time.
    time : ndarray, shape (n,)
        Middle of the exposure: BJD_TDB where ``time_scale`` says so, else JD UTC.
    time_scale : str
        ``BJD_TDB`` or ``JD_UTC``.
    exptime, airmass, fwhm : ndarray, shape (n,)
        Seconds, and pixels.
    sources : ndarray of int, shape (m,)
        Identities in the catalogue, brightest first.
    flux, flux_err : ndarray, shape (n, m)
        In ``unit``; NaN where there is none.
    x, y, sky : ndarray, shape (n, m)
        Position in the frame in pixels, and the sky level in the unit per pixel.
    flags : ndarray of uint16, shape (n, m)
        Bits of `albireo.Flag`.
    unit : str
        ``electron`` before, empty (relative flux) after a differential step.
    targets : dict of str to int
        Names of the targets of the recipe that are in this field, and their identities.
    comparisons : dict of int to float
        Weights of the comparison stars; they sum to one. Before a step has chosen any, those that the recipe's targets
        name, with equal weights.
    meta : dict
        What steps want to say about their work: plain numbers, texts and lists, for the report.
    """

    target: str
    detector: str
    filter: str
    method: str
    aperture: float
    frames: NDArray[np.str_]
    time: NDArray[np.float64]
    time_scale: str
    exptime: NDArray[np.float64]
    airmass: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    sources: NDArray[np.int64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    sky: NDArray[np.float64]
    flags: NDArray[np.uint16]
    unit: str = "electron"
    targets: dict[str, int] = field(default_factory=dict)
    comparisons: dict[int, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def replace(self, **changes: Any) -> Ensemble:
        """Return a copy with other values."""
        return replace(self, **changes)

    def column(self, source: int) -> int:
        """Find the column of a source by its identity.

        Raises
        ------
        KeyError
            If no source has it.
        """
        (where,) = (self.sources == source).nonzero()
        if where.size == 0:
            raise KeyError(f"no source {source} in this field; there are {len(self.sources)}")
        return int(where[0])
