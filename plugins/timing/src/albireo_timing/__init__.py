"""Tools for time series for Albireo: rebinning, folding, periodograms, power spectra and lags between bands.

The functions work on plain arrays, in a notebook and without a run::

    from albireo_timing import good_time_intervals, lomb_scargle, phase_bin

Names are looked up when they are first used, so that finding the plugin costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from albireo import CurveStep, Report, hookimpl
from albireo_timing.bin import Bin
from albireo_timing.report import Timing

if TYPE_CHECKING:
    from albireo_timing.correlation import Correlation as Correlation
    from albireo_timing.correlation import Lag as Lag
    from albireo_timing.correlation import cross_correlation as cross_correlation
    from albireo_timing.correlation import discrete_correlation as discrete_correlation
    from albireo_timing.correlation import time_lag as time_lag
    from albireo_timing.folding import Phased as Phased
    from albireo_timing.folding import fold as fold
    from albireo_timing.folding import phase_bin as phase_bin
    from albireo_timing.intervals import common_intervals as common_intervals
    from albireo_timing.intervals import good_time_intervals as good_time_intervals
    from albireo_timing.intervals import inside as inside
    from albireo_timing.intervals import median_cadence as median_cadence
    from albireo_timing.periodogram import Periodogram as Periodogram
    from albireo_timing.periodogram import lomb_scargle as lomb_scargle
    from albireo_timing.rebinning import Rebinned as Rebinned
    from albireo_timing.rebinning import rebin as rebin
    from albireo_timing.sines import PhaseLag as PhaseLag
    from albireo_timing.sines import phase_lag as phase_lag
    from albireo_timing.spectrum import PowerSpectrum as PowerSpectrum
    from albireo_timing.spectrum import power_spectrum as power_spectrum

_HOMES = {
    "correlation": ("Correlation", "Lag", "cross_correlation", "discrete_correlation", "time_lag"),
    "folding": ("Phased", "fold", "phase_bin"),
    "intervals": ("common_intervals", "good_time_intervals", "inside", "median_cadence"),
    "periodogram": ("Periodogram", "lomb_scargle"),
    "rebinning": ("Rebinned", "rebin"),
    "sines": ("PhaseLag", "phase_lag"),
    "spectrum": ("PowerSpectrum", "power_spectrum"),
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["Bin", "Timing", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"albireo_timing.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'albireo_timing' has no attribute {name!r}")


@hookimpl
def curve_steps() -> Iterator[type[CurveStep]]:
    """Offer the step."""
    yield Bin


@hookimpl
def reports() -> Iterator[type[Report]]:
    """Offer the report."""
    yield Timing
