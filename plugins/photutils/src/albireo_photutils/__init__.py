"""Backgrounds, source finding and PSF photometry of photutils as stages of Albireo."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import BackgroundEstimator, Finder, Photometer, hookimpl
from albireo_photutils.background import PhotutilsMesh
from albireo_photutils.dao import Dao
from albireo_photutils.psf_photometry import PsfPhotometry
from albireo_photutils.segmentation import Segmentation

__all__ = ["Dao", "PhotutilsMesh", "PsfPhotometry", "Segmentation"]


@hookimpl
def backgrounds() -> Iterator[type[BackgroundEstimator]]:
    """Offer the mesh background."""
    yield PhotutilsMesh


@hookimpl
def finders() -> Iterator[type[Finder]]:
    """Offer the finders."""
    yield Segmentation
    yield Dao


@hookimpl
def photometers() -> Iterator[type[Photometer]]:
    """Offer the photometer."""
    yield PsfPhotometry
