"""The same frames and the same recipe give the same bytes, whoever does the work, in whatever order, on any machine."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from albireo import Registry
from albireo.testing import Night, Scene, simulate_night

MEMORY = ("40 MiB", "2 GiB")
"""The least is below what 24 bias frames take together (48 MiB), the most far above."""

MASTERS = """
[instrument]
use = "lmi"
[[masters]]
use = "combine"
kind = "bias"
[[masters]]
use = "combine"
kind = "flat"
[[corrections]]
use = "overscan"
[[corrections]]
use = "trim"
[[corrections]]
use = "bias"
[[corrections]]
use = "gain"
[[corrections]]
use = "flat"
[executor]
use = "processes"
"""


@pytest.mark.parametrize("jobs", [2, 3])
def test_tables_do_not_depend_on_the_number_of_workers(
    jobs: int, night, undisturbed: Path, albireo, tmp_path: Path, tables
) -> None:
    done = albireo("run", night.write(tmp_path), night.raw, "--out", tmp_path / "run", "--jobs", jobs)
    assert done.code == 0, done.text
    assert tables(tmp_path / "run") == tables(undisturbed)


def test_tables_do_not_depend_on_the_executor(night, undisturbed: Path, command, tmp_path: Path, tables) -> None:
    recipe = night.write(tmp_path, instead_of=('use = "processes"', 'use = "serial"'))
    done = command("run", recipe, night.raw, "--out", tmp_path / "run")
    assert done.code == 0, done.text
    assert tables(tmp_path / "run") == tables(undisturbed)


def test_two_runs_in_one_process_do_not_know_of_each_other(
    night, undisturbed: Path, reduce, tmp_path: Path, tables
) -> None:
    done = reduce(night.write(tmp_path), night.raw, tmp_path / "run")
    assert done.code == 0, done.text
    assert tables(tmp_path / "run") == tables(undisturbed)


def test_tables_do_not_depend_on_the_order_of_files_on_disk(night, reduce, tmp_path: Path, tables) -> None:
    found = []
    raw = tmp_path / "raw"
    for seed in (1, 2):
        names = sorted(path.name for path in night.raw.iterdir())
        random.Random(seed).shuffle(names)
        shutil.rmtree(raw, ignore_errors=True)
        raw.mkdir()
        for name in names:
            shutil.copyfile(night.raw / name, raw / name)
        out = tmp_path / f"run-{seed}"
        assert reduce(night.write(tmp_path), raw, out).code == 0
        found.append(tables(out))
    assert found[0] == found[1]


def test_masters_do_not_depend_on_the_memory_they_may_use(reduce, tmp_path: Path) -> None:
    lmi = Registry.discover().get("instrument", "lmi").cls()
    simulate_night(lmi, tmp_path / "raw", Scene([300.0], [300.0], [1e4]), Night(science=1, bias=24, flat=5), seed=5)
    (tmp_path / "night.toml").write_text(MASTERS)
    found = []
    for memory in MEMORY:
        out = tmp_path / memory.replace(" ", "")
        done = reduce(tmp_path / "night.toml", tmp_path / "raw", out, "--set", f"executor.memory={memory}")
        assert done.code == 0, done.text
        found.append({path.name: path.read_bytes() for path in (out / "masters").iterdir()})
    assert found[0].keys() == {"bias.fits", "flat-SDSS-R.fits"}
    assert found[0] == found[1]
