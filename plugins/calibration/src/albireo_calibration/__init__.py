"""Corrections for Albireo: from raw counts to calibrated electrons.

Nearly all are pixel-wise corrections that state their `albireo.Terms`; the core runs consecutive ones in one
pass over the image and carries the variance along.
"""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Correction, hookimpl
from albireo_calibration.background import Background
from albireo_calibration.bad_pixels import BadPixelMap, BadPixels
from albireo_calibration.bleed import Bleed
from albireo_calibration.crosstalk import Crosstalk
from albireo_calibration.dark import Dark
from albireo_calibration.dark_current import DarkCurrent
from albireo_calibration.flat import Flat
from albireo_calibration.fringe import Fringe
from albireo_calibration.gain import Gain
from albireo_calibration.hot import Hot
from albireo_calibration.illumination import Illumination
from albireo_calibration.interpolate import Interpolate
from albireo_calibration.linearity import Linearity
from albireo_calibration.overscan import Overscan
from albireo_calibration.pedestal import Bias, Pedestal
from albireo_calibration.raw_dark import RawDark
from albireo_calibration.rebin import Rebin
from albireo_calibration.sky import Sky
from albireo_calibration.trim import Trim

__all__ = [
    "Background",
    "BadPixelMap",
    "BadPixels",
    "Bias",
    "Bleed",
    "Crosstalk",
    "Dark",
    "DarkCurrent",
    "Flat",
    "Fringe",
    "Gain",
    "Hot",
    "Illumination",
    "Interpolate",
    "Linearity",
    "Overscan",
    "Pedestal",
    "RawDark",
    "Rebin",
    "Sky",
    "Trim",
]


@hookimpl
def corrections() -> Iterator[type[Correction]]:
    """Yield the corrections of this plugin."""
    yield from (Overscan, Pedestal, Trim, Bias, Linearity, Dark, Gain, DarkCurrent, Flat, Sky, Hot)
    yield from (Crosstalk, Bleed, BadPixels, BadPixelMap, Interpolate, Rebin)
    yield from (RawDark, Illumination, Fringe, Background)
