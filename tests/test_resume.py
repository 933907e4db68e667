"""A run that was stopped, repeated or changed makes what is missing, nothing else, and ends with the same tables."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from albireo import Results

KILLS = 10
SEED = 42
LAST = ("science-0007.fits", "science-0008.fits")
MIDDLE = ("science-0004.fits", "science-0005.fits")

Tables = Callable[[Path], dict[str, str]]
Stamp = tuple[int, int]


def stamps(out: Path, *kinds: str) -> dict[str, Stamp]:
    """Inode and time of the last change of every file below some folders of a run folder."""
    found = [p for kind in kinds for p in (out / kind).rglob("*") if p.is_file()]
    return {p.relative_to(out).as_posix(): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def names(out: Path) -> set[str]:
    """Every file of a run folder, apart from the index and what SQLite keeps beside it."""
    found = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    return {name for name in found if not name.startswith("index.sqlite")}


# --- killed -----------------------------------------------------------------------------------------------------------


def start(recipe: Path, raw: Path, out: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a run with two workers, all in a process group of its own."""
    return subprocess.Popen(
        ["albireo", "run", recipe, raw, "--out", out, "--jobs", "2"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def killed(night, environment, tmp_path_factory) -> list[tuple[Path, bool]]:
    """Runs killed at ten moments, one in each tenth of the time a run takes; and whether each was still at work."""
    folder = tmp_path_factory.mktemp("measured")
    begin = time.monotonic()
    assert start(night.write(folder), night.raw, folder / "run", environment).wait() == 0
    duration = time.monotonic() - begin
    rng = random.Random(SEED)
    runs = []
    for number in range(KILLS):
        folder = tmp_path_factory.mktemp("killed")
        process = start(night.write(folder), night.raw, folder / "run", environment)
        try:
            process.wait(timeout=(number + rng.random()) / KILLS * duration)
            runs.append((folder, False))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            runs.append((folder, True))
    return runs


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_goes_on_to_the_same_tables(number, killed, night, undisturbed, reduce, tables: Tables) -> None:
    folder, _ = killed[number]
    done = reduce(folder / "night.toml", night.raw, folder / "run")
    assert done.code == 0, done.text
    assert tables(folder / "run") == tables(undisturbed)
    assert names(folder / "run") == names(undisturbed), "a killed run left something behind"


def test_runs_were_killed_at_work(killed) -> None:
    assert sum(running for _, running in killed) >= KILLS // 2


def test_a_run_killed_while_it_writes_does_not_pass_for_the_one_before(
    night, albireo, trouble: str, tmp_path: Path, tables: Tables
) -> None:
    recipe, out = night.write(tmp_path), tmp_path / "run"
    arguments = ("run", recipe, night.raw, "--out", out, "--jobs", 1)
    assert albireo(*arguments, PYTHONPATH=trouble).code == 0
    before = tables(out)
    recipe.write_text(recipe.read_text().replace("[4, 6]", "[5]") + '\n[[curves]]\nuse = "killer"\n')
    assert albireo(*arguments, PYTHONPATH=trouble).code == -signal.SIGKILL
    night.write(tmp_path)
    assert albireo(*arguments, PYTHONPATH=trouble).code == 0
    assert tables(out) == before


# --- changed ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(night, undisturbed, tmp_path) -> Path:
    """A copy of the undisturbed run, to go on with."""
    shutil.copytree(undisturbed, tmp_path / "run")  # keeps times of change
    night.write(tmp_path)
    return tmp_path / "run"


def test_another_aperture_costs_photometry_only(night, finished: Path, reduce, tmp_path: Path, tables: Tables) -> None:
    kept = ("masters", "reference", "products/reference", "products/aligned", "products/catalogue")
    before, measured = stamps(finished, *kept), stamps(finished, "products/measured")
    recipe = night.write(tmp_path, instead_of=("radius = [4, 6]", "radius = [5]"))
    done = reduce(recipe, night.raw, finished)
    assert done.code == 0, done.text
    assert stamps(finished, *kept) == before
    assert len(stamps(finished, "products/measured").keys() - measured.keys()) == 8
    assert set(Results(finished).photometry["aperture"]) == {5.0}
    fresh = tmp_path / "fresh"
    assert reduce(recipe, night.raw, fresh).code == 0
    assert tables(finished) == tables(fresh), "tables of the run before are still there, or differ"


def test_an_option_given_on_the_command_line_counts_as_a_change(night, finished: Path, reduce) -> None:
    done = reduce(finished.parent / "night.toml", night.raw, finished, "--set", "photometry.radius=5")
    assert done.code == 0
    assert set(Results(finished).photometry["aperture"]) == {5.0}


def test_going_back_to_an_earlier_recipe_measures_nothing_again(
    night, finished: Path, reduce, tmp_path: Path, tables: Tables
) -> None:
    before = tables(finished)
    assert reduce(night.write(tmp_path, instead_of=("[4, 6]", "[5]")), night.raw, finished).code == 0
    measured = stamps(finished, "products")
    assert reduce(night.write(tmp_path), night.raw, finished).code == 0
    assert stamps(finished, "products") == measured
    assert tables(finished) == before


def test_another_master_makes_all_that_depends_on_it(
    night, finished: Path, reduce, tmp_path: Path, tables: Tables
) -> None:
    bias = stamps(finished, "masters")["masters/bias.fits"]
    options = ("--set", "select.level.max=0.75")  # keeps the same flats, so that nothing depends on it
    assert reduce(tmp_path / "night.toml", night.raw, finished, *options).code == 0
    assert stamps(finished, "masters")["masters/bias.fits"] == bias
    raw = night.linked(tmp_path, without=("flat-0003.fits",))
    assert reduce(tmp_path / "night.toml", raw, finished).code == 0
    assert stamps(finished, "masters")["masters/bias.fits"] == bias
    assert [m.frames for m in Results(finished).masters if m.kind == "flat"] == [["flat-0001.fits", "flat-0002.fits"]]
    assert reduce(tmp_path / "night.toml", raw, tmp_path / "fresh").code == 0
    assert tables(finished) == tables(tmp_path / "fresh")


@pytest.mark.parametrize("late", [LAST, MIDDLE], ids=["at the end", "in the middle"])
def test_frames_that_come_later_are_all_that_is_processed(late: tuple[str, ...], night, reduce, tmp_path: Path) -> None:
    raw, out, recipe = night.linked(tmp_path, without=late), tmp_path / "run", night.write(tmp_path)
    assert reduce(recipe, raw, out).code == 0
    before = stamps(out, "masters", "products")
    for name in late:
        os.link(night.raw / name, raw / name)
    done = reduce(recipe, raw, out)
    assert done.code == 0, done.text
    after = stamps(out, "masters", "products")
    assert {name: after.get(name) for name in before} == before
    assert len([name for name in after.keys() - before.keys() if "measured" in name]) == len(late)
    assert len([name for name in after.keys() - before.keys() if "aligned" in name]) == len(late)
    table = Results(out).frames
    assert set(late) <= set(table["name"][table["fate"] == "used"])
    assert set(late) <= set(Results(out).photometry["frame"])


def test_a_frame_that_is_gone_costs_nothing_but_itself(night, reduce, tmp_path: Path) -> None:
    raw, out, recipe = night.linked(tmp_path), tmp_path / "run", night.write(tmp_path)
    assert reduce(recipe, raw, out).code == 0
    before, table = stamps(out, "masters", "products"), Results(out).photometry
    (raw / LAST[1]).unlink()
    assert reduce(recipe, raw, out).code == 0
    assert stamps(out, "masters", "products") == before
    assert LAST[1] not in Results(out).frames["name"]
    left, again = table[table["frame"] != LAST[1]], Results(out).photometry
    assert all(np.array_equal(left[c], again[c], equal_nan=left[c].dtype.kind == "f") for c in left.colnames)


def test_a_raw_file_that_was_touched_is_known_by_its_content(night, reduce, tmp_path: Path, tables: Tables) -> None:
    raw, out, recipe = tmp_path / "raw", tmp_path / "run", night.write(tmp_path)
    shutil.copytree(night.raw, raw)
    assert reduce(recipe, raw, out).code == 0
    before, written = stamps(out, "masters", "products"), tables(out)
    os.utime(raw / "science-0003.fits")
    os.utime(raw / "flat-0001.fits")
    done = reduce(recipe, raw, out)
    assert "nothing had changed" in done.out
    assert stamps(out, "masters", "products") == before
    assert tables(out) == written


def test_a_raw_file_with_other_pixels_is_done_again_and_no_other(night, reduce, tmp_path: Path) -> None:
    raw, out, recipe = tmp_path / "raw", tmp_path / "run", night.write(tmp_path)
    shutil.copytree(night.raw, raw)
    assert reduce(recipe, raw, out).code == 0
    before, table = stamps(out, "masters", "products"), Results(out).photometry
    changed = next(file for file in sorted(raw.glob("science*"))[2:] if file.name != Results(out).fields[0].reference)
    pixels = bytearray(changed.read_bytes())
    pixels[-2880 * 20 :] = bytes(2880 * 20)
    changed.write_bytes(pixels)
    assert reduce(recipe, raw, out).code == 0
    after = stamps(out, "masters", "products")
    assert {name: after.get(name) for name in before} == before
    assert sorted(name.split("/")[1] for name in after.keys() - before.keys()) == ["aligned", "measured"]
    again = Results(out).photometry
    same = np.asarray(table["frame"] != changed.name)
    assert np.array_equal(table["flux"][same], again["flux"][same], equal_nan=True)


# --- repeated ---------------------------------------------------------------------------------------------------------


def test_a_second_run_touches_nothing(night, finished: Path, reduce) -> None:
    before = stamps(finished, "masters", "products", "reference", "curves", "catalogues", "report")
    summary = (finished / "run.json").read_bytes()
    begin = time.monotonic()
    done = reduce(finished.parent / "night.toml", night.raw, finished)
    print(f"{time.monotonic() - begin:.3f} s for a run with nothing to do")
    assert done.code == 0
    assert "nothing had changed" in done.out
    assert stamps(finished, "masters", "products", "reference", "curves", "catalogues", "report") == before
    assert (finished / "run.json").read_bytes() == summary


def test_without_its_index_a_run_finds_its_products_again(
    night, finished: Path, reduce, undisturbed: Path, tables: Tables
) -> None:
    kept = ("masters", "products", "reference")
    before, masters = stamps(finished, *kept), Results(finished).summary["masters"]
    for path in finished.glob("index.sqlite*"):
        path.unlink()
    done = reduce(finished.parent / "night.toml", night.raw, finished)
    assert done.code == 0, done.text
    assert stamps(finished, *kept) == before
    assert tables(finished) == tables(undisturbed)
    assert Results(finished).summary["masters"] == masters


def test_a_damaged_index_is_made_anew(night, finished: Path, reduce, undisturbed: Path, tables: Tables) -> None:
    for path in finished.glob("index.sqlite*"):
        path.unlink()
    (finished / "index.sqlite").write_bytes(b"this is no database" * 500)
    done = reduce(finished.parent / "night.toml", night.raw, finished)
    assert done.code == 0, done.text
    assert tables(finished) == tables(undisturbed)


def test_without_its_index_a_run_knows_what_a_master_left_out(night, reduce, tmp_path: Path, tables: Tables) -> None:
    raw, out, recipe = night.linked(tmp_path, without=("bias-0003.fits",)), tmp_path / "run", night.write(tmp_path)
    packed = gzip.compress((night.raw / "bias-0003.fits").read_bytes())
    (raw / "bias-0003.fits.gz").write_bytes(packed[: len(packed) // 2])  # the header is whole, the pixels are not
    assert reduce(recipe, raw, out).code == 1
    before, masters = tables(out), Results(out).summary["masters"]
    for path in out.glob("index.sqlite*"):
        path.unlink()
    assert reduce(recipe, raw, out).code == 1
    assert tables(out) == before
    assert Results(out).summary["masters"] == masters


def test_what_a_killed_run_was_writing_is_removed(night, finished: Path, reduce) -> None:
    before = names(finished)
    for place in ("masters/.bias.fits.x1.partial", "report/.index.html.x2.partial"):
        (finished / place).parent.mkdir(exist_ok=True)
        (finished / place).write_bytes(b"half of")
    assert reduce(night.write(finished.parent), night.raw, finished).code == 0
    assert names(finished) == before


def test_a_table_that_was_deleted_is_written_again(night, finished: Path, reduce, undisturbed, tables: Tables) -> None:
    before = stamps(finished, "products", "masters")
    for name in ("photometry.fits", "frames.ecsv", "curves/variable_SDSS-R.ecsv"):
        (finished / name).unlink()
    assert reduce(finished.parent / "night.toml", night.raw, finished).code == 0
    assert stamps(finished, "products", "masters") == before
    assert tables(finished) == tables(undisturbed)


def test_another_place_for_the_raw_frames_costs_no_pixel(night, finished: Path, reduce, tmp_path: Path) -> None:
    before = stamps(finished, "products", "masters")
    raw = night.linked(tmp_path)
    done = reduce(tmp_path / "night.toml", raw, finished)
    assert done.code == 0, done.text
    assert stamps(finished, "products", "masters") == before
    assert {str(Path(p).parent) for p in Results(finished).frames["path"]} == {str(raw)}
