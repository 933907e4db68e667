"""What was observed, under which sky, and the truth about it.

The scene lies in a plane with a unit of its own: pixels where one detector is simulated by itself (`simulate_night`),
arcsec for a camera of several (`simulate_observation`). Lengths of a night (seeing, drift, jitter, dithers) have that
unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from albireo.frames import Frame, Frames
from albireo.sources import Transform
from albireo.testing.detector import Detector
from albireo.testing.scene import Scene
from albireo.testing.stars import Profile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Curve", "Exposure", "Night", "Truth", "value_at"]

Curve: TypeAlias = "float | Callable[[float], float]"
"""A number, or a function of the hours since the first science exposure began."""


@dataclass(frozen=True)
class Night:
    """What was observed, and under which sky.

    Attributes
    ----------
    science, bias, dark, flat : int
        Number of exposures; flats are per filter, darks have the exposure time of the science frames.
    exptime, overhead : float
        Exposure time and dead time of science frames, in s.
    filters : tuple of str
        The science frames go round them, where a detector does not say which it has. Empty for the filter of the
        camera's example.
    fwhm : float or callable
        Seeing, in the unit of the scene; like all curves below a number, or a function of the hours since the first
        science exposure.
    beta, elongation, theta
        The rest of the shape of a star; see `Profile`.
    drift : tuple of float
        Of the stars along x and y of the scene, per hour.
    jitter : float
        Standard deviation of the random part of the pointing, along each axis.
    dithers : tuple of (float, float)
        Offsets of the stars along x and y that the exposures go round, with all filters at each.
    rotation : float or callable
        Of the field around the point where the telescope points, in degrees counter-clockwise.
    mirrored : bool
        Whether the camera sees the scene through an odd number of mirrors.
    sky : float or callable
        Electrons per second and pixel at the centre of an image.
    gradient : tuple of float
        Change of the sky along x and y over the width of the image, relative to the centre.
    transparency : float or callable
        Of atmosphere and clouds, for stars: one is a clear sky.
    airmass : float or callable, optional
        What the headers say; else what follows from time, position and site, or the example's where these do not tell.
    flat_level : float
        Mean level of flats, as a fraction of saturation.
    """

    science: int = 20
    bias: int = 7
    dark: int = 0
    flat: int = 7
    exptime: float = 30.0
    overhead: float = 10.0
    filters: tuple[str, ...] = ()
    fwhm: Curve = 3.5
    beta: float = 3.5
    elongation: float = 1.0
    theta: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)
    jitter: float = 0.0
    dithers: tuple[tuple[float, float], ...] = ()
    rotation: Curve = 0.0
    mirrored: bool = False
    sky: Curve = 5.0
    gradient: tuple[float, float] = (0.0, 0.0)
    transparency: Curve = 1.0
    airmass: Curve | None = None
    flat_level: float = 0.4


@dataclass(frozen=True, eq=False)
class Exposure:
    """The truth about one frame of the sky.

    Attributes
    ----------
    frame : Frame
        As it was written.
    number : int
        Running number in the night; frames that were exposed at once share it.
    hours : float
        Middle of the exposure, after the first science exposure began.
    transform : Transform
        From the scene to the trimmed pixels of this frame.
    x, y : ndarray
        Where the stars are in the trimmed frame, also those beyond its edge.
    electrons : ndarray
        Expected electrons of each star in the exposure after flat-fielding: total light, with clouds and variability.
    relative : ndarray
        Brightness of each star relative to its mean, without clouds.
    transparency, sky : float
        The sky in electrons per pixel of the whole exposure, at the centre.
    profile : Profile
    """

    frame: Frame
    number: int
    hours: float
    transform: Transform
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    electrons: NDArray[np.float64]
    relative: NDArray[np.float64]
    transparency: float
    sky: float
    profile: Profile


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth about a night of one detector.

    Attributes
    ----------
    scene : Scene
    night : Night
    detector : Detector
        Has the planes: ``bias``, ``dark``, ``flat(filter)``, ``hot``, ``dead``, ``missing``, ``sky_pattern``, and
        ``window``, the sensitive part.
    frames : Frames
        All frames written, in order of time.
    exposures : tuple of Exposure
        Frames of the sky, science frames and others, in order of time.
    """

    scene: Scene
    night: Night
    detector: Detector
    frames: Frames
    exposures: tuple[Exposure, ...]

    def __getitem__(self, name: str | Path) -> Exposure:
        """Find the truth of a frame of the sky by its name or its file, with or without folders.

        Raises
        ------
        KeyError
            If no frame of the sky has this name.
        """
        file = Path(name).name
        for exposure in self.exposures:
            if file in (Path(exposure.frame.path).name, Path(exposure.frame.name).name):
                return exposure
        raise KeyError(f"no simulated science frame is called {file!r}")

    def __iter__(self) -> Iterator[Exposure]:
        return iter(self.exposures)

    def cosmic_rays(self, exposure: Exposure) -> NDArray[np.bool_]:
        """Pixels of the window that cosmic rays hit."""
        return self.detector.cosmic_rays(exposure.frame.exptime, exposure.number) > 0


def value_at(curve: Curve, hours: float) -> float:
    """Give a curve's value at a time."""
    return float(curve(hours)) if callable(curve) else float(curve)
