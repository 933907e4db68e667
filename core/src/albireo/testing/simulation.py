"""What a simulation needs to know of a camera: its detectors, how each sees the sky, and how it writes its files.

The sky is a plane with x to the west and y to the north of the target, in arcsec: what a picture shows that has north
up and east to the left. A detector that shows the sky so has a view without mirroring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, isfinite
from typing import TYPE_CHECKING

import numpy as np

from albireo.frames import Frame
from albireo.roles import Instrument
from albireo.sources import Transform
from albireo.testing.detector import Camera, lit_window
from albireo.testing.night import Night, value_at
from albireo.testing.scene import Scene, Sine

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Eye", "Pointing", "Simulation"]

MARGIN = 0.06
"""Of the smallest field of view, left without stars around the scene, so that a drifting field keeps them."""


SEPARATION = 8.0
"""Smallest distance of the stars of a field in widths of a star."""

CROWDED = 0.35
"""Stars per square of their smallest distance that are easily placed at random; there is no way beyond 0.7."""


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
        A typical science frame: geometry, constants, site and first time. Position as at the first pointing.
    camera : Camera
        What the detector does to light.
    view : Transform
        From the sky, in arcsec west and north of where the telescope points, to trimmed pixels of this detector. Its
        scale turns the seeing into pixels.
    filters : tuple of str
        The science frames go round them; empty for the filter of the example.
    throughput : float
        Electrons from a star here, relative to the flux in the scene.
    sky : float
        Electrons from the sky in a pixel here, relative to what the night says.
    exptime : float or None
        Exposure time of science frames in s, where this detector does not expose as long as the night says.
    calibrations : tuple of str
        Kinds of calibration frames this detector takes, as many as the night says.
    lag : float
        How much later, in s, this detector sees variable stars change than the scene says: a lag between bands.
    """

    example: Frame
    camera: Camera = field(default_factory=Camera)
    view: Transform = field(default_factory=Transform.identity)
    filters: tuple[str, ...] = ()
    throughput: float = 1.0
    sky: float = 1.0
    exptime: float | None = None
    calibrations: tuple[str, ...] = ("bias", "dark", "flat")
    lag: float = 0.0

    @property
    def corners(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The corners of the field of view, in arcsec west and north of where the telescope points."""
        ny, nx = lit_window(self.example).shape
        return self.view.inverse()([-0.5, nx - 0.5, nx - 0.5, -0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5])

    @property
    def area(self) -> float:
        """Sky that the detector sees, in square arcsec."""
        ny, nx = lit_window(self.example).shape
        return ny * nx / self.view.scale**2


@dataclass(frozen=True, eq=False)
class Simulation:
    """A camera for a simulated night.

    Attributes
    ----------
    eyes : tuple of Eye
    pointings : tuple of Pointing
        The exposures go round them.
    adapt : callable, optional
        Changes a science frame before it is written, by the pointing of its exposure: the kind or target of a half.
    night : Night, optional
        A night that shows the camera at work and is quick to simulate; lengths in arcsec.
    """

    eyes: tuple[Eye, ...]
    pointings: tuple[Pointing, ...] = (Pointing(),)
    adapt: Callable[[Frame, Pointing], Frame] | None = None
    night: Night | None = None

    @classmethod
    def of(cls, instrument: Instrument) -> Simulation:
        """Give the simulation that a camera brings, or one that follows from its examples.

        The latter has an eye for each example, all with the target in the middle and north up.

        Raises
        ------
        ValueError
            If an example has no amplifier.
        """
        own = instrument.simulation()
        if own is not None:
            return own
        return cls(tuple(_plain_eye(instrument, example) for example in instrument.examples()))

    @property
    def usual_night(self) -> Night:
        """The night of this simulation, or a typical one: drift, changing seeing, thin clouds."""
        if self.night is not None:
            return self.night
        pixel = 1.0 / max(eye.view.scale for eye in self.eyes)  # of the finest eye
        seeing = max(3.6 * pixel, *(2.0 / eye.view.scale for eye in self.eyes))
        return Night(
            science=48,
            bias=9,
            flat=7,
            exptime=20.0,
            overhead=6.0,
            fwhm=Sine(0.1, 0.4, level=seeing),
            drift=(30.0 * pixel, -18.0 * pixel),
            jitter=0.5 * pixel,
            sky=8.0,
            gradient=(0.05, 0.0),
            transparency=lambda hours: 0.75 if 0.20 < hours < 0.25 else 1.0,
        )

    def field(
        self,
        stars: int,
        brightest: float,
        faintest: float,
        *,
        separation: float | None = None,
        target: int | None = None,
        variables: Mapping[int, Callable[[float], float]] | None = None,
        seed: int = 0,
    ) -> Scene:
        """Make a field of isolated stars over everything that the eyes see at their pointings.

        Parameters
        ----------
        stars : int
            About as many as the eye with the smallest field sees, or as there is room for.
        brightest, faintest : float
            Flux of the first and the last star in electrons per second; the stars are evenly spread in magnitude.
        separation : float, optional
            Smallest distance between stars in arcsec; eight times the seeing at the start of the usual night unless
            given.
        target : int, optional
            The star, by order of brightness, at which the telescope points.
        variables : mapping, optional
        seed : int
        """
        west, north = np.concatenate(
            [
                np.add(eye.corners, [[-pointing.east], [pointing.north]])
                for eye in self.eyes
                for pointing in self.pointings
            ],
            axis=1,
        )
        width, height = float(np.ptp(west)), float(np.ptp(north))
        smallest = min(eye.area for eye in self.eyes)
        margin = MARGIN * smallest**0.5
        if separation is None:
            separation = SEPARATION * value_at(self.usual_night.fwhm, 0.0)
        room = CROWDED * (width - 2 * margin) * (height - 2 * margin) / separation**2
        scene = Scene.field(
            (ceil(height) + 1, ceil(width) + 1),
            max(1, min(round(stars * width * height / smallest), int(room))),
            brightest,
            faintest,
            separation=separation,
            margin=margin,
            variables=variables,
            seed=seed,
        )
        x, y = scene.x + west.min(), scene.y + north.min()
        if target is not None:
            near = int(np.argmin(np.hypot(x, y)))
            x, y = x - x[near], y - y[near]
            for column in (x, y):
                column[[near, target]] = column[[target, near]]
        return Scene(x, y, scene.flux, scene.variables)


def _plain_eye(instrument: Instrument, example: Frame) -> Eye:
    ny, nx = lit_window(example).shape
    scale = 1.0 / example.scale if isfinite(example.scale) else 1.0
    camera = Camera(dark=example.dark_current) if isfinite(example.dark_current) else Camera()
    return Eye(
        example,
        camera,
        Transform.similarity(0.5 * (nx - 1), 0.5 * (ny - 1), scale=scale),
        calibrations=tuple(kind for kind in ("bias", "dark", "flat") if _writes(instrument, example, kind)),
    )


def _writes(instrument: Instrument, example: Frame, kind: str) -> bool:
    """Whether a camera has a header for a kind of frame."""
    try:
        instrument.header(example.replace(kind=kind))
    except ValueError:
        return False
    return True
