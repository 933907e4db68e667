"""Decisions made by hand: read, told apart, written, and refused with a word on every fault."""

from __future__ import annotations

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from albireo import Frame, Override, Overrides, OverridesError, is_called, remove_override, write_override

NIGHT = [
    Frame("/data/night/flat/f1.fits.fz", name="flat/f1.fits.fz:C2Y"),
    Frame("/data/night/flat/f1.fits.fz", name="flat/f1.fits.fz:C2Z"),
    Frame("/data/night/flat/f2.fits", name="flat/f2.fits"),
    Frame("/data/night/m67-0001.fits", name="m67-0001.fits[1]"),
]

FILE = """# of the first night
[[override]]
frame = "f1.fits"
decision = "drop"
reason = "lamp was on"

# clouds came at four
[[override]]
frame = "*"   # all of them
decision = "drop"
author = "E. Halley"
time = 2023-11-22T04:00:00

# but this one
[[override]]
frame = "f2.fits"
decision = "keep"
"""


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [
        ("flat/f1.fits.fz:C2Y", {0}),
        ("flat/f1.fits:C2Y", {0}),
        ("f1.fits.fz:C2Z", {1}),
        ("f1.fits", {0, 1}),
        ("flat/f1.fits.fz", {0, 1}),
        ("f2.fits", {2}),
        ("f2", set()),
        ("flat/*", {0, 1, 2}),
        ("f?.fits", {0, 1, 2}),
        ("m67-0001.fits[1]", {3}),
        ("m67*[1]", {3}),
        ("m67*[2]", set()),
        ("F2.fits", set()),
    ],
)
def test_a_frame_is_called_by_its_name_its_file_or_a_pattern(pattern, rows):
    assert {row for row, frame in enumerate(NIGHT) if is_called(frame, pattern)} == rows


def test_the_last_entry_for_a_frame_counts(tmp_path):
    path = tmp_path / "overrides.toml"
    path.write_text(FILE)
    read = Overrides.read(path)
    assert read.entries[1] == Override("*", "drop", author="E. Halley", time="2023-11-22T04:00:00")
    decisions = read.decisions(NIGHT)
    assert {name: said.decision for name, said in decisions.items()} == {
        "flat/f1.fits.fz:C2Y": "drop",
        "flat/f1.fits.fz:C2Z": "drop",
        "flat/f2.fits": "keep",
        "m67-0001.fits[1]": "drop",
    }
    assert str(read.entries[0]) == "dropped by hand: lamp was on"
    assert str(decisions["m67-0001.fits[1]"]) == "dropped by hand (E. Halley)"
    assert str(decisions["flat/f2.fits"]) == "kept by hand"


def test_no_file_is_no_decision(tmp_path):
    assert Overrides.read(tmp_path / "none.toml").entries == ()


def test_every_fault_of_a_file_is_told_with_its_line(tmp_path):
    path = tmp_path / "overrides.toml"
    path.write_text(FILE + '[[override]]\nfrane = "x"\ndecision = "dropp"\n[[override]]\nframe = 3\n[other]\n')
    with pytest.raises(OverridesError) as error:
        Overrides.read(path)
    assert str(error.value) == (
        f"{path}: there is no table [other]; write [[override]]; "
        "entry 4 (line 18): there is no key 'frane'; did you mean 'frame'?, frame is missing: the name of a frame or "
        "file, decision must be 'drop' or 'keep', not 'dropp'; "
        "entry 5 (line 21): frame must be a text, not 3, decision is missing: 'drop' or 'keep'"
    )
    path.write_text("[[override]\n")
    with pytest.raises(OverridesError, match="is not valid TOML"):
        Overrides.read(path)
    path.write_text('[override]\nframe = "x"\n')
    with pytest.raises(OverridesError, match=r"write \[\[override\]\] with two brackets"):
        Overrides.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(OverridesError, match="cannot be read"):
        Overrides.read(path)


def test_a_new_file_says_what_it_is(tmp_path):
    path = tmp_path / "new" / "overrides.toml"
    write_override(path, Override("a.fits", "drop", 'a "trail"', "J. Bradley"))
    assert path.read_text().startswith("# Frames that a person decided about.")
    (entry,) = Overrides.read(path).entries
    assert (entry.frame, entry.decision, entry.reason, entry.author) == ("a.fits", "drop", 'a "trail"', "J. Bradley")
    assert len(entry.time) == len("2023-11-22T04:00:00")


def test_a_decision_takes_the_place_of_the_one_before_and_comments_stay(tmp_path):
    path = tmp_path / "overrides.toml"
    path.write_text(FILE)
    write_override(path, Override("f1.fits", "keep", "it was not", time="2023-11-23T00:00:00"))
    text = path.read_text()
    assert text == FILE.replace(
        '[[override]]\nframe = "f1.fits"\ndecision = "drop"\nreason = "lamp was on"\n\n', "\n", 1
    ) + ('\n[[override]]\nframe = "f1.fits"\ndecision = "keep"\nreason = "it was not"\ntime = "2023-11-23T00:00:00"\n')
    # What is written last counts, also against a pattern that stood behind the earlier entry.
    assert Overrides.read(path).decisions(NIGHT)["flat/f1.fits.fz:C2Y"].decision == "keep"


def test_a_decision_is_taken_back_and_nothing_else_changes(tmp_path):
    path = tmp_path / "overrides.toml"
    path.write_text(FILE)
    write_override(path, Override("f3.fits", "drop"))
    remove_override(path, "f3.fits")
    assert path.read_text() == FILE
    state = path.stat()
    remove_override(path, "no-such.fits")
    assert path.stat().st_mtime_ns == state.st_mtime_ns
    remove_override(tmp_path / "none.toml", "f1.fits")
    assert not (tmp_path / "none.toml").exists()
    remove_override(path, "*")
    assert (
        path.read_text()
        == """# of the first night
[[override]]
frame = "f1.fits"
decision = "drop"
reason = "lamp was on"

# clouds came at four

# but this one
[[override]]
frame = "f2.fits"
decision = "keep"
"""
    )


@pytest.mark.parametrize("text", ['override = [{frame = "a", decision = "drop"}]\n', "[[override]]\n", "x = [\n"])
def test_a_file_that_cannot_take_an_entry_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "overrides.toml"
    path.write_text(text)
    with pytest.raises(OverridesError):
        write_override(path, Override("a", "drop"))
    assert path.read_text() == text


def test_a_link_is_followed_and_a_nameless_decision_refused(tmp_path):
    path, link = tmp_path / "real.toml", tmp_path / "link.toml"
    path.write_text(FILE)
    link.symlink_to(path)
    write_override(link, Override("x.fits", "drop"))
    assert link.is_symlink()
    assert Overrides.read(path).entries[-1].frame == "x.fits"
    with pytest.raises(OverridesError, match="needs the name of a frame"):
        write_override(path, Override("", "drop"))


TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
ENTRIES = st.builds(
    Override, TEXTS.filter(bool), st.sampled_from(["drop", "keep"]), TEXTS, TEXTS, st.just("2023-11-22T04:00:00")
)


@given(st.lists(ENTRIES, max_size=6))
def test_what_was_written_is_read_whatever_its_letters(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("any") / "overrides.toml"
    path.write_bytes(b'# kept\r\n[[override]]\r\nframe = "first"\r\ndecision = "keep"\r\n# end\r\n')
    for entry in entries:
        write_override(path, entry)
    expected = {"first": Override("first", "keep")}
    for entry in entries:
        expected.pop(entry.frame, None)
        expected[entry.frame] = entry
    assert Overrides.read(path).entries == tuple(expected.values())
    text = path.read_bytes().decode()
    assert "# kept" in text
    assert "# end" in text
    tomli.loads(text)
