"""A night of RIMAS for simulations: both arms see the same sky, north up and east left, a few pixels apart.

Where the telescope points lies off the middle of the image, as `albireo_rimas.pointing` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from albireo import Frame, Transform
from albireo_rimas.pointing import offset
from albireo_rimas.timing import FRAME_TIME

if TYPE_CHECKING:
    from albireo.testing import Simulation

__all__ = ["simulation"]

BACKGROUND = {"YJ": 4.0, "HK": 8.0}
"""Electrons from the sky, relative to an optical camera. Real skies in H are brighter; a short night shows little
in them."""

THROUGHPUT = {"YJ": 1.0, "HK": 1.3}
"""Electrons from a star, relative to an optical camera."""

APART = {"YJ": (0.0, 0.0), "HK": (6.5, -3.2)}
"""How far the stars of an arm lie from where its coordinates say, in pixels."""


def simulation(examples: Sequence[Frame]) -> Simulation:
    """Describe a night of the two arms."""
    from albireo.testing import Camera, Eye, Simulation

    # The difference of two reads has no pedestal; bad pixels are missing.
    camera = Camera(
        dtype="float32",
        bias=0.0,
        bias_structure=0.0,
        overscan_drift=0.0,
        missing=5e-4,
        dead=0.0,
        bleeding=False,
    )
    eyes = []
    for example in examples:
        ny, nx = example.shape
        off = offset(example.detector, example.start)
        dx, dy = APART[example.detector]
        x, y = 0.5 * nx - 1 + off.east + dx, 0.5 * ny - 1 - off.north + dy
        view = Transform.similarity(x, y, scale=1.0 / example.scale)
        eyes.append(
            Eye(
                example,
                camera,
                view,
                throughput=THROUGHPUT[example.detector],
                sky=BACKGROUND[example.detector],
                calibrations=("flat",),
            )
        )
    camera_at_work = Simulation(tuple(eyes))
    night = replace(camera_at_work.usual_night, science=30, flat=5, exptime=7 * FRAME_TIME)
    return replace(camera_at_work, night=night)
