"""The instrument that is a file: options, messages, and use without a recipe."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from albireo_fits import Fits, instruments

CAMERA = """
name = "backyard"
kinds = [{ kind = "flat", file = "*flat*" }, { kind = "science" }]
[frame]
exptime = "EXPOSURE"
start = "DATE-OBS"
gain = { value = 1.5 }
[example]
NAXIS1 = 30
NAXIS2 = 20
EXPOSURE = 10.0
DATE-OBS = "2024-01-02T03:04:05"
"""


@pytest.fixture
def definition(tmp_path):
    path = tmp_path / "backyard.toml"
    path.write_text(CAMERA)
    return path


@pytest.fixture
def frame_file(tmp_path):
    path = tmp_path / "m31.fits"
    cards = fits.Header({"EXPOSURE": 10.0, "DATE-OBS": "2024-01-02T03:04:05"})
    fits.PrimaryHDU(np.full((20, 30), 500, np.uint16), cards).writeto(path)
    return path


def test_the_plugin_offers_one_camera():
    assert [(camera.name, camera.summary()) for camera in instruments()] == [
        ("fits", "Any camera whose definition is a TOML file beside the recipe.")
    ]


def test_a_relative_definition_starts_at_the_folder_of_the_recipe(definition, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    stage = Fits.model_validate({"definition": "backyard.toml"}, context={"folder": tmp_path})
    assert stage.definition == definition
    with pytest.raises(ValidationError, match=r"the camera definition /backyard\.toml cannot be read: No such file"):
        Fits(definition="backyard.toml")
    monkeypatch.chdir(tmp_path)
    assert Fits(definition="backyard.toml").definition == definition


def test_what_is_wrong_with_the_definition_is_wrong_with_the_option(definition):
    definition.write_text(CAMERA.replace("exptime", "exptim"))
    with pytest.raises(ValidationError, match=r"frame\.exptim: there is no such key; did you mean 'exptime'\?"):
        Fits(definition=definition)


def test_a_configured_camera_travels_to_a_worker(definition, frame_file):
    stage = pickle.loads(pickle.dumps(Fits(definition=definition, gain=2.0)))
    (frame,) = stage.frames(frame_file)
    assert (frame.instrument, frame.kind, frame.exptime, frame.gain) == ("backyard", "science", 10.0, 2.0)
    assert frame.notes == ("gain 2 e-/adu from the recipe; the camera's definition says 1.5",)
    assert stage.read(frame).data.mean() == 500.0


def test_options_are_checked(definition):
    with pytest.raises(ValidationError, match="greater than 0"):
        Fits(definition=definition, gain=-1.0)


def test_frames_of_any_folder_have_absolute_paths(definition, frame_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (frame,) = Fits(definition=definition).frames(Path("m31.fits"))
    assert frame.path == str(frame_file)


def test_the_definition_in_the_readme_works(tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (text,) = (block for block in readme.split("```toml\n")[1:] if block.startswith('name = "mycam"'))
    path = tmp_path / "mycam.toml"
    path.write_text(text.partition("```")[0])
    example = Fits(definition=path).example()
    assert (example.kind, example.gain, example.exptime) == ("science", 1.4, 30.0)
    assert example.read_noise == 8.0
