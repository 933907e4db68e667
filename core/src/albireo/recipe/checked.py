"""A checked recipe, and what can be wrong with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from albireo.exposures import unique_name
from albireo.recipe.tables import (
    CatalogueOptions,
    DataOptions,
    LibraryOptions,
    OutputOptions,
    RecipeOptions,
    Target,
)
from albireo.registry import Registry
from albireo.roles import (
    ROLES,
    Aligner,
    BackgroundEstimator,
    Correction,
    CurveStep,
    Executor,
    Finder,
    Instrument,
    MasterBuilder,
    Photometer,
    PSFEstimator,
    Report,
    Selector,
    Stacker,
    Stage,
)

__all__ = ["Problem", "Recipe", "RecipeError"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a recipe."""

    message: str
    line: int = 0
    where: str = ""

    def text(self, file: str) -> str:
        """Write as ``file:line: message``."""
        place = f"{file}:{self.line}" if self.line else file
        return f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"


class RecipeError(Exception):
    """A recipe cannot be used; `problems` lists everything that is wrong."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems, key=lambda p: p.line)
        super().__init__("\n".join(problem.text(file) for problem in self.problems))


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: configured stages, ready to run.

    Attributes
    ----------
    path : Path
        The file; a name in the current folder for a recipe from text.
    options, data, catalogue, output : tables of the core
    targets : list of Target
    instrument : Instrument
    selectors, masters, corrections, stackers, photometers, curves, reports : lists of stages, in order
    library : LibraryOptions or None
    background, finder, psf, aligner : a stage or None
    executor : Executor
    warnings : list of str
    """

    path: Path
    options: RecipeOptions
    data: DataOptions
    catalogue: CatalogueOptions
    output: OutputOptions
    targets: list[Target]
    instrument: Instrument
    executor: Executor
    library: LibraryOptions | None = None
    selectors: list[Selector] = field(default_factory=list)
    masters: list[MasterBuilder] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    background: BackgroundEstimator | None = None
    finder: Finder | None = None
    psf: PSFEstimator | None = None
    aligner: Aligner | None = None
    stackers: list[Stacker] = field(default_factory=list)
    photometers: list[Photometer] = field(default_factory=list)
    curves: list[CurveStep] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | Path, settings: Sequence[str] = (), registry: Registry | None = None) -> Recipe:
        """Read and check a recipe file.

        Parameters
        ----------
        path : path
        settings : sequence of str
            Changes such as ``photometry.radius=6``: table, option (or table, name of the stage, option), TOML value.
        registry : Registry, optional
            Where stages come from; what is installed if left out.

        Raises
        ------
        RecipeError
            With all problems at once.
        """
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte-order mark
        except FileNotFoundError:
            raise RecipeError(str(path), [Problem("there is no such recipe")]) from None
        except IsADirectoryError:
            raise RecipeError(str(path), [Problem("this is a folder; give the recipe, a .toml file")]) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(str(path), [Problem(f"the recipe cannot be read: {error}")]) from error
        return cls.parse(text, file, settings, registry)

    @classmethod
    def parse(
        cls, text: str, path: str | Path = "recipe.toml", settings: Sequence[str] = (), registry: Registry | None = None
    ) -> Recipe:
        """Check a recipe given as text; see `read`."""
        from albireo.recipe.reader import Reader

        return Reader(text, Path(path), registry or Registry.discover()).read(settings)

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return self.path.parent

    @property
    def library_folder(self) -> Path | None:
        """Where the library is; None if the recipe has none."""
        return None if self.library is None else (self.folder / Path(self.library.path).expanduser()).resolve()

    @property
    def method_names(self) -> list[str]:
        """What tables call each photometer: as the recipe does, with a number where it has several of one kind."""
        taken: set[str] = set()
        return [unique_name(photometer.name, taken) for photometer in self.photometers]

    @property
    def star_file(self) -> Path | None:
        """The list of stars that a person gives; None if there is none."""
        return (self.folder / Path(self.catalogue.file).expanduser()).resolve() if self.catalogue.file else None

    def stages(self) -> dict[str, list[Stage]]:
        """Every stage, by the name of its table."""
        one: dict[str, Stage | None] = {
            "instrument": self.instrument,
            "background": self.background,
            "finding": self.finder,
            "psf": self.psf,
            "alignment": self.aligner,
            "executor": self.executor,
        }
        many: dict[str, Sequence[Stage]] = {
            "select": self.selectors,
            "masters": self.masters,
            "corrections": self.corrections,
            "stacks": self.stackers,
            "photometry": self.photometers,
            "curves": self.curves,
            "reports": self.reports,
        }
        order = [role.table for role in ROLES.values()]
        found: dict[str, list[Stage]] = {table: [stage] for table, stage in one.items() if stage is not None}
        found |= {table: list(stages) for table, stages in many.items() if stages}
        return {table: found[table] for table in order if table in found}

    def to_toml(self) -> str:
        """Write the recipe with every default filled in; reading it gives the same stages."""
        several = {role.table for role in ROLES.values() if role.several}
        tables: dict[str, Any] = {
            "recipe": self.options.model_dump(),
            "data": self.data.model_dump(),
            "catalogue": self.catalogue.model_dump(),
            "output": self.output.model_dump(),
        }
        if self.library is not None:
            tables["library"] = self.library.model_dump()
        if self.targets:
            tables["targets"] = [target.model_dump() for target in self.targets]
        for table, stages in self.stages().items():
            entries = [{"use": stage.name, **_options(stage)} for stage in stages]
            tables[table] = entries if table in several else entries[0]
        return tomli_w.dumps(_without_none(tables))


def _options(stage: Stage) -> dict[str, Any]:
    """Give the options of a stage as TOML can write them; sets are sorted, so that equal stages read alike."""
    sets = {name for name, value in stage if isinstance(value, set | frozenset)}
    values = stage.model_dump(mode="json")
    return {name: sorted(value, key=str) if name in sets else value for name, value in values.items()}


def _without_none(value: Any) -> Any:
    """Leave out what TOML cannot say."""
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value]
    return value
