"""Differential light curves for Albireo with automatic comparison stars."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import CurveStep, hookimpl
from albireo_differential.differential import Differential

__all__ = ["Differential"]


@hookimpl
def curve_steps() -> Iterator[type[CurveStep]]:
    """Offer the step."""
    yield Differential
