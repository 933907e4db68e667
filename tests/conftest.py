"""What tests of whole runs share: a small simulated night, real nights, and the command ``albireo``.

Raw frames of a session are shared by its tests and only read; a test that changes files works on links or copies.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from albireo import Registry
from albireo.cli import main
from albireo.testing import Night, Scene, Sine, Truth, simulate_night

# Where tests are started in the background an interrupt is ignored, and so it would be in the commands they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = 6
"""Which star of the shared night varies, in order of brightness."""

RECIPE = """
[recipe]
title = "A simulated night"
[instrument]
use = "lmi"
[[select]]
use = "level"
kind = "flat"
min = 0.1
max = 0.8
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
use = "aperture"
radius = [4, 6]
annulus = [14, 24]
[[curves]]
use = "differential"
[executor]
use = "processes"
"""
TARGET = """
[[targets]]
name = "{name}"
x = {x:.2f}
y = {y:.2f}
frame = "{frame}"
"""


TROUBLE = '''
"""A stranger's plugin with stages that fail on purpose."""

from __future__ import annotations

import os
import signal
from typing import Literal

from pydantic import Field

from albireo import CurveStep, Photometer, hookimpl


class Trouble(Photometer, name="trouble"):
    """Measure nothing, and fail on frames whose sky is within bounds."""

    needs = frozenset({"background"})
    low: float = Field(0.0, description="Lowest sky of a frame to fail on.", json_schema_extra={"unit": "electron"})
    high: float = Field(0.0, description="Highest sky of a frame to fail on.", json_schema_extra={"unit": "electron"})
    action: Literal["kill", "exit", "divide", "open", "columns"] = Field("divide", description="How to fail.")

    def measure(self, image, sources, sky, psf):
        """Give NaN, or fail."""
        import numpy as np

        nothing = np.full(len(sources), np.nan)
        flags = np.full(len(sources), 1024, dtype=np.uint16)
        if self.low <= sky.median < self.high:
            if self.action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.action == "exit":
                os._exit(3)
            elif self.action == "divide":
                1 / 0
            elif self.action == "open":
                open("/nowhere/model.dat")
            return {"id": sources.id, "flux": nothing}
        return {"id": sources.id, "flux": nothing, "flux_err": nothing, "flags": flags}


class Killer(CurveStep, name="killer"):
    """End the run while it writes its tables."""

    def apply(self, curves):
        """Kill this process."""
        os.kill(os.getpid(), signal.SIGKILL)
        return curves


@hookimpl
def run_started(plan):
    """Fail where a test asks for it."""
    if "ALBIREO_TEST_EVENTS" in os.environ:
        raise RuntimeError("the telegraph is down")


@hookimpl
def frame_finished(frame, stage, error):
    """Fail where a test asks for it."""
    if "ALBIREO_TEST_EVENTS" in os.environ:
        raise RuntimeError("the telegraph is down")


@hookimpl
def photometers():
    """Offer the photometer."""
    yield Trouble


@hookimpl
def curve_steps():
    """Offer the step."""
    yield Killer
'''


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything a person saw."""
        return self.out + self.err


Command = Callable[..., Done]


@dataclass(frozen=True)
class SharedNight:
    """Raw frames with a known truth, and a recipe for them without ``[data]``."""

    raw: Path
    truth: Truth
    recipe: str

    def write(self, folder: Path, *extra: str, instead_of: tuple[str, str] = ("", "")) -> Path:
        """Write the recipe, with tables more, or with one text in place of another."""
        old, new = instead_of
        assert old in self.recipe
        path = folder / "night.toml"
        path.write_text((self.recipe.replace(old, new) if old else self.recipe) + "\n".join(extra), encoding="utf-8")
        return path

    def linked(self, folder: Path, without: tuple[str, ...] = ()) -> Path:
        """Put links to the raw frames into a folder of its own, so that frames can come and go."""
        raw = folder / "raw"
        raw.mkdir()
        for path in self.raw.iterdir():
            if path.name not in without:
                os.link(path, raw / path.name)
        return raw


def target(truth: Truth, star: int, name: str) -> str:
    """Write a ``[[targets]]`` table that points at a star in the raw pixels of the first frame."""
    first, window = truth.exposures[0], truth.detector.window
    return TARGET.format(
        name=name, x=first.x[star] + window.x0, y=first.y[star] + window.y0, frame=Path(first.frame.path).name
    )


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def command() -> Command:
    """Run a command in this process: quick, and all that is needed where nothing kills it."""

    def run(*arguments: object) -> Done:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main([str(a) for a in arguments])
            except SystemExit as stop:
                code = int(stop.code or 0)
        return Done(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def reduce(command: Command) -> Command:
    """Run a recipe in this process with one worker: recipe, data, run folder, and options."""

    def run(recipe: Path, data: Path, out: Path, *options: object) -> Done:
        jobs = () if "--jobs" in options else ("--jobs", 1)
        return command("run", recipe, data, "--out", out, *jobs, *options)

    return run


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a person's shell, with the command of this installation on the path."""
    scripts = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def albireo(environment: dict[str, str]) -> Command:
    """Run the command as a person does, in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None, **variables: str) -> Done:
        done = subprocess.run(
            ["albireo", *map(str, arguments)],
            cwd=cwd,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedNight]:
    """Eight exposures of forty stars with a subarray of LMI, three bias frames, three flats.

    The sky grows by ten electrons a frame, so that a stage can tell frames apart.
    """
    camera = Registry.discover().get("instrument", "lmi").cls()
    shape = camera.example().amplifiers[0].data.shape
    scene = Scene.field(
        shape, 40, 8e3, 1.5e2, separation=50.0, margin=60.0, variables={VARIABLE: Sine(0.05, 0.06)}, seed=11
    )
    plan = Night(
        science=8,
        bias=3,
        flat=3,
        exptime=20.0,
        overhead=10.0,
        drift=(90.0, -60.0),
        jitter=0.5,
        rotation=Sine(1.0, 0.3, level=0.1),
        sky=lambda hours: 8.0 + 60.0 * hours,
    )
    raw = tmp_path_factory.mktemp("night") / "raw"
    truth = simulate_night(camera, raw, scene, plan, seed=11)
    before = digests(raw)
    yield SharedNight(raw, truth, RECIPE + target(truth, VARIABLE, "variable"))
    assert digests(raw) == before, "a run changed raw frames"


@pytest.fixture(scope="session")
def undisturbed(night: SharedNight, reduce: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the shared night, reduced without any trouble; only to be read."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = reduce(night.write(folder), night.raw, folder / "run")
    assert done.code == 0, done.text
    return folder / "run"


@pytest.fixture(scope="session")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Install a stranger's plugin into a folder of its own; give the PYTHONPATH under which it is found."""
    site = tmp_path_factory.mktemp("site")
    (site / "albireo_trouble.py").write_text(TROUBLE, encoding="utf-8")
    facts = site / "albireo_trouble-0.3.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: albireo-trouble\nVersion: 0.3\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[albireo]\ntrouble = albireo_trouble\n", encoding="utf-8")
    return os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))


@pytest.fixture(scope="session")
def tables() -> Callable[[Path], dict[str, str]]:
    """Digest every table and master of a run folder: what must not depend on how a run went, to the last byte."""

    def read(folder: Path) -> dict[str, str]:
        apart = ("products/", "report/", "reference/", "run.", ".", "index.")
        found = {name: digest for name, digest in digests(folder).items() if not name.startswith(apart)}
        assert {"frames.ecsv", "photometry.fits", "stars.ecsv"} <= found.keys()
        return found

    return read


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real frames."""
    folder = Path(os.environ.get("ALBIREO_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"there are no real frames in {folder}; say where they are with ALBIREO_DATA")
    return folder


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the worked examples."""
    return ROOT / "docs" / "examples"
