"""Corrections for Albireo: overscan, pedestal, trim, bias, dark, gain, flat.

Each is a pixel-wise correction that states its `albireo.Terms`; the core runs consecutive ones in one pass over the
image and carries the variance along.
"""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Correction, hookimpl
from albireo_calibration.dark import Dark
from albireo_calibration.flat import Flat
from albireo_calibration.gain import Gain
from albireo_calibration.overscan import Overscan
from albireo_calibration.pedestal import Bias, Pedestal
from albireo_calibration.trim import Trim

__all__ = ["Bias", "Dark", "Flat", "Gain", "Overscan", "Pedestal", "Trim"]


@hookimpl
def corrections() -> Iterator[type[Correction]]:
    """Yield the corrections of this plugin."""
    yield from (Overscan, Pedestal, Trim, Bias, Dark, Gain, Flat)
