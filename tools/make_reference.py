"""Write the reference pages from the code: ``docs/reference``.

    python tools/make_reference.py [--check]

Every role, stage, option and hook of Albireo's own distributions appears there with its words from the code. With
``--check`` nothing is written: the exit code is 1 if a page is not what it would be written as.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from pydantic import BaseModel

from albireo.definition import (
    CameraDefinition,
    FrameRules,
    KindRule,
    Moment,
    Number,
    SectionRule,
    SiteRules,
    Text,
)
from albireo.hookspecs import Events, Providers
from albireo.recipe import TERMS, CatalogueOptions, DataOptions, LibraryOptions, OutputOptions, RecipeOptions, Target
from albireo.registry import Entry, Registry
from albireo.roles import ROLES, Correction, Role
from albireo.scaffold import example
from albireo.schema import option_rows

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
_MADE = "<!-- Made by tools/make_reference.py. Change the docstrings and descriptions in the code instead. -->\n"


def pages() -> dict[str, str]:
    """Give the text of every reference page by its file name."""
    return {
        "recipe.md": recipe_page(),
        "stages.md": stages_page(),
        "camera.md": camera_page(),
        "hooks.md": hooks_page(),
    }


def recipe_page() -> str:
    """Write down the tables of a recipe that belong to the core, and where each role stands."""
    tables: Mapping[str, type[BaseModel]] = {
        "[recipe]": RecipeOptions,
        "[data]": DataOptions,
        "[[targets]]": Target,
        "[catalogue]": CatalogueOptions,
        "[output]": OutputOptions,
        "[library]": LibraryOptions,
    }
    parts = [
        _MADE,
        "# Tables of a recipe\n",
        "Tables in single brackets may stand once, tables in double brackets any number of times.\n",
        "## Tables that choose stages\n",
        "`use` names the stage; the other keys are its options, listed under [Stages](stages.md).\n",
        "| table | chooses | stages |\n|---|---|---|",
        *(
            f"| `{_table(role)}` | {'required: ' if role.required else ''}{role.name} | "
            + ", ".join(f"[{e.name}](stages.md#{role.name}-{e.name})" for e in _entries(role))
            + " |"
            for role in ROLES.values()
        ),
    ]
    for title, model in tables.items():
        parts += [f"\n## `{title}`\n", f"{_first_paragraph(model)}\n", _options(model)]
    return "\n".join(parts).rstrip() + "\n"


def stages_page() -> str:
    """Write down every stage of every role with its options and terms."""
    parts = [_MADE, "# Stages\n", "What Albireo itself provides. `albireo describe ROLE NAME` prints the same.\n"]
    for role in ROLES.values():
        parts.append(f"## {role.name}\n\n{_first_paragraph(role.base)} Table `{_table(role)}` of a recipe.\n")
        parts += [_stage(role, entry) for entry in _entries(role)]
    return "\n".join(parts).rstrip() + "\n"


def hooks_page() -> str:
    """Write down every hook with the plugin that its docstring shows."""
    parts = [
        _MADE,
        "# Hooks\n",
        "A plugin is a module named in the entry-point group `albireo` of its distribution. Each of its hooks takes no "
        "argument and yields classes. Every example below is a whole plugin.\n",
    ]
    for role in ROLES.values():
        hook = getattr(Providers, role.hook)
        parts.append(f"## {role.hook}\n\n{_first_paragraph(hook)} The role is `{role.name}`.\n")
        parts.append(f"```python\n{example(role.hook)}```\n")
        parts.append("What a stage of this role defines:\n")
        parts += [_method(name, method) for name, method in _abstract(role.base).items()]
        parts.append("")
    parts.append("## Events\n\nA plugin may also define these; they run in the parent process, results are ignored.\n")
    for name, event in inspect.getmembers(Events, inspect.isfunction):
        arguments = ", ".join(p for p in inspect.signature(event).parameters if p != "self")
        parts.append(f"* `{name}({arguments})`: {_first_paragraph(event)}")
    return "\n".join(parts).rstrip() + "\n"


def camera_page() -> str:
    """Write down every key of a camera definition and of the rules in it."""
    tables: Mapping[str, type[BaseModel]] = {
        "Top of the file": CameraDefinition,
        "[[kinds]]": KindRule,
        "[frame]": FrameRules,
        "[site]": SiteRules,
        "Number": Number,
        "Text": Text,
        "Moment": Moment,
        "Section": SectionRule,
    }
    parts = [
        _MADE,
        "# Camera definition\n",
        "A rule may be written short: a text is a keyword, a list of texts is a keyword with fall-backs, a number is a "
        "constant. Written as a table it has the keys below.\n",
    ]
    for title, model in tables.items():
        name = f"`{title}`" if title.startswith("[") else title
        parts += [f"## {name}\n", f"{_first_paragraph(model)}\n", _options(model)]
    return "\n".join(parts).rstrip() + "\n"


def _entries(role: Role) -> list[Entry]:
    """Give the stages of Albireo's own distributions; what else is installed is not for these pages."""
    own = {Requirement(text).name for text in metadata.requires("albireo") or []}
    return [entry for entry in Registry.discover().entries(role.name) if entry.provider.distribution in own]


def _table(role: Role) -> str:
    return f"[[{role.table}]]" if role.several else f"[{role.table}]"


def _stage(role: Role, entry: Entry) -> str:
    cls = entry.cls
    parts = [f"### {entry.name} {{ #{role.name}-{entry.name} }}\n", f"{_description(cls)}\n"]
    facts = [f"from `{entry.provider.distribution}`"]
    if isinstance(cls, type) and issubclass(cls, Correction) and cls.master:
        facts.append(f"takes a master {cls.master}")
    facts += [f"needs {_terms(cls.needs)}"] if cls.needs else []
    facts += [f"provides {_terms(cls.provides)}"] if cls.provides else []
    parts += [f"*{'; '.join(facts)}*\n", _options(cls)]
    if cls.citations:
        parts.append("Cite:\n\n" + "\n".join(f"* {citation}" for citation in cls.citations) + "\n")
    return "\n".join(parts)


def _terms(terms: frozenset[str]) -> str:
    return ", ".join(f"{term} ({TERMS[term]})" if term in TERMS else term for term in sorted(terms))


def _options(model: type[BaseModel]) -> str:
    rows = option_rows(model)
    if not rows:
        return "No options.\n"
    lines = ["| option | type | default | unit | meaning |", "|---|---|---|---|---|"]
    for row in rows:
        default = row.default.strip("()") if row.default.startswith("(") else f"`{row.default}`"
        cells = (f"`{row.name}`", row.kind, default, row.unit, row.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _abstract(base: type) -> dict[str, Callable[..., Any]]:
    return {name: getattr(base, name) for name in vars(base) if name in getattr(base, "__abstractmethods__", ())}


def _method(name: str, method: Callable[..., Any]) -> str:
    arguments = ", ".join(p for p in inspect.signature(method).parameters if p != "self")
    return f"* `{name}({arguments})`: {_first_paragraph(method)}"


def _first_paragraph(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()).replace("``", "`")


def _description(cls: type) -> str:
    """Give the docstring without its numpydoc sections; the options have a table of their own."""
    lines: list[str] = []
    for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
        if line and set(line) == {"-"}:
            lines = lines[:-1]
            break
        lines.append(line)
    return "\n".join(lines).strip().replace("``", "`")


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are stale."""
    stale = [
        name
        for name, text in pages().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/reference/{name} is stale: run python tools/make_reference.py")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(pages()[name], encoding="utf-8")
        print(f"docs/reference/{name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
