"""Stacks of aligned images for Albireo: weights, rejection, coverage and variance within bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Stacker, hookimpl
from albireo_stack.stage import MeanStack

__all__ = ["MeanStack"]


@hookimpl
def stackers() -> Iterator[type[Stacker]]:
    """Yield the stacker of this plugin."""
    yield MeanStack
