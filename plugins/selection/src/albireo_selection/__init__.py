"""Frame selection for Albireo: by headers, raw levels, time, place in a series, measured quality, and by hand."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Selector, hookimpl
from albireo_selection.best import Best
from albireo_selection.header import Header
from albireo_selection.level import Level
from albireo_selection.moments import Time
from albireo_selection.overrides import ByHand
from albireo_selection.quality import Quality
from albireo_selection.sequence import Sequence
from albireo_selection.simultaneous import Simultaneous

__all__ = ["Best", "ByHand", "Header", "Level", "Quality", "Sequence", "Simultaneous", "Time"]


@hookimpl
def selectors() -> Iterator[type[Selector]]:
    """Yield the selectors of this plugin."""
    yield from (Best, ByHand, Header, Level, Quality, Sequence, Simultaneous, Time)
