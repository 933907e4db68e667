"""Master bias, dark, flat and sky frames for Albireo, by compiled strip kernels."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import MasterBuilder, hookimpl
from albireo_combine.builder import Combine

__all__ = ["Combine"]


@hookimpl
def masters() -> Iterator[type[MasterBuilder]]:
    """Yield the master builder of this plugin."""
    yield Combine
