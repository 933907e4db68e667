"""Frame selection for Albireo: by level and saturation, and by what was exposed at once."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Selector, hookimpl
from albireo_selection.level import Level
from albireo_selection.simultaneous import Simultaneous

__all__ = ["Level", "Simultaneous"]


@hookimpl
def selectors() -> Iterator[type[Selector]]:
    """Yield the selectors of this plugin."""
    yield Level
    yield Simultaneous
