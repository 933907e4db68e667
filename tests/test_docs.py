"""What the documentation says is true: what it shows runs, its reference is current, its tables are complete.

A fenced block of a page runs in a folder of that page, in order: ``python`` in one namespace, ``sh`` as a script, the
lines of ``console`` that begin with ``$``. A block with a title is written to the file of that name instead. Packages
that a page makes can be imported as if they were installed. A comment before a block says otherwise:
``<!-- docs: skip REASON -->``, or ``<!-- docs: exit 2 -->`` for a command that is meant to fail.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from albireo import ROLES, Recipe, Registry
from albireo.scaffold import example, new

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "docs" / "reference"  # held to the code by a test of its own
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = [page for page in PAGES if MADE not in page.parents]

_BLOCK = re.compile(
    r"(?:^<!-- docs: (?P<word>\w+) (?P<rest>[^>]*?) -->\n)?"
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    title: str | None
    code: str
    word: str | None
    rest: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        facts = found.groupdict()
        yield Block(page, line, facts["language"], facts["title"], facts["code"], facts["word"], facts["rest"] or "")


def run_page(page: Path, folder: Path) -> None:
    namespace: dict[str, Any] = {"__name__": f"docs_{page.stem}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks(page):
            if block.word != "skip":
                run_block(block, namespace)
            sources = [str(source) for source in folder.glob("*/src") if str(source) not in sys.path]
            for source in sources:
                patch.syspath_prepend(source)
                patch.setenv("PYTHONPATH", source, prepend=os.pathsep)


def run_block(block: Block, namespace: dict[str, Any]) -> None:
    if block.language == "toml":
        tomllib.loads(block.code)
    if block.title:
        Path(block.title).write_text(block.code, encoding="utf-8")
    elif block.language == "python":
        # Line numbers of a traceback are those of the page.
        exec(compile("\n" * block.line + block.code, str(block.page), "exec"), namespace)
    elif block.language == "console":
        for command in (line[2:] for line in block.code.splitlines() if line.startswith("$ ")):
            shell(command, block)
    elif block.language == "sh":
        shell(block.code, block)


def shell(script: str, block: Block) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    wanted = int(block.rest) if block.word == "exit" else 0
    assert done.returncode == wanted, f"{block.place}: exit code {done.returncode} of\n{script}\n{done.stdout}"


@pytest.fixture(scope="session")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Runs a page once in a session and gives the folder it ran in."""
    folders: dict[Path, Path] = {}

    def run(page: Path) -> Path:
        if page not in folders:
            folder = tmp_path_factory.mktemp(page.stem)
            run_page(page, folder)
            folders[page] = folder
        return folders[page]

    return run


@pytest.mark.parametrize("page", WRITTEN, ids=page_id)
def test_commands_and_snippets_of_a_page_run(page: Path, executed: Callable[[Path], Path]) -> None:
    executed(page)


@pytest.mark.parametrize("page", WRITTEN, ids=page_id)
def test_a_block_is_of_a_known_kind_and_skipped_only_with_a_reason(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = list(blocks(page))
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(found), "a fence is indented or not closed"
    assert text.count("<!-- docs:") == sum(block.word is not None for block in found), "a comment is not before a block"
    for block in found:
        assert block.language in {"python", "console", "sh", "toml", "text"}, f"{block.place}: {block.language!r}"
        assert block.word in {None, "skip", "exit"}, block.place
        assert block.word != "skip" or len(block.rest.split()) > 3, f"{block.place}: why is it skipped?"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page_id(page)} links to {target}"


def test_the_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_the_example_of_a_hook_is_a_plugin_that_loads(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"example_{ROLES[role].hook}.py"
    path.write_text(example(ROLES[role].hook))
    if role == "instrument":
        (tmp_path / "mycam.toml").write_text(
            next(p for p in new(role, "x", tmp_path) if p.suffix == ".toml" and p.stem == "x").read_text()
        )
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    registry = Registry()
    registry.add(module)
    assert registry.broken == []
    (entry,) = registry.entries()
    assert entry.role == role


def test_every_hook_and_every_option_is_in_the_reference() -> None:
    stages, hooks = (MADE / "stages.md").read_text(), (MADE / "hooks.md").read_text()
    for role in ROLES.values():
        assert f"\n## {role.hook}\n" in hooks
        assert f"\n## {role.name}\n" in stages
    for entry in Registry.discover().entries():
        if entry.provider.distribution.startswith("albireo"):
            assert f"#{entry.role}-{entry.name} }}" in stages
            for option in entry.cls.model_fields:
                assert f"| `{option}` |" in stages


EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", [p for p in EXAMPLES if "camera" not in p.stem], ids=page_id)
def test_the_recipe_of_an_example_is_right(path: Path) -> None:
    assert Recipe.read(path).warnings == []


@pytest.mark.parametrize("path", [p for p in EXAMPLES if "camera" in p.stem], ids=page_id)
def test_the_camera_of_an_example_is_short(path: Path) -> None:
    rules, _, _ = path.read_text().partition("[example]")
    assert len(rules.splitlines()) <= 60


def documented_columns(page: Path, title: str) -> list[str]:
    """The names in the first column of the table under a heading."""
    section = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{title}\n")]
    return [name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]


@pytest.mark.parametrize("title", ["frames.ecsv", "photometry.fits", "stars.ecsv", "curves", "catalogues"])
def test_every_column_of_a_table_is_documented_and_there(title: str, executed: Callable[[Path], Path]) -> None:
    from astropy.table import Table

    results = executed(ROOT / "docs" / "guide" / "first-run.md") / "results"
    (path, *_) = sorted(results.glob(f"{title}/*.ecsv")) or [results / title]
    assert sorted(documented_columns(ROOT / "docs" / "guide" / "results.md", title)) == sorted(
        Table.read(path).colnames
    )


def test_every_file_of_a_run_folder_is_documented_and_there(executed: Callable[[Path], Path]) -> None:
    results = executed(ROOT / "docs" / "guide" / "first-run.md") / "results"
    listed = documented_files(ROOT / "docs" / "guide" / "results.md")
    assert listed - {"reduced", "stacks", "bakeoff.ecsv"} == {p.name for p in results.iterdir() if p.name[0] != "."}


def documented_files(page: Path) -> set[str]:
    """The first parts of the names in the table of the run folder."""
    text = page.read_text(encoding="utf-8").partition("## The run folder")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return {name.split("/")[0] for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
