"""Keys of products, and the index of a run folder."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from albireo import Frame, Report
from albireo.executors import Processes, Serial
from albireo.store import Index, frame_key, key_of, stage_key

# --- keys -------------------------------------------------------------------------------------------------------------

SAME = """
from enum import Enum
from pathlib import Path
from pydantic import Field
from albireo import Frame, Report
from albireo.executors import Processes
from albireo.store import frame_key, key_of, stage_key

class Colour(Enum):
    RED = "red"

class Page(Report, name="page"):
    '''A page.'''
    names: frozenset[str] = Field(frozenset({"g", "r", "i", "z", "U", "B"}), description="A set.")
    place: Path = Field(Path("a/b"), description="A path.")
    table: dict[str, float] = Field({"b": 1.0, "a": 2.0}, description="A table.")
    colour: Colour = Field(Colour.RED, description="A choice.")
    def write(self, run, folder):
        return []

print(key_of("a", 1, 2.5, None, float("nan"), [1, {"y": 2, "x": {"q", "w", "e"}}], Path("/a")))
print(key_of(*stage_key(Page())))
print(key_of(*stage_key(Processes(jobs=2))))
print(frame_key(Frame("a.fits", setup=(("binning", "1x1"),)), "digest"))
"""


def test_equal_values_have_equal_keys_in_every_process():
    answers = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", SAME], env=environment, capture_output=True, text=True, check=True)
        answers.add(done.stdout)
    assert len(answers) == 1
    assert len(set(answers.pop().split())) == 4


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=100)
@given(values, values)
def test_different_values_have_different_keys(one, other):
    # 1 and 1.0 are one to Python and two to a key; text tells them apart.
    assert (key_of(one) == key_of(other)) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
    assert key_of(one, other) != key_of([one, other])


def test_order_matters_in_a_list_and_not_in_a_table():
    assert key_of([1, 2]) != key_of([2, 1])
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


class Page(Report, name="page"):
    """A page."""

    title: str = Field("", description="Title.")
    names: frozenset[str] = Field(frozenset(), description="Names.")

    def write(self, run, folder):
        return []


class Marked(Page, name="marked"):
    """Depends on a file."""

    def fingerprint(self):
        return self.title * 2


def test_the_key_of_a_stage_follows_options_kind_version_and_fingerprint():
    assert stage_key(None) is None
    keys = [
        key_of(stage_key(stage))
        for stage in (Page(), Page(title="x"), Page(names={"a", "b"}), Marked(), Marked(title="x"), Serial())
    ]
    keys.append(key_of(stage_key(Processes())))
    assert len(set(keys)) == len(keys)
    assert key_of(stage_key(Page(names={"b", "a"}))) == keys[2]
    # A stage of a distribution is known by its version, one of a script by where it is written.
    assert "albireo-core" in stage_key(Serial())
    assert __name__ in stage_key(Page())


def test_the_key_of_a_frame_does_not_follow_where_it_lies():
    frame = Frame("/a/one.fits", name="one.fits", kind="flat", exptime=2.0, notes=("odd",))
    same = Frame("/b/two.fits", name="two.fits", kind="flat", exptime=2.0)
    assert frame_key(frame, "d") == frame_key(same, "d")
    assert frame_key(frame, "d") != frame_key(frame, "e")
    assert frame_key(frame, "d") != frame_key(frame.replace(exptime=3.0), "d")
    assert frame_key(Frame("a"), "d") == frame_key(Frame.from_dict(json.loads(json.dumps(Frame("a").to_dict()))), "d")


# --- the index --------------------------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path):
    with Index(tmp_path) as made:
        yield made


def put(folder: Path, name: str = "masters/flat.fits", text: str = "pixels") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_what_was_saved_is_there_in_the_next_run(tmp_path):
    frames = [Frame("a.fits", exptime=3.5), Frame("a.fits", hdu=2)]
    raw, product = put(tmp_path, "raw/a.fits"), put(tmp_path)
    with Index(tmp_path) as index:
        index.save_digests([(raw, raw.stat(), "abc")])
        index.save_headers([("h1", frames, ""), ("h2", [], "not a FITS file")])
        index.save_measured("m", {"level": 0.5, "worst": math.nan})
        index.save_failure("f", "alignment", "too few stars")
        index.save_product("p", product, {"lost": {"x.fits": "truncated"}})
    with Index(tmp_path) as again:
        assert again.digest(raw) == "abc"
        headers = again.headers()
        assert repr([Frame.from_dict(values) for values in headers["h1"][0]]) == repr(frames)
        assert headers["h2"] == ([], "not a FITS file")
        measured = again.measured("m")
        assert measured is not None
        assert measured["level"] == 0.5
        assert math.isnan(measured["worst"])
        assert again.failures() == {"f": ("alignment", "too few stars")}
        assert again.has("p")
        assert again.note("p") == {"lost": {"x.fits": "truncated"}}


def test_what_was_never_saved_is_not_there(index, tmp_path):
    assert index.digest(put(tmp_path)) is None
    assert index.headers() == {}
    assert index.measured("m") is None
    assert index.failures() == {}
    assert not index.has("p")
    assert index.note("p") == {}


def test_a_file_that_changed_has_no_known_digest(index, tmp_path):
    path = put(tmp_path, "raw/a.fits", "one")
    index.save_digests([(path, path.stat(), "abc")])
    state = path.stat()
    put(tmp_path, "raw/a.fits", "two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))  # same size, a nanosecond later
    assert index.digest(path) is None
    with pytest.raises(FileNotFoundError):
        index.digest(tmp_path / "gone.fits")


def test_a_product_that_changed_or_went_is_noticed(index, tmp_path):
    path = put(tmp_path)
    index.save_product("p", path)
    assert index.has("p")
    state = path.stat()
    put(tmp_path, text="pixel!")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert not index.has("p")
    index.save_product("p", path)
    assert index.has("p")
    path.unlink()
    assert not index.has("p")


def test_a_new_product_at_the_same_place_replaces_the_old_one(index, tmp_path):
    index.save_product("old", put(tmp_path), {"n": 1})
    index.save_product("new", put(tmp_path), {"n": 2})
    assert not index.has("old")
    assert index.has("new")
    assert index.note("old") == {}


def damage(content: bytes, how: str) -> bytes:
    page = 4096
    return {
        "empty": b"",
        "text": b"this is no database\n" * 100,
        "half": content[: len(content) // 2],
        "cut in a page": content[: len(content) - page // 2],
        "zeros inside": content[:page] + bytes(page) + content[2 * page :],
        "noise inside": content[: 3 * page] + bytes(range(256)) * 16 + content[4 * page :],
    }[how]


@pytest.mark.parametrize("how", ["empty", "text", "half", "cut in a page", "zeros inside", "noise inside"])
def test_a_damaged_index_is_made_anew(tmp_path, how):
    with Index(tmp_path) as index:
        index.save_headers([(f"h{n}", [Frame(f"{n}.fits")], "") for n in range(60)])
    path = tmp_path / "index.sqlite"
    path.write_bytes(damage(path.read_bytes(), how))
    with Index(tmp_path) as index:
        assert index.headers() == {}
        index.save_headers([("h", [], "")])
    with Index(tmp_path) as index:
        assert list(index.headers()) == ["h"]


def test_a_run_that_was_killed_leaves_a_good_index(tmp_path):
    script = """
import os, signal, sys
from pathlib import Path
from albireo.store import Index
index = Index(Path(sys.argv[1]))
for number in range(50):
    index.save_failure(f"f{number}", "stage", "reason")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    with Index(tmp_path) as index:
        assert len(index.failures()) == 50


def test_an_index_without_a_folder_stays_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Index(None) as index:
        index.save_measured("m", {"level": 1.0})
        assert index.measured("m") == {"level": 1.0}
    assert list(tmp_path.iterdir()) == []
