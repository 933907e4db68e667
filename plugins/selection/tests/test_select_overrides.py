"""Selection by hand: what a file of decisions does to frames and to the identity of the stage."""

import pytest
from pydantic import ValidationError

from albireo import Frame, Frames, Override, write_override
from albireo_selection import ByHand

NIGHT = Frames(Frame(f"/raw/{name}.fits.fz", name=f"{name}.fits.fz", kind="science") for name in ("a", "b", "c"))


def test_decisions_drop_and_rescue_with_who_and_why(tmp_path):
    write_override(tmp_path / "hand.toml", Override("?.fits", "drop", "clouds", "C. Messier"))
    write_override(tmp_path / "hand.toml", Override("b.fits", "keep", "a gap", "C. Messier"))
    stage = ByHand.model_validate({"file": "hand.toml"}, context={"folder": tmp_path})
    assert stage.file == tmp_path / "hand.toml"
    selection = stage.select(NIGHT, {})
    assert [frame.name for frame in selection.kept] == ["b.fits.fz"]
    assert selection.dropped == dict.fromkeys(("a.fits.fz", "c.fits.fz"), "dropped by hand (C. Messier): clouds")
    assert stage.rescue(NIGHT) == {"b.fits.fz": "kept by hand (C. Messier): a gap"}


def test_the_identity_follows_the_file_and_a_missing_file_decides_nothing(tmp_path):
    stage = ByHand.model_validate({}, context={"folder": tmp_path})
    assert stage.file == tmp_path / "overrides.toml"
    assert stage.select(NIGHT, {}).kept == NIGHT
    assert stage.rescue(NIGHT) == {}
    prints = [stage.fingerprint()]
    for decision in ("drop", "keep"):
        write_override(stage.file, Override("a.fits", decision, time="2023-11-22"))
        prints.append(stage.fingerprint())
    assert len(set(prints)) == 3
    assert prints[0] == ""


def test_a_file_that_cannot_be_understood_is_refused_when_the_recipe_is_read(tmp_path):
    (tmp_path / "overrides.toml").write_text('[[override]]\nframe = "a"\ndecision = "skip"\n')
    with pytest.raises(ValidationError, match=r"entry 1 \(line 1\): decision must be 'drop' or 'keep', not 'skip'"):
        ByHand.model_validate({}, context={"folder": tmp_path})
