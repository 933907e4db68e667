"""Frame selection for Albireo: by level and saturation."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Selector, hookimpl
from albireo_selection.level import Level

__all__ = ["Level"]


@hookimpl
def selectors() -> Iterator[type[Selector]]:
    """Yield the selectors of this plugin."""
    yield Level
