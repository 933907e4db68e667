"""Backgrounds and sources of images for Albireo, by compiled kernels."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import BackgroundEstimator, Finder, hookimpl
from albireo_detection.constant import Constant, NoBackground
from albireo_detection.finder import Segments
from albireo_detection.mesh import Mesh

__all__ = ["Constant", "Mesh", "NoBackground", "Segments"]


@hookimpl
def backgrounds() -> Iterator[type[BackgroundEstimator]]:
    """Offer the backgrounds."""
    yield Mesh
    yield Constant
    yield NoBackground


@hookimpl
def finders() -> Iterator[type[Finder]]:
    """Offer the finder."""
    yield Segments
