"""A simultaneous triplet of OPTICAM by the recipe that the camera brings: one exposure, one list of stars.

The figures to agree with stand in the README of the frames; they are not part of this repository. There are no flats,
so that the recipe is told to go without.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from albireo import Registry, Results, Transform

TARGET = """
[[targets]]
name = "star"
ra = "03:47:29.1"
dec = "+24:06:18"
x = 457.9
y = 112.2
frame = "get_last_c2.fit"
"""


@pytest.fixture(scope="module")
def raw(data: Path) -> Path:
    folder = data / "opticam"
    if not folder.is_dir():
        pytest.skip(f"there is no set opticam in {data}")
    return folder


def reduced(albireo, raw: Path, folder: Path, more: str = "") -> Results:
    text = Registry.discover().get("instrument", "opticam").cls.recipe()
    assert "# allow_missing" in text
    recipe = folder / "opticam.toml"
    recipe.write_text(text.replace("# allow_missing", "allow_missing") + more, encoding="utf-8")
    done = albireo("run", recipe, raw, "--out", folder / "run")
    assert done.code == 0, done.text
    return Results(folder / "run")


@pytest.fixture(scope="module")
def results(raw: Path, albireo, tmp_path_factory) -> Results:
    return reduced(albireo, raw, tmp_path_factory.mktemp("opticam"))


def places(results: Results, camera: str) -> dict[int, tuple[float, float]]:
    """Pixels of the stars that were detected on a camera, by number."""
    (field,) = (f for f in results.fields if f.detector == camera)
    table = field.read_catalogue()
    seen = table[np.isfinite(np.asarray(table["flux"]))]
    return {
        int(row["id"]): (float(x), float(y))
        for row, x, y in zip(seen, np.asarray(seen["x"]), np.asarray(seen["y"]), strict=True)
    }


def common(results: Results, one: str, other: str) -> tuple[Transform, NDArray[np.float64]]:
    """The affine map from one camera to the other by stars with the same number, and their distances from it."""
    here, there = places(results, one), places(results, other)
    stars = sorted(here.keys() & there.keys())
    first = np.array([(*here[star], 1.0) for star in stars])
    second = np.array([there[star] for star in stars])
    solution = np.linalg.lstsq(first, second, rcond=None)[0]
    return Transform(np.vstack([solution.T, (0.0, 0.0, 1.0)])), np.hypot(*(second - first @ solution).T)


def test_the_three_frames_are_used_and_belong_to_one_exposure(results: Results) -> None:
    frames = results.frames
    assert list(frames["detector"]) == ["C1", "C2", "C3"]
    assert set(frames["fate"]) == {"used"}
    assert set(frames["exposure"]) == {"231122-200143431"}
    assert list(frames["saturated"]) == [0, 0, 7]
    # The README has the background in adu, 185.5, 195.0 and 169.5; less the pedestal and 2 electrons of dark current.
    assert list(frames["sky"]) == pytest.approx([0.3 * (level - 100) - 2.0 for level in (185.5, 195, 169.5)], abs=1.5)


@pytest.mark.parametrize(
    ("one", "other", "least", "scale"), [("C2", "C1", 25, 1.065), ("C3", "C2", 40, 1.119), ("C3", "C1", 25, 1.192)]
)
def test_the_cameras_have_their_stars_in_common(
    results: Results, one: str, other: str, least: int, scale: float
) -> None:
    assert len({field.sky for field in results.fields}) == 1
    transform, distance = common(results, one, other)
    assert (distance < 2.0).sum() >= least
    assert np.median(distance) < 1.0
    assert transform.scale == pytest.approx(scale, abs=0.005)
    assert abs(transform.rotation) < 0.4
    assert not transform.mirrored


def test_placeholders_give_no_barycentric_time_but_a_request_for_coordinates(results: Results) -> None:
    assert np.isnan(np.asarray(results.photometry["bjd_tdb"], dtype=float)).all()
    assert {curve.meta["TIMESYS"] for curve in results.curves} == {"JD_UTC"}
    told = json.loads((results.folder / "run.json").read_text(encoding="utf-8"))
    assert any("give ra and dec of a target" in warning for warning in told["warnings"])
    assert any(note.startswith("ra, dec unknown: RA and DEC hold what stands there") for note in told["notes"])
    page = (results.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "give ra and dec" in page


def test_the_nominal_gain_is_replaced_and_the_noise_of_the_sky_is_the_expected_one(results: Results) -> None:
    frames = results.frames
    expected = np.sqrt(np.asarray(frames["sky"]) + 0.3944 * 5.0 + np.asarray(frames["read_noise"]) ** 2)
    assert np.asarray(frames["sky_rms"]) == pytest.approx(expected, rel=0.1)


def test_a_target_with_coordinates_has_barycentric_times_and_is_one_star_in_all_bands(
    raw: Path, albireo, tmp_path: Path
) -> None:
    results = reduced(albireo, raw, tmp_path, TARGET)
    stars = {int(row["id"]) for field in results.fields for row in field.read_catalogue() if row["name"] == "star"}
    assert len(stars) == 1
    rows = results.photometry[np.asarray(results.photometry["source"]) == stars.pop()]
    assert set(rows["detector"]) == {"C1", "C2", "C3"}
    assert np.isfinite(np.asarray(rows["flux"], dtype=float)).all()
    # TDB is 69.2 s ahead of UTC; near opposition light comes to the barycentre up to 499 s later than to the Earth.
    delay = (np.asarray(rows["bjd_tdb"], dtype=float) - 2400000.5 - np.asarray(rows["mjd"], dtype=float)) * 86400
    assert np.all((delay > 69) & (delay < 69.2 + 499))
    assert np.ptp(delay) < 1e-3
