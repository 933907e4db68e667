"""A stranger's package, written by ``albireo new`` and installed like any other, takes part in everything."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from astropy.table import Table

from albireo import ROLES, DeclarativeInstrument, Recipe, Registry
from albireo.scaffold import ScaffoldError, init, new
from albireo.testing import Night, conformance, simulate_night

RECIPE = """
[data]
path = "raw"
[instrument]
use = "far-camera"
[[masters]]
use = "combine"
kind = "bias"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "overscan"
[[corrections]]
use = "trim"
[[corrections]]
use = "bias"
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[background]
use = "mesh"
[finding]
use = "sep"
[alignment]
use = "astroalign"
[[photometry]]
use = "quick-look"
[executor]
use = "serial"
"""


def install(package: Path, target: Path) -> None:
    """Install a package into a folder, with whichever installer made the environment of these tests."""
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "install"]
    else:
        uv = os.environ.get("UV") or shutil.which("uv")
        assert uv is not None, "neither pip nor uv can be found"
        command = [uv, "pip", "install", "--python", sys.executable]
    subprocess.run(
        [*command, "--quiet", "--no-deps", "--target", target, package], check=True, stdin=subprocess.DEVNULL
    )


class Stranger:
    """A working folder with two packages of strangers on the path, and what to run there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.target = folder, folder / "site"
        scripts = Path(sys.executable).parent
        self.environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    made = Stranger(tmp_path_factory.mktemp("stranger"))
    made.run("albireo", "new", "photometer", "quick-look")
    made.run("albireo", "new", "instrument", "far-camera")
    for package in ("albireo-quick-look", "albireo-far-camera"):
        install(made.folder / package, made.target)
    made.environment["PYTHONPATH"] = str(made.target)
    return made


@pytest.mark.parametrize(("role", "name"), [("photometer", "quick-look"), ("instrument", "far-camera")])
def test_a_new_package_is_found_and_described(stranger: Stranger, role: str, name: str) -> None:
    assert f"albireo-{name} 0.1.0" in stranger.run("albireo", "plugins")
    assert name in stranger.run("albireo", "describe", role, name)


@pytest.mark.parametrize("name", ["quick-look", "far-camera"])
def test_a_new_package_passes_the_tests_it_came_with(stranger: Stranger, name: str) -> None:
    report = stranger.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"albireo-{name}")
    assert " passed" in report


def test_new_packages_are_run_by_a_recipe(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(stranger.target))
    camera = importlib.import_module("albireo_far_camera").FarCamera()
    truth = simulate_night(camera, stranger.folder / "raw", night=Night(science=4, bias=4, flat=4), seed=7)
    (stranger.folder / "night.toml").write_text(RECIPE)

    stranger.run("albireo", "check", "night.toml")
    stranger.run("albireo", "run", "night.toml", "--out", "results")

    frames = Table.read(stranger.folder / "results" / "frames.ecsv")
    assert set(frames["instrument"]) == {"far-camera"}
    assert set(frames["fate"]) == {"used"}
    assert len(frames) == len(truth.frames)
    photometry = Table.read(stranger.folder / "results" / "photometry.fits")
    assert set(photometry["method"]) == {"quick-look"}
    assert len(set(photometry["frame"])) == 4


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to write packages into, whose modules are forgotten afterwards."""
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("albireo_my_"):
            del sys.modules[name]


@pytest.mark.parametrize("role", ROLES)
def test_the_start_that_every_role_gives_passes_the_conformance_kit(
    role: str, imported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, *_ = new(role, f"my-{role}", imported)
    monkeypatch.syspath_prepend(str(module.parents[1]))
    monkeypatch.setenv("PYTHONPATH", str(module.parents[1]))  # some checks start an interpreter of their own
    plugin = importlib.import_module(module.parent.name)
    (cls,) = getattr(plugin, ROLES[role].hook)()
    assert cls.name == f"my-{role}"
    cases = list(conformance.cases(cls(kind="bias") if role == "master" else cls()))
    assert cases
    failed = [result for result in (case.result() for case in cases) if result.status in ("failed", "warned")]
    assert failed == []


@pytest.mark.parametrize("name", ["none", "photometer", "flag", "np", "variance-of"])
def test_a_name_that_means_something_else_makes_a_class_of_another_name(name: str, tmp_path: Path) -> None:
    module, *_ = new("photometer", name, tmp_path)
    source = module.read_text()
    compile(source, str(module), "exec")
    assert f'(Photometer, name="{name}"):' in source


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    taken = tmp_path / "albireo-mine"
    taken.mkdir()
    (taken / "notes.txt").write_text("keep")
    with pytest.raises(ScaffoldError) as caught:
        new("photometer", "mine", tmp_path)
    assert str(caught.value) == f"{taken} exists already; nothing was written. Choose another name or another folder"
    assert [p.name for p in taken.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("role", "name", "message"),
    [
        (
            "telescope",
            "mine",
            "there is no role 'telescope'; roles are instrument, selector, master, correction, background, finder, "
            "psf, aligner, stacker, photometer, curve-step, report, executor",
        ),
        (
            "photometer",
            "My_Method",
            "'My_Method' is not a name for a plugin; use small letters and digits, begin with a letter, and join words "
            "by single hyphens, such as 'my-method'",
        ),
        (
            "photometer",
            "albireo-mine",
            "give the name without its prefix: 'mine' becomes the package albireo-mine",
        ),
        (
            "photometer",
            "aperture",
            "a package with the module albireo_aperture is installed already; choose another name",
        ),
    ],
)
def test_a_name_that_will_not_do_is_refused_before_anything_is_written(
    role: str, name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ScaffoldError) as caught:
        new(role, name, tmp_path)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [entry.name for entry in Registry.discover().entries("instrument")])
def test_every_camera_gives_a_recipe_to_start_from(name: str, tmp_path: Path) -> None:
    cls = Registry.discover().get("instrument", name).cls
    text = init(cls)
    if name == "fits":  # the one camera that has to be told something first
        module, *_ = new("instrument", "mine", tmp_path)
        text = text.replace('definition = ""', f'definition = "{(module.parent / "mine.toml").as_posix()}"')
    recipe = Recipe.parse(text)
    assert recipe.instrument.name == name
    assert recipe.warnings == []


def test_a_camera_without_a_recipe_of_its_own_gets_the_general_one() -> None:
    class Plain(DeclarativeInstrument, name="plain"):
        """A camera."""

        definition = "plain.toml"

    text = init(Plain)
    assert 'use = "plain"' in text
    assert tomllib.loads(text)["photometry"] == [{"use": "aperture"}]
