"""Every real frame that astroalign aligns is aligned by ``patterns`` and, where it only shifts, by the others.

Stars are found on the raw frames: the pedestal and the flat do not move them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import median_filter

from albireo import FrameError, Registry, Sources, Transform, image, read_pixels

pytest.importorskip("albireo_alignment")

SETS = {"lowell42": ("5945/*.fits*", 2), "hatp32": ("*.FITS*", 7)}
"""Which frames of a set, and every how many of them."""

AGREE = 0.1
"""Pixels, rms over the matched stars of the reference."""


def stage(role: str, name: str, **options: Any) -> Any:
    return Registry.discover().get(role, name).cls(**options)


def found_on(path: Path, *, hot: bool = False) -> tuple[Any, Sources]:
    """An image and its sources; hot pixels, if there are many, are replaced by the median around them."""
    pixels = read_pixels(str(path), 1 if path.suffix == ".fz" else 0).astype(np.float32)
    if hot:
        smooth = median_filter(pixels, 3)
        noise = 1.4826 * np.median(np.abs(pixels - np.median(pixels)))
        pixels = np.where(pixels - smooth > 8.0 * noise, smooth, pixels)
    picture = image(pixels, "adu")
    sky = stage("background", "mesh", box=50).estimate(picture)
    return picture, stage("finder", "sep").find(picture, sky)


@pytest.fixture(scope="module", params=SETS)
def frames(request, data: Path) -> list[tuple[Path, Any, Sources]]:
    folder = data / request.param
    if not folder.is_dir():
        pytest.skip(f"there is no set {request.param} in {data}")
    pattern, every = SETS[request.param]
    return [(path, *found_on(path)) for path in sorted(folder.glob(pattern))[::every]]


def pairs(frames: list[tuple[Path, Any, Sources]]) -> Iterator[tuple[str, Sources, Sources, Transform]]:
    """Frames that astroalign aligns with the middle one, and its map."""
    _, _, reference = frames[len(frames) // 2]
    for path, _, sources in frames:
        try:
            yield path.name, sources, reference, stage("aligner", "astroalign").align(sources, reference)
        except FrameError:
            continue


def apart(one: Transform, other: Transform, places: Sources) -> float:
    """Rms distance of two maps over the sources of the reference."""
    x, y = np.subtract(one(places.x, places.y), other(places.x, places.y))
    return float(np.sqrt(np.mean(x**2 + y**2)))


def test_patterns_aligns_what_astroalign_aligns(frames: list[tuple[Path, Any, Sources]]) -> None:
    aligner, count = stage("aligner", "patterns"), 0
    for name, sources, reference, theirs in pairs(frames):
        ours = aligner.align(sources, reference)
        assert apart(ours, theirs, reference) < AGREE, name
        assert ours.matched >= 0.95 * theirs.matched, name
        count += 1
    assert count == len(frames)


def test_shifts_and_images_agree_where_the_field_does_not_rotate(frames: list[tuple[Path, Any, Sources]]) -> None:
    """The field of HAT-P-32 turns by a quarter of a degree in the night, 1.5 pixels halfway to the edge."""
    middle = len(frames) // 2
    _, picture, reference = frames[middle]
    for path, other, sources in (frames[0], frames[-1]):
        ours = stage("aligner", "patterns").align(sources, reference)
        assert apart(stage("aligner", "translation").align(sources, reference), ours, reference) < 1.5, path.name
        assert apart(stage("aligner", "correlation").align_images(other, picture), ours, reference) < 1.5, path.name


def test_the_cameras_of_opticam_are_matched_as_astroalign_does(data: Path) -> None:
    folder = data / "opticam"
    if not folder.is_dir():
        pytest.skip(f"there is no set opticam in {data}")
    lists = {eye: found_on(folder / f"get_last_c{eye}.fit.fz", hot=True)[1] for eye in "123"}
    for one, other, ratio, least in (("1", "2", 1.065, 20), ("1", "3", 1.192, 20), ("2", "3", 1.119, 40)):
        found = stage("aligner", "patterns").across(lists[one], lists[other])
        theirs = stage("aligner", "astroalign").across(lists[one], lists[other])
        assert found.scale == pytest.approx(ratio, abs=0.005)
        assert not found.mirrored
        assert found.matched >= max(least, 0.95 * theirs.matched)
        assert apart(found, theirs, lists[other]) < 0.5
