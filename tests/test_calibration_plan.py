"""The plan says which masters every science frame gets and why, before a pixel is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from albireo import DeclarativeInstrument, Registry
from albireo.testing import Night, Scene, simulate_night


@pytest.fixture
def flatless(night, tmp_path, monkeypatch):
    """The shared night without its flats, where whoever reads a pixel trips over a wire."""

    def read(self, frame, region=None):
        raise AssertionError(f"pixels of {frame.name} were read")

    monkeypatch.setattr(DeclarativeInstrument, "read", read)
    return night.linked(tmp_path, tuple(Path(f.path).name for f in night.truth.frames if f.kind == "flat"))


def test_every_science_frame_is_named_with_its_masters_and_the_reasons(night, command, tmp_path):
    done = command("plan", night.write(tmp_path), night.raw, "--files")
    assert done.code == 0, done.text
    listed = done.out.split("Science frames")[1]
    for exposure in night.truth:
        assert Path(exposure.frame.path).name in listed
    for master in ("bias", "flat-SDSS-R"):
        assert master in listed
    assert listed.count("the only one that matches") == 2


def test_without_being_asked_frames_treated_alike_are_told_together(night, command, tmp_path):
    listed = command("plan", night.write(tmp_path), night.raw).out.split("Science frames")[1]
    first, *between, last = sorted(Path(exposure.frame.path).name for exposure in night.truth)
    assert f"8: {first} to {last}" in listed
    assert not any(name in listed for name in between)


@pytest.mark.parametrize("what", ["plan", "run"])
def test_a_missing_flat_is_an_error_before_any_pixel_is_read(night, flatless, command, tmp_path, what):
    out = () if what == "plan" else ("--out", tmp_path / "run")
    done = command(what, night.write(tmp_path), flatless, *out)
    assert done.code == 1
    assert "There is no master flat for" in done.err
    assert "filter SDSS-R" in done.err
    assert "no flat frame was found" in done.err
    assert 'Take such flat frames, or write allow_missing = ["flat"] under [recipe]' in done.err
    assert "Needed by 8 frames" in done.err
    assert not (tmp_path / "run" / "masters").exists()


def test_the_plan_of_a_night_with_every_kind_of_master_gives_an_estimate(command, tmp_path):
    camera = Registry.discover().get("instrument", "lmi").cls()
    shape = camera.example().amplifiers[0].data.shape
    raw = tmp_path / "raw"
    simulate_night(camera, raw, Scene.field(shape, 5, 8e3, 1e3, seed=1), Night(science=2, bias=2, flat=2, dark=2))
    (tmp_path / "night.toml").write_text(
        '[instrument]\nuse = "lmi"\n'
        + "".join(f'[[masters]]\nuse = "combine"\nkind = "{kind}"\n' for kind in ("bias", "dark", "flat"))
        + "".join(f'[[corrections]]\nuse = "{name}"\n' for name in ("trim", "bias", "dark", "gain", "flat"))
    )
    done = command("plan", tmp_path / "night.toml", raw)
    assert done.code == 0, done.text
    assert "3 masters, 2 science frames" in done.out
