"""A field with fringes: the template from dithered frames, and what is left of the fringes after it is subtracted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.nddata import CCDData

from albireo import Frame, Frames, Registry, image, variance_of
from albireo.testing import ImageStack, Profile, Scene, simulate_image

SHAPE = (256, 300)
READ_NOISE = 5.0
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
WAVE = np.sin(0.21 * X + 0.13 * Y + 6e-4 * X * Y) + 0.5 * np.sin(0.1 * X - 0.17 * Y)
PATTERN = 0.03 * WAVE / WAVE.std()


def stage(role: str, name: str, **options: object) -> Any:
    return Registry.discover().get(role, name).cls(**options)


def exposure(rng: np.random.Generator, sky: float, strength: float, seed: int) -> tuple[CCDData, np.ndarray]:
    """Draw a frame after flat-fielding, in electrons, and what it holds besides fringes."""
    scene = Scene.field(SHAPE, 25, 2e5, 2e3, separation=8.0, seed=seed)
    rest = simulate_image(scene, SHAPE, profile=Profile(3.0, 3.0), sky=0.0).expected + sky * (1.0 + 0.05 * X / SHAPE[1])
    data = rng.poisson(rest + sky * strength * PATTERN) + READ_NOISE * rng.standard_normal(SHAPE)
    picture = image(
        data, "electron", variance=np.maximum(data, 0) + READ_NOISE**2, flags=np.zeros(SHAPE, dtype=np.uint16)
    )
    return picture, rest


def test_the_fringes_of_a_night_are_gone_from_its_frames() -> None:
    rng = np.random.default_rng(1)
    made_from, others = 12, 4
    number = made_from + others
    facts = list(zip(rng.uniform(800.0, 1600.0, number), rng.uniform(0.5, 1.5, number), strict=True))
    shots = [exposure(rng, *fact, seed=n) for n, fact in enumerate(facts)]
    frames = [Frame(f"s{n:02d}.fits", kind="science", shape=SHAPE, start=60000.0 + n / 1440) for n in range(number)]
    stack = ImageStack([picture for picture, _ in shots[:made_from]], Frames(frames[:made_from]))
    built = stage("master", "fringe", background=64).build(stack)
    pulls = []
    for (picture, rest), frame, (sky, strength) in zip(shots, frames, facts, strict=True):
        result = stage("correction", "fringe", box=64).correct(picture, frame, {"fringe": built})
        off = result.data - rest
        away = np.isfinite(off) & (rest < 1.06 * sky + 20.0)  # the pixels of the sky
        left = (off * PATTERN)[away].sum() / (PATTERN**2)[away].sum()
        assert abs(left) < 0.05 * sky * strength
        pulls.append((off / np.sqrt(variance_of(result)))[away].std())
    # Frames that made the template have part of their own noise in it, so that it is theirs twice or not at all.
    assert np.mean(pulls[made_from:]) == pytest.approx(1.0, abs=0.03)
