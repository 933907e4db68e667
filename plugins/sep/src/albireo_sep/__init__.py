"""Background and sources for Albireo by SEP (Source Extractor as a library)."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import BackgroundEstimator, Finder, hookimpl
from albireo_sep.finder import SepFinder
from albireo_sep.mesh import Mesh

__all__ = ["Mesh", "SepFinder"]


@hookimpl
def backgrounds() -> Iterator[type[BackgroundEstimator]]:
    """Offer the mesh background."""
    yield Mesh


@hookimpl
def finders() -> Iterator[type[Finder]]:
    """Offer the finder."""
    yield SepFinder
