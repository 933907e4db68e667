"""``albireo demo`` simulates a night, reduces it, and finds what it put in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from albireo import Results

MEMORY = 1500.0
"""Largest process of a demo in MiB."""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_demo_finds_what_it_put_in(seed: int, albireo, tmp_path: Path) -> None:
    options = () if seed == 1 else ("--seed", seed)  # the first as a newcomer calls it
    done = albireo("demo", "--out", "demo", *options, cwd=tmp_path)
    assert done.code == 0, done.text
    for line in ("frames used", "position of stars", "flux / truth", "error bars", "scatter / photon limit"):
        assert line in done.out
    assert "amplitude of the variable" in done.out
    assert " off " not in done.out
    memory = re.search(r"(\d+) MiB in the largest process", done.out)
    assert memory is not None
    assert float(memory[1]) < MEMORY
    report = re.search(r"report: (\S+)", done.out)
    assert report is not None
    assert "<html" in (tmp_path / report[1]).read_text(encoding="utf-8")[:500]
    results = Results(tmp_path / "demo" / "run")
    assert results.summary["counts"] == {"used": 48 + 9 + 7, "dropped": 1}
    assert [curve.meta["OBJECT"] for curve in results.curves] == ["variable"]


def test_the_recipe_of_the_demo_can_be_run_again(albireo, tmp_path: Path) -> None:
    assert albireo("demo", "--out", "demo", "--jobs", 1, cwd=tmp_path).code == 0
    done = albireo("run", "demo/demo.toml", "--out", "demo/run", "--jobs", 1, cwd=tmp_path)
    assert done.code == 0, done.text
    assert "nothing had changed" in done.out


def test_a_demo_leaves_a_folder_alone_that_is_none(albireo, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.tex").write_text("precious")
    done = albireo("demo", "--out", "thesis", cwd=tmp_path)
    assert done.code == 2
    assert "thesis exists and is no demo" in done.err
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter-1.tex"]
