"""The wheels hold what they must, and plain pip makes a working Albireo of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PARTS = sorted(p.parent for kind in ("core", "plugins/*", "instruments/*") for p in ROOT.glob(f"{kind}/pyproject.toml"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of all parts and of the metapackage."""
    folder = tmp_path_factory.mktemp("wheels")
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv is not None, "uv builds the wheels; run this with 'python -m uv run pytest -m slow'"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--all-packages", "--out-dir", folder], cwd=ROOT, check=True)
    return folder


def contents(wheels: Path, distribution: str) -> tuple[set[str], Message, str]:
    """Names in a wheel, its metadata, and its entry points."""
    module = distribution.replace("-", "_")
    with zipfile.ZipFile(wheels / f"{module}-{VERSION}-py3-none-any.whl") as archive:
        info = f"{module}-{VERSION}.dist-info"
        names = set(archive.namelist())
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        points = archive.read(f"{info}/entry_points.txt").decode() if f"{info}/entry_points.txt" in names else ""
    return names, metadata, points


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.name)
def test_a_wheel_holds_its_module_whole_and_nothing_else(wheels: Path, part: Path) -> None:
    project = tomllib.loads((part / "pyproject.toml").read_text())["project"]
    names, metadata, points = contents(wheels, project["name"])

    (package,) = (part / "src").glob("*")
    sources = {
        p.relative_to(part / "src").as_posix()
        for p in package.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts and p.suffix not in {".nbi", ".nbc"}
    }
    info = f"{project['name'].replace('-', '_')}-{VERSION}.dist-info"
    assert {name for name in names if not name.startswith(info)} == sources
    assert f"{package.name}/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names

    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"] == project["description"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    for name, module in project["entry-points"]["albireo"].items():
        assert f"{name} = {module}" in points


def test_the_metapackage_holds_no_code_and_requires_every_part(wheels: Path) -> None:
    names, metadata, _ = contents(wheels, "albireo")
    assert all(name.startswith(f"albireo-{VERSION}.dist-info/") for name in names)
    required = {text.partition("<")[0].partition(">")[0] for text in metadata.get_all("Requires-Dist") or []}
    assert required == {tomllib.loads((part / "pyproject.toml").read_text())["project"]["name"] for part in PARTS}


def test_plain_pip_makes_a_working_installation(wheels: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment["COLUMNS"] = "200"
    subprocess.run(
        [scripts / "python", "-m", "pip", "install", "--quiet", *sorted(wheels.glob("*.whl"))],
        env=environment,
        check=True,
    )
    subprocess.run([scripts / "python", "-m", "pip", "check"], env=environment, check=True)

    def albireo(*arguments: str) -> str:
        done = subprocess.run(
            [scripts / "albireo", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = albireo("plugins")
    for part in PARTS:
        name = tomllib.loads((part / "pyproject.toml").read_text())["project"]["name"]
        assert f"{name} {VERSION}" in listed
    albireo("init", "--instrument", "lmi")
    albireo("check", "lmi.toml")
    albireo("new", "photometer", "mine")
