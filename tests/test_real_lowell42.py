"""A night of the Lowell 42-inch telescope from raw frames to light curves, by the worked example of the documentation.

The figures to agree with stand in the README of the frames; they are not part of this repository.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from albireo import Ensemble, Registry, Results, read_pixels

BEST = 10
SCATTER = 2.5
"""Largest standard deviation in mmag of the light curve of a good comparison star; 2.2 was reached before."""

MMAG = 2500.0 / np.log(10.0)

READ_NOISE, READ_NOISE_ERR = 1.18, 0.03
"""Of one bias frame in adu, from pairs of frames."""

OVERSCAN_COLUMNS = 45


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of the last change of every file below a folder."""
    found = {p: p.stat() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {str(path): (state.st_size, state.st_mtime_ns) for path, state in found.items()}


@pytest.fixture(scope="module")
def raw(data: Path) -> Path:
    folder = data / "lowell42"
    if not folder.is_dir():
        pytest.skip(f"there is no set lowell42 in {data}")
    return folder


@pytest.fixture(scope="module")
def results(raw: Path, examples: Path, albireo, tmp_path_factory) -> Results:
    """The packed frames, reduced as the documentation says."""
    before = tree(raw)
    out = tmp_path_factory.mktemp("lowell42") / "run"
    done = albireo("run", examples / "lowell42.toml", raw, "--out", out)
    assert done.code == 0, done.text
    assert tree(raw) == before
    return Results(out)


@pytest.fixture(scope="module")
def expanded(raw: Path, examples: Path, albireo, tmp_path_factory) -> Results:
    """The same frames as plain FITS files."""
    folder = tmp_path_factory.mktemp("expanded")
    script = raw.parent / "expand.py"
    subprocess.run([sys.executable, script, "lowell42", folder / "raw"], check=True, stdout=subprocess.DEVNULL)
    done = albireo("run", examples / "lowell42.toml", folder / "raw", "--out", folder / "run")
    assert done.code == 0, done.text
    return Results(folder / "run")


def test_all_science_frames_are_used_and_aligned(results: Results) -> None:
    frames = results.frames
    science = frames[frames["kind"] == "science"]
    assert len(science) == 23
    assert set(science["fate"]) == {"used"}
    aligned = science[science["name"] != results.fields[0].reference]
    assert len(aligned) == 22
    assert aligned["matched"].min() >= 100  # of 390 to 700 stars
    assert aligned["align_rms"].max() < 0.3
    # The README measured shifts up to 2.3 pixels between frames and rotations up to 0.03 degrees.
    assert np.hypot(aligned["dx"], aligned["dy"]).max() < 4.0
    assert np.abs(aligned["rotation"]).max() < 0.06
    # Gaussian fits to sixty stars give 1.75 pixels in the first frame, 1.97 in the middle and 3.10 in the last.
    widths = {key: row["fwhm"] for key in ("0126", "0159", "0192") for row in science if key in row["name"]}
    assert widths == pytest.approx({"0126": 1.75, "0159": 1.97, "0192": 3.10}, rel=0.1)
    assert set(science["masters"]) == {"bias, flat-VR"}


def test_a_frame_in_twilight_is_used_like_the_others(results: Results) -> None:
    frames = results.frames
    (twilight,) = [row for row in frames if "0126" in row["name"]]
    assert twilight["fate"] == "used"
    # The sky is 7080 adu above the bias; three per cent is the flat's change over the field.
    assert twilight["sky"] == pytest.approx(7080 * 3.66, rel=0.1)
    measured = results.photometry
    rows = measured[measured["frame"] == twilight["name"]]
    assert np.isfinite(rows["flux"]).mean() > 0.9


def test_the_flat_of_another_filter_stays_out_of_the_master(results: Results) -> None:
    (flat,) = [master for master in results.masters if master.kind == "flat"]
    assert [Path(name).name[9:13] for name in flat.frames] == ["0110", "0111", "0112", "0113", "0114", "0115"]
    assert flat.serves == 23
    frames = results.frames
    (odd,) = [row for row in frames if row["kind"] == "flat" and row["filter"] == "V"]
    assert odd["fate"] == "unused"
    assert "filter V" in odd["reason"]
    assert "VR" in odd["reason"]
    assert set(frames["fate"][frames["name"] != odd["name"]]) == {"used"}


def test_masters_are_what_the_frames_are(results: Results, raw: Path) -> None:
    bias = next(master for master in results.masters if master.kind == "bias")
    assert len(bias.frames) == 9
    pixels = bias.read()
    # The overscan follows the bias level to 2 adu.
    assert abs(float(np.median(pixels.data))) < 2.0
    # Subtracting the median of the overscan of each row adds its own noise, pi / 2 larger than that of a mean.
    expected = READ_NOISE * np.sqrt(1.0 + 0.5 * np.pi / OVERSCAN_COLUMNS)
    assert bias.meta["RDNOISE"] == pytest.approx(expected, abs=READ_NOISE_ERR)
    # What the master says of its own error is its scatter from pixel to pixel, fixed pattern included.
    claimed = float(np.sqrt(np.median(pixels.uncertainty.array)))
    assert claimed == pytest.approx(READ_NOISE / np.sqrt(9), rel=0.1)
    flat = next(master for master in results.masters if master.kind == "flat").read()
    assert float(np.median(flat.data)) == pytest.approx(1.0, abs=0.1)
    assert 0.04 < np.mean(flat.data < 0.5 * np.median(flat.data)) < 0.08  # strong vignetting
    level = np.median(read_pixels(raw / bias.frames[4], 1))
    assert level == pytest.approx(1626, abs=2)


def test_the_gain_of_the_header_is_overruled_and_this_is_said(results: Results) -> None:
    assert set(results.frames["gain"]) == {3.66}
    said = [text for text in (*results.summary["warnings"], *results.summary["notes"]) if "gain" in text]
    assert len(said) == 1
    assert "3.66" in said[0]
    assert "4.95" in said[0]
    assert "recipe" in said[0]
    report = re.sub(r"<[^>]*>|\s+", " ", (results.folder / "report" / "index.html").read_text(encoding="utf-8"))
    assert re.search(r"gain 3\.66.{0,80}4\.95", report)


def final_curves(results: Results) -> Ensemble:
    """Give the final light curves of all stars in the aperture that the run chose."""
    curve = results.curves[0]
    table = results.photometry
    table = table[np.abs(table["aperture"] - curve.meta["APERTURE"]) < 1e-6]
    table.convert_bytestring_to_unicode()
    frames, sources = list(curve["frame"]), sorted(set(table["source"]))
    table.sort(["mjd", "source"])
    shape = (len(frames), len(sources))

    def plane(name: str) -> np.ndarray:
        return np.asarray(table[name]).reshape(shape)

    assert plane("frame")[:, 0].tolist() == frames
    raw = Ensemble(
        target="",
        detector="",
        filter="VR",
        method="aperture",
        aperture=curve.meta["APERTURE"],
        frames=np.array(frames),
        time=np.asarray(curve["time"]),
        time_scale="BJD_TDB",
        exptime=np.asarray(curve["exptime"]),
        airmass=np.asarray(curve["airmass"]),
        fwhm=np.asarray(curve["fwhm"]),
        sources=np.array(sources),
        flux=plane("flux").astype(float),
        flux_err=plane("flux_err").astype(float),
        x=plane("x").astype(float),
        y=plane("y").astype(float),
        sky=plane("sky").astype(float),
        flags=plane("flags").astype(np.uint16),
    )
    step = Registry.discover().get("curve-step", "differential").cls()
    return step.apply(raw)


def test_the_best_comparison_stars_are_constant(results: Results) -> None:
    curves = final_curves(results)
    flux = np.stack([curves.flux[:, curves.column(star)] for star in curves.comparisons], axis=1)
    # All points count, not only steps from one to the next, and no point is left out.
    scatter = MMAG * flux.std(axis=0, ddof=1) / flux.mean(axis=0)
    best = np.sort(scatter[np.isfinite(scatter)])[:BEST]
    heaviest = scatter[np.argsort(list(curves.comparisons.values()))[-BEST:]]
    print(f"best ten {best.round(2)} mmag, of most weight {heaviest.round(2)} mmag, {len(scatter)} comparison stars")
    assert len(best) == BEST
    assert best.max() < SCATTER
    assert np.median(heaviest) < SCATTER
    # These are the curves of the run: its table of stars has the same weights.
    stars = results.stars
    chosen = stars[(np.abs(stars["aperture"] - curves.aperture) < 1e-6) & (stars["comparison"] > 0)]
    assert {int(star): float(weight) for star, weight in chosen["source", "comparison"].iterrows()} == pytest.approx(
        dict(curves.comparisons)
    )


def test_packed_and_plain_frames_give_the_same_numbers(results: Results, expanded: Results) -> None:
    one, other = results.photometry, expanded.photometry
    assert [str(n).removesuffix(".fz") for n in one["frame"]] == [str(n) for n in other["frame"]]
    for name in one.colnames:
        if name != "frame":
            same = one[name].dtype.kind == "f"
            assert np.array_equal(one[name], other[name], equal_nan=same), f"column {name} differs"
    assert expanded.summary["counts"] == results.summary["counts"]
