"""Corrections for Albireo: overscan, pedestal, trim, bias, linearity, dark, gain, flat, sky, hot pixels.

All but the last are pixel-wise corrections that state their `albireo.Terms`; the core runs consecutive ones in one
pass over the image and carries the variance along.
"""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Correction, hookimpl
from albireo_calibration.dark import Dark
from albireo_calibration.dark_current import DarkCurrent
from albireo_calibration.flat import Flat
from albireo_calibration.gain import Gain
from albireo_calibration.hot import Hot
from albireo_calibration.linearity import Linearity
from albireo_calibration.overscan import Overscan
from albireo_calibration.pedestal import Bias, Pedestal
from albireo_calibration.sky import Sky
from albireo_calibration.trim import Trim

__all__ = [
    "Bias",
    "Dark",
    "DarkCurrent",
    "Flat",
    "Gain",
    "Hot",
    "Linearity",
    "Overscan",
    "Pedestal",
    "Sky",
    "Trim",
]


@hookimpl
def corrections() -> Iterator[type[Correction]]:
    """Yield the corrections of this plugin."""
    yield from (Overscan, Pedestal, Trim, Bias, Linearity, Dark, Gain, DarkCurrent, Flat, Sky, Hot)
