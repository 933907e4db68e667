"""Cosmic rays in single frames for Albireo, by L.A.Cosmic."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Correction, hookimpl
from albireo_lacosmic.stage import CosmicRays

__all__ = ["CosmicRays"]


@hookimpl
def corrections() -> Iterator[type[Correction]]:
    """Yield the correction of this plugin."""
    yield CosmicRays
