"""Point-spread functions and PSF photometry for Albireo."""

from __future__ import annotations

from collections.abc import Iterator

from albireo import Photometer, PSFEstimator, hookimpl
from albireo_psf.estimators import EmpiricalPSF, GaussianPSF, MoffatPSF
from albireo_psf.photometer import PSFPhotometer

__all__ = ["EmpiricalPSF", "GaussianPSF", "MoffatPSF", "PSFPhotometer"]


@hookimpl
def psfs() -> Iterator[type[PSFEstimator]]:
    """Yield the estimators of this plugin."""
    yield GaussianPSF
    yield MoffatPSF
    yield EmpiricalPSF


@hookimpl
def photometers() -> Iterator[type[Photometer]]:
    """Yield the photometer of this plugin."""
    yield PSFPhotometer
