"""A night without bias frames: darks that hold their bias serve flats and science frames of any exposure time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from albireo import read_image, variance_of

SHAPE = (128, 120)
GAIN, READ_NOISE, SKY = 1.5, 6.0, 900.0
FLATS, SCIENCE, DARKS = (3.0, 6.0, 6.0, 12.0, 12.0), 20.0, (2.0, 10.0, 40.0)

CAMERA = """
name = "backyard"
kinds = [
    { kind = "dark", when = { IMAGETYP = "Dark Frame" } },
    { kind = "flat", when = { IMAGETYP = "Flat Field" } },
    { kind = "science", when = { IMAGETYP = "Light Frame" } },
]
[identity]
INSTRUME = "Backyard"
[frame]
filter = "FILTER"
target = "OBJECT"
exptime = "EXPTIME"
start = "DATE-OBS"
gain = { value = 1.5, source = "measured" }
read_noise = { value = 6.0, source = "measured" }
saturation = { value = 65000, source = "measured" }
[example]
NAXIS1 = 120
NAXIS2 = 128
INSTRUME = "Backyard"
IMAGETYP = "Light Frame"
FILTER = "R"
OBJECT = "sky"
EXPTIME = 20.0
DATE-OBS = "2024-03-01T20:00:00.000"
"""

RECIPE = """
[instrument]
use = "fits"
definition = "camera.toml"
[[masters]]
use = "BUILDER"
kind = "dark"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "raw-dark"
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[output]
reduced = true
[executor]
use = "processes"
"""


def response() -> np.ndarray:
    """Vignetting of 20 % along x, where columns that are scaled by themselves lose it."""
    across = np.linspace(-1.0, 1.0, SHAPE[1])
    return np.broadcast_to(1.0 - 0.2 * across**2, SHAPE)


def write_night(folder: Path, darks: tuple[float, ...]) -> Path:
    """Write five darks of each exposure time, flats of about one level, and four frames of an even sky."""
    rng = np.random.default_rng(7)
    raw = folder / "raw"
    raw.mkdir()
    bias = 300.0 + 3.0 * rng.standard_normal(SHAPE)
    rate = rng.gamma(2.0, 1.0, SHAPE)  # electrons per second
    # Twilight flats of differing time and one level; the sky of the science frames is the same.
    shots = [("Dark Frame", time, 0.0) for time in darks for _ in range(5)]
    shots += [("Flat Field", time, 30000.0) for time in FLATS]
    shots += [("Light Frame", SCIENCE, SKY)] * 4
    for number, (kind, time, light) in enumerate(shots):
        electrons = rng.poisson(light * response() + rate * time)
        counts = bias + (electrons + READ_NOISE * rng.standard_normal(SHAPE)) / GAIN
        cards = fits.Header({"IMAGETYP": kind, "INSTRUME": "Backyard", "EXPTIME": time, "FILTER": "R", "OBJECT": "sky"})
        cards["DATE-OBS"] = f"2024-03-01T20:{number:02d}:00.000"
        name = f"{kind.split()[0].lower()}-{number:03d}.fits"
        fits.PrimaryHDU(counts.round().astype(np.uint16), cards).writeto(raw / name)
    (folder / "camera.toml").write_text(CAMERA)
    return raw


def fates(run: Path) -> Table:
    return Table.read(run / "frames.ecsv", format="ascii.ecsv")


def test_a_fitted_dark_serves_flats_and_science_frames_of_any_time(tmp_path: Path, reduce) -> None:
    raw = write_night(tmp_path, DARKS)
    (tmp_path / "night.toml").write_text(RECIPE.replace("BUILDER", "dark-fit"))
    done = reduce(tmp_path / "night.toml", raw, tmp_path / "run")
    assert done.code == 0, done.text
    assert set(fates(tmp_path / "run")["fate"]) == {"used"}
    pictures = [read_image(path) for path in sorted((tmp_path / "run" / "reduced").rglob("*.fits"))]
    assert len(pictures) == 4
    stack = np.mean([picture.data for picture in pictures], axis=0)
    # The sky is even over the whole image: the vignetting is gone to 0.2 % in each twelve columns.
    parts = np.array([part.mean() for part in np.array_split(stack, 10, axis=1)])
    level = stack.mean()
    np.testing.assert_allclose(parts / level, 1.0, atol=2e-3)
    assert level == pytest.approx(SKY * response().mean(), rel=0.1)  # the flat is around one in its median
    for picture in pictures:
        spread, claimed = (picture.data - level).var(), variance_of(picture).mean()
        assert spread / claimed == pytest.approx(1.0, abs=4 * np.sqrt(2 / picture.data.size) + 0.01)
        assert any(line.startswith("raw-dark: of 20 s from a fit to 2 to 40 s") for line in picture.meta["HISTORY"])


def test_flats_that_a_single_dark_does_not_suit_are_left_out_with_advice(tmp_path: Path, reduce) -> None:
    raw = write_night(tmp_path, (6.0, SCIENCE))
    (tmp_path / "night.toml").write_text(RECIPE.replace("BUILDER", "combine"))
    done = reduce(tmp_path / "night.toml", raw, tmp_path / "run")
    assert done.code == 1, done.text
    table = fates(tmp_path / "run")
    flats = table[table["kind"] == "flat"]
    assert set(flats["exptime"][flats["fate"] == "used"]) == {6.0}
    lost = flats[flats["fate"] == "failed"]
    assert sorted(lost["exptime"]) == [3.0, 12.0, 12.0]
    for row in lost:
        assert "its master dark, which holds the bias, 6 s; such a dark cannot be scaled" in row["reason"]
        assert "combine them by `dark-fit`" in row["reason"]
    assert set(table["fate"][table["kind"] == "science"]) == {"used"}
    # The noise of the dark current, which only the scatter of five darks tells, is in the error bars.
    pictures = [read_image(path) for path in sorted((tmp_path / "run" / "reduced").rglob("*.fits"))]
    spread = np.mean([(picture.data - picture.data.mean()).var() for picture in pictures])
    assert spread / np.mean([variance_of(picture) for picture in pictures]) == pytest.approx(1.0, abs=0.03)


def test_without_darks_of_the_right_time_the_plan_says_what_to_take(tmp_path: Path, command) -> None:
    raw = write_night(tmp_path, DARKS)
    (tmp_path / "night.toml").write_text(RECIPE.replace("BUILDER", "combine"))
    done = command("plan", tmp_path / "night.toml", raw)
    assert done.code != 0
    said = " ".join(done.text.split())
    assert "No dark of 20 s for science frames (there is 2 s, 10 s, 40 s)" in said
    assert "No dark of 6 s for flat frames (there is 2 s, 10 s, 40 s)" in said
    assert "`dark-fit` makes one that suits other times" in said
