"""``albireo demo`` simulates a night, reduces it, and finds what it put in."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from albireo import Registry, Results, Transform
from albireo.cli.comparison import Variable
from albireo.cli.demo import demo_recipe, simulate
from albireo.testing import Eye, Night, PlainCamera, Simulation, simulate_observation

MEMORY = 1500.0
"""Largest process of a demo in MiB."""

CAMERAS = ("opticam", "ratir", "rimas")
"""Cameras of several detectors."""

TWINS = '''
"""A stranger's camera with two detectors, of which one looks into a mirror, and no recipe of its own."""

from __future__ import annotations

from albireo import Transform, group_by_overlap, hookimpl
from albireo.testing import Eye, Night, PlainCamera, Simulation, Sine
from pydantic import Field


class Twins(PlainCamera, name="twins"):
    """Two chips behind a dichroic."""

    rows: int = Field(420, gt=0, description="Rows of a chip.", json_schema_extra={"unit": "pixel"})
    columns: int = Field(440, gt=0, description="Columns of a chip.", json_schema_extra={"unit": "pixel"})

    def examples(self):
        """One chip with r, one with i."""
        example = self.example()
        return (
            example.replace(detector="left", path="left.fits"),
            example.replace(detector="right", path="right.fits", filter="i", scale=0.45),
        )

    def frames(self, path):
        """Add the name of the chip, which is that of the folder."""
        return [frame.replace(detector=path.parent.name) for frame in super().frames(path)]

    def together(self, frames):
        """Frames that overlap in time were exposed at once."""
        return group_by_overlap(frames)

    def simulation(self):
        """The right chip sees the sky mirrored, turned, a little coarser and for a shorter time."""
        left, right = self.examples()
        eyes = (
            Eye(left, view=Transform.similarity(219.5, 209.5, 2.0, 1 / 0.40)),
            Eye(right, view=Transform.similarity(215.0, 212.0, 31.0, 1 / 0.45, mirrored=True), throughput=0.7,
                exptime=15.0),
        )
        night = Night(
            science=14, bias=5, flat=5, exptime=20.0, overhead=6.0, fwhm=Sine(0.1, 0.1, level=1.4), drift=(20.0, -9.0),
            jitter=0.3, sky=8.0,
        )
        return Simulation(eyes, night=night)


@hookimpl
def instruments():
    """Offer the camera."""
    yield Twins
'''


@pytest.fixture
def twins(tmp_path: Path) -> str:
    """Install the camera into a folder of its own; give the PYTHONPATH under which it is found."""
    (tmp_path / "albireo_twins.py").write_text(TWINS, encoding="utf-8")
    facts = tmp_path / "albireo_twins-0.3.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: albireo-twins\nVersion: 0.3\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[albireo]\ntwins = albireo_twins\n", encoding="utf-8")
    return os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_demo_finds_what_it_put_in(seed: int, albireo, tmp_path: Path) -> None:
    options = () if seed == 1 else ("--seed", seed)  # the first as a newcomer calls it
    done = albireo("demo", "--out", "demo", *options, cwd=tmp_path)
    assert done.code == 0, done.text
    for line in ("frames used", "position of stars", "flux / truth", "error bars", "scatter / photon limit"):
        assert line in done.out
    assert "amplitude of the variable" in done.out
    assert " off " not in done.out
    memory = re.search(r"(\d+) MiB in the largest process", done.out)
    assert memory is not None
    assert float(memory[1]) < MEMORY
    report = re.search(r"report: (\S+)", done.out)
    assert report is not None
    assert "<html" in (tmp_path / report[1]).read_text(encoding="utf-8")[:500]
    results = Results(tmp_path / "demo" / "run")
    assert results.summary["counts"] == {"used": 48 + 9 + 7, "dropped": 1}
    assert [curve.meta["OBJECT"] for curve in results.curves] == ["variable"]


def test_the_demo_of_a_camera_with_two_detectors_judges_both(twins: str, albireo, tmp_path: Path) -> None:
    done = albireo("demo", "--instrument", "twins", "--out", "demo", cwd=tmp_path, PYTHONPATH=twins)
    assert done.code == 0, done.text
    sections = re.split(r"(?m)^. (left r|right i|all detectors) ", done.out)
    assert sections[1::2] == ["left r", "right i", "all detectors"]
    for section in sections[2:6:2]:
        assert re.search(r"frames used +. 14 +. 14 ", section)
        assert "amplitude of the variable" in section
    common = re.search(r"same star, same number in all bands +. (\d+) +. (\d+) of \1 ", sections[6])
    assert common is not None
    assert int(common[2]) == int(common[1]) > 10
    assert " off " not in done.out


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_demo_of_a_camera_finds_what_it_put_in(camera: str, albireo, tmp_path: Path) -> None:
    if camera not in {entry.name for entry in Registry.discover().entries("instrument")}:
        pytest.skip(f"albireo-{camera} is not installed")
    done = albireo("demo", "--instrument", camera, "--out", "demo", cwd=tmp_path)
    assert done.code == 0, done.text
    assert " off " not in done.out
    assert "same star, same number in all bands" in done.out


class Dazzled(PlainCamera, name="dazzled"):
    """A camera on a sky that is too bright for it."""

    def simulation(self) -> Simulation:
        """Half an hour of daylight."""
        return Simulation((Eye(self.example()),), night=Night(exptime=60.0, sky=5e3))


def test_a_sky_that_leaves_no_room_for_stars_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^the sky alone fills the pixels of dazzled in 60 s; let the night expose for less$"
    ):
        simulate(Dazzled(), tmp_path, 1)
    assert not list(tmp_path.iterdir())


def test_the_general_recipe_is_made_to_fit_a_camera_without_bias_frames_and_overscan(tmp_path: Path) -> None:
    camera = PlainCamera(overscan=False)
    eye = Eye(camera.example(), view=Transform.similarity(119.5, 99.5, scale=2.5), calibrations=("flat",))
    night = Night(science=1, flat=1, fwhm=1.5)
    observed = simulate_observation(camera, tmp_path / "raw", Simulation((eye,), night=night))
    recipe = tomllib.loads(demo_recipe(camera, observed, Variable(0, 0.03, 0.2)))
    assert [table["use"] for table in recipe["corrections"]] == ["trim", "gain", "flat"]
    assert [table["kind"] for table in recipe["masters"]] == ["flat"]
    assert recipe["data"]["path"] == "raw"
    (target,) = recipe["targets"]
    assert (target["name"], target["frame"]) == ("variable", "science-0001.fits")
    assert (target["x"], target["y"]) == pytest.approx((119.5, 99.5), abs=0.05)


def test_the_recipe_of_the_demo_can_be_run_again(albireo, tmp_path: Path) -> None:
    assert albireo("demo", "--out", "demo", "--jobs", 1, cwd=tmp_path).code == 0
    done = albireo("run", "demo/demo.toml", "--out", "demo/run", "--jobs", 1, cwd=tmp_path)
    assert done.code == 0, done.text
    assert "nothing had changed" in done.out


def test_a_demo_leaves_a_folder_alone_that_is_none(albireo, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.tex").write_text("precious")
    done = albireo("demo", "--out", "thesis", cwd=tmp_path)
    assert done.code == 2
    assert "thesis exists and is no demo" in done.err
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter-1.tex"]
