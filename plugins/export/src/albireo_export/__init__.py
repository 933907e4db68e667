"""Light curves of Albireo in the formats of others: lightkurve, AAVSO and CSV."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Report, hookimpl
from albireo_export.stage import Comparison, Export

__all__ = ["Comparison", "Export"]


@hookimpl
def reports() -> Iterator[type[Report]]:
    """Yield the report of this package."""
    yield Export
