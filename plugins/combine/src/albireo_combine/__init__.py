"""Master frames for Albireo: bias, dark, flat, sky, fringe, illumination and bad pixels, by compiled strip kernels."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import MasterBuilder, hookimpl
from albireo_combine.bad_pixels import BadPixels
from albireo_combine.builder import Combine
from albireo_combine.dark_fit import DarkFit
from albireo_combine.dome import DomeFlat
from albireo_combine.fringe import Fringe
from albireo_combine.illumination import Illumination
from albireo_combine.running_sky import RunningSky
from albireo_combine.twilight import TwilightFlat

__all__ = ["BadPixels", "Combine", "DarkFit", "DomeFlat", "Fringe", "Illumination", "RunningSky", "TwilightFlat"]


@hookimpl
def masters() -> Iterator[type[MasterBuilder]]:
    """Yield the master builders of this plugin."""
    yield Combine
    yield DarkFit
    yield TwilightFlat
    yield DomeFlat
    yield RunningSky
    yield Fringe
    yield Illumination
    yield BadPixels
