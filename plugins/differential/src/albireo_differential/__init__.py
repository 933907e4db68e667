"""Differential light curves for Albireo, and what belongs around them: scintillation, clipping, detrending."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import CurveStep, hookimpl
from albireo_differential.clip import Clip
from albireo_differential.detrend import Detrend
from albireo_differential.differential import Differential
from albireo_differential.scintillation import Scintillation

__all__ = ["Clip", "Detrend", "Differential", "Scintillation"]


@hookimpl
def curve_steps() -> Iterator[type[CurveStep]]:
    """Offer the steps."""
    yield Scintillation
    yield Differential
    yield Clip
    yield Detrend
