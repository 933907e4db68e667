"""`albireo inspect` and `albireo certify` with samples: what a person sees, and the exit codes."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from albireo import Registry
from albireo.cli import inspect as command_module
from albireo.testing import Night, simulate_night
from albireo.testing.raw_files import write_raw

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
CAMERA = EXAMPLES / "lowell42-camera.toml"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small night of the camera of a worked example: gains as the headers say."""
    camera = Registry.discover().get("instrument", "fits").cls(definition=str(CAMERA))
    folder = tmp_path_factory.mktemp("raw")
    example = camera.example()
    night = Night(science=3, bias=3, flat=3, filters=("VR", "V"), airmass=1.2)
    simulate_night(camera, folder, night=night, example=example, seed=3)
    return folder


@pytest.fixture
def own(raw: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(raw, tmp_path / "raw")
    return tmp_path / "raw"


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_night_is_counted_by_kind_filter_and_exposure(command, raw: Path) -> None:
    done = command("inspect", raw, "--definition", CAMERA)
    assert (done.code, done.err) == (0, "")
    said = words(done.out)
    assert "nasa42 kind filter exposure frames first (UTC) last bias VR 0 s 3 2019-03-26T" in said
    assert "flat VR 2 s 3 " in said
    assert "flat V 2 s 3 " in said
    assert "science VR 30 s 2 " in said
    assert "set-up of all frames: binning=3 3" in said
    assert "gain 3.66 e-/adu, read noise 4.3 e-, saturation 65535 adu" in said
    assert "camera: saturation 65535 adu from the camera's definition (end of the converter) (12 frames)" in said


def test_what_is_missing_is_said_in_words(command, own: Path) -> None:
    for path in own.glob("*"):
        if "flat" in path.name or "bias-0003" in path.name:
            path.unlink()
    done = command("inspect", own, "--definition", CAMERA)
    assert done.code == 0, "what is missing is no failure"
    assert "warning: there are no flats: the sensitivity of the pixels cannot be corrected" in words(done.out)


def test_every_frame_is_listed_with_start_and_middle(command, raw: Path) -> None:
    done = command("inspect", raw, "--definition", CAMERA, "--files")
    rows = [words(line) for line in done.out.splitlines() if line.startswith("science-")]
    assert len(rows) == 3
    name, kind, colour, *_, exptime, start, middle, airmass, gain, noise = rows[0].split()
    assert (name, kind, colour, exptime) == ("science-0001.fits", "science", "VR", "30")
    assert (airmass, gain, noise) == ("1.200", "3.66", "4.3")
    seconds = [float(clock.split(":")[1]) * 60 + float(clock.split(":")[2]) for clock in (start, middle)]
    assert seconds[1] - seconds[0] == pytest.approx(15.0)


def test_the_list_of_frames_fits_a_terminal_of_a_hundred_columns(
    raw: Path, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = io.StringIO()
    console = Console(file=page, width=100, highlight=False, markup=False)
    monkeypatch.setattr(command_module, "terminal", lambda: console)
    command("inspect", raw, "--definition", CAMERA, "--files", "--pixels")
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    assert len([line for line in lines if line.startswith("science-000")]) == 3
    assert all(line.rstrip().endswith("4.3") for line in lines if line.startswith("science-000")), "no line is folded"


def test_pixels_confirm_or_contradict_the_constants(command, raw: Path) -> None:
    done = command("inspect", raw, "--definition", CAMERA, "--pixels")
    said = words(done.out)
    assert "note: gain 3.6" in said
    assert "from 2 pairs of flats through VR; the camera says 3.66" in said
    assert "note: read noise 1.2" in said
    assert "flat-0001.fits flat VR 2 s" in said
    assert done.code == 0


def test_several_cameras_have_a_table_each_and_strange_files_are_named(command, own: Path) -> None:
    lmi = Registry.discover().get("instrument", "lmi").cls()
    example = lmi.example().replace(path=str(own / "lmi.fits"))
    import numpy as np

    write_raw(lmi, example, np.zeros(example.shape, np.uint16))
    (own / "notes.fits").write_text("none")
    done = command("inspect", own)
    assert done.code == 1, "one file could not be read"
    said = words(done.out)
    assert said.startswith("lmi kind filter exposure frames")
    assert "12 files of no camera that was asked: bias-0001.fits bias-0002.fits" in said
    assert "and 7 more" in said
    assert "notes.fits: the file is not a FITS file: it does not begin with SIMPLE" in said


def test_frames_of_nobody_are_told_with_their_signature(command, raw: Path) -> None:
    done = command("inspect", raw, "--instrument", "lmi")
    assert done.code == 1
    assert done.out == ""
    assert done.err.splitlines()[:2] == [
        "albireo: none of the 12 files is a frame of lmi:",
        "albireo:   bias-0001.fits: another camera wrote it (TELESCOP = 'hall')",
    ]


def test_a_check_passes_good_files_and_names_bad_ones(command, own: Path) -> None:
    before = {path: path.read_bytes() for path in own.iterdir()}
    done = command("inspect", own, "--definition", CAMERA, "--check")
    assert (done.code, done.out) == (0, "12 files with 12 frames: 12 good, 0 failed\n")
    assert {path: path.read_bytes() for path in own.iterdir()} == before
    (own / "bias-0001.fits").write_bytes(before[own / "bias-0001.fits"][:9000])
    (own / "empty.fits").write_bytes(b"")
    done = command("inspect", own, "--definition", CAMERA, "--check")
    assert done.code == 1
    first, second, last = done.out.splitlines()
    assert first.startswith("bias-0001.fits: file: the file is truncated: HDU 0 should end at byte ")
    assert second == "empty.fits: file: the file is not a FITS file: it does not begin with SIMPLE"
    assert last == "13 files with 11 frames: 11 good, 2 failed"


def test_a_check_leaves_files_of_other_cameras_aside(command, own: Path) -> None:
    done = command("inspect", own, "--instrument", "lmi", "--check")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "albireo: none of the 12 files is a frame of lmi"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "nowhere"], "there is no nowhere"),
        (["inspect", ".", "--instrument", "lmy"], "there is no instrument 'lmy'; did you mean 'lmi'?"),
        (["inspect", ".", "--definition", "nowhere.toml"], "this camera cannot be used as it is: "),
        (["certify", "instrument", "lmi", "nowhere"], "there is no nowhere"),
        (["certify", "photometer", "aperture", "."], "a photometer has no samples; only an instrument is"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_told(command, own: Path, monkeypatch: pytest.MonkeyPatch, arguments, message) -> None:
    monkeypatch.chdir(own)
    done = command(*arguments)
    assert done.code == 2
    assert done.err.startswith(f"albireo: {message}")


def test_a_camera_is_certified_on_samples(command, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    call = ("certify", "instrument", "fits", own, "--set", "definition=examples/lowell42-camera.toml")
    done = command(*call)
    assert done.code == 0, done.text
    assert "passed  samples: round trip" in done.out
    (own / "notes.fits").write_text("none")
    done = command(*call)
    assert done.code == 1
    assert "failed  samples: file\n          notes.fits: the file is not a FITS file" in done.out
