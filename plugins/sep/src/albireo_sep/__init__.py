"""Background and sources for Albireo by SEP (Source Extractor as a library)."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import BackgroundEstimator, Finder, hookimpl
from albireo_sep.background import SepBackground
from albireo_sep.finder import SepFinder

__all__ = ["SepBackground", "SepFinder"]


@hookimpl
def backgrounds() -> Iterator[type[BackgroundEstimator]]:
    """Offer the background."""
    yield SepBackground


@hookimpl
def finders() -> Iterator[type[Finder]]:
    """Offer the finder."""
    yield SepFinder
