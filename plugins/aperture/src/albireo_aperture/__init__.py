"""Aperture photometry for Albireo."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Photometer, hookimpl
from albireo_aperture.aperture import Aperture

__all__ = ["Aperture"]


@hookimpl
def photometers() -> Iterator[type[Photometer]]:
    """Offer the photometer."""
    yield Aperture
