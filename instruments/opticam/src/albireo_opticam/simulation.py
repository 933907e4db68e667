"""A night of OPTICAM as the triplet of 2023-11-22 shows it, for simulations.

The maps between the cameras were fitted to its stars: affine, because x and y scales differ by up to one percent.
North is up and east is left in C1, since no public source tells how the cameras stand on the sky.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from albireo import Frame, Transform
from albireo.testing import Camera, Eye, Night, Simulation, Sine

__all__ = ["simulation"]

GAIN = 0.30
"""Electron/adu: what the noise of the triplet asks for with a read noise of 2.2 electron."""

SCALE = 0.2794
"""Arcsec/pixel of C1 at 2x2."""

TO_C1 = {
    "C1": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "C2": ((1.06863, -0.00306, -60.63), (0.00441, 1.06364, -68.68)),
    "C3": ((1.20020, -0.00595, -95.34), (0.00767, 1.18785, -146.64)),
}
"""From pixels of each camera to pixels of C1, both at 2x2; 48 stars each, rms 0.6 pixel."""

LIGHT = {"C1": (0.7, 0.8), "C2": (1.0, 1.0), "C3": (0.6, 0.9)}
"""Stars and sky of each camera relative to the scene (made up for a field of yellow stars)."""


def simulation(examples: Sequence[Frame]) -> Simulation:
    """Give the three cameras with their views of one sky, and a short night with flats and no dark frames."""
    return Simulation(
        tuple(_eye(example) for example in examples),
        night=Night(
            science=24,
            bias=0,
            flat=5,
            exptime=20.0,
            overhead=5.0,
            fwhm=Sine(0.1, 0.4, level=1.4),
            drift=(8.0, -5.0),
            jitter=0.15,
            sky=4.0,
            gradient=(0.05, 0.0),
            transparency=lambda hours: 0.75 if 0.10 < hours < 0.125 else 1.0,
            flat_level=0.5,
        ),
    )


def _eye(example: Frame) -> Eye:
    ny, nx = example.shape
    to_c1 = Transform(np.array([*TO_C1[example.detector], (0.0, 0.0, 1.0)]))
    on_c1 = Transform.similarity(0.5 * (nx - 1), 0.5 * (ny - 1), scale=1.0 / SCALE)
    stars, sky = LIGHT[example.detector]
    return Eye(
        # The header says 1.0 all the same. Each exposure of the night has a trigger of its own.
        example.replace(exposure="", amplifiers=tuple(replace(a, gain=GAIN) for a in example.amplifiers)),
        Camera(
            bias=100.0,
            bias_structure=1.0,
            overscan_drift=0.0,
            dark=example.dark_current,
            hot=0.006,  # half a percent stand out of the noise
            hot_current=30.0,
            vignetting=0.1,
            response=0.005,
            bleeding=False,
        ),
        to_c1.inverse() @ on_c1,
        throughput=stars,
        sky=sky,
        calibrations=("flat",),
    )
