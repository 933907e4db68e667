"""Nights with a known truth, and the conformance kit that holds every stage against it.

Two ways to an image: `simulate_image` gives a calibrated picture in memory, for the tests of a finder or a photometer;
`simulate_night` writes raw FITS files of one detector, and `simulate_observation` those of a camera with several that
look at one sky, for whatever begins at the files. All give back what they put in.
`albireo.testing.conformance` runs the checks that every stage of a role must pass.

The core never imports this package.
"""

from __future__ import annotations

from albireo.testing.aligned import ImageFrames
from albireo.testing.camera import PlainCamera
from albireo.testing.detector import Camera, Detector
from albireo.testing.night import Exposure, Night, Truth
from albireo.testing.noise import poisson
from albireo.testing.observation import Observation, simulate_night, simulate_observation
from albireo.testing.picture import Picture, simulate_image
from albireo.testing.raw_files import write_raw
from albireo.testing.scene import Scene, Sine, Transit
from albireo.testing.simulation import Eye, Pointing, Simulation
from albireo.testing.stack import ImageStack
from albireo.testing.stars import Profile, draw_stars

__all__ = [
    "Camera",
    "Detector",
    "Exposure",
    "Eye",
    "ImageFrames",
    "ImageStack",
    "Night",
    "Observation",
    "Picture",
    "PlainCamera",
    "Pointing",
    "Profile",
    "Scene",
    "Simulation",
    "Sine",
    "Transit",
    "Truth",
    "draw_stars",
    "poisson",
    "simulate_image",
    "simulate_night",
    "simulate_observation",
    "write_raw",
]
