"""Where a key stands in a TOML text."""

from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from albireo.toml_lines import line_of, lines_of

TEXT = """\
# a comment
title = "x"                       # 2
[recipe]
requires = [                      # 4
    "[photometry]",
    "a = 1",
]
text = '''
[not.a.table]
nor = "a key"
'''                               # 8 to 11
[[photometry]]                    # 12
use = "aperture"
sky.inner = 8                     # 14
[[photometry]]
use = "optimal"                   # 16
[photometry.extra]
deep = { a = 1, b = 2 }           # 18
["quoted name"]
"a key.with dots" = 3             # 20
[a.b]
c = 1                             # 22
[[targets]]
  [[targets.comparisons]]
  x = 1                           # 25
  [[targets.comparisons]]
  x = 2                           # 27
[[targets]]
  [[targets.comparisons]]
  x = 3                           # 30
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("recipe",), 3),
        (("recipe", "requires"), 4),
        (("recipe", "requires", 1), 4),
        (("recipe", "text"), 8),
        (("photometry",), 12),
        (("photometry", 0), 12),
        (("photometry", 0, "use"), 13),
        (("photometry", 0, "sky", "inner"), 14),
        (("photometry", 0, "sky"), 14),
        (("photometry", 0, "missing"), 12),
        (("photometry", 1), 15),
        (("photometry", 1, "use"), 16),
        (("photometry", 1, "extra", "deep", "b"), 18),
        (("quoted name", "a key.with dots"), 20),
        (("a",), 21),
        (("a", "b", "c"), 22),
        (("targets", 0, "comparisons", 1, "x"), 27),
        (("targets", 1, "comparisons", 0, "x"), 30),
        (("nowhere",), 0),
        ((), 0),
    ],
)
def test_the_line_of_a_path_or_of_the_nearest_thing_around_it(path, line):
    assert line_of(lines_of(TEXT), path) == line


def test_nothing_inside_a_value_is_taken_for_a_key():
    assert ("recipe", "nor") not in lines_of(TEXT)
    assert ("not", "a", "table") not in lines_of(TEXT)


def test_only_what_ends_a_line_in_toml_ends_a_line():
    text = 'a = "one\u2028two\x85three"\r\nb = 2\r\n[c]\r\nd = [\r\n1,\r\n]\r\ne = 5'
    tomli.loads(text)
    assert lines_of(text) == {("a",): 1, ("b",): 2, ("c",): 3, ("c", "d"): 4, ("c", "e"): 7}


bare = st.text("abcdef_-0123456789", min_size=1, max_size=4)
quoted = st.text(st.characters(exclude_categories=["C"], exclude_characters='"\\='), max_size=4)
leaves = st.integers(-9, 9) | st.text("ab[]=#\n '", max_size=9) | st.lists(st.integers(0, 99), max_size=30)


@settings(deadline=None, max_examples=80)
@given(st.dictionaries(bare | quoted, leaves, max_size=5))
def test_each_line_found_holds_its_key(values):
    text = tomli_w.dumps({"before": 0, **values, "after": {"last": True}}, multiline_strings=True)
    places, lines = lines_of(text), text.split("\n")
    for key in values:
        assert key in _keys(lines[places[key,] - 1])
    assert lines[places["after",] - 1] == "[after]"
    assert lines[places["after", "last"] - 1] == "last = true"


def _keys(line: str) -> dict[str, Any]:
    return tomli.loads(line.split("=")[0] + "= 0")
