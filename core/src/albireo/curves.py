"""Light curves on their way: every source of one field in one filter, by one method, through time.

An `Ensemble` is the rectangle that curve steps work on: rows are exposures, columns are sources. A step takes
one and gives one; what a source could not be measured in is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Ensemble"]

PER_FRAME = ("gain", "read_noise", "digitisation", "dark")
"""What is not known of frames unless it is given."""

UNKNOWN: Any = None
"""Stands for an array that was not given, until the ensemble makes one of NaN."""


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
    area : ndarray, shape (n, m)
        Pixels that are summed; of a weighted sum those whose noise it has.
    sky_err : ndarray, shape (n, m)
        Error of the sky level.
    gain : ndarray, shape (n,)
        Electrons per adu; the mean of several amplifiers.
    read_noise, digitisation : ndarray, shape (n,)
        Electrons, of a pixel of the calibrated image: of all raw pixels that were binned into it. The second is that
        part of rounding to whole adu which the read noise does not contain.
    dark : ndarray, shape (n,)
        Electrons per pixel that the dark current left and that were subtracted.
    diameter, height : float
        Of the telescope's aperture, and of the observatory above the sea, in m.
    unit : str
        ``electron`` before, empty (relative flux) after a differential step.
    targets : dict of str to int
        Names of the targets of the recipe that are in this field, and their identities.
    comparisons : dict of int to float
        Weights of the comparison stars; they sum to one. Before a step has chosen any, those that the recipe's targets
        name, with equal weights.
    meta : dict
        What steps want to say about their work: plain numbers, texts and lists, for the report. A list of texts under
        ``warnings`` is told to the observer by the run.

    What is not given of area, sky_err, gain, read_noise, digitisation, dark, diameter and height is not known: NaN.
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
    area: NDArray[np.float64] = UNKNOWN
    sky_err: NDArray[np.float64] = UNKNOWN
    gain: NDArray[np.float64] = UNKNOWN
    read_noise: NDArray[np.float64] = UNKNOWN
    digitisation: NDArray[np.float64] = UNKNOWN
    dark: NDArray[np.float64] = UNKNOWN
    diameter: float = nan
    height: float = nan
    unit: str = "electron"
    targets: dict[str, int] = field(default_factory=dict)
    comparisons: dict[int, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import numpy as np

        for names, shape in ((("area", "sky_err"), self.flux.shape), (PER_FRAME, self.time.shape)):
            for name in names:
                if getattr(self, name) is None:
                    object.__setattr__(self, name, np.full(shape, nan))

    def replace(self, **changes: Any) -> Ensemble:
        """Return a copy with other values."""
        return replace(self, **changes)

    def warned(self, text: str) -> Ensemble:
        """Return a copy with a word to the observer under ``meta["warnings"]``."""
        return replace(self, meta={**self.meta, "warnings": [*self.meta.get("warnings", []), text]})

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
