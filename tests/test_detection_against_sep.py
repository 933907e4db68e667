"""The compiled background and finder beside Source Extractor's, on crowded simulations and on real frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from albireo import Background, Registry, Sources, image
from albireo.testing import Profile, Scene, simulate_image
from albireo.testing.picture import Picture

SNR = 20.0
"""Stars that both must find, and at the same place."""


def stage(role: str, name: str, **options: Any) -> Any:
    """Make a stage by its name."""
    return Registry.discover().get(role, name).cls(**options)


def crowd(stars: int, fwhm: float, seed: int) -> Picture:
    """Stars at random places; their number falls with the square of their brightness."""
    rng = np.random.default_rng(seed)
    flux = np.minimum(1000.0 / (1.0 - rng.uniform(0.0, 1.0, stars)), 1e6)
    scene = Scene(rng.uniform(5, 475, stars), rng.uniform(5, 475, stars), flux)
    return simulate_image(scene, (480, 480), profile=Profile(fwhm, 3.5), sky=200.0, seed=seed + 1)


def pairs(found: Sources, truth: Sources, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Give indices of sources and stars that are each other's nearest, within reach."""
    distance = np.hypot(found.x[:, None] - truth.x, found.y[:, None] - truth.y)
    nearest = distance.argmin(axis=0)
    mutual = (distance.argmin(axis=1)[nearest] == np.arange(len(truth))) & (distance.min(axis=0) < reach)
    return nearest[mutual], np.flatnonzero(mutual)


@pytest.mark.parametrize(("stars", "fwhm"), [(800, 1.5), (800, 2.0), (800, 3.0), (1600, 3.0), (450, 6.0), (150, 10.0)])
def test_a_crowded_field_is_found_as_completely_and_as_precisely(stars: int, fwhm: float) -> None:
    picture = crowd(stars, fwhm, seed=11)
    truth = picture.sources
    ours, theirs = (stage("finder", name).find(picture.image, picture.background) for name in ("segments", "sep"))
    found = [np.full((2, len(truth)), np.nan) for _ in range(2)]
    for place, sources in zip(found, (ours, theirs), strict=True):
        one, two = pairs(sources, truth, max(1.0, 0.5 * fwhm))
        place[:, two] = sources.x[one] - truth.x[two], sources.y[one] - truth.y[two]
    both = np.isfinite(found[0][0]) & np.isfinite(found[1][0])
    # One star more or less is chance.
    assert np.isfinite(found[0][0]).sum() >= np.isfinite(found[1][0]).sum() - 1
    assert np.median(np.abs(found[0][:, both])) <= 1.02 * np.median(np.abs(found[1][:, both]))


def test_a_second_pass_without_sources_finds_the_sky_of_a_crowded_field() -> None:
    picture = crowd(1600, 3.0, seed=5)
    sep = stage("background", "sep").estimate(picture.image)
    once, twice = (stage("background", "mesh", mask_sources=n).estimate(picture.image) for n in (0, 4))
    assert abs(once.median - sep.median) < 0.02 * 15.0
    assert sep.median - 200.0 > 0.15 * 15.0
    assert twice.median == pytest.approx(200.0, abs=0.05 * 15.0)
    assert twice.median_rms == pytest.approx(15.0, rel=0.02)


FRAMES = [
    ("lowell42", "5945/20190326.0126.fits.fz"),
    ("lowell42", "5945/20190326.0192.fits.fz"),
    ("hatp32", "HATP-32171220013343.FITS.fz"),
    ("hatp32", "HATP-32171220050612.FITS.fz"),
]


@pytest.mark.parametrize(("name", "path"), FRAMES, ids=[path for _, path in FRAMES])
def test_bright_stars_of_real_frames_lie_at_the_same_places(data: Path, name: str, path: str) -> None:
    file = data / name / path
    if not file.is_file():
        pytest.skip(f"there is no frame {file}")
    # Raw counts will do: the pedestal is part of the level. The border is left out, with overscan and vignetting.
    raw = np.asarray(fits.getdata(file, 1), dtype=np.float32)
    picture = image(raw[50:-50, 50:-100], "adu")
    sky: Background = stage("background", "mesh").estimate(picture)
    beside: Background = stage("background", "sep").estimate(picture)
    # Frames of hatp32 have whole counts and a noise of 1.3: a median of whole counts is half a count off.
    assert sky.median == pytest.approx(beside.median, abs=0.1 * sky.median_rms + 0.6)
    assert sky.median_rms == pytest.approx(beside.median_rms, rel=0.03)
    ours, theirs = (stage("finder", finder).find(picture, sky) for finder in ("segments", "sep"))
    for these, those in ((ours, theirs), (theirs, ours)):
        stars = these[_isolated_stars(these, sky, picture.shape)]
        assert len(stars) > 60
        one, two = pairs(those, stars, 1.0)
        assert len(two) >= 0.97 * len(stars)  # beside trails of saturated stars pieces differ
        off = np.hypot(those.x[one] - stars.x[two], those.y[one] - stars.y[two])
        assert np.quantile(off, 0.99) < 0.1


def _isolated_stars(found: Sources, sky: Background, shape: tuple[int, ...]) -> np.ndarray:
    """Tell what is bright, alone, inside the frame, and as wide as a star: no bleed trail, no bad column, no ray."""
    snr = found.flux / (sky.median_rms * np.sqrt(4.0 * np.pi * found.a * found.b))
    distance = np.hypot(found.x[:, None] - found.x, found.y[:, None] - found.y)
    inside = (np.abs(found.x - shape[1] / 2) < shape[1] / 2 - 6) & (np.abs(found.y - shape[0] / 2) < shape[0] / 2 - 6)
    width = found.fwhm / np.nanmedian(found.fwhm)
    return (snr > SNR) & (np.sort(distance, axis=1)[:, 1] > 12.0) & inside & (width > 0.7) & (width < 1.5)
