"""Photometry of single stars for Albireo: sums in apertures, and sums weighted by the profile of a star."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Photometer, hookimpl
from albireo_aperture.aperture import Aperture
from albireo_aperture.optimal import Optimal

__all__ = ["Aperture", "Optimal"]


@hookimpl
def photometers() -> Iterator[type[Photometer]]:
    """Offer the photometers."""
    yield Aperture
    yield Optimal
