"""The workspace holds together: packaging facts agree, and nothing imports what stands above it or beside it."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

import albireo

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = sorted(p.parent for kind in ("plugins", "instruments") for p in (ROOT / kind).glob("*/pyproject.toml"))
PARTS = [ROOT / "core", *PLUGINS]
CORE = ROOT / "core" / "src" / "albireo"

# The rooms of the core from the ground up. A module imports only from rows above its own in this list.
ROOMS = (
    ("frames", "toml_lines", "expressions", "airmass", "png", "noise", "engine"),
    ("headers", "times", "sources", "psf", "images", "pixels", "definition", "tasks", "exposures", "pointing"),
    ("pixelwise", "products", "curves", "results", "overrides"),
    ("roles",),
    ("hookspecs", "declarative", "executors", "jobs"),
    ("registry", "builtin", "stack", "survey"),
    ("recipe", "store", "scaffold", "library", "review"),
    ("shelf", "schema"),
    ("plan",),
    ("run",),
    ("inspection",),
    ("cli",),
)
# The simulator and the kit stand beside the rooms. Two commands call them, when they are called.
MAY_SIMULATE = {"cli/certify.py", "cli/demo.py"}
IMPORTED_AS = {"pillow": "PIL"}  # distributions whose package has another name
HEAVY = ("astropy", "numba", "matplotlib", "scipy", "sep", "astroalign", "skimage", "jinja2")


def load(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def part_id(folder: Path) -> str:
    return folder.relative_to(ROOT).as_posix()


each_part = pytest.mark.parametrize("part", PARTS, ids=part_id)
each_plugin = pytest.mark.parametrize("part", PLUGINS, ids=part_id)


# --- packaging facts --------------------------------------------------------------------------------------------------


@each_part
def test_every_part_is_a_member_a_root_dependency_and_a_source(part: Path) -> None:
    root, name = load(ROOT), load(part)["project"]["name"]
    members = {folder for pattern in root["tool"]["uv"]["workspace"]["members"] for folder in ROOT.glob(pattern)}
    assert part in members
    assert root["tool"]["uv"]["sources"][name] == {"workspace": True}
    assert name in {Requirement(text).name for text in root["project"]["dependencies"]}


def test_the_root_names_nothing_but_the_parts() -> None:
    root, names = load(ROOT), {load(part)["project"]["name"] for part in PARTS}
    assert {Requirement(text).name for text in root["project"]["dependencies"]} == names
    assert set(root["tool"]["uv"]["sources"]) == names


@each_part
def test_versions_are_in_lockstep(part: Path) -> None:
    version = load(ROOT)["project"]["version"]
    assert load(part)["project"]["version"] == version
    root_bounds = {
        Requirement(text).name: Requirement(text).specifier for text in load(ROOT)["project"]["dependencies"]
    }
    assert root_bounds[load(part)["project"]["name"]].contains(version)


@each_plugin
def test_every_plugin_bounds_its_core_version(part: Path) -> None:
    requirements = [Requirement(text) for text in load(part)["project"]["dependencies"]]
    (core,) = [r for r in requirements if r.name == "albireo-core"]
    version = load(ROOT)["project"]["version"]
    major, minor, _ = version.split(".")
    assert core.specifier.contains(version)
    assert not core.specifier.contains(f"{major}.{int(minor) + 1}.0"), "the next minor version may break it"


@each_plugin
def test_every_plugin_is_named_like_its_folder(part: Path) -> None:
    project = load(part)["project"]
    module = f"albireo_{part.name}"
    assert project["name"] == f"albireo-{part.name}"
    assert project["entry-points"] == {"albireo": {part.name: module}}
    assert (part / "src" / module / "__init__.py").is_file()


@each_part
def test_every_part_has_what_a_package_needs(part: Path) -> None:
    project = load(part)["project"]
    (package,) = (part / "src").glob("*")
    assert (package / "py.typed").is_file()
    assert (part / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert project["requires-python"] == load(ROOT)["project"]["requires-python"]
    assert project["description"].endswith(".")
    readme = (part / "README.md").read_text()
    assert readme.startswith(f"# {project['name']}\n")
    if part in PLUGINS:
        assert "```toml" in readme, "a README shows how the plugin stands in a recipe"


@each_plugin
def test_every_plugin_has_tests(part: Path) -> None:
    assert list((part / "tests").glob("test_*.py"))


def test_test_files_have_names_of_their_own() -> None:
    names = [p.name for folder in (*PARTS, ROOT) for p in (folder / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def test_constraints_cover_every_dependency() -> None:
    root = load(ROOT)
    pinned = {Requirement(text).name for text in root["tool"]["uv"]["constraint-dependencies"]}
    wanted = {Requirement(text).name for part in PARTS for text in load(part)["project"]["dependencies"]}
    wanted |= {Requirement(text).name for group in root["dependency-groups"].values() for text in group}
    wanted -= {load(part)["project"]["name"] for part in PARTS}
    assert wanted <= pinned, "run tools/refresh_constraints.py"


@pytest.mark.parametrize("python", ["3.11.0", "3.11.9", "3.12.0", "3.13.0"])
def test_constraints_pin_one_version_for_every_python(python: str) -> None:
    pins = [Requirement(text) for text in load(ROOT)["tool"]["uv"]["constraint-dependencies"]]
    held = [p.name for p in pins if not p.marker or p.marker.evaluate({"python_full_version": python})]
    assert len(held) == len(set(held))
    assert all([s.operator for s in p.specifier] == ["=="] and p.url is None for p in pins)


def refresh() -> ModuleType:
    spec = spec_from_file_location("refresh_constraints", ROOT / "tools" / "refresh_constraints.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_refreshed_constraints_take_the_place_of_the_old_ones() -> None:
    tool, text = refresh(), (ROOT / "pyproject.toml").read_text()
    pins = tool.constraints("numpy==2.0.0 ; python_full_version < '3.12'\nastropy==7.0.0\n")
    written = tomllib.loads(tool.with_constraints(text, pins))
    expected = tomllib.loads(text)
    expected["tool"]["uv"]["constraint-dependencies"] = [
        "astropy==7.0.0",
        "numpy==2.0.0 ; python_full_version < '3.12'",
    ]
    assert written == expected


def test_a_constraint_that_is_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="not a version to pin"):
        refresh().constraints("numpy==2.0.0\nsep @ https://example.org/sep.whl\n")


# --- who imports whom -------------------------------------------------------------------------------------------------


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every (module, name) that a file imports when it runs, anywhere in it; the name is empty for ``import x``."""

    def walk(node: ast.AST) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, "") for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0 or not path.is_relative_to(CORE), f"{path}: imports in the core are absolute"
                if child.level == 0:
                    yield from ((child.module or "", alias.name) for alias in child.names)
            else:
                yield from walk(child)

    yield from walk(ast.parse(path.read_text(), str(path)))


def python_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if "__pycache__" not in p.parts)


def core_imports(path: Path) -> set[str]:
    """The rooms of the core that a file imports."""
    rooms = set()
    for module, name in imports(path):
        parts = module.split(".")
        if parts[0] != "albireo":
            continue
        rooms.add(parts[1] if len(parts) > 1 else albireo._WHERE.get(name, name) if name else "")
    return rooms - {"", "__version__"}


def room(path: Path) -> str:
    return path.relative_to(CORE).with_suffix("").parts[0]


CORE_FILES = [p for p in python_files(CORE) if room(p) != "__init__"]


def test_every_room_of_the_core_has_its_place() -> None:
    placed = {name for row in ROOMS for name in row} | {"testing"}
    assert {room(p) for p in CORE_FILES} <= placed, "give new modules a place in ROOMS"


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda p: p.relative_to(CORE).as_posix())
def test_the_core_imports_only_downwards(path: Path) -> None:
    level = {name: row for row, names in enumerate(ROOMS) for name in names}
    here = room(path)
    if here == "testing":
        return
    above = {other for other in core_imports(path) - {here} if level.get(other, 99) >= level[here]}
    allowed = {"testing"} if path.relative_to(CORE).as_posix() in MAY_SIMULATE else set()
    assert above <= allowed, f"{here} stands on row {level[here]} and imports {above - allowed}"


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda p: p.relative_to(CORE).as_posix())
def test_nothing_in_the_core_imports_a_plugin(path: Path) -> None:
    assert not [module for module, _ in imports(path) if module.startswith("albireo_")]


@each_plugin
def test_a_plugin_imports_only_public_names_and_its_own_libraries(part: Path) -> None:
    own = f"albireo_{part.name}"
    requirements = [*load(part)["project"]["dependencies"], *load(ROOT / "core")["project"]["dependencies"]]
    names = [Requirement(text).name.replace("-", "_") for text in requirements]
    libraries = {IMPORTED_AS.get(name, name) for name in names}
    for path in python_files(part / "src"):
        for module, name in imports(path):
            top = module.split(".")[0]
            if module == "albireo.testing" and part.parent.name == "instruments":
                continue  # a camera describes its own simulation
            if top == "albireo":
                assert module == "albireo", f"{path}: {module} is not for plugins"
                assert name in albireo.__all__, f"{path}: albireo.{name} is no public name"
            else:
                assert top in {own, *libraries, *sys.stdlib_module_names}, f"{path}: {module} is not declared"


@each_plugin
def test_the_tests_of_a_plugin_need_no_other_plugin(part: Path) -> None:
    for path in python_files(part / "tests"):
        for module, name in imports(path):
            top, *rest = module.split(".")
            assert not top.startswith("albireo_") or top == f"albireo_{part.name}", f"{path}: {module}"
            if top == "albireo":
                inside = rest[0] if rest else name
                assert inside == "testing" or inside in albireo.__all__, f"{path}: {module} is not for plugins"


# --- what a command costs before it does anything ---------------------------------------------------------------------


def modules_after(*arguments: str) -> set[str]:
    """Top-level modules that are loaded when a command of albireo has run."""
    program = (
        "import sys\n"
        "from albireo.cli import main\n"
        "sys.argv[0] = 'albireo'\n"
        "try:\n    status = main()\nexcept SystemExit as stop:\n    status = stop.code\n"
        "print('\\nMODULES', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"]], ids=" ".join)
def test_commands_that_read_nothing_load_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(*arguments).intersection(HEAVY)


def test_check_loads_nothing_heavy(tmp_path: Path) -> None:
    recipe = tmp_path / "night.toml"
    modules_after("init", "--instrument", "lmi", "--out", str(recipe))
    assert not modules_after("check", str(recipe)).intersection(HEAVY)
