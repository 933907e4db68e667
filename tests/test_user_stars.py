"""A list of stars that a person gives is what is measured, under the numbers it gives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from albireo import Recipe, RecipeError, Registry, Results
from albireo.run import run
from albireo.run.folder import RunError
from albireo.testing import Camera, Night, Scene, Truth, simulate_night

SIZE = 200
FLAT_FIELD = Camera(cosmic_rays=0.0, bias_structure=0.0, vignetting=0.0, response=0.0)
SKY = WCS(naxis=2)
SKY.wcs.crpix, SKY.wcs.crval, SKY.wcs.cdelt = (100.5, 100.5), (150.0, 20.0), (-1e-4, 1e-4)
SKY.wcs.ctype = "RA---TAN", "DEC--TAN"
CAMERA = f"""
name = "garden"
kinds = [{{ kind = "science", when = {{ IMAGETYP = "light" }} }}]
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
[[corrections]]
use = "pedestal"
[[corrections]]
use = "gain"
[background]
use = "mesh"
[finding]
use = "sep"
[alignment]
use = "astroalign"
[catalogue]
file = "stars.ecsv"
[[photometry]]
use = "aperture"
radius = 6
annulus = [10, 16]
[executor]
use = "serial"
"""


def cards(wcs: WCS) -> str:
    return "\n".join(
        f"{key} = {value!r}".replace("'", '"') for key, value in wcs.to_header().items() if key[:5] != "MJDRE"
    )


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("stars")
    (folder / "camera.toml").write_text(CAMERA + cards(SKY) + "\n")
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(folder / "camera.toml"))
    scene = Scene.field((SIZE, SIZE), 12, 8e4, 1e4, separation=25.0, margin=20.0, seed=3)
    sky = Night(science=4, bias=0, flat=0, drift=(300.0, 100.0))
    return folder, simulate_night(camera, folder / "raw", scene, sky, FLAT_FIELD, seed=1)


def reduce(folder: Path, table: Table, out: str) -> Results:
    table.write(folder / "stars.ecsv", overwrite=True)
    level = 'use = "pedestal"\nlevel = 1000'
    recipe = Recipe.parse(RECIPE.replace('use = "pedestal"', level), folder / "r.toml")
    run(recipe, folder / "raw", folder / out)
    return Results(folder / out)


def test_stars_by_pixel_are_measured_under_their_numbers(night):
    folder, truth = night
    first = truth.exposures[0]
    pick = [5, 2, 9]
    given = Table({"id": [70, 7, 30], "x": first.x[pick] + 0.6, "y": first.y[pick] - 0.4})
    given.add_row((11, 100.0, 190.0))  # nothing there
    catalogue = reduce(folder, given, "pixel").fields[0].read_catalogue()
    assert catalogue["id"].tolist() == [7, 11, 30, 70]
    photometry = Results(folder / "pixel").photometry
    inside = []
    for number, star in zip([70, 7, 30], pick, strict=True):
        rows = photometry[photometry["source"] == number]
        light = np.array([e.electrons[star] for e in truth.exposures])
        inside.append((np.array(rows["flux"]) / light, np.array(rows["flux_err"]) / light))
    shares, errors = np.array(inside).transpose(1, 0, 2)
    assert np.abs((shares - np.median(shares)) / errors).max() < 5, (
        "each is its own star: one share of the light for all"
    )
    assert 0.9 < np.median(shares) < 1.0
    empty = photometry[photometry["source"] == 11]
    assert np.abs(np.array(empty["flux"]) / np.array(empty["flux_err"])).max() < 5, "forced where nothing was found"


def test_stars_by_celestial_coordinates_are_the_same_stars(night):
    folder, truth = night
    first = truth.exposures[0]
    pixel = reduce(folder, Table({"x": first.x[:4], "y": first.y[:4]}), "numbered").fields[0].read_catalogue()
    # The reference has the header of the example, so that its coordinates are off by what the field has drifted.
    results = Results(folder / "numbered")
    reference = next(e for e in truth.exposures if e.frame.path.endswith(results.fields[0].reference))
    ra, dec = SKY.all_pix2world(reference.x[:4], reference.y[:4], 0)
    sky = reduce(folder, Table({"ra": ra, "dec": dec}), "sky").fields[0].read_catalogue()
    assert pixel["id"].tolist() == sky["id"].tolist() == [1, 2, 3, 4]
    assert np.allclose(pixel["x"], sky["x"])


def test_stars_outside_and_stars_given_twice_are_told(night):
    folder, truth = night
    first = truth.exposures[0]
    x, y = [first.x[0], first.x[0] + 1.0, 900.0], [first.y[0], first.y[0], 50.0]
    results = reduce(folder, Table({"x": x, "y": y}), "odd")
    said = " ".join(results.summary["warnings"])
    assert "1 of the 3 stars of stars.ecsv lie outside" in said
    assert "1 of the 3 stars of stars.ecsv are stars that the list has already" in said


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table({"a": [1.0]}), "needs columns ra and dec, or x and y; it has a"),
        (Table({"x": [1.0, np.nan], "y": [1.0, 2.0]}), "has no x or y in row 2"),
        (Table({"id": [3, 3], "x": [1.0, 20.0], "y": [1.0, 2.0]}), "has the id 3 more than once"),
        (Table({"id": [0], "x": [1.0], "y": [1.0]}), "has the id 0 in row 1; ids are whole numbers from one"),
        (Table({"ra": [400.0], "dec": [1.0]}), "ra 400 and dec 1 in row 1; right ascensions go from 0 to 360"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_row(night, table, message):
    folder, _ = night
    with pytest.raises(RunError, match=re.escape(message)):
        reduce(folder, table, "wrong")


def test_a_list_that_is_not_there_is_a_problem_of_the_recipe(tmp_path):
    (tmp_path / "camera.toml").write_text(CAMERA)
    with pytest.raises(RecipeError, match=r"option 'file': there is no file .*stars\.ecsv"):
        Recipe.parse(RECIPE.replace('use = "pedestal"', 'use = "pedestal"\nlevel = 1'), tmp_path / "r.toml")
