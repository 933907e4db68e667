"""The diameter of the telescope: from the camera, from a header, from a recipe; and where a person sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import Frame, Registry

CAMERA = """
name = "backyard"
kinds = [{ kind = "science", when = { IMAGETYP = "light" } }]
[frame]
exptime = "EXPTIME"
start = "DATE-OBS"
gain = 1.0
read_noise = 5.0
[site]
longitude = 18.5
latitude = 47.9
height = 940
[telescope]
diameter = "MIRROR"
[example]
NAXIS1 = 40
NAXIS2 = 30
IMAGETYP = "light"
EXPTIME = 10.0
MIRROR = 0.203
APTDIA = 203.0
DATE-OBS = "2024-03-01T20:00:00"
"""


def camera(name: str, **options: object):
    return Registry.discover().get("instrument", name).cls(**options)


@pytest.mark.parametrize(("name", "diameter"), [("lmi", 4.3), ("rimas", 4.3), ("ratir", 1.5), ("opticam", 2.1)])
def test_cameras_know_their_telescopes_and_a_recipe_may_know_better(name: str, diameter: float) -> None:
    assert {frame.diameter for frame in camera(name).examples()} == {diameter}
    assert {frame.diameter for frame in camera(name, diameter=3.8).examples()} == {3.8}


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    path = tmp_path / "camera.toml"
    path.write_text(CAMERA)
    return path


def test_a_header_may_tell_the_diameter_in_millimetres(definition: Path) -> None:
    definition.write_text(CAMERA.replace('"MIRROR"', '{ value = "APTDIA / 1000" }'))
    assert camera("fits", definition=str(definition)).example().diameter == pytest.approx(0.203)


def test_the_diameter_of_a_header_is_written_and_read_back(definition: Path, tmp_path: Path) -> None:
    mine = camera("fits", definition=str(definition))
    example = mine.example()
    assert example.diameter == pytest.approx(0.203)
    header = mine.header(example.replace(diameter=0.4))
    fits.writeto(tmp_path / "light-0001.fits", np.zeros((30, 40), dtype=np.uint16), header)
    (frame,) = mine.frames(tmp_path / "light-0001.fits")
    assert frame.diameter == pytest.approx(0.4)
    assert Frame.from_dict(frame.to_dict()) == frame


def test_without_a_telescope_the_diameter_is_not_known(definition: Path) -> None:
    definition.write_text(CAMERA.replace('[telescope]\ndiameter = "MIRROR"\n', ""))
    assert np.isnan(camera("fits", definition=str(definition)).example().diameter)


def test_inspect_shows_it_beside_the_site(command, definition: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    mine = camera("fits", definition=str(definition))
    fits.writeto(folder / "light-0001.fits", np.zeros((30, 40), dtype=np.uint16), mine.header(mine.example()))
    done = command("inspect", folder, "--definition", definition)
    assert "site 47.9000 N, 18.5000 E, 940 m; telescope of 0.203 m" in done.out
