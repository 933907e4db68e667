"""What a simulation needs to know of a camera: its detectors, how each sees the sky, and how it writes its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from albireo.frames import Frame
from albireo.sources import Transform
from albireo.testing.detector import Camera

__all__ = ["Eye", "Pointing", "Simulation"]


@dataclass(frozen=True)
class Pointing:
    """Where the telescope points for some exposures.

    Attributes
    ----------
    name : str
    east, north : float
        Offset of the telescope from the target in arcsec.
    """

    name: str = ""
    east: float = 0.0
    north: float = 0.0


@dataclass(frozen=True, eq=False)
class Eye:
    """One detector of a camera, or one part of a detector that is a frame of its own.

    Eyes whose example frames have the same ``path`` lie in the same files; they expose together.

    Attributes
    ----------
    example : Frame
        A typical science frame: geometry, constants, site and first time.
    camera : Camera
        What the detector does to light.
    view : Transform
        From the sky, in arcsec west and north of where the telescope points, to trimmed pixels of this detector.
    filters : tuple of str
        The science frames go round them; empty for the filter of the example.
    throughput : float
        Electrons from a star here, relative to the first eye.
    exptime : float or None
        Exposure time of science frames in s, where this detector does not expose as long as the night says.
    calibrations : tuple of str
        Kinds of calibration frames this detector takes.
    """

    example: Frame
    camera: Camera = field(default_factory=Camera)
    view: Transform = field(default_factory=Transform.identity)
    filters: tuple[str, ...] = ()
    throughput: float = 1.0
    exptime: float | None = None
    calibrations: tuple[str, ...] = ("bias", "flat")


@dataclass(frozen=True, eq=False)
class Simulation:
    """A camera for a simulated night.

    Attributes
    ----------
    eyes : tuple of Eye
    pointings : tuple of Pointing
        The exposures go round them.
    filename : callable, optional
        From a frame of a file and its number in the night to the name of the file; else ``science-0001.fits`` and so
        on, in a folder for each detector where there are several.
    adapt : callable, optional
        Changes a frame before it is written, by the pointing of its exposure: the kind or target of a half.
    """

    eyes: tuple[Eye, ...]
    pointings: tuple[Pointing, ...] = (Pointing(),)
    filename: Callable[[Frame, int], str] | None = None
    adapt: Callable[[Frame, Pointing], Frame] | None = None
