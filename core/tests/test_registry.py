"""What is installed, and what cannot be used and why."""

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import Field

from albireo import CurveStep, Registry, Report, hookimpl
from albireo.registry import Broken, Provider, RegistryError


def report(name):
    """Make a usable report."""
    members = {"__doc__": "Does nothing.", "write": lambda self, run, folder: []}
    return type(Report)(name.title(), (Report,), members, name=name)


def plugin(module="albireo_x", **hooks):
    made = types.ModuleType(module)
    for name, function in hooks.items():
        setattr(made, name, hookimpl(function))
    return made


def yielding(*classes):
    def function() -> Iterable[object]:
        yield from classes

    return function


X, Y = Provider("albireo-x", "1.0", "x"), Provider("albireo-y", "2.0", "y")


@pytest.fixture
def registry():
    return Registry()


def test_a_stage_is_found_by_role_and_name(registry):
    page, note = report("page"), report("note")
    registry.add(plugin(reports=yielding(page, note)), X)
    assert registry.broken == []
    assert registry.get("report", "page").cls is page
    assert str(registry.get("report", "page").provider) == "albireo-x 1.0"
    assert [e.name for e in registry.entries("report")] == ["note", "page"]
    assert registry.entries("finder") == []
    assert registry.provider_of(page) == registry.provider_of(page()) == X
    assert registry.provider_of(report("page")) is None
    assert list(registry.providers()) == [X]
    assert registry.versions()["albireo-x"] == "1.0"
    assert {"numpy", "astropy", "python"} <= set(registry.versions())


def test_a_name_that_is_not_there_gets_the_nearest_or_what_to_install(registry):
    registry.add(plugin(reports=yielding(report("html"))), X)
    for name, message in (
        ("htm", "there is no report 'htm'; did you mean 'html'?"),
        (
            "television",
            "there is no report 'television'; installed: html; if a package provides it, install it, for example: "
            "python -m pip install albireo-television",
        ),
    ):
        with pytest.raises(RegistryError) as caught:
            registry.get("report", name)
        assert str(caught.value) == message
    with pytest.raises(RegistryError, match="there is no finder 'html'; installed: none"):
        registry.get("finder", "html")


# --- what is refused --------------------------------------------------------------------------------------------------


class Unwritten(Report, name="unwritten"):
    """Has an abstract method left."""


class Silent(Report, name="silent"):
    """Has options that nobody explains."""

    told: int = Field(1, description="Explained.")
    untold: int = 1
    empty: int = Field(1, description="")

    def write(self, run, folder):
        return []


class Dumb(Report, name="dumb"):
    def write(self, run, folder):
        return []


class Terrible(Report, name="terrible"):
    option: int = 1


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (Unwritten, "Unwritten does not define write"),
        (Silent, "Silent has options without a description: untold, empty"),
        (Dumb, "Dumb has no docstring"),
        (
            Terrible,
            "Terrible has no docstring; Terrible does not define write; "
            "Terrible has options without a description: option",
        ),
        (int, "<class 'int'> is not a class derived from albireo.Report, which a report must be"),
        ("html", "'html' is not a class derived from albireo.Report, which a report must be"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_with_every_reason(registry, cls, reason):
    registry.add(plugin(reports=yielding(report("good"), cls)), X)
    assert [(b.provider, b.role, b.reason) for b in registry.broken] == [(X, "report", reason)]
    assert [e.name for e in registry.entries()] == ["good"]
    with pytest.raises(RegistryError) as caught:
        registry.get("report", registry.broken[0].name)
    assert str(caught.value).endswith(f"of albireo-x 1.0 cannot be used: {reason}")


def test_a_class_of_another_role_is_refused(registry):
    step = type(CurveStep)("Step", (CurveStep,), {"__doc__": "x", "apply": lambda self, c: c}, name="step")
    registry.add(plugin(reports=yielding(step)), X)
    assert registry.broken[0].reason.endswith("is not a class derived from albireo.Report, which a report must be")


def test_a_misspelt_hook_is_an_error_that_names_the_near_one(registry):
    registry.add(plugin("albireo_x", report=yielding()), X)
    registry.add(plugin("albireo_y", report=yielding()), Y)
    registry.add(plugin("albireo_z", run_finish=lambda run: None))
    registry.add(plugin("albireo_w", bananas=yielding()))
    assert [b.reason for b in registry.broken[:3]] == [
        "there is no hook 'report'; did you mean 'reports'?",
        "there is no hook 'report'; did you mean 'reports'?",
        "there is no hook 'run_finish'; did you mean 'run_finished'?",
    ]
    assert registry.broken[3].reason.startswith("there is no hook 'bananas'; hooks are instruments, selectors, ")
    # The next plugin is not blamed for it.
    registry.add(plugin("albireo_v", reports=yielding(report("page"))))
    assert len(registry.broken) == 4
    assert registry.get("report", "page")


def test_a_hook_with_an_argument_of_its_own_is_refused(registry):
    registry.add(plugin(reports=lambda colour: []), X)
    (broken,) = registry.broken
    assert "Argument(s) {'colour'} are declared in the hookimpl but can not be found in the hookspec" in broken.reason


def test_a_hook_that_fails_leaves_the_other_hooks_of_its_plugin(registry):
    def reports():
        yield report("page")
        raise RuntimeError("no screen")

    registry.add(plugin(reports=reports, curve_steps=lambda: CurveStep, finders=lambda: None), X)
    assert [(b.role, b.reason) for b in registry.broken] == [
        ("finder", "its hook finders() fails: TypeError: 'NoneType' object is not iterable"),
        ("curve-step", "its hook curve_steps() fails: TypeError: 'ModelMetaclass' object is not iterable"),
        ("report", "its hook reports() fails: RuntimeError: no screen"),
    ]
    with pytest.raises(RegistryError, match=r"the plugin albireo-x 1\.0 cannot be used: its hook"):
        registry.get("report", "x")


def test_a_name_that_two_distributions_use_belongs_to_neither(registry):
    registry.add(plugin("albireo_x", reports=yielding(report("page"))), X)
    registry.add(plugin("albireo_y", reports=yielding(report("page"), report("other"))), Y)
    reason = (
        "the name 'page' of a report is taken twice: by albireo-x 1.0 (Page) and by albireo-y 2.0 (Page); "
        "uninstall one of them"
    )
    assert registry.broken == [Broken(X, reason, "report", "page"), Broken(Y, reason, "report", "page")]
    with pytest.raises(RegistryError) as caught:
        registry.get("report", "page")
    assert str(caught.value) == f"the report 'page' of albireo-x 1.0 cannot be used: {reason}"
    assert [e.name for e in registry.entries()] == ["other"]
    registry.add(plugin("albireo_z", reports=yielding(report("page"))))
    assert registry.broken[2].reason == "the name 'page' of a report is taken more than twice"
    assert [e.name for e in registry.entries()] == ["other"]


def test_one_name_in_two_roles_is_no_clash(registry):
    step = type(CurveStep)("Page", (CurveStep,), {"__doc__": "x", "apply": lambda self, c: c}, name="page")
    registry.add(plugin(reports=yielding(report("page")), curve_steps=yielding(step)))
    assert registry.broken == []
    assert registry.get("report", "page").cls is not registry.get("curve-step", "page").cls


def test_the_same_plugin_twice_is_one_plugin(registry):
    heard = []
    one = plugin(reports=yielding(report("page")), run_started=lambda plan: heard.append(plan))
    registry.add(one, X)
    registry.add(one, Y)
    assert registry.broken == []
    assert registry.get("report", "page").provider == X
    registry.manager.hook.run_started(plan="a plan")
    assert heard == ["a plan"]


def test_two_modules_of_one_name_are_refused(registry):
    registry.add(plugin("albireo_x", reports=yielding(report("page"))), X)
    registry.add(plugin("albireo_x", reports=yielding(report("other"))), Y)
    (broken,) = registry.broken
    assert broken.provider == Y
    assert "already registered" in broken.reason
    assert registry.get("report", "page")


# --- installed distributions ------------------------------------------------------------------------------------------

GOOD = '''
from albireo import Report, hookimpl

class Page(Report, name="faked-page"):
    """A page."""
    def write(self, run, folder):
        return []

@hookimpl
def reports():
    yield Page
'''


def install(site: Path, name: str, code: str, metadata: bool = True, folder: str = "") -> None:
    """Put a distribution into a folder as an installer would."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    info = site / f"{folder or module}-1.5.dist-info"
    info.mkdir()
    if metadata:
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[albireo]\n{module.removeprefix('albireo_')} = {module}\n")


def with_site(site):
    """Give the environment of a process that finds one more folder of packages."""
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *before])}


SHOW = """
import json
from albireo import Registry
registry = Registry.discover()
broken = [[str(b.provider), b.role, b.name, b.reason] for b in registry.broken]
print(json.dumps([broken, sorted(e.name for e in registry.entries())]))
"""


def discovered(site: Path) -> tuple[list[list[str]], list[str]]:
    environment = with_site(site)
    done = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    broken, names = json.loads(done.stdout.splitlines()[-1])
    return [entry for entry in broken if "faked" in entry[0] or "unknown" in entry[0]], names


def test_a_broken_installation_stops_nobody_else(tmp_path):
    install(tmp_path, "albireo-faked-good", GOOD)
    install(tmp_path, "albireo-faked-missing", "import a_library_that_is_not_there\n")
    install(tmp_path, "albireo-faked-syntax", "def broken(:\n")
    install(tmp_path, "albireo-faked-exit", "import sys\nsys.exit('this needs a licence')\n")
    install(tmp_path, "albireo-faked-interrupted", "raise RuntimeError('half installed')\n", metadata=False)
    install(tmp_path, "albireo-faked-twice", GOOD)
    broken, names = discovered(tmp_path)
    reasons = {entry[0]: entry[3] for entry in broken if not entry[2]}
    assert reasons == {
        "albireo-faked-missing 1.5": (
            "its import fails: ModuleNotFoundError: No module named 'a_library_that_is_not_there'"
        ),
        "albireo-faked-syntax 1.5": "its import fails: SyntaxError: invalid syntax (albireo_faked_syntax.py, line 1)",
        "albireo-faked-exit 1.5": "its import fails: SystemExit: this needs a licence",
        "unknown unknown": "its import fails: RuntimeError: half installed",
    }
    clash = [entry for entry in broken if entry[2]]
    assert [entry[:3] for entry in clash] == [
        ["albireo-faked-good 1.5", "report", "faked-page"],
        ["albireo-faked-twice 1.5", "report", "faked-page"],
    ]
    assert "taken twice: by albireo-faked-good 1.5 (Page) and by albireo-faked-twice 1.5 (Page)" in clash[0][3]
    assert {"serial", "processes"} <= set(names)
    assert "faked-page" not in names


def test_broken_plugins_are_listed_and_explained_when_asked_for(tmp_path):
    install(tmp_path, "albireo-faked-good", GOOD)
    install(tmp_path, "albireo-faked", "import a_library_that_is_not_there\n")
    recipe = tmp_path / "night.toml"
    recipe.write_text('[instrument]\nuse = "faked"\n[[reports]]\nuse = "faked-page"\n')
    environment = with_site(tmp_path)

    def albireo(*arguments):
        command = [sys.executable, "-c", "import sys, albireo.cli as cli; sys.exit(cli.main())", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    listed = albireo("plugins")
    assert listed.returncode == 0
    reason = "its import fails: ModuleNotFoundError: No module named 'a_library_that_is_not_there'"
    text = " ".join(listed.stdout.split())
    assert f"cannot be used: albireo-faked 1.5: {reason}" in text
    assert "faked-page A page. albireo-faked-good 1.5" in text
    checked = albireo("check", recipe)
    assert checked.returncode == 2
    message = f"{recipe}:2: [instrument]: the plugin albireo-faked 1.5 cannot be used: {reason}"
    assert checked.stderr.splitlines()[0] == message
