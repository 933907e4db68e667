"""An infrared field: a master sky from dithered frames, subtracted from frames with stars."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from astropy.nddata import CCDData
from numpy.typing import NDArray

from albireo import Frame, FrameError, Frames, Recipe, Registry, Sources, apply_terms, flags_of, image, variance_of
from albireo.plan import make_plan
from albireo.testing import ImageStack, Profile, Scene, simulate_image

SHAPE = (320, 360)
SKY, READ_NOISE = 4000.0, 15.0
FRAME = Frame("science.fits", kind="science", shape=SHAPE)


def stage(role: str, name: str, **options: object) -> Any:
    return Registry.discover().get(role, name).cls(**options)


@cache
def structure() -> NDArray[np.float32]:
    """Fringes of 5 % and a gradient of 10 %, around one."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    plane = 1.0 + 0.05 * np.sin(0.11 * x + 0.07 * y + 2e-4 * x * y) + 0.1 * (x / SHAPE[1] - 0.5)
    return np.asarray(plane / np.median(plane), dtype=np.float32)


def exposure(rng: np.random.Generator, scene: Scene, sky: float) -> CCDData:
    """Draw a frame after flat-fielding, in electrons."""
    light = simulate_image(scene, SHAPE, profile=Profile(3.0, 3.0), sky=0.0).expected + sky * structure()
    data = rng.poisson(light) + READ_NOISE * rng.standard_normal(SHAPE)
    return image(data, "electron", variance=np.maximum(data, 0) + READ_NOISE**2, flags=np.zeros(SHAPE, np.uint16))


@cache
def master(frames: int) -> CCDData:
    """A master sky of dithered frames, whose sky brightens by a third, with other stars in each."""
    rng = np.random.default_rng(1)
    skies = SKY * np.linspace(0.9, 1.2, frames)
    images = [exposure(rng, Scene.field(SHAPE, 60, 3e5, 3e3, seed=100 + n), sky) for n, sky in enumerate(skies)]
    stack = ImageStack(images, Frames(Frame(f"sky-{n}.fits", kind="sky") for n in range(frames)))
    made: CCDData = stage("master", "combine", kind="sky").build(stack)
    return made


def subtracted(picture: CCDData, sky: CCDData) -> CCDData:
    result: CCDData = stage("correction", "sky").correct(picture, FRAME, {"sky": sky})
    return result


@pytest.mark.parametrize("frames", [5, 15])
def test_a_master_sky_is_the_structure_without_stars(frames: int) -> None:
    made = master(frames)
    assert str(made.unit) == ""
    assert np.median(made.data) == pytest.approx(1.0, abs=1e-6)
    off = made.data / structure() - 1.0
    error = np.sqrt(variance_of(made).mean())
    assert np.std(off) < 1.2 * error
    # What stars leave where two of them fall on one pixel of five frames is rare.
    assert np.quantile(np.abs(off), 0.999) < 5 * error


@pytest.mark.parametrize("frames", [5, 15])
def test_background_pixels_have_true_error_bars_and_no_structure(frames: int) -> None:
    rng = np.random.default_rng(2)
    scene = Scene.field(SHAPE, 60, 3e5, 3e3, seed=7)
    away = np.ones(SHAPE, dtype=bool)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for star_x, star_y in zip(scene.x, scene.y, strict=True):
        away &= np.hypot(x - star_x, y - star_y) > 15
    made = master(frames)
    means = []
    for sky in (3000.0, 5000.0):
        result = subtracted(exposure(rng, scene, sky), made)
        pull = (result.data / np.sqrt(variance_of(result)))[away]
        assert pull.std() == pytest.approx(1.0, abs=0.05)
        noise = np.sqrt(sky + READ_NOISE**2)
        # Wings of stars that are not clipped raise the level by some hundredths of the noise.
        assert abs(result.data[away].mean()) < 0.06 * noise
        # The structure had 5 %, or four times the noise of a pixel.
        pattern = (structure() - 1.0)[away]
        means.append(float((result.data[away] * pattern).sum() / (pattern**2).sum() / sky))
    np.testing.assert_allclose(means, 0.0, atol=0.005)


def test_fluxes_are_unbiased() -> None:
    rng = np.random.default_rng(3)
    scene = Scene.field(SHAPE, 60, 3e5, 2e4, separation=30.0, margin=25.0, seed=8)
    photometer = stage("photometer", "aperture", radius=9, annulus=[14.0, 22.0])
    truth = simulate_image(scene, SHAPE, profile=Profile(3.0, 3.0), sky=0.0)
    plain = image(truth.expected, "electron", variance=np.ones(SHAPE))
    sources = Sources.make(scene.x, scene.y, id=np.arange(len(scene)))
    wanted = np.asarray(photometer.measure(plain, sources, None, None)["flux"])
    pulls = []
    for _ in range(4):
        result = subtracted(exposure(rng, scene, SKY), master(15))
        rows = photometer.measure(result, sources, None, None)
        pulls.append((np.asarray(rows["flux"]) - wanted) / np.asarray(rows["flux_err"]))
    # The noise of the master is common to the four frames: 60 independent values at worst.
    assert abs(np.mean(pulls)) < 4 / np.sqrt(60)
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(2 * 60))


def test_masked_and_missing_pixels_take_no_part_in_the_level() -> None:
    rng = np.random.default_rng(4)
    picture = exposure(rng, Scene([], [], []), SKY)
    clean = subtracted(picture, master(5))
    flags = np.zeros(SHAPE, np.uint16)
    data = picture.data.copy()
    data[:100], flags[:100] = 1e6, 1
    data[100:150] = np.nan
    result = subtracted(image(data, "electron", variance=variance_of(picture), flags=flags), master(5))
    assert np.abs((result.data - clean.data)[150:]).max() < 5.0
    assert (flags_of(result)[100:150] == 32).all()


def test_an_image_without_sky_pixels_says_so() -> None:
    with pytest.raises(FrameError, match=r"the level of the sky in science\.fits cannot be measured: 0 usable pixels"):
        subtracted(image(np.full(SHAPE, np.nan), "electron"), master(5))
    with pytest.raises(FrameError, match="both must be trimmed by the same corrections"):
        subtracted(image(np.ones((10, 10)), "electron"), master(5))


def test_the_level_scales_and_its_variance_is_in_the_result() -> None:
    rng = np.random.default_rng(5)
    made = image(np.full(SHAPE, 2.0), "", variance=np.full(SHAPE, 1e-4))
    picture = image(SKY + 50.0 * rng.standard_normal(SHAPE), "electron", variance=np.full(SHAPE, 2500.0))
    terms = stage("correction", "sky").terms(picture, FRAME, {"sky": made})
    level = float(terms.subtract.mean()) / 2.0
    n = SHAPE[0] * SHAPE[1]
    error = np.sqrt(np.pi / 2 * (50.0 / 2.0) ** 2 / n)
    assert level == pytest.approx(SKY / 2.0, abs=4 * error)
    np.testing.assert_allclose(terms.subtract_variance, level**2 * 1e-4 + (2.0 * error) ** 2, rtol=1e-3)
    exact = stage("correction", "sky").terms(picture, FRAME, {"sky": image(made.data, "")})
    np.testing.assert_allclose(exact.subtract_variance, (2.0 * error) ** 2, rtol=0.05)
    result = apply_terms(picture, FRAME, [terms])
    np.testing.assert_allclose(variance_of(result), 2500.0 + level**2 * 1e-4 + (2.0 * error) ** 2, rtol=1e-4)


def test_each_filter_has_its_own_sky_and_the_nearest_in_time_is_chosen() -> None:
    text = '[instrument]\nuse = "lmi"\n'
    text += "".join(f'[[masters]]\nuse = "combine"\nkind = "{kind}"\n' for kind in ("flat", "sky"))
    text += "".join(f'[[corrections]]\nuse = "{name}"\n' for name in ("overscan", "trim", "flat", "sky"))
    recipe = Recipe.parse(text, "night.toml")
    model = recipe.instrument.example()
    frames = []
    for name, start in (("J", 60000.0), ("H", 60000.1), ("H", 60001.1)):
        changes = {"filter": name, "variant": f"{start:.1f}"}
        for kind in ("flat", "sky"):
            for n in range(3):
                label = f"{kind}{name}{start}{n}"
                frames.append(model.replace(kind=kind, path=label, name=label, start=start, **changes))
        label = f"s{name}{start}"
        frames.append(model.replace(path=label, name=label, start=start + 0.01, filter=name))
    plan = make_plan(recipe, Frames(frames))
    assert sorted(m.name for m in plan.masters if m.kind == "sky") == [
        "sky-60000.0-J",
        "sky-60000.1-H",
        "sky-60001.1-H",
    ]
    for frame in plan.science:
        assert plan.choices[frame.name]["sky"][0].frames[0].name == frame.name.replace("s", "sky", 1) + "0"
    skies = [m for m in plan.masters if m.kind == "sky"]
    assert all([c.name for c in m.corrections] == ["overscan", "trim", "flat"] for m in skies)
