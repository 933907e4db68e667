"""A simulated night: two CCDs and four infrared halves that look at one sky, with the target on either side in turn.

Views follow from `albireo_ratir.astrometry`, without its distortion: a third of a pixel at the edge of a half, ten in
the far corners of the arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albireo import Frame, Transform
from albireo.testing import Camera, Eye, Night, Pointing, Simulation, Sine
from albireo_ratir.astrometry import CHIPS, axis_of, centre_of, first_pixel
from albireo_ratir.channels import INFRARED, channel
from albireo_ratir.halves import APERTURES, with_aperture

if TYPE_CHECKING:
    from albireo_ratir import RATIR

__all__ = ["simulation"]

TURNS = ("riZJcenter", "riYHcenter")
"""With these the target is on C0 and C1 too; ZJcenter and YHcenter put it to the edge of the CCDs or beyond."""

CCD = Camera(
    bias=640.0, bias_structure=1.0, overscan_drift=0.0, dark=0.5, hot=1.3e-3, hot_current=10.0, ceiling=16384.0
)
"""As measured of C1."""

ARRAY = Camera(
    bias=0.0,
    bias_structure=0.0,
    overscan_drift=0.0,
    dark=0.05,
    hot=5e-4,
    hot_current=50.0,
    dead=5e-4,
    vignetting=0.05,
    response=0.03,
    bleeding=False,
    dtype="int16",
    sky_structure=0.02,
)
"""An H2RG read by differences: no pedestal, counts below zero."""

LIGHT = {"r": (1.0, 1.0), "i": (0.9, 1.5), "Z": (0.7, 2.0), "Y": (0.7, 3.0), "J": (0.8, 6.0), "H": (0.9, 15.0)}
"""Electrons from a star and from the sky in a pixel, relative to those in r; made up, the order is right."""


def simulation(camera: RATIR) -> Simulation:
    """Give the six eyes and a night for them."""
    pointings = tuple(Pointing(name, -60.0 * APERTURES[name][0], -60.0 * APERTURES[name][1]) for name in TURNS)
    return Simulation(
        eyes=tuple(_eye(example, pointings[0]) for example in camera.examples()),
        pointings=pointings,
        adapt=_with_role,
        night=Night(
            science=24,
            bias=11,
            dark=9,
            flat=7,
            exptime=30.0,
            overhead=12.0,
            fwhm=Sine(0.1, 0.3, level=1.2),
            drift=(6.0, -4.0),
            jitter=0.2,
            dithers=((0, 0), (14, 7), (-10, 14), (7, -14), (-14, -7), (20, -3), (-4, 20), (-20, 4)),
            sky=3.0,
            transparency=lambda hours: 0.8 if 0.08 < hours < 0.10 else 1.0,
        ),
    )


def _eye(example: Frame, pointing: Pointing) -> Eye:
    """Give a detector, with its example at the first pointing of a target where the example points."""
    infrared = channel(example.detector) in INFRARED
    ra, dec = axis_of(example)
    dec += pointing.north / 3600.0
    ra, dec = centre_of(example, ra + pointing.east / 3600.0 / np.cos(np.radians(dec)), dec)
    light, sky = LIGHT[example.filter]
    return Eye(
        example.replace(ra=ra, dec=dec),
        ARRAY if infrared else CCD,
        _view(example),
        throughput=light,
        sky=sky,
        calibrations=("flat",) if infrared else ("bias", "dark", "flat"),
    )


def _view(example: Frame) -> Transform:
    """Give the map from arcsec west and north of the axis to trimmed pixels."""
    chip, lit, start = CHIPS[channel(example.detector)], example.amplifiers[0].data, first_pixel(example)
    assert start is not None, "examples are whole frames"
    pixels = np.linalg.inv(np.array(chip.cd) * 3600.0) @ np.diag([-1.0, 1.0])  # west is minus east
    matrix = np.eye(3)
    matrix[:2, :2] = pixels
    matrix[:2, 2] = chip.x - 1 - start[0] - lit.x0, chip.y - 1 - start[1] - lit.y0
    return Transform(matrix)


def _with_role(frame: Frame, pointing: Pointing) -> Frame:
    return with_aperture(frame, pointing.name, "sky")
