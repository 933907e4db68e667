"""What goes wrong at a telescope and on a computer: each fault costs what it must, and is said in words that help."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from albireo import Results
from albireo.testing import Night, PlainCamera, simulate_night

FATAL = 5
"""Number of the science frame that a stage fails on, from one; the reference is another."""


def fates(out: Path) -> dict[str, tuple[str, str, str]]:
    """Fate, stage and reason of every file, by name."""
    table = Results(out).frames
    return {str(r["name"]): (str(r["fate"]), str(r["stage"]), str(r["reason"])) for r in table}


def used(out: Path) -> set[str]:
    """Names of the frames that were used."""
    return {name for name, (fate, _, _) in fates(out).items() if fate == "used"}


def measured(out: Path) -> set[str]:
    """Names of the frames in the table of measurements."""
    return {str(name) for name in Results(out).photometry["frame"]}


def science(night) -> set[str]:
    """Names of the science frames."""
    return {Path(e.frame.path).name for e in night.truth.exposures}


# --- broken files -----------------------------------------------------------------------------------------------------


def shorten(path: Path) -> str:
    """Cut a file in half."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    return path.name


def shorten_packed(path: Path) -> str:
    """Pack a file and cut that in half: the header can be read, the pixels cannot."""
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(packed[: len(packed) // 2])
    return f"{path.name}.gz"


def behead(path: Path) -> str:
    """Cut a file within its header."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:1600])
    return path.name


def empty(path: Path) -> str:
    """Leave nothing of a file."""
    path.unlink()
    path.touch()
    return path.name


def scribble(path: Path) -> str:
    """Put a text in place of a file."""
    path.unlink()
    path.write_text("# clouds came up\n", encoding="utf-8")
    return path.name


def lose_card(path: Path) -> str:
    """Leave out the exposure time."""
    with fits.open(path) as hdus:
        pixels, header = hdus[0].data, hdus[0].header
    path.unlink()
    del header["EXPTIME"]
    fits.PrimaryHDU(pixels, header).writeto(path)
    return path.name


BROKEN = [
    (shorten, "science-0003.fits", ["truncated"]),
    (shorten, "bias-0002.fits", ["truncated"]),
    (shorten, "flat-0002.fits", ["truncated"]),
    (shorten_packed, "science-0003.fits", ["truncated"]),
    (shorten_packed, "bias-0002.fits", ["truncated"]),
    (behead, "science-0003.fits", ["truncated"]),
    (empty, "science-0003.fits", ["not a FITS file"]),
    (scribble, "science-0003.fits", ["not a FITS file"]),
    (lose_card, "science-0003.fits", ["EXPTIME"]),
]


@pytest.mark.parametrize(("damage", "name", "words"), BROKEN, ids=[f"{d.__name__} {n[:-10]}" for d, n, _ in BROKEN])
def test_a_broken_file_costs_itself_and_nothing_else(damage, name, words, night, reduce, tmp_path: Path) -> None:
    raw, out = night.linked(tmp_path), tmp_path / "run"
    broken = damage(raw / name)
    done = reduce(night.write(tmp_path), raw, out)
    assert done.code == 1, "something was left out that should have taken part"
    everything = {path.name for path in raw.iterdir()}
    fate, _, reason = fates(out)[broken]
    assert fate == "failed"
    assert used(out) == everything - {broken}
    assert measured(out) == science(night) - {name}
    for word in words:
        assert word in reason
        assert word in done.err
    assert broken in done.err
    assert "Traceback" not in done.text


def test_a_night_of_broken_science_frames_still_ends_with_a_list(night, reduce, tmp_path: Path) -> None:
    raw, out = night.linked(tmp_path), tmp_path / "run"
    names = {shorten(raw / name) for name in science(night)}
    done = reduce(night.write(tmp_path), raw, out)
    assert done.code == 1
    assert "Traceback" not in done.text
    assert "truncated" in done.err
    assert {name for name, (fate, _, _) in fates(out).items() if fate == "failed"} == names
    assert all(name in done.err for name in names)


def test_a_night_without_science_frames_says_so(night, reduce, tmp_path: Path) -> None:
    done = reduce(night.write(tmp_path), night.linked(tmp_path, without=tuple(science(night))), tmp_path / "run")
    assert done.code == 1
    assert "no science frame" in done.err
    assert "3 bias" in done.err
    assert "3 flat" in done.err


def test_a_night_of_exposures_without_light_fails_frame_by_frame(night, reduce, tmp_path: Path) -> None:
    raw, out = night.linked(tmp_path), tmp_path / "run"
    for name in science(night):
        path = raw / name
        with fits.open(path) as hdus:
            header, shape = hdus[0].header, hdus[0].data.shape
        path.unlink()
        fits.PrimaryHDU(np.full(shape, 1000, dtype=np.uint16), header).writeto(path)
    done = reduce(night.write(tmp_path), raw, out)
    assert done.code == 1
    assert "Traceback" not in done.text
    assert "star" in done.err


# --- folders ----------------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_named_with_what_was_looked_for(night, reduce, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    done = reduce(night.write(tmp_path), tmp_path / "raw", tmp_path / "run")
    assert done.code == 1
    assert f"there are no frames in {tmp_path / 'raw'}" in done.err
    assert "*.fit*" in done.err


def test_a_folder_that_does_not_exist_is_named(night, reduce, tmp_path: Path) -> None:
    done = reduce(night.write(tmp_path), tmp_path / "row", tmp_path / "run")
    assert done.code == 1
    assert f"there is no folder {tmp_path / 'row'}" in done.err
    assert not (tmp_path / "run").exists()


def test_the_frames_of_another_camera_are_named_as_such(night, reduce, tmp_path: Path) -> None:
    simulate_night(PlainCamera(), tmp_path / "raw", night=Night(science=2, bias=1, flat=1))
    done = reduce(night.write(tmp_path), tmp_path / "raw", tmp_path / "run")
    assert done.code == 1
    assert "none of the 4 files" in done.err
    assert "another camera" in done.err
    assert "lmi" in done.err


def test_a_frame_of_another_camera_among_ours_is_left_alone(night, reduce, tmp_path: Path) -> None:
    raw, out = night.linked(tmp_path), tmp_path / "run"
    simulate_night(PlainCamera(), raw / "guider", night=Night(science=1, bias=0, flat=0))
    done = reduce(night.write(tmp_path), raw, out)
    assert done.code == 0, done.text
    fate, _, reason = fates(out)["guider/science-0001.fits"]
    assert fate == "unused"
    assert "another camera" in reason


def test_one_file_is_a_night_too(night, reduce, tmp_path: Path) -> None:
    recipe = night.write(tmp_path, instead_of=("[recipe]", '[recipe]\nallow_missing = ["bias", "flat"]'))
    done = reduce(recipe, night.raw / "science-0001.fits", tmp_path / "run")
    assert done.code == 0, done.text
    assert used(tmp_path / "run") == {"science-0001.fits"}


@pytest.mark.parametrize("below", ["", "deeper/run"])
def test_a_run_folder_that_is_a_file_or_below_one_is_refused(below: str, night, reduce, tmp_path: Path) -> None:
    taken = tmp_path / "results"
    taken.write_text("a file of mine")
    done = reduce(night.write(tmp_path), night.raw, taken / below)
    assert done.code == 1
    assert str(taken) in done.err
    assert "--out" in done.err
    assert "Traceback" not in done.text
    assert taken.read_text() == "a file of mine"


def test_the_folder_of_the_raw_frames_is_refused_as_run_folder(night, reduce, tmp_path: Path) -> None:
    raw = night.linked(tmp_path)
    before = sorted(raw.iterdir())
    done = reduce(night.write(tmp_path), raw, raw)
    assert done.code == 1
    assert "folder of the raw frames" in done.err
    assert sorted(raw.iterdir()) == before


@pytest.mark.parametrize("place", ["raw/run", "."], ids=["below the frames", "above the frames"])
def test_a_run_folder_among_the_frames_is_not_taken_for_frames(place: str, night, reduce, tmp_path: Path) -> None:
    raw, out = night.linked(tmp_path), (tmp_path / place).resolve()
    recipe = night.write(tmp_path)
    assert reduce(recipe, raw, out).code == 0
    done = reduce(recipe, raw, out)
    assert done.code == 0, done.text
    assert "nothing had changed" in done.out
    assert used(out) == {path.name for path in raw.iterdir() if path.is_file()}


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory, where that is allowed."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


needs_mount = pytest.mark.skipif(
    os.name != "posix" or shutil.which("mount") is None or os.geteuid() != 0, reason="only root mounts disks"
)


@needs_mount
def test_a_read_only_disk_is_named(night, reduce, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m,ro"):
        done = reduce(night.write(tmp_path), night.raw, tmp_path / "disk" / "run")
    assert done.code == 1
    assert str(tmp_path / "disk" / "run") in done.err
    assert "cannot be written: Read-only file system" in done.err
    assert "--out" in done.err


@needs_mount
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95, 0.985], ids=lambda share: f"{share:.1%}")
def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(
    share: float, night, albireo, undisturbed: Path, tmp_path: Path, tables
) -> None:
    size = sum(path.stat().st_size for path in undisturbed.rglob("*") if path.is_file())
    disk, recipe = tmp_path / "disk", night.write(tmp_path)
    arguments = ("run", recipe, night.raw, "--out", disk / "run", "--jobs", 2)
    with mounted(disk, f"size={4 * size}"):
        with (disk / "ballast").open("wb") as ballast:
            free = shutil.disk_usage(disk).free
            ballast.write(bytes(max(0, free - round(share * size))))
        done = albireo(*arguments)
        assert done.code == 1, done.text
        assert "cannot be written" in done.err
        assert "Make room" in done.err
        assert "Traceback" not in done.text
        assert "Logging error" not in done.text
        (disk / "ballast").unlink()
        done = albireo(*arguments)
        assert done.code == 0, done.text
        assert tables(disk / "run") == tables(undisturbed)


# --- plugins and workers ----------------------------------------------------------------------------------------------


def troubled(night, folder: Path, action: str, number: int = FATAL) -> Path:
    """Write a recipe with a stage that fails on one frame."""
    sky = [8.0 + 60.0 * e.hours for e in night.truth.exposures][number - 1] * 20.0
    stage = f'\n[[photometry]]\nuse = "trouble"\nlow = {sky - 4:.1f}\nhigh = {sky + 4:.1f}\naction = "{action}"\n'
    return night.write(folder, stage)


@pytest.mark.parametrize(("action", "words"), [("kill", "SIGKILL"), ("exit", "exit code 3")])
def test_a_worker_that_dies_costs_its_frame_each_time_it_is_tried(
    action: str, words: str, night, albireo, trouble: str, tmp_path: Path
) -> None:
    arguments = ("run", troubled(night, tmp_path, action), night.raw, "--out", tmp_path / "run", "--jobs", 2)
    name = f"science-{FATAL:04d}.fits"
    for _ in range(2):  # the second time it is the only one left
        done = albireo(*arguments, PYTHONPATH=trouble)
        assert done.code == 1, done.text
        assert fates(tmp_path / "run")[name][:2] == ("failed", "worker")
        assert words in fates(tmp_path / "run")[name][2]
        assert name in done.err
        assert measured(tmp_path / "run") == science(night) - {name}


def test_a_worker_that_dies_on_the_reference_frame_costs_nothing_else(
    night, albireo, trouble: str, tmp_path: Path, undisturbed: Path
) -> None:
    reference = Results(undisturbed).fields[0].reference
    number = int(reference[8:12])
    recipe = troubled(night, tmp_path, "kill", number)
    done = albireo("run", recipe, night.raw, "--out", tmp_path / "run", "--jobs", 2, PYTHONPATH=trouble)
    assert done.code == 1, done.text
    assert measured(tmp_path / "run") == science(night) - {reference}


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("divide", "ZeroDivisionError: division by zero (albireo_trouble.py:"),
        ("open", "FileNotFoundError"),
        ("columns", "flux_err"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_defect_costs_its_frame_and_names_the_plugin(
    action: str, words: str, jobs: int, night, albireo, trouble: str, tmp_path: Path
) -> None:
    arguments = ("run", troubled(night, tmp_path, action), night.raw, "--out", tmp_path / "run", "--jobs", jobs)
    done = albireo(*arguments, PYTHONPATH=trouble)
    assert done.code == 1, done.text
    name = f"science-{FATAL:04d}.fits"
    fate, stage, reason = fates(tmp_path / "run")[name]
    assert (fate, stage) == ("failed", "photometry trouble")
    assert "defect in albireo_trouble.Trouble" in reason
    assert words in reason
    assert measured(tmp_path / "run") == science(night) - {name}


def test_an_event_that_fails_costs_nothing(night, albireo, trouble: str, undisturbed: Path, tmp_path: Path) -> None:
    recipe = night.write(tmp_path)
    arguments = ("run", recipe, night.raw, "--out", tmp_path / "run", "--jobs", 1)
    done = albireo(*arguments, PYTHONPATH=trouble, ALBIREO_TEST_EVENTS="1")
    assert done.code == 0, done.text
    assert (tmp_path / "run" / "photometry.fits").read_bytes() == (undisturbed / "photometry.fits").read_bytes()
    assert "the telegraph is down" in (tmp_path / "run" / "run.log").read_text()


# --- two runs, and one that is stopped --------------------------------------------------------------------------------


@contextmanager
def running(recipe: Path, raw: Path, out: Path, environment: dict[str, str], until: str) -> Iterator[subprocess.Popen]:
    """Start a run and come back when it has said something."""
    process = subprocess.Popen(
        ["albireo", "run", recipe, raw, "--out", out, "--jobs", "1"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = next((line for line in process.stderr if until in line), None)
        assert said is not None, "it ended before"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_second_run_in_the_same_folder_is_refused(night, reduce, environment, tmp_path: Path) -> None:
    recipe, out = night.write(tmp_path), tmp_path / "run"
    with running(recipe, night.raw, out, environment, "reading headers") as process:
        process.send_signal(signal.SIGSTOP)
        done = reduce(recipe, night.raw, out)
        process.send_signal(signal.SIGCONT)
        process.communicate()
        assert process.returncode == 0
    assert done.code == 1
    assert f"another run is at work in {out}" in done.err
    assert used(out) == {path.name for path in night.raw.iterdir()}


def test_a_run_that_is_interrupted_says_that_it_can_go_on(
    night, reduce, environment, undisturbed: Path, tmp_path: Path, tables
) -> None:
    recipe, out = night.write(tmp_path), tmp_path / "run"
    with running(recipe, night.raw, out, environment, "building masters") as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert process.returncode == 130
    assert "run again" in said
    assert "Traceback" not in said
    assert reduce(recipe, night.raw, out).code == 0
    assert tables(out) == tables(undisturbed)


# --- nights and recipes that do not fit -------------------------------------------------------------------------------


def test_missing_flats_are_said_before_any_pixel_is_read(night, reduce, tmp_path: Path) -> None:
    flats = tuple(p.name for p in night.raw.iterdir() if p.name.startswith("flat"))
    raw = night.linked(tmp_path, without=flats)
    for name in science(night):  # pixels that cannot be read
        content = (raw / name).read_bytes()
        (raw / name).unlink()
        (raw / f"{name}.gz").write_bytes(gzip.compress(content)[: len(content) // 8])
    done = reduce(night.write(tmp_path), raw, tmp_path / "run")
    assert done.code == 1
    assert "no master flat for" in done.err
    assert "SDSS-R" in done.err
    assert "no flat frame was found" in done.err
    assert 'allow_missing = ["flat"]' in done.err
    assert "8 frames" in done.err
    assert "Traceback" not in done.text
    assert not (tmp_path / "run" / "masters").exists()


def test_flats_that_were_all_dropped_are_missing_too(night, reduce, tmp_path: Path) -> None:
    done = reduce(night.write(tmp_path), night.raw, tmp_path / "run", "--set", "select.level.max=0.2")
    assert done.code == 1
    assert "no master flat for" in done.err
    assert "of saturation" in done.err, "why were they dropped?"


def test_a_recipe_may_allow_to_go_without_flats(night, reduce, tmp_path: Path) -> None:
    flats = tuple(p.name for p in night.raw.iterdir() if p.name.startswith("flat"))
    raw = night.linked(tmp_path, without=flats)
    recipe = night.write(tmp_path, instead_of=("[recipe]", '[recipe]\nallow_missing = ["flat"]'))
    done = reduce(recipe, raw, tmp_path / "run")
    assert done.code == 0, done.text
    assert "without a master flat" in done.out
    assert any("without a master flat" in text for text in Results(tmp_path / "run").summary["warnings"])
    assert measured(tmp_path / "run") == science(night)
    frames = Results(tmp_path / "run").frames
    assert set(frames["masters"][frames["kind"] == "science"]) == {"bias"}


def target(**values: object) -> str:
    """Write a target."""
    return "\n[[targets]]\n" + "\n".join(f"{key} = {value!r}" for key, value in values.items()) + "\n"


def test_a_target_outside_the_field_is_named(night, reduce, tmp_path: Path) -> None:
    recipe = night.write(tmp_path, target(name="stray", x=5000.0, y=300.0, frame="science-0001.fits"))
    done = reduce(recipe, night.raw, tmp_path / "run")
    assert done.code == 1
    assert "stray" in done.err
    assert "outside" in done.err


def test_a_target_in_a_frame_that_does_not_exist_is_named(night, reduce, tmp_path: Path) -> None:
    recipe = night.write(tmp_path, target(name="stray", x=300.0, y=300.0, frame="science-0815.fits"))
    done = reduce(recipe, night.raw, tmp_path / "run")
    assert done.code == 1
    assert "stray" in done.err
    assert "science-0815.fits" in done.err


def test_a_target_on_the_sky_without_celestial_coordinates_is_named(night, reduce, command, tmp_path: Path) -> None:
    recipe = night.write(tmp_path, target(name="stray", ra=292.68, dec=27.96))
    done = reduce(recipe, night.raw, tmp_path / "run")
    assert done.code == 1
    assert "stray" in done.err
    assert "ra and dec" in done.err
    assert "Give x, y and frame" in done.err
    planned = command("plan", recipe, night.raw)
    assert "stray is given by ra and dec" in planned.out + planned.err


def test_an_amount_of_memory_that_is_none_is_found_by_check(night, command, tmp_path: Path) -> None:
    recipe = night.write(tmp_path, instead_of=('use = "processes"', 'use = "processes"\nmemory = "plenty"'))
    done = command("check", recipe)
    assert done.code == 2
    assert "memory" in done.err
    assert "'2 GiB'" in done.err


def test_jobs_can_be_given_where_the_recipe_names_no_executor(night, reduce, tmp_path: Path) -> None:
    recipe = night.write(tmp_path, instead_of=('[executor]\nuse = "processes"\n', ""))
    done = reduce(recipe, night.raw, tmp_path / "run", "--jobs", 1)
    assert done.code == 0, done.text


def test_seven_mistakes_are_seven_messages_with_lines_and_nothing_is_touched(night, command, tmp_path: Path) -> None:
    text = night.recipe
    for right, wrong in (
        ('title = "A simulated night"', 'titel = "A simulated night"'),
        ('use = "lmi"', 'use = "imi"'),
        ("min = 0.1", "min = 1.5"),
        ('use = "overscan"', 'use = "overscam"'),
        ("radius = [4, 6]", "radius = [4, -6]"),
        ('[alignment]\nuse = "astroalign"', "[alignment]"),
        ("[finding]", "[findings]"),
    ):
        assert right in text
        text = text.replace(right, wrong, 1)
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(text)
    done = command("run", recipe, night.raw, "--out", tmp_path / "run")
    assert done.code == 2
    lines = text.splitlines()
    for wrong in ("titel", '"imi"', "min = 1.5", "overscam", "-6", "[alignment]", "[findings]"):
        number = next(n for n, line in enumerate(lines, 1) if wrong in line)
        assert f"{recipe}:{number}: " in done.err, f"no message for {wrong} in\n{done.err}"
    assert "'title'" in done.err
    assert "lmi" in done.err
    assert "nothing was read or written" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.toml"]
