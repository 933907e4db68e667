"""Masters of one night serve another, by rules and with reasons, and nothing is copied."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import Results
from albireo.library import Library

CALIBRATIONS = ("bias", "flat")


def library_table(folder: Path, **options: object) -> str:
    lines = [f'\n[library]\npath = "{folder}"', *(f"{name} = {value}" for name, value in options.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def shelved(night, reduce, tmp_path_factory):
    """A library with the masters of the shared night."""
    folder = tmp_path_factory.mktemp("shelved")
    library = folder / "library"
    done = reduce(night.write(folder, library_table(library)), night.raw, folder / "run")
    assert done.code == 0, done.text
    return library


@pytest.fixture
def library(shelved, tmp_path):
    """A copy of that library, free to be changed."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "library.sqlite").write_bytes((shelved / "library.sqlite").read_bytes())
    return folder


@pytest.fixture(scope="module")
def lonely(night, tmp_path_factory):
    """The science frames of the shared night alone, as if they were taken three days later."""
    raw = tmp_path_factory.mktemp("lonely") / "raw"
    raw.mkdir()
    for exposure in night.truth:
        later(exposure.frame.path, raw, 3)
    return raw


def later(path: str, folder: Path, days: int, dust: slice | None = None) -> None:
    """Copy a raw frame as if it were taken some days later, with a tenth of the light gone from some columns."""
    with fits.open(path) as hdus:
        header, data = hdus[0].header, hdus[0].data
        for key in ("DATE-OBS", "UTCSTART", "DATE"):
            if "-" in str(header.get(key, "")):
                header[key] = f"{np.datetime64(header[key][:10]) + days}{header[key][10:]}"
        if dust is not None:
            bias = np.median(data[:, -10:])
            lit = data[:, dust].astype(np.float64)
            data[:, dust] = np.rint(bias + 0.9 * (lit - bias)).astype(data.dtype)
        fits.PrimaryHDU(data, header).writeto(folder / Path(path).name)


def test_a_library_points_at_the_masters_of_the_run_that_made_them(shelved):
    entries = Library(shelved).entries()
    assert sorted(entry.kind for entry in entries) == sorted(CALIBRATIONS)
    for entry in entries:
        assert entry.path.is_file()
        assert entry.path.parent.name == "masters"
        assert (entry.number, entry.verdict, entry.trouble()) == (3, "good", "")
    assert [path.name for path in shelved.iterdir()] == ["library.sqlite"]


def test_a_night_without_calibrations_is_reduced_with_those_of_another(night, lonely, library, reduce, tmp_path):
    done = reduce(night.write(tmp_path, library_table(library)), lonely, tmp_path / "run")
    assert done.code == 0, done.text
    results, beside = Results(tmp_path / "run"), Results(shelf_run(library))
    assert set(results.frames["masters"]) == set(beside.frames[beside.frames["kind"] == "science"]["masters"])
    ours, theirs = results.photometry, beside.photometry
    assert len(ours) == len(theirs)
    np.testing.assert_array_equal(np.sort(ours["flux"]), np.sort(theirs["flux"]))
    assert not (tmp_path / "run" / "masters").exists()
    assert len(Library(library).entries()) == 2  # nothing was made, so nothing was entered


def shelf_run(library: Path) -> Path:
    return Library(library).entries()[0].path.parents[1]


def test_the_plan_says_that_a_master_is_of_the_library_and_how_old(night, lonely, library, command, tmp_path):
    done = command("plan", night.write(tmp_path, library_table(library)), lonely)
    assert done.code == 0, done.text
    assert done.out.count("from the library, 3.0 days away; the only one that matches") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_age": 1}, "it is 3 days away, and max_age is 1"),
        ({"max_age": "{flat = 2, bias = 10}"}, "it is 3 days away, and max_age is 2"),
    ],
)
def test_masters_that_are_too_old_are_not_used(night, lonely, library, command, tmp_path, options, said):
    done = command("plan", night.write(tmp_path, library_table(library, **options)), lonely)
    assert done.code == 1
    assert "no flat frame was found" in done.err
    assert said in done.err


def test_a_night_with_calibrations_of_its_own_uses_them(night, library, command, tmp_path):
    done = command("plan", night.write(tmp_path, library_table(library)), night.raw)
    assert done.code == 0, done.text
    assert "library" not in done.out


def test_the_nearest_may_be_preferred(night, library, command, tmp_path):
    """Of equal age, the library's is farther away by the penalty; without one neither is nearer, and the night wins."""
    for penalty in (0, 1):
        recipe = night.write(tmp_path, library_table(library, prefer='"nearest"', penalty=penalty))
        assert "from the library" not in command("plan", recipe, night.raw).out


def test_a_person_can_say_that_a_master_is_bad(night, lonely, library, command, tmp_path):
    flat = next(entry for entry in Library(library).entries() if entry.kind == "flat")
    done = command("library", library, flat.short, "--bad", "--remark", "dust on the window")
    assert done.code == 0, done.text
    assert "bad: dust on the window" in done.out
    recipe = night.write(tmp_path, library_table(library))
    refused = command("plan", recipe, lonely)
    assert refused.code == 1
    assert "it was called bad: dust on the window" in refused.err
    assert command("library", library, flat.short, "--good").code == 0
    assert command("plan", recipe, lonely).code == 0


def test_a_master_serves_only_while_it_is_valid(night, lonely, library, command, tmp_path):
    flat = next(entry for entry in Library(library).entries() if entry.kind == "flat")
    day = str(np.datetime64("1858-11-17") + int(flat.start) + 2)
    assert command("library", library, flat.short, "--until", day).code == 0
    recipe = night.write(tmp_path, library_table(library))
    assert "it is not valid at the time of the frame" in command("plan", recipe, lonely).err
    assert f"until {day}" in command("library", library).out
    later = str(np.datetime64(day) + 5)
    assert command("library", library, flat.short, "--until", later).code == 0
    assert command("plan", recipe, lonely).code == 0


def test_masters_of_frames_that_were_corrected_otherwise_are_not_used(night, lonely, library, command, tmp_path):
    recipe = night.write(
        tmp_path, library_table(library), instead_of=('use = "overscan"', 'use = "overscan"\nalong = "all"')
    )
    done = command("plan", recipe, lonely)
    assert done.code == 1
    assert "its frames had other corrections than this recipe has before it" in done.err


def test_a_master_whose_file_is_gone_is_passed_over_and_named(night, lonely, library, command, tmp_path):
    elsewhere = tmp_path / "flat.fits"
    flat = next(entry for entry in Library(library).entries() if entry.kind == "flat")
    elsewhere.write_bytes(flat.path.read_bytes())
    moved = Library(library)
    moved.enter(type(flat)(**{**vars(flat), "path": elsewhere}))
    recipe = night.write(tmp_path, library_table(library))
    assert command("plan", recipe, lonely).code == 0
    elsewhere.unlink()
    done = command("plan", recipe, lonely)
    assert done.code == 1
    assert "its file is gone" in done.err
    assert "gone" in command("library", library).out  # in a column as narrow as the path beside it leaves it


def test_a_forgotten_master_keeps_its_file(library, command):
    flat = next(entry for entry in Library(library).entries() if entry.kind == "flat")
    assert command("library", library, flat.short, "--forget").code == 0
    assert flat.path.is_file()
    assert [entry.kind for entry in Library(library).entries()] == ["bias"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bad"], "say which master is meant"),
        (["zzzz", "--bad"], "no master in"),
        (["zzzz", "--good", "--bad"], "good or bad, not both"),
        (["zzzz", "--until", "soon"], "'soon' is not a date"),
    ],
)
def test_calls_that_make_no_sense_are_explained(library, command, arguments, said):
    done = command("library", library, *arguments)
    assert done.code == 2
    assert said in done.err


def test_a_file_that_is_no_library_is_named(night, lonely, command, tmp_path):
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "library.sqlite").write_bytes(os.urandom(5000))
    done = command("plan", night.write(tmp_path, library_table(folder)), lonely)
    assert done.code == 1
    assert "cannot be used as a library of masters" in done.err


def test_a_flat_that_changed_is_doubtful_until_the_next_night_agrees_with_it(night, library, reduce, command, tmp_path):
    """A tenth of the light is missing in a fifth of the columns, first on one night, then on the next as well."""
    verdicts = []
    for days in (1, 2):
        raw = tmp_path / f"raw-{days}"
        raw.mkdir()
        for frame in night.truth.frames:
            later(frame.path, raw, days, slice(100, 200) if frame.kind == "flat" else None)
        recipe = night.write(tmp_path, library_table(library))
        done = reduce(recipe, raw, tmp_path / f"run-{days}")
        assert done.code == 0, done.text
        warned = "differs from the one before it in the library" in done.text
        flats = [entry for entry in Library(library).entries() if entry.kind == "flat"]
        verdicts.append((warned, [entry.verdict for entry in flats]))
    assert verdicts == [(True, ["good", "doubtful"]), (False, ["good", "good", "good"])]
    remark = next(entry.remark for entry in Library(library).entries() if entry.kind == "flat" and entry.remark)
    assert "of the pixels differ by more than 6 of their errors" in remark
    assert remark.endswith("agrees with it")
    biases = [entry for entry in Library(library).entries() if entry.kind == "bias"]
    assert {entry.verdict for entry in biases} == {"good"}


def test_a_library_that_is_a_file_is_refused_before_anything_is_made(night, reduce, tmp_path):
    file = tmp_path / "library"
    file.touch()
    done = reduce(night.write(tmp_path, library_table(file)), night.raw, tmp_path / "run")
    assert done.code == 1
    assert "is a file; a library of masters needs a folder" in done.err
    assert not (tmp_path / "run" / "masters").exists()
