"""The HTML report of Albireo."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Report, hookimpl
from albireo_html.report import Html

__all__ = ["Html"]


@hookimpl
def reports() -> Iterator[type[Report]]:
    """Yield the report of this package."""
    yield Html
