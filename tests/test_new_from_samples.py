"""``albireo new instrument NAME --from SAMPLES`` writes a camera that understands its samples and keeps the contract.

Real frames are looked at where they are present; what they must give stands in the README of the frames.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from albireo import DeclarativeInstrument, load_definition
from albireo.scaffold import new_camera
from albireo.survey import Survey, survey
from albireo.testing import Night, PlainCamera, Scene, simulate_night
from albireo.testing.detector import Camera


def imported(package: Path, monkeypatch: pytest.MonkeyPatch) -> DeclarativeInstrument:
    """The camera of a package, found by Albireo as if it were installed."""
    name = package.name.removeprefix("albireo-")
    module = f"albireo_{name.replace('-', '_')}"
    site = package / "src"
    facts = site / f"{module}-0.1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: 0.1.0\n")
    (facts / "entry_points.txt").write_text(f"[albireo]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)  # some checks start an interpreter of their own
    monkeypatch.delitem(sys.modules, module, raising=False)
    (cls,) = importlib.import_module(module).instruments()
    return cls


def understood(found: Survey, camera: DeclarativeInstrument) -> None:
    """Every sample is a frame of the camera, of the kind that the survey said."""
    seen = {}
    for sample in found.samples:
        for frame in camera.frames(sample.path):
            seen[sample.name] = frame.kind
    assert seen == found.kinds.kinds


def made(found: Survey, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **constants: float):
    paths = new_camera(name, found, folder)
    load_definition(paths[0])
    return imported(folder / f"albireo-{name}", monkeypatch)(**constants)


def certified(package: Path) -> None:
    """The tests that came with the package pass, the conformance kit among them."""
    report = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", package / "tests"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stdout
    assert " passed" in report.stdout


# --- a simulated camera -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """A night of a camera whose true gain, noise and sections are known."""
    folder = tmp_path_factory.mktemp("plain") / "samples"
    scene = Scene.field((200, 240), 25, 2e5, 2e3, seed=4)
    night = Night(science=4, bias=5, dark=3, flat=5, exptime=60.0, flat_level=0.5)
    simulate_night(PlainCamera(), folder, scene, night, Camera(dark=2.0, bias_structure=1.0, hot=0.0), seed=2)
    return folder


def test_the_command_writes_a_camera_that_understands_its_samples(samples, tmp_path, monkeypatch, albireo):
    done = albireo("new", "instrument", "found-again", "--from", samples, "--out", tmp_path)
    assert done.code == 0, done.text
    package = tmp_path / "albireo-found-again"
    assert re.search(r"^gain +GAIN1, 1.6 e-/adu", done.text, re.MULTILINE)
    assert re.search(r"^overscan +BSEC1, here \[241:256,1:200\]", done.text, re.MULTILINE)
    definition = package / "src" / "albireo_found_again" / "found-again.toml"
    assert f"albireo inspect {samples} --definition {definition}" in done.text

    camera = imported(package, monkeypatch)()
    understood(survey(samples), camera)
    (frame,) = camera.frames(samples / "science-0001.fits")
    assert frame.amplifiers[0].data.to_fits() == "[1:240,1:200]"
    assert (frame.filter, frame.exptime, frame.target) == ("r", 60.0, "M 67")
    certified(package)
    shown = albireo("inspect", samples, "--definition", definition)
    assert shown.code == 0
    kinds = Counter(line.split()[0] for line in shown.text.splitlines() if line)
    assert all(kinds[kind] == 1 for kind in ("bias", "dark", "flat", "science"))


def test_the_readme_has_every_finding(samples, tmp_path):
    found = survey(samples)
    new_camera("told-all", found, tmp_path)
    readme = (tmp_path / "albireo-told-all" / "README.md").read_text()
    for finding in found.findings:
        assert f"| {finding.quantity} | " in readme
    assert readme.startswith("# albireo-told-all\n")


def test_a_measured_gain_stands_in_the_definition_with_its_source(samples, tmp_path):
    found = survey(samples)
    definition, *_ = new_camera("sourced", found, tmp_path)
    text = definition.read_text()
    # The header of a simulated camera is right, so that it is used, and its keyword is written.
    assert 'gain = "GAIN1"' in text
    assert "# Gain: GAIN1, 1.6 e-/adu (measured: photon transfer from " in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["photometer", "mine", "--from", "."],
            "--from makes an instrument from sample files; a photometer is made without it",
        ),
        (["instrument", "Mine", "--from", "."], "'Mine' is not a name for a plugin"),
        (["instrument", "mine", "--from", "nowhere"], "nowhere does not exist; give the folder with the sample files"),
        (["instrument", "mine", "--from", "."], "there are no FITS images below ."),
    ],
)
def test_a_bad_call_writes_nothing_and_says_why(arguments, message, tmp_path, monkeypatch, albireo):
    monkeypatch.chdir(tmp_path)
    done = albireo("new", *arguments)
    assert done.code == 2
    assert message in done.text
    assert list(tmp_path.iterdir()) == []


# --- real cameras -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def surveyed(data):
    known: dict[str, Survey] = {}

    def look(name: str) -> Survey:
        if not (data / name).is_dir():
            pytest.skip(f"there is no set {name} in {data}")
        if name not in known:
            known[name] = survey(data / name)
        return known[name]

    return look


def measured(found: Survey, quantity: str) -> tuple[float, float]:
    value, error = found[quantity].value.split(" adu")[0].split(" e-")[0].split(" +- ")
    return float(value), float(error)


def test_the_lowell_frames_contradict_their_header(surveyed, tmp_path, monkeypatch):
    found = surveyed("lowell42")
    gain, error = measured(found, "gain")
    assert gain == pytest.approx(3.66, abs=0.05)
    assert 0 < error < 0.02
    assert found["gain"].rule["keyword"] == "AGAIN_01"
    assert re.fullmatch(
        r"photon transfer from 5 flat pairs: 3\.6\d+ \+- 0\.\d+; the header says 4\.95", found["gain"].rule["source"]
    )
    assert measured(found, "read_noise")[0] == pytest.approx(1.18, abs=0.03)
    assert found["read_noise"].rule["value"] == pytest.approx(4.3, abs=0.1)
    assert measured(found, "bias level")[0] == pytest.approx(1626, abs=1)
    assert found["saturation"].rule["value"] == 65535
    assert (found["trim"].rule, found["overscan"].rule) == ("TRIMSEC", "BIASSEC")
    assert found["start"].rule == {"keyword": "DATE-OBS", "time": "UTCSTART"}
    assert found["mid"].rule == {"keyword": "MIDTIMJD", "format": "jd"}
    assert found["filter"].rule == "FILTNAME"
    assert found["scale"].rule["value"] * 3 == pytest.approx(1.1074, abs=0.001)
    understood(found, made(found, "hall-again", tmp_path, monkeypatch))


def test_the_ratir_frames_are_told_by_their_names(surveyed, tmp_path, monkeypatch):
    found = surveyed("ratir_c1")
    assert found["kind"].how == "by the last letter of the name of the file"
    assert found["kind"].value == "10 science, 8 bias, 8 flat, 5 dark"
    assert measured(found, "gain")[0] == pytest.approx(4.69, abs=0.1)
    assert measured(found, "read_noise")[0] == pytest.approx(2.41, abs=0.05)
    assert found["saturation"].rule["value"] == 16384
    assert float(re.search(r"([\d.]+) adu in 80 s", found["dark current"].how)[1]) == pytest.approx(8.5, abs=0.5)
    left_out = " ".join(found["gain"].others)
    assert "T031009C1f.fits.fz: saturated" in left_out
    assert "T031309C1f.fits.fz: close to saturation" in left_out
    assert found["airmass"].rule == "STROBAM"
    assert any(re.match(r"AIRMASS: .*634.* to 890.* in 21 files", text) for text in found["airmass"].others)
    assert found["pointing"].rule == {"ra": "STRSTRA", "dec": "STRSTDE"}
    assert (found["trim"].rule, found["overscan"].rule) == (None, None)
    understood(found, made(found, "ratir-again", tmp_path, monkeypatch))
    certified(tmp_path / "albireo-ratir-again")


def test_what_science_frames_alone_do_not_tell_is_said(surveyed, tmp_path, monkeypatch):
    found = surveyed("hatp32")
    assert found["start"].rule == "UT-OBS"
    assert "DATE-OBS: local time; with its offset the same" in found["start"].others
    assert found["airmass"].rule == {"keyword": "TELALT", "unit": "altitude"}
    assert found["site"].rule["longitude"] == {"keyword": "LONGITUD", "unit": "west"}
    assert found["saturation"].rule["value"] == 4095
    assert "how bias, dark and flat are told is unknown: give it" in found["kind"].value
    assert {"gain", "read_noise", "bias level"} <= {finding.quantity for finding in found.unknown}
    package = tmp_path / "albireo-micro-again"
    camera = made(found, "micro-again", tmp_path, monkeypatch, gain=1.0, read_noise=5.0)
    understood(found, camera)
    certified(package)
    definition = (package / "src" / "albireo_micro_again" / "micro-again.toml").read_text()
    assert "# gain =   # unknown: give it, in e-/adu\n" in definition
    recipe = (package / "src" / "albireo_micro_again" / "recipe.toml").read_text()
    assert 'use = "pedestal"' in recipe
    assert "[[masters]]" not in recipe
    test = (package / "tests" / "test_albireo_micro_again.py").read_text()
    assert "CAMERA = MicroAgain(gain=1.0, read_noise=5.0)\n" in test


def test_three_cameras_in_one_folder_are_told_apart(surveyed, tmp_path, monkeypatch):
    found = surveyed("opticam")
    assert found["start"].rule == "UT"
    assert found["setup"].rule["chip"] == "SERIALN"
    assert "RA, DEC: a placeholder, RA is 0 in all files" in found["pointing"].others
    assert found["gain"].how == "1 looks like a placeholder; not tested: no flats"
    assert "but the brightest pixel has 37566 adu" in found["saturation"].how
    camera = made(found, "three-again", tmp_path, monkeypatch, read_noise=1.5)
    understood(found, camera)


def test_four_amplifiers_are_put_together(surveyed, tmp_path, monkeypatch):
    found = surveyed("lco_mef")
    assert found["amplifiers"].rule["place"] == "DETSEC"
    levels = [float(found[f"bias level, HDU {hdu}"].value.split()[0]) for hdu in (1, 2, 3, 4)]
    assert levels == pytest.approx([2522, 2560, 2553, 2582], abs=1)
    camera = made(found, "four-again", tmp_path, monkeypatch)
    understood(found, camera)
