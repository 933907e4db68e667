"""Masters that are made from frames of other kinds work in whole runs, each frame is accounted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albireo import Flag, Registry, Results, flags_of, read_image
from albireo.testing import Camera, Night, Scene, simulate_night

SKY = 300.0
CHAIN = """
[instrument]
use = "lmi"
[[masters]]
use = "combine"
kind = "bias"
[[masters]]
use = "bad-pixels"
hot_rate = 0.3
[[masters]]
use = "combine"
kind = "dark"
[[masters]]
use = "combine"
kind = "flat"
[[masters]]
use = "illumination"
degree = 2
[[masters]]
use = "running-sky"
frames = "science"
window = 5
[[corrections]]
use = "overscan"
[[corrections]]
use = "trim"
[[corrections]]
use = "bias"
[[corrections]]
use = "bad-pixels"
[[corrections]]
use = "dark"
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[[corrections]]
use = "illumination"
[[corrections]]
use = "cosmic-rays"
[[corrections]]
use = "sky"
[background]
use = "mesh"
[finding]
use = "sep"
[alignment]
use = "astroalign"
[output]
reduced = true
[executor]
use = "processes"
"""


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Eight dithered frames on a sky of 300 electrons, with bias, darks and flats, and hot and dead pixels."""
    camera = Registry.discover().get("instrument", "lmi").cls()
    shape = camera.example().amplifiers[0].data.shape
    scene = Scene.field(shape, 25, 3e4, 2e3, separation=40.0, margin=40.0, seed=4)
    plan = Night(
        science=8,
        bias=5,
        dark=5,
        flat=5,
        exptime=30.0,
        overhead=10.0,
        sky=SKY / 30.0,
        dithers=((0.0, 0.0), (17.0, 9.0), (-14.0, 12.0), (9.0, -16.0), (-12.0, -11.0)),
    )
    traits = Camera(hot=5e-4, hot_current=40.0, dead=5e-4, cosmic_rays=0.0)
    return simulate_night(camera, tmp_path_factory.mktemp("night") / "raw", scene, plan, traits, seed=4)


@pytest.fixture(scope="module")
def results(truth, reduce, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "night.toml").write_text(CHAIN)
    raw = Path(truth.frames[0].path).parent
    done = reduce(folder / "night.toml", raw, folder / "run")
    assert done.code == 0, done.text
    return Results(folder / "run")


def test_every_frame_is_used_and_every_science_frame_has_its_own_sky(results):
    frames = results.frames
    assert set(frames["fate"]) == {"used"}
    science = frames[frames["kind"] == "science"]
    skies = [next(name for name in masters.split(", ") if name.startswith("sky")) for masters in science["masters"]]
    assert len(set(skies)) == len(science)
    made_from = {master.name: master.frames for master in results.masters}
    for name, sky in zip(science["name"], skies, strict=True):
        assert name not in made_from[sky]
        assert len(made_from[sky]) == 5


def test_planted_bad_pixels_are_masked_in_the_reduced_frames(results, truth):
    planted = truth.detector.hot | truth.detector.dead
    path = next((results.folder / "reduced").rglob("*.fits"))
    masked = (flags_of(read_image(path)) & np.uint16(Flag.BAD | Flag.HOT)) != 0
    assert planted.sum() > 50
    assert (masked & planted).sum() >= 0.95 * planted.sum()
    assert (masked & ~planted).sum() <= 1e-3 * planted.size


def test_the_sky_is_gone_and_its_noise_is_known(results, truth):
    for path in (results.folder / "reduced").rglob("*.fits"):
        picture = read_image(path)
        good = ~picture.mask
        sigma = np.sqrt(np.median(picture.uncertainty.array[good]))
        sky = picture.data[good]
        assert abs(np.median(sky)) < 0.2 * sigma
        width = np.median(sky) - np.percentile(sky, 15.865)  # the dark side, where no star is
        assert width == pytest.approx(sigma, rel=0.05)


def test_the_header_tells_what_was_done(results):
    path = next((results.folder / "reduced").rglob("*.fits"))
    history = "".join(map(str, read_image(path).meta["HISTORY"]))
    for said in ("bad-pixels with bad.fits", "illumination with illumination-", "sky with sky-", "cosmic-rays: "):
        assert said in history
