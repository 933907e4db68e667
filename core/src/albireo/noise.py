"""What the error bar of a flux is made of, and what it cannot contain.

The variance of a sum over pixels has the terms of the CCD equation (Howell 2006, *Handbook of CCD Astronomy*, section
4.4), each once and in electrons squared::

    source + n sky + (area sky_err)**2 + n (dark + read_noise**2 + digitisation**2) + what the masters add

``area`` is the number of pixels that are summed, and ``n`` the number whose noise the sum has, which is a little less:
a pixel that the edge of an aperture cuts in half gives a quarter of its variance. Light that is counted has the noise
of its number; the atmosphere changes it before it is counted, by the same share for bright and faint stars. That is
scintillation, which no image shows and which `scintillation_noise` predicts from telescope and site.

Everything here works on plain arrays and imports nothing of Albireo.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "SCINTILLATION",
    "TURBULENCE_HEIGHT",
    "NoiseTerms",
    "digitisation_noise",
    "noise_terms",
    "scintillation_noise",
]

SCINTILLATION = 1.5
"""Coefficient C_Y of scintillation in m^(2/3) s^(1/2) for a site where nobody has measured it: medians of observatories
are 1.30 to 1.67 (Osborn et al. 2015, table 1)."""

TURBULENCE_HEIGHT = 8000.0
"""Scale height of the turbulence that scintillation comes from, in m (Young 1967; Osborn et al. 2015)."""

CUT = 1.0 / 6.0
"""Pixels whose noise an aperture lacks for each pixel of length of its edge: the mean of ``s (1 - s)`` over the pixels
of which it holds the shares s. Exact for an edge along the rows; at other angles at most one per cent less."""

ROUNDING = 12.0**-0.5
"""Standard deviation of what rounding to whole numbers takes away, in these numbers."""


def digitisation_noise(gain: float, read_noise: float) -> float:
    """Noise of rounding to whole adu, in electrons, where the read noise does not contain it.

    A read noise that was measured on frames contains it, and is then at least ``gain / sqrt(12)``. A smaller one cannot
    contain it: it is a figure of the electronics alone.

    Parameters
    ----------
    gain : float
        Electrons per adu.
    read_noise : float
        Electrons.

    Returns
    -------
    float
        ``gain / sqrt(12)``, or zero where the read noise contains it; NaN if one of them is unknown.
    """
    rounding = gain * ROUNDING
    if read_noise >= rounding:
        return 0.0
    return rounding if read_noise < rounding else float("nan")


def scintillation_noise(
    diameter: float,
    height: float,
    exptime: ArrayLike,
    airmass: ArrayLike,
    coefficient: float = SCINTILLATION,
) -> NDArray[np.float64]:
    """Relative standard deviation of the light of a star by scintillation.

    Young (1967, AJ 72, 747) with the coefficient of Osborn, Foehring, Dhillon & Wilson (2015, MNRAS 452, 1707, equation
    7)::

        sigma**2 = 1e-5 C**2 D**(-4/3) t**-1 X**3 exp(-2 h / H)

    It holds for exposures that are long against the time in which the turbulence crosses the telescope, some tenths of
    a second, and for the zenith distances at which one observes.

    Parameters
    ----------
    diameter : float
        Of the telescope's aperture, m.
    height : float
        Of the observatory above the sea, m.
    exptime : array_like
        s.
    airmass : array_like
    coefficient : float
        C, in m^(2/3) s^(1/2).

    Returns
    -------
    ndarray
        NaN where something is not known, or an exposure has no length.
    """
    import numpy as np

    time, mass = np.asarray(exptime, dtype=np.float64), np.asarray(airmass, dtype=np.float64)
    time = np.where(time > 0, time, np.nan)
    if not diameter > 0:
        return np.full(np.broadcast(time, mass).shape, np.nan)
    air = np.exp(-2.0 * height / TURBULENCE_HEIGHT)
    variance = 1e-5 * coefficient**2 * diameter ** (-4.0 / 3.0) * mass**3 * air / time
    return np.asarray(np.sqrt(variance))


@dataclass(frozen=True, eq=False)
class NoiseTerms:
    """The terms of the variance of fluxes, in electrons squared; arrays of one shape.

    Attributes
    ----------
    source : ndarray
        Photon noise of the star. Of light that the edge of an aperture cuts less than its number: where the terms would
        be more than the variance, it is this one that is too large.
    sky : ndarray
        Photon noise of the sky below it.
    annulus : ndarray
        Error of the level of the sky that was subtracted, times the area.
    dark : ndarray
        Shot noise of the dark current.
    read : ndarray
        Read noise.
    digitisation : ndarray
        Rounding to whole adu, where the read noise does not contain it.
    masters : ndarray
        What is left of the variance: flat, noise of masters, and whatever else the corrections did to it.
    """

    source: NDArray[np.float64]
    sky: NDArray[np.float64]
    annulus: NDArray[np.float64]
    dark: NDArray[np.float64]
    read: NDArray[np.float64]
    digitisation: NDArray[np.float64]
    masters: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """The variance: the sum of all terms."""
        result: NDArray[np.float64] = sum(self.columns().values())  # type: ignore[assignment]
        return result

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Give the terms by name."""
        return {term.name: getattr(self, term.name) for term in fields(self)}


def noise_terms(
    flux: NDArray[np.float64],
    flux_err: NDArray[np.float64],
    area: NDArray[np.float64],
    sky: NDArray[np.float64],
    sky_err: NDArray[np.float64],
    *,
    dark: NDArray[np.float64],
    read_noise: NDArray[np.float64],
    digitisation: NDArray[np.float64],
    weighted: bool = False,
) -> NoiseTerms:
    """Take the variance of fluxes apart.

    Parameters
    ----------
    flux, flux_err : ndarray, shape (n, m)
        Electrons; frames by stars.
    area : ndarray, shape (n, m)
        Pixels that are summed; of a weighted sum the pixels whose noise it has, the sum of the squares of its weights.
    sky, sky_err : ndarray, shape (n, m)
        Level of the sky and its error, electrons per pixel.
    dark : ndarray, shape (n,)
        Electrons per pixel that the dark current left and that are no part of ``sky`` any more; NaN if unknown.
    read_noise, digitisation : ndarray, shape (n,)
        Electrons, of a pixel of the calibrated image.
    weighted : bool
        Whether the pixels of the star had different weights (optimal and PSF photometry). Its light then enters with
        their squares, which are not known here: all that the other terms do not explain counts as the star's.

    Returns
    -------
    NoiseTerms
        Their sum is ``flux_err**2``. A dark current that is not known is found among the masters.
    """
    import numpy as np

    pixels = area if weighted else area - CUT * 2.0 * np.sqrt(np.pi * area)
    below = pixels * np.maximum(sky, 0.0)
    annulus = (area * sky_err) ** 2
    current = pixels * np.nan_to_num(dark)[:, None]
    read = pixels * (read_noise**2)[:, None]
    rounding = pixels * (digitisation**2)[:, None]
    left = np.maximum(flux_err**2 - below - annulus - current - read - rounding, 0.0)
    source = left if weighted else np.minimum(np.maximum(flux, 0.0), left)
    return NoiseTerms(source, below, annulus, current, read, rounding, left - source)
