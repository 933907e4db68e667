"""Which frame the others are aligned with, how frames that do not match it are reached, and where stars come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albireo import Recipe, RecipeError, Registry, Results
from albireo.run import RunOutcome, run
from albireo.testing import Camera, Night, Scene, Truth, simulate_night

SIZE = 256
CAMERA = f"""
name = "garden"
kinds = [
    {{ kind = "bias", when = {{ IMAGETYP = "bias" }} }},
    {{ kind = "science", when = {{ IMAGETYP = "light" }} }},
]
[frame]
filter = "FILTER"
target = "OBJECT"
exptime = "EXPTIME"
start = "DATE-OBS"
gain = 1.5
read_noise = 5.0
saturation = 60000
[example]
NAXIS1 = {SIZE}
NAXIS2 = {SIZE}
IMAGETYP = "light"
FILTER = "r"
OBJECT = "field"
EXPTIME = 30.0
DATE-OBS = "2024-03-01T20:00:00.000"
"""
RECIPE = """
[instrument]
use = "fits"
definition = "camera.toml"
[[masters]]
use = "combine"
kind = "bias"
[[corrections]]
use = "bias"
[[corrections]]
use = "gain"
[background]
use = "mesh"
[finding]
use = "sep"
[alignment]
use = "patterns"
{alignment}
[catalogue]
{catalogue}
[[photometry]]
use = "aperture"
radius = 6
annulus = [10, 16]
[executor]
use = "serial"
"""


def observe(folder: Path, night: Night, scene: Scene) -> Truth:
    folder.mkdir(exist_ok=True)
    (folder / "camera.toml").write_text(CAMERA)
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(folder / "camera.toml"))
    return simulate_night(camera, folder / "raw", scene, night, Camera(cosmic_rays=0.0, bias_structure=0.5), seed=4)


def reduce(
    folder: Path, alignment: str = "", catalogue: str = "", out: str = "run", extra: str = ""
) -> tuple[RunOutcome, Results]:
    recipe = Recipe.parse(RECIPE.format(alignment=alignment, catalogue=catalogue) + extra, folder / "r.toml")
    outcome = run(recipe, folder / "raw", folder / out)
    return outcome, Results(folder / out)


def wide_field(rng_seed: int, count: int, width: float) -> Scene:
    """Stars far beyond the detector on the side that the field drifts in from."""
    rng = np.random.default_rng(rng_seed)
    x, y = rng.uniform(-width, SIZE, count), rng.uniform(0, SIZE, count)
    return Scene(x.tolist(), y.tolist(), (10.0 ** rng.uniform(4.2, 5.2, count)).tolist())


def frame_of(results: Results, number: int) -> Any:
    return next(row for row in results.frames if row["name"].endswith(f"science-{number:04d}.fits"))


# --- the reference ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("seeing")
    hours_of_frame = 40.0 / 3600.0
    night = Night(
        science=11,
        bias=3,
        flat=0,
        fwhm=lambda hours: 3.0 if round(hours / hours_of_frame) == 8 else 5.5,
        transparency=lambda hours: 0.15 if round(hours / hours_of_frame) == 5 else 1.0,
        jitter=1.0,
    )
    return folder, observe(folder, night, Scene.field((SIZE, SIZE), 25, 6e4, 5e3, separation=20.0, seed=1))


def test_the_reference_is_the_sharpest_frame_looked_at_and_not_the_one_in_the_middle(seeing):
    folder, _ = seeing
    _, results = reduce(folder, catalogue="candidates = 11")
    assert results.fields[0].reference.endswith("science-0009.fits")
    assert frame_of(results, 9)["dx"] == 0.0


def test_the_frame_in_the_middle_and_a_named_one_can_be_asked_for(seeing):
    folder, _ = seeing
    _, middle = reduce(folder, catalogue='reference = "middle"', out="middle")
    assert middle.fields[0].reference.endswith("science-0006.fits")
    _, named = reduce(folder, catalogue='reference = "science-0003.fits"', out="named")
    assert named.fields[0].reference.endswith("science-0003.fits")


def test_an_earlier_reference_stays_when_frames_are_taken_away(seeing, tmp_path):
    folder, _ = seeing
    _, first = reduce(folder, catalogue="candidates = 11", out="kept")
    recipe = RECIPE.format(alignment="", catalogue="candidates = 3") + '[data]\nexclude = ["**/science-0001*"]\n'
    run(Recipe.parse(recipe, folder / "r.toml"), folder / "raw", folder / "kept")
    assert Results(folder / "kept").fields[0].reference == first.fields[0].reference


# --- chains -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A field that wanders over three quarters of the detector; every tenth of it is a frame."""
    folder = tmp_path_factory.mktemp("drifting")
    night = Night(science=13, bias=3, flat=0, fwhm=3.5, drift=(25.0 * 3600.0 / 40.0, 0.0))
    return folder, observe(folder, night, wide_field(2, 90, 330.0))


def test_a_field_that_drifts_out_of_the_reference_is_followed_by_way_of_neighbours(drifting):
    folder, truth = drifting
    outcome, results = reduce(folder, catalogue='reference = "science-0001.fits"\nmax_sources = 90')
    assert outcome.counts["used"] == 13 + 3
    links = np.array([frame_of(results, number)["links"] for number in range(1, 14)])
    assert links[0] == 0
    assert links[-1] >= 1, "the last frame shares no star with the reference"
    for number in range(1, 14):
        row, exposure = frame_of(results, number), truth.exposures[number - 1]
        # Each link is good to a few hundredths of a pixel at its stars; chains add up.
        assert row["dx"] == pytest.approx(exposure.x[0] - truth.exposures[0].x[0], abs=0.3)
        assert row["dy"] == pytest.approx(0.0, abs=0.6)


def test_without_chains_such_frames_are_left_out_with_the_reason_also_after_a_resume(drifting):
    folder, _ = drifting
    settings = {"alignment": "chain = false", "catalogue": 'reference = "science-0001.fits"', "out": "alone"}
    outcome, results = reduce(folder, **settings)
    failed = {row["name"]: row["reason"] for row in results.frames if row["fate"] == "failed"}
    assert any(name.endswith("science-0013.fits") for name in failed)
    assert all("stars" in reason for reason in failed.values())
    again, results = reduce(folder, **settings)
    assert not again.changed
    assert {row["name"]: row["reason"] for row in results.frames if row["fate"] == "failed"} == failed
    assert outcome.counts == again.counts


def test_a_limit_on_the_shift_holds_for_chains_and_the_reasons_survive_a_resume(drifting):
    folder, _ = drifting
    settings = {"alignment": "max_shift = 110", "catalogue": 'reference = "science-0001.fits"', "out": "limited"}
    _, results = reduce(folder, **settings)
    reasons = {row["name"][-17:]: row["reason"] for row in results.frames if row["fate"] == "failed"}
    assert sorted(reasons) == [f"science-{number:04d}.fits" for number in range(6, 14)]
    assert "more than the 110 pixels allowed" in reasons["science-0006.fits"]
    again, results = reduce(folder, **settings)
    assert {row["name"][-17:]: row["reason"] for row in results.frames if row["fate"] == "failed"} == reasons
    assert not again.changed


# --- stars from a stack -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Bright stars to align with, and as many that a single frame hardly shows."""
    folder = tmp_path_factory.mktemp("faint")
    places = Scene.field((SIZE, SIZE), 24, 1.0, 1.0, separation=26.0, margin=35.0, seed=8)
    scene = Scene(places.x, places.y, [2e3] * 12 + [15.0] * 12)
    night = Night(science=16, bias=3, flat=0, fwhm=3.0, sky=5.0, drift=(150.0, -80.0), jitter=0.5)
    return folder, observe(folder, night, scene)


@pytest.mark.parametrize("area", ["reference", "union"])
def test_stars_of_a_stack_are_measured_in_every_frame(faint, area):
    folder, truth = faint
    _, shallow = reduce(folder, catalogue="min_snr = 4", out="shallow")
    catalogue = 'source = "stack"\nmin_snr = 4'
    stacks = f'[[stacks]]\nuse = "stack"\narea = "{area}"\n'
    outcome, deep = reduce(folder, catalogue=catalogue, out=f"deep-{area}", extra=stacks)
    assert outcome.counts["used"] == 16 + 3

    reference = next(e for e in truth.exposures if e.frame.path.endswith(deep.fields[0].reference))
    stars = deep.fields[0].read_catalogue()
    separation = np.hypot(*(np.subtract.outer(np.array(stars[c]), getattr(reference, c)) for c in ("x", "y")))
    assert (separation.min(axis=0) < 0.8).sum() >= 23, "a stack shows (nearly) all, each at its place"
    assert len(stars) - len(shallow.fields[0].read_catalogue()) >= 6, "a single frame does not"

    faint_ones = [int(stars["id"][separation[:, k].argmin()]) for k in range(12, 24) if separation[:, k].min() < 0.8]
    rows = deep.photometry[np.isin(deep.photometry["source"], faint_ones)]
    flux, error = np.array(rows["flux"]), np.array(rows["flux_err"])
    expected = np.median(flux_of_bright(deep, stars, separation)) * 15.0 / 2e3
    assert abs(np.mean(flux) - expected) < 4 * np.sqrt(np.mean(error**2) / len(flux)) + 0.02 * expected


def flux_of_bright(results: Results, stars: Any, separation: np.ndarray) -> np.ndarray:
    bright = [int(stars["id"][separation[:, k].argmin()]) for k in range(12)]
    return np.array(results.photometry["flux"])[np.isin(results.photometry["source"], bright)]


def test_a_catalogue_from_a_stack_changes_nothing_when_run_again(faint):
    folder, _ = faint
    settings = {"catalogue": 'source = "stack"', "out": "again", "extra": '[[stacks]]\nuse = "stack"\n'}
    reduce(folder, **settings)
    before = (folder / "again" / "photometry.fits").read_bytes()
    again, _ = reduce(folder, **settings)
    assert not again.changed
    assert (folder / "again" / "photometry.fits").read_bytes() == before


def test_stars_from_a_stack_need_a_stack_in_the_recipe(tmp_path):
    (tmp_path / "camera.toml").write_text(CAMERA)
    with pytest.raises(RecipeError, match=r"stars from a stack need a table \[\[stacks\]\]"):
        Recipe.parse(RECIPE.format(alignment="", catalogue='source = "stack"'), tmp_path / "r.toml")
