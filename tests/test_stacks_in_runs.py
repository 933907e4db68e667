"""Stacks at the end of a run: what is in them, what is made again, and what goes wrong without stopping the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from albireo import FrameError, Results, planes_of, variance_of
from albireo_stack import MeanStack

STACK = '\n[[stacks]]\nuse = "stack"\n'


def stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_ino, state.st_mtime_ns


@pytest.fixture(scope="module")
def stacked(night, albireo, tmp_path_factory) -> Path:
    """A night with two stacks, by the command as a person runs it, with two workers."""
    folder = tmp_path_factory.mktemp("stacked")
    mean = '\n[[stacks]]\nuse = "stack"\nmethod = "mean"\nlabel = "mean"\narea = "union"\nby_filter = false\n'
    done = albireo("run", night.write(folder, STACK + mean), night.raw, "--out", folder / "run", "--jobs", 2)
    assert done.code == 0, done.text
    return folder / "run"


def test_a_run_writes_a_stack_of_each_field_and_filter(stacked: Path, night) -> None:
    stack, mean = Results(stacked).stacks
    truth = [exposure.frame for exposure in night.truth.exposures]
    assert stack.path.name == f"{stack.field}-{truth[0].filter}.fits"
    assert (mean.name, mean.filter) == (f"{mean.field}-mean", "")
    assert stack.frames == [Path(frame.path).name for frame in truth]
    picture = stack.read()
    assert planes_of(picture)["COUNT"].max() == len(truth)
    assert planes_of(picture)["COVERAGE"].max() == sum(frame.exptime for frame in truth)
    assert set(planes_of(picture)) == {"COUNT", "COVERAGE", "REJECTED"}
    assert picture.shape[0] < mean.read().shape[0], "the union is larger than the reference"
    assert not (stacked / "scratch").exists()


def test_the_header_tells_what_a_stack_was_made_from(stacked: Path, night) -> None:
    (stack, *_), frames = Results(stacked).stacks, [exposure.frame for exposure in night.truth.exposures]
    header = fits.getheader(stack.path)
    assert header["NFRAMES"] == len(frames)
    assert header["EXPTIME"] == frames[0].exptime
    assert header["TEXPTIME"] == sum(frame.exptime for frame in frames)
    half = 0.5 * frames[0].exptime / 86400
    assert header["MJD-BEG"] == pytest.approx(min(f.mid for f in frames) - half, abs=1e-8)
    assert header["MJD-MID"] == pytest.approx(np.mean([f.mid for f in frames]), abs=1e-8)
    assert header["MJD-END"] == pytest.approx(max(f.mid for f in frames) + half, abs=1e-8)
    assert header["FILTER"] == frames[0].filter
    assert header["METHOD"] == "clipped-mean"
    assert header["GAIN"] == pytest.approx(len(frames), rel=0.05)
    assert len(header["ALBKEY"]) == 32
    lines = [line for line in header["HISTORY"] if line.startswith("made from")]
    assert len(lines) == len(frames)
    assert "weight" in lines[0]


def test_stars_of_a_stack_have_their_true_light(stacked: Path, night) -> None:
    (stack, *_) = Results(stacked).stacks
    picture, exposures = stack.read(), night.truth.exposures
    reference = next(e for e in exposures if Path(e.frame.path).name == stack.meta["REFFRAME"])
    rows, columns = np.indices(picture.shape)
    variance = variance_of(picture)
    pulls = []
    for x, y, flux in zip(reference.x, reference.y, reference.electrons, strict=True):
        if not (40 < x < picture.shape[1] - 40 and 40 < y < picture.shape[0] - 40):
            continue
        inside = np.hypot(columns - x, rows - y) < 10.0
        error = stack.meta["NOISECOR"] * np.sqrt(variance[inside].sum(dtype=float))
        pulls.append((picture.data[inside].sum(dtype=float) - flux) / np.hypot(error, 0.005 * flux))
    assert len(pulls) > 20
    assert abs(np.median(pulls)) < 0.8
    assert np.median(np.abs(pulls)) < 1.5


def test_a_run_that_changed_nothing_stacks_nothing(night, reduce, tmp_path: Path) -> None:
    raw, recipe, out = night.linked(tmp_path), night.write(tmp_path, STACK), tmp_path / "run"
    assert reduce(recipe, raw, out).code == 0
    (stack,) = Results(out).stacks
    before, bytes_before = stamp(stack.path), stack.path.read_bytes()
    assert reduce(recipe, raw, out).code == 0
    assert stamp(stack.path) == before
    stack.path.unlink()
    assert reduce(recipe, raw, out, "--jobs", 2).code == 0
    assert stack.path.read_bytes() == bytes_before, "made anew it is the same, whatever the number of workers"
    (raw / stack.frames[-1]).unlink()
    assert reduce(recipe, raw, out).code == 0
    assert Results(out).stacks[0].frames == stack.frames[:-1]
    assert stamp(stack.path) != before
    night.write(tmp_path)
    assert reduce(recipe, raw, out).code == 0
    assert Results(out).stacks == []
    assert not stack.path.exists(), "what the recipe no longer asks for would be taken for its own"


def test_little_memory_gives_the_same_stack(stacked: Path, night, reduce, tmp_path: Path) -> None:
    recipe = night.write(tmp_path, STACK, instead_of=('use = "processes"', 'use = "processes"\nmemory = "16 MiB"'))
    assert reduce(recipe, night.raw, tmp_path / "run").code == 0
    ((big, *_), (small,)) = Results(stacked).stacks, Results(tmp_path / "run").stacks
    for one, other in zip(fits.open(big.path), fits.open(small.path), strict=True):
        assert np.array_equal(one.data, other.data, equal_nan=one.data.dtype.kind == "f")


def test_frames_that_were_dropped_or_failed_are_in_no_stack(night, reduce, tmp_path: Path) -> None:
    drop = '\n[[select]]\nuse = "quality"\nmax_sky = 205\n'
    raw, recipe = night.linked(tmp_path), night.write(tmp_path, drop + STACK)
    broken = raw / "science-0002.fits"
    data = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(data[: len(data) // 2])
    for _ in range(2):  # also when it is not all done anew
        reduce(recipe, raw, tmp_path / "run")
        run = Results(tmp_path / "run")
        fates = {row["name"]: row["fate"] for row in run.frames}
        assert fates[broken.name] == "failed"
        dropped = [name for name, fate in fates.items() if fate == "dropped" and name.startswith("science")]
        (stack,) = run.stacks
        assert len(dropped) >= 2
        assert len(stack.frames) >= 3
        assert len(stack.frames) + len(dropped) == 7
        assert all(fates[name] == "used" for name in stack.frames)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FrameError("there is no room on the disk"), "could not be made: there is no room on the disk"),
        (ZeroDivisionError("by zero"), "could not be made: defect in stack: ZeroDivisionError: by zero (see run.log)"),
    ],
    ids=["refused", "defect"],
)
def test_a_stack_that_cannot_be_made_is_a_problem_of_the_run(
    error: Exception, words: str, night, reduce, tmp_path: Path, monkeypatch
) -> None:
    recipe, out = night.write(tmp_path, STACK), tmp_path / "run"

    def fail(stage, frames):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(MeanStack, "stack", fail)
        done = reduce(recipe, night.raw, out)
    assert done.code == 1
    assert words in " ".join(done.text.split())
    assert Results(out).stacks == []
    assert (out / "photometry.fits").exists(), "all else is made"
    assert reduce(recipe, night.raw, out).code == 0
    assert len(Results(out).stacks) == 1


def test_coordinates_of_the_reference_are_carried_over() -> None:
    from albireo.run.stacks import _coordinates

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.0, 20.0], [50.5, 40.0], [-2e-4, 2e-4]
    moved = WCS(fits.Header(_coordinates(wcs, 7.0, -3.0)))
    assert np.allclose(moved.all_pix2world(17.0, 17.0, 0), wcs.all_pix2world(10.0, 20.0, 0), atol=1e-9)
    assert list(wcs.wcs.crpix) == [50.5, 40.0]


def test_a_recipe_with_stacks_needs_an_alignment(night, command, tmp_path: Path) -> None:
    recipe = night.write(tmp_path, STACK, instead_of=('[alignment]\nuse = "astroalign"\n', ""))
    done = command("check", recipe)
    assert done.code == 2
    assert "a recipe with stacks needs a table for alignment" in done.text
