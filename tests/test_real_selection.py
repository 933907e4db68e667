"""Selection on real nights, as their READMEs state which frames are bad; the frames are not part of this repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albireo import Results

RATIR = """
[recipe]
title = "Flats of RATIR C1"
[instrument]
use = "ratir"
[[select]]
use = "level"
kind = "flat"
max_saturated = 0.5
[[select]]
use = "level"
kind = "flat"
min = 0.1
max = 0.8
pedestal = "bias"
[[select]]
use = "best"
kind = "dark"
by = "temperature"
near = -30
number = 4
[[masters]]
use = "combine"
kind = "bias"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "bias"
[[corrections]]
use = "flat"
"""

QUALITY = """
[[select]]
use = "quality"
"""

MOON = {"0180", "0183", "0186", "0189", "0192"}
"""Frames of lowell42 after moonrise."""


def number(name: str) -> str:
    """Running number in the name of a frame of lowell42."""
    return Path(name).name[9:13]


@pytest.fixture(scope="module")
def ratir(data: Path, reduce, tmp_path_factory) -> Results:
    """The flats of RATIR's camera C1, selected by level above the bias."""
    raw = data / "ratir_c1"
    if not raw.is_dir():
        pytest.skip(f"there is no set ratir_c1 in {data}")
    folder = tmp_path_factory.mktemp("ratir-flats")
    (folder / "flats.toml").write_text(RATIR, encoding="utf-8")
    done = reduce(folder / "flats.toml", raw, folder / "run")
    assert done.code == 0, done.text
    return Results(folder / "run")


def test_two_of_eight_flats_are_too_bright_above_the_bias(ratir: Results) -> None:
    flats = ratir.frames[ratir.frames["kind"] == "flat"]
    dropped = {Path(row["name"]).name[9:15]: row["reason"] for row in flats if row["fate"] == "dropped"}
    assert set(dropped) == {"031009", "031309"}
    # 16384 is the largest value of the converter; a rule of "equal" to a level one off would let the frame pass.
    assert dropped["031009"] == ("100 % of its pixels are saturated (at or above 16384 adu); at most 50 % is allowed")
    # The README gives the median of the whole chip; its edges are darker than the pixels that count.
    level = float(dropped["031309"].removeprefix("median level ").split()[0])
    assert level == pytest.approx(15102 - 640, rel=0.005)
    assert dropped["031309"].endswith("% of saturation (15744); at most 80 % is allowed")
    assert set(flats["fate"][[name not in dropped for name in (Path(n).name[9:15] for n in flats["name"])]]) == {"used"}
    (master,) = [master for master in ratir.masters if master.kind == "flat"]
    assert len(master.frames) == 6


def test_darks_are_ranked_by_the_temperature_of_their_header(ratir: Results) -> None:
    darks = ratir.frames[ratir.frames["kind"] == "dark"]
    (out,) = [row for row in darks if row["fate"] == "dropped"]
    assert out["reason"].startswith("temperature -")
    assert out["reason"].endswith("number 5 of 5 by nearness to -30 deg C; the best 4 are kept")


@pytest.fixture(scope="module")
def judged(data: Path, examples: Path, reduce, tmp_path_factory):
    """Reduce lowell42 as the documentation says, then judge it by options; frames are reduced once."""
    raw = data / "lowell42"
    if not raw.is_dir():
        pytest.skip(f"there is no set lowell42 in {data}")
    folder = tmp_path_factory.mktemp("lowell42-judged")
    camera = (examples / "lowell42-camera.toml").read_text(encoding="utf-8")
    (folder / "lowell42-camera.toml").write_text(camera, encoding="utf-8")
    recipe = (examples / "lowell42.toml").read_text(encoding="utf-8").replace('[[reports]]\nuse = "html"\n', "")

    def judge(options: str) -> dict[str, str]:
        (folder / "night.toml").write_text(recipe + QUALITY + options, encoding="utf-8")
        done = reduce(folder / "night.toml", raw, folder / "run")
        assert done.code == 0, done.text
        table = Results(folder / "run").frames
        science = table[table["kind"] == "science"]
        assert len(science) == 23
        used = science[science["fate"] == "used"]
        assert set(Results(folder / "run").photometry["frame"]) == set(used["name"])
        return {number(row["name"]): str(row["reason"]) for row in science if row["fate"] != "used"}

    return judge


def test_the_frame_in_twilight_is_above_a_level_of_the_sky(judged) -> None:
    dropped = judged("max_sky = 20000\n")
    assert set(dropped) == {"0126"}
    sky = float(dropped["0126"].removeprefix("sky ").split()[0])
    assert sky == pytest.approx(7080 * 3.66, rel=0.03)


def test_moonlight_that_rises_slowly_makes_no_outlier_and_twilight_does(judged) -> None:
    dropped = judged("outliers = 5\n")
    assert "0126" in dropped
    assert set(dropped) <= {"0126", "0129"}  # twilight lasts into the second frame
    assert not MOON & set(dropped)
    against_the_median = judged('outliers = 5\noutliers_of = ["sky"]\nneighbours = 0\n')
    assert set(against_the_median) >= MOON


def test_the_best_are_those_of_the_dark_hours_and_sharp_stars(judged) -> None:
    dropped = judged("best_fraction = 0.5\n")
    assert len(dropped) == 11
    assert MOON | {"0126"} <= set(dropped)
    # Six hours from airmass 1.0 to 1.95 through air that was steady at first.
    kept = [int(f"{n:04d}") for n in range(126, 193, 3) if f"{n:04d}" not in dropped]
    assert np.median(kept) < 159
