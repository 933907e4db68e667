"""Alignment for Albireo by matching triangles of stars (astroalign)."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Aligner, hookimpl
from albireo_astroalign.aligner import Astroalign

__all__ = ["Astroalign"]


@hookimpl
def aligners() -> Iterator[type[Aligner]]:
    """Offer the aligner."""
    yield Astroalign
