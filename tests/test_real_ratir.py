"""The night of RATIR's camera C1 of 2013-07-16, from raw frames to light curves, by the recipe the camera brings.

The figures to agree with stand in the README of the frames; they are not part of this repository.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from albireo import Registry, Results

ZJ = {"110452", "110712", "110750", "110958", "111041"}
YH = {"110553", "110629", "110834", "110910", "111123"}
"""Frames of the two pointings of the visit, 5.4 arcmin apart, by the time in their names."""

MAD_TO_SIGMA = 1.4826

WHOLE = """
[recipe]
title = "Masters of whole frames"
[instrument]
use = "ratir"
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
kind = "dark"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "bias"
[[corrections]]
use = "dark"
[[corrections]]
use = "flat"
"""


def stamp(name: str) -> str:
    """Time of the day in the name of a frame."""
    return Path(name).name[9:15]


@pytest.fixture(scope="module")
def raw(data: Path) -> Path:
    folder = data / "ratir_c1"
    if not folder.is_dir():
        pytest.skip(f"there is no set ratir_c1 in {data}")
    return folder


@pytest.fixture(scope="module")
def results(raw: Path, reduce, tmp_path_factory) -> Results:
    """The night, reduced by the recipe to start from."""
    before = {path: path.read_bytes() for path in raw.rglob("*.fz")}
    folder = tmp_path_factory.mktemp("ratir")
    recipe = folder / "ratir.toml"
    recipe.write_text(Registry.discover().get("instrument", "ratir").cls.recipe(), encoding="utf-8")
    done = reduce(recipe, raw, folder / "run")
    assert done.code == 0, done.text
    assert {path: path.read_bytes() for path in raw.rglob("*.fz")} == before  # no header edited, nothing renamed
    return Results(folder / "run")


@pytest.fixture(scope="module")
def whole(raw: Path, reduce, tmp_path_factory) -> Results:
    """Masters of the whole chip, edges included."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = folder / "whole.toml"
    recipe.write_text(WHOLE, encoding="utf-8")
    done = reduce(recipe, raw, folder / "run")
    assert done.code == 0, done.text
    return Results(folder / "run")


def master(results: Results, kind: str):
    """The only master of a kind, its pixels and facts."""
    (found,) = [master for master in results.masters if master.kind == kind]
    return found, found.read().data


def test_flats_near_saturation_are_left_out_and_the_others_kept(results: Results) -> None:
    flats = results.frames[results.frames["kind"] == "flat"]
    dropped = {stamp(row["name"]): row["reason"] for row in flats if row["fate"] != "used"}
    assert set(dropped) == {"031009", "031309"}
    assert "100 % of saturation (16384)" in dropped["031009"]  # a limit of 16383 and "equal" would keep it
    assert "92.4 % of saturation" in dropped["031309"]
    assert len(flats) == 8


def test_masters_are_what_the_frames_are(results: Results, whole: Results) -> None:
    bias, pixels = master(results, "bias")
    assert len(bias.frames) == 8
    assert pixels.shape == (925, 985)
    assert np.nanmedian(pixels) == pytest.approx(640, abs=1)
    assert bias.meta["RDNOISE"] == pytest.approx(2.41, abs=0.05)
    dark, pixels = master(results, "dark")
    assert (len(dark.frames), dark.meta["EXPTIME"]) == (5, 80.0)
    assert dark.meta["CCD-TEMP"] == pytest.approx(-30.0, abs=0.1)
    assert np.nanmedian(pixels) == pytest.approx(8.5, abs=0.5)
    flat, pixels = master(results, "flat")
    assert (len(flat.frames), flat.meta["FILTER"]) == (6, "i")
    assert np.nanmedian(pixels) == pytest.approx(1.0, abs=1e-3)
    assert MAD_TO_SIGMA * np.nanmedian(np.abs(pixels - 1)) == pytest.approx(0.0116, abs=0.001)  # without the edges
    _, pixels = master(whole, "flat")
    assert pixels.shape == (1024, 1024)
    assert MAD_TO_SIGMA * np.nanmedian(np.abs(pixels - 1)) == pytest.approx(0.014, abs=0.001)
    assert np.nanpercentile(pixels, [1, 99]) == pytest.approx([0.946, 1.025], abs=0.003)
    _, pixels = master(whole, "dark")
    assert np.nanmedian(pixels) == pytest.approx(8.5, abs=0.5)
    assert np.nansum(pixels > 100) == pytest.approx(1355, rel=0.1)


def test_the_two_pointings_of_the_visit_are_two_fields(results: Results) -> None:
    science = results.frames[results.frames["kind"] == "science"]
    fields = {
        field: {stamp(row["name"]) for row in science if row["field"] == field} for field in set(science["field"])
    }
    assert sorted(fields.values(), key=min) == sorted((ZJ, YH), key=min)
    assert set(science["fate"]) == {"used"}
    references = {stamp(field.reference) for field in results.fields}
    aligned = science[[stamp(name) not in references for name in science["name"]]]
    assert len(aligned) == 8  # four of each field, onto a frame of its own
    assert aligned["matched"].min() >= 15
    assert aligned["align_rms"].max() < 0.4
    # Dithers of 10 arcsec were commanded; the telescope moved up to 175 pixels from frame to frame, and more in all.
    assert np.hypot(aligned["dx"], aligned["dy"]).max() < 260


def test_science_frames_look_as_they_were(results: Results) -> None:
    science = results.frames[results.frames["kind"] == "science"]
    assert set(science["masters"]) == {"bias-C1, dark-C1-80s, flat-C1-i"}
    assert science["sky"] / 4.66 == pytest.approx(np.full(10, 5.5), abs=0.4)  # adu
    assert science["sky_rms"] / 4.66 == pytest.approx(np.full(10, 2.8), abs=0.1)
    assert 3.3 < science["fwhm"].min() < science["fwhm"].max() < 4.7
    assert 1.27 < science["airmass"].min() < science["airmass"].max() < 1.30  # AIRMASS says 1.205
    assert len(set(science["exposure"])) == 10


def test_every_field_has_a_light_curve(results: Results) -> None:
    assert {len(curve) for curve in results.curves} == {5}
    stars = results.photometry
    assert np.isfinite(stars["flux"]).mean() > 0.8
    good = stars[np.isfinite(stars["flux"])]
    assert np.isfinite(good["flux_err"]).all()


def test_a_guess_from_the_pointing_finds_no_target(results: Results, raw: Path, reduce, tmp_path) -> None:
    """It is wrong by up to 2 arcmin: some other star would be measured in the target's name."""
    folder = shutil.copytree(results.folder, tmp_path / "run")
    recipe = tmp_path / "target.toml"
    table = '[[targets]]\nname = "P576-F"\nra = 313.197\ndec = 6.668\n'
    recipe.write_text(Registry.discover().get("instrument", "ratir").cls.recipe() + table, encoding="utf-8")
    done = reduce(recipe, raw, folder)
    assert done.code == 1
    assert "has no celestial coordinates to trust. Give x, y and frame as well." in done.text


def test_infrared_halves_of_another_pipeline_are_known_for_what_they_are(data: Path) -> None:
    folder = data / "ratir_ir"
    if not folder.is_dir():
        pytest.skip(f"there is no set ratir_ir in {data}")
    camera = Registry.discover().get("instrument", "ratir").cls()
    (y,) = camera.frames(folder / "20190904T021717C2f_Y.fits.fz")
    (h,) = camera.frames(folder / "20190904T021338C3f_H.fits.fz")
    assert [(f.detector, f.filter, f.kind, f.shape) for f in (y, h)] == [
        ("C2Y", "Y", "flat", (908, 1803)),
        ("C3H", "H", "flat", (843, 1936)),
    ]
    assert (y.gain, h.gain, y.exptime, y.saturation) == (1.1, 1.2, 10.0, 17999.0)
    pixels = camera.read(h).data
    assert np.median(pixels) == pytest.approx(5477, abs=1)
    assert (pixels.min(), int((pixels < 0).sum())) == (-1315, 574)
    assert (np.median(camera.read(y).data), camera.read(y).data.max()) == (4966, 17498)
    assert camera.wcs(y) is None  # that of their headers is of the whole array, at (0, 30)
