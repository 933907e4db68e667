"""From a TOML text to checked stages: everything that is wrong, at once, each with its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import (
    BaseModel,
    ValidationError,
)

from albireo.frames import MASTER_KINDS
from albireo.recipe.checked import Problem, Recipe, RecipeError
from albireo.recipe.tables import (
    CatalogueOptions,
    DataOptions,
    LibraryOptions,
    OutputOptions,
    RecipeOptions,
    Table,
    Target,
)
from albireo.registry import Registry, RegistryError
from albireo.roles import (
    ROLES,
    Correction,
    Stage,
)
from albireo.toml_lines import Path as KeyPath
from albireo.toml_lines import line_of, lines_of

__all__ = ["TERMS", "Reader"]

TERMS = {
    "pedestal": "the electronic pedestal subtracted",
    "trim": "the overscan trimmed off",
    "dark": "the dark current subtracted",
    "electron": "an image in electrons",
    "flat": "the image flat-fielded",
    "rebin": "the pixels binned",
    "background": "an estimate of the background",
    "sources": "a list of sources",
    "psf": "the shape of a star",
}
"""What stages may need and provide, in words."""


class Reader:
    """One reading of one recipe: collects problems until the end."""

    def __init__(self, text: str, path: Path, registry: Registry) -> None:
        self.text, self.path, self.registry = text, path, registry
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.places: dict[KeyPath, int] = {}
        self.given: dict[KeyPath, str] = {}
        """What --set put where."""
        self.rows: dict[str, list[int]] = {}
        """Where in its table each valid stage stands; the others are not in the lists of stages."""

    def read(self, settings: Sequence[str]) -> Recipe:
        """Read and check, after the changes that ``settings`` make; see `albireo.Recipe.read`."""
        try:
            tables: dict[str, Any] = tomli.loads(self.text)
        except tomli.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            line = int(found[1]) if found else len(self.text.splitlines())
            message = f"this is not valid TOML: {re.sub(r' [(]at line .*', '', str(error))}"
            raise RecipeError(str(self.path), [Problem(message, line)]) from None
        self.places = lines_of(self.text)
        tables.setdefault("executor", {"use": "processes"})
        for setting in settings:
            self._set(tables, setting)
        self._unknown_tables(tables)
        options = self._table(RecipeOptions, tables, "recipe")
        core = {
            "options": options,
            "data": self._table(DataOptions, tables, "data"),
            "catalogue": self._table(CatalogueOptions, tables, "catalogue"),
            "output": self._table(OutputOptions, tables, "output"),
            "library": self._table(LibraryOptions, tables, "library") if "library" in tables else None,
            "targets": self._targets(tables),
        }
        self._requirements(tables.get("recipe"))
        stages: dict[str, list[Any]] = {}
        for role in ROLES.values():
            stages[role.table] = self._stages(tables, role.table, role.name, role.several)
            if role.required and role.table not in tables:
                known = ", ".join(e.name for e in self.registry.entries(role.name))
                self._problem(f"a recipe needs a table [{role.table}] with use = one of: {known}", ())
        self._terms(stages, tables)
        if self.problems:
            raise RecipeError(str(self.path), self.problems)
        one = {role.table: (stages[role.table] or [None])[0] for role in ROLES.values() if not role.several}
        return Recipe(
            path=self.path,
            **core,  # type: ignore[arg-type]
            instrument=one["instrument"],
            executor=one["executor"],
            selectors=stages["select"],
            masters=stages["masters"],
            corrections=stages["corrections"],
            background=one["background"],
            finder=one["finding"],
            psf=one["psf"],
            aligner=one["alignment"],
            stackers=stages["stacks"],
            photometers=stages["photometry"],
            curves=stages["curves"],
            reports=stages["reports"],
            warnings=self.warnings,
        )

    # --- pieces

    def _problem(self, message: str, path: KeyPath, where: str = "") -> None:
        setting = next((self.given[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.given), None)
        if setting is None:
            self.problems.append(Problem(message, line_of(self.places, path), where))
        else:  # no line of the file is to blame
            self.problems.append(Problem(message, 0, f"--set {setting}: {where}"))

    def _set(self, tables: dict[str, Any], setting: str) -> None:
        address, equals, raw = setting.partition("=")
        keys = address.strip().split(".")
        if not equals or len(keys) not in (2, 3):
            self._problem(f"--set {setting}: expected table.option=value or table.stage.option=value", ())
            return
        try:
            value = tomli.loads(f"value = {raw}")["value"]
        except tomli.TOMLDecodeError:
            value = raw.strip()
        table, option = keys[0], keys[-1]
        entries = tables.setdefault(table, [] if any(r.table == table and r.several for r in ROLES.values()) else {})
        several = isinstance(entries, list)
        chosen = [
            ((table, index) if several else (table,), entry)
            for index, entry in enumerate(entries if several else [entries])
            if isinstance(entry, dict) and (len(keys) == 2 or entry.get("use") == keys[1])
        ]
        if not chosen:
            what = f'[[{table}]] with use = "{keys[1]}"' if len(keys) == 3 else f"[[{table}]]"
            self._problem(f"--set {setting}: the recipe has no {what} to change", ())
        for path, entry in chosen:
            entry[option] = value
            self.given[*path, option] = setting

    def _unknown_tables(self, tables: Mapping[str, Any]) -> None:
        tables_of_the_core = ("recipe", "data", "catalogue", "output", "library", "targets")
        known = [*tables_of_the_core, *(role.table for role in ROLES.values())]
        for name in tables:
            if name not in known:
                self._problem(f"there is no table [{name}]{_nearest(name, known)}", (name,))

    def _table(self, model: type[Table], tables: Mapping[str, Any], name: str) -> Any:
        value = tables.get(name, {})
        if not isinstance(value, dict):
            self._problem(f"[{name}] is one table, not several", (name,))
            return None
        return self._validated(model, value, (name,), f"[{name}]")

    def _targets(self, tables: Mapping[str, Any]) -> list[Target]:
        entries = tables.get("targets", [])
        if not _tables(entries):
            self._problem("write [[targets]] with two brackets: there may be several", ("targets",))
            return []
        found: dict[str, Target] = {}
        for index, entry in enumerate(entries):
            path: KeyPath = ("targets", index)
            target = self._validated(Target, entry, path, f"[[targets]] {index + 1}")
            if target is None:
                continue
            if target.name in found:
                self._problem(f"two targets are called {target.name!r}", path)
            found[target.name] = target
        return list(found.values())

    def _stages(self, tables: Mapping[str, Any], table: str, role: str, several: bool) -> list[Any]:
        value = tables.get(table)
        self.rows[table] = []
        if value is None:
            return []
        if several and not _tables(value):
            self._problem(f"write [[{table}]] with two brackets: there may be several", (table,))
            return []
        if not several and not isinstance(value, dict):
            self._problem(f"a recipe has one [{table}]; write it with single brackets, once", (table,))
            return []
        stages = []
        for index, entry in enumerate(value if several else [value]):
            path: KeyPath = (table, index) if several else (table,)
            options = dict(entry)
            use = options.pop("use", None)
            title = f"[[{table}]]" if several else f"[{table}]"
            if not isinstance(use, str):
                known = ", ".join(e.name for e in self.registry.entries(role))
                self._problem(f"'use' is missing: it names the plugin; installed: {known or 'none'}", path, title)
                continue
            try:
                cls = self.registry.get(role, use).cls
            except RegistryError as error:
                self._problem(str(error), (*path, "use"), title)
                continue
            stage = self._validated(cls, options, path, f"{title} {use}")
            if stage is not None:
                stages.append(stage)
                self.rows[table].append(index)
        return stages

    def _validated(self, model: type[BaseModel], values: Mapping[str, Any], path: KeyPath, where: str) -> Any:
        try:
            return model.model_validate(dict(values), context={"folder": self.path.parent})
        except ValidationError as error:
            found: dict[KeyPath, list[str]] = {}
            for detail in error.errors(include_url=False):
                place, inner = _place(detail, values)
                found.setdefault(place, []).append(_in_words(detail, inner, model))
            for place, messages in found.items():
                self._problem("; or ".join(dict.fromkeys(messages)), (*path, *place), where)
        except Exception as error:  # a stranger's check may raise anything; it is this recipe's problem
            self._problem(f"its options cannot be checked: {type(error).__name__}: {error}", path, where)
        return None

    def _requirements(self, table: Any) -> None:
        requires = table.get("requires") if isinstance(table, dict) else None
        if not isinstance(requires, list):
            return
        for index, text in enumerate(t for t in requires if isinstance(t, str)):
            path = ("recipe", "requires", index)
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                self._problem(f"{text!r} is not a requirement such as 'albireo-lmi>=0.1'", path, "[recipe]")
                continue
            try:
                installed = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                self._problem(f"{text} is not installed: python -m pip install '{text}'", path, "[recipe]")
                continue
            if not requirement.specifier.contains(installed, prereleases=True):
                message = f"{text} is required, {installed} is installed: python -m pip install '{text}'"
                self._problem(message, path, "[recipe]")

    def _terms(self, stages: Mapping[str, list[Any]], tables: Mapping[str, Any]) -> None:
        """Check that every stage finds what it needs, in the order of a run."""
        made: set[str] = set()
        for builder, row in zip(stages["masters"], self.rows["masters"], strict=True):
            path: KeyPath = ("masters", row, "kind")
            if builder.kind not in MASTER_KINDS:
                text = f"kind {builder.kind!r} is none of {', '.join(MASTER_KINDS)}"
                self._problem(text, path, f"[[masters]] {builder.name}")
            elif builder.kind in made:
                self._problem(f"two [[masters]] combine the kind {builder.kind!r}", path)
            elif builder.kind not in {c.master for c in stages["corrections"]}:
                self.warnings.append(f"a master {builder.kind} is asked for, but no correction uses it")
            made.add(builder.kind)
        # Where a table has a problem of its own, what its stages would have made or provided is not missed again.
        complete, masters_complete = (
            _tables(tables.get(table, [])) and len(stages[table]) == len(tables.get(table, []))
            for table in ("corrections", "masters")
        )
        have: set[str] = set()
        done: list[Correction] = []
        for correction, row in zip(stages["corrections"], self.rows["corrections"], strict=True):
            where = f"[[corrections]] {correction.name}"
            path = ("corrections", row)
            self._missing(correction, have, path, where, "corrections", complete)
            self._too_late(correction, done, path, where)
            have |= correction.provides
            done.append(correction)
            if correction.master and correction.master not in made and masters_complete:
                makers = " or ".join(f'"{name}"' for name in self._makers(correction.master)) or '"combine"'
                self._problem(
                    f"it takes a master {correction.master}, and no [[masters]] makes one; add [[masters]] with "
                    f'use = {makers}, kind = "{correction.master}"',
                    path,
                    where,
                )
        for table in ("background", "finding", "psf", "alignment", "stacks", "photometry"):
            several = table in ("stacks", "photometry")
            for stage, row in zip(stages[table], self.rows[table], strict=True):
                path = (table, row) if several else (table,)
                where = f"[[{table}]] {stage.name}" if several else f"[{table}] {stage.name}"
                self._missing(stage, have, path, where, table, complete)
                have |= stage.provides
            if table in tables and not stages[table]:
                have |= TERMS.keys()  # its own problem is on the list already
        chain = [
            ("psf", "finding"),
            ("photometry", "finding"),
            ("alignment", "finding"),
            ("stacks", "alignment"),
            ("curves", "photometry"),
        ]
        for later, earlier in chain:
            if later in tables and earlier not in tables:
                self._problem(f"a recipe with {later} needs a table for {earlier}", (later,))
        catalogue = tables.get("catalogue")
        if isinstance(catalogue, dict) and catalogue.get("source") == "stack" and "stacks" not in tables:
            self._problem(
                "stars from a stack need a table [[stacks]], which says how to make it", ("catalogue", "source")
            )
        if "photometry" in tables and "alignment" not in tables:
            self.warnings.append("no [alignment]: stars are measured at the same pixels in every frame")
        if "targets" in tables and "photometry" not in tables:
            self.warnings.append("the recipe has targets but no [[photometry]]: nothing will be measured")

    def _makers(self, kind: str) -> Iterator[str]:
        """Name the installed builders that make masters of a kind."""
        for entry in self.registry.entries("master"):
            with suppress(ValidationError):
                if entry.cls(kind=kind).kind == kind:  # type: ignore[call-arg, attr-defined]
                    yield entry.name

    def _missing(self, stage: Stage, have: set[str], path: KeyPath, where: str, table: str, complete: bool) -> None:
        for term in sorted(stage.needs - have):
            helpers = [e for e in self.registry.entries() if term in e.cls.provides and e.cls is not type(stage)]
            if not complete and (not helpers or any(e.role == "correction" for e in helpers)):
                continue
            advice = " or ".join(f"{ROLES[e.role].table} {e.name!r}" for e in helpers) or "a stage that provides it"
            order = "before it" if table == "corrections" else "to the recipe"
            self._problem(f"it needs {TERMS.get(term, term)}; add {advice} {order}", path, where)

    def _too_late(self, correction: Correction, done: Sequence[Correction], path: KeyPath, where: str) -> None:
        for earlier in done:
            for term in sorted(correction.excludes & earlier.provides):
                left, name = TERMS.get(term, term), earlier.name
                advice = f"put it before {name!r}" if name != correction.name else "once is enough"
                if term in correction.provides and name != correction.name:
                    advice = "leave one of the two out"
                self._problem(f"it comes too late: {name!r} before it leaves {left}; {advice}", path, where)
                return


def _tables(value: Any) -> bool:
    """Whether a value is what TOML makes of double brackets."""
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _place(detail: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[KeyPath, KeyPath]:
    """Find what an error of pydantic is about.

    Of an option that may be of several types pydantic reports an error for each, with the name of the type in the
    location. The first path ends before such a name, so that these errors are told together; the second leaves it out.
    """
    common: KeyPath | None = None
    inner: KeyPath = ()
    node: Any = values
    for part in detail["loc"]:
        if (isinstance(node, dict) and part in node) or (isinstance(node, list) and part in range(len(node))):
            node = node[part]
            inner = (*inner, part)
        elif detail["type"] == "missing":
            inner = (*inner, part)
        elif common is None:
            common = inner
    return inner if common is None else common, inner


def _in_words(detail: Mapping[str, Any], place: KeyPath, model: type[BaseModel]) -> str:
    """Say what pydantic found in a way an observer understands."""
    key = str(place[-1]) if place else ""
    name = ".".join(str(part) for part in place)
    kind, value = detail["type"], detail.get("input")
    options = ", ".join(model.model_fields)
    if kind == "extra_forbidden":
        if len(place) > 1:
            return f"there is no option {name!r}"
        near = _nearest(key, model.model_fields)
        return f"there is no option {key!r}{near or '; options are: ' + (options or 'none')}"
    if kind == "missing":
        option = model.model_fields.get(key)
        return f"option {key!r} is missing: {option.description if option else ''}".rstrip(": ")
    text = str(detail["msg"]).removeprefix("Value error, ")
    text = text[0].lower() + text[1:]
    if kind == "value_error":
        return f"option {name!r}: {text}" if name else text
    return f"option {name!r}: {text}, not {value!r}"
