"""Ways to align images for Albireo: patterns of stars, shifts, cross-correlation and celestial coordinates."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Aligner, hookimpl
from albireo_alignment.coordinates import Coordinates
from albireo_alignment.correlation import Correlation
from albireo_alignment.patterns import Patterns
from albireo_alignment.translation import Translation

__all__ = ["Coordinates", "Correlation", "Patterns", "Translation"]


@hookimpl
def aligners() -> Iterator[type[Aligner]]:
    """Offer the aligners."""
    yield from (Patterns, Translation, Correlation, Coordinates)
