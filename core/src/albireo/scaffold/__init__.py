"""Something to start from: the plugin that ``albireo new`` writes, and the recipe that ``albireo init`` prints.

The code of the new package is the example in the docstring of its hook, under the name the author chose, so that
the documentation of a hook and the start it gives are one text. Everything around it (packaging, test, README, and
the definition of a camera) is a template in the folder beside this module. A camera can be written from sample files
instead; what goes into its definition is `albireo.scaffold.camera`.
"""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from albireo.hookspecs import Providers
from albireo.roles import ROLES, Instrument

if TYPE_CHECKING:
    from albireo.survey import Survey

__all__ = ["ScaffoldError", "check_place", "example", "init", "new", "new_camera"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_CLASS = re.compile(r'^class (\w+)\(\w+, name="([^"]+)"\)', re.MULTILINE)

# Options without a default that the example of a role has; its test must give them.
_ARGUMENTS = {"master": 'kind="bias"'}

# Libraries that an example uses and the core does not bring.
_LIBRARIES = {"finder": ', "photutils>=2.0"'}


class ScaffoldError(ValueError):
    """A package cannot be written; the message says why and what to do."""


def example(hook: str) -> str:
    """Give the source of the plugin in the docstring of a hook.

    Parameters
    ----------
    hook : str
        Name of a provider hook, such as ``photometers``.

    Returns
    -------
    str
        A complete module.
    """
    documentation = inspect.getdoc(getattr(Providers, hook)) or ""
    _, _, code = documentation.partition("::\n")
    return textwrap.dedent(code).strip() + "\n"


def new(role: str, name: str, folder: Path) -> list[Path]:
    """Write the package ``albireo-NAME`` with one working stage of a role.

    Parameters
    ----------
    role : str
        One of `albireo.ROLES`, such as ``photometer``.
    name : str
        What a recipe will write after ``use``: small letters and digits, words joined by hyphens.
    folder : path
        Where the folder ``albireo-NAME`` is made.

    Returns
    -------
    list of Path
        The files written, the module with the stage first.

    Raises
    ------
    ScaffoldError
        If there is no such role, the name will not do or is taken, or the folder is there already.
    """
    if role not in ROLES:
        raise ScaffoldError(f"there is no role {role!r}; roles are {', '.join(ROLES)}")
    top = check_place(name, folder)
    module = _module(name)
    source = example(ROLES[role].hook)
    found = _CLASS.search(source)
    assert found is not None, f"the example of the hook {ROLES[role].hook}() has no class"
    cls = _class_name(name, ROLES[role].base.__name__, source)
    source = re.sub(rf"\b{found[1]}\b", cls, source).replace(f'"{found[2]}', f'"{name}').replace("'''", '"""')
    source = re.sub(r"\n\n(?=class |@)", "\n\n\n", source)
    core = metadata.version("albireo-core")
    values = {
        "arguments": _ARGUMENTS.get(role, ""),
        "bounds": _bounds(core),
        "cls": cls,
        "libraries": _LIBRARIES.get(role, ""),
        "module": module,
        "name": name,
        "role": role,
        "table": f"[[{ROLES[role].table}]]" if ROLES[role].several else f"[{ROLES[role].table}]",
    }
    package = top / "src" / module
    files = {
        package / "__init__.py": f'"""The {role} {name!r} for Albireo."""\n\n{source}',
        package / "py.typed": "",
        top / "pyproject.toml": _fill("pyproject.toml", values),
        top / "README.md": _fill("README.md", values),
        top / "tests" / f"test_{module}.py": _fill("test.py", values),
    }
    if role == "instrument":
        files[package / f"{name}.toml"] = _fill("camera.toml", values)
    return _write(files)


def new_camera(name: str, found: Survey, folder: Path) -> list[Path]:
    """Write the package ``albireo-NAME`` of a camera from what its sample files tell.

    Parameters
    ----------
    name : str
        What a recipe will write after ``use``.
    found : Survey
        Of the sample files.
    folder : path
        Where the folder ``albireo-NAME`` is made.

    Returns
    -------
    list of Path
        The files written, the definition of the camera first.

    Raises
    ------
    ScaffoldError
        If the name will not do or is taken, or the folder is there already.
    """
    from albireo.scaffold.camera import camera_definition, camera_readme, camera_recipe, stand_ins
    from albireo.survey import plural

    top = check_place(name, folder)
    arguments = stand_ins(found)
    note = (
        "# The samples do not tell these; the stand-ins let the rest be tested. Give the true ones in the definition."
    )
    values = {
        "arguments": arguments,
        "bounds": _bounds(metadata.version("albireo-core")),
        "cls": _class_name(name, Instrument.__name__, _template("camera.py")),
        "findings": camera_readme(found),
        "libraries": "",
        "module": _module(name),
        "name": name,
        "note": f"\n{note}" if arguments else "",
        "number": plural(len(found.samples), "sample file"),
        "role": "instrument",
    }
    package = top / "src" / values["module"]
    return _write(
        {
            package / f"{name}.toml": camera_definition(name, found),
            package / "__init__.py": _fill("camera.py", values),
            package / "recipe.toml": camera_recipe(name, found),
            package / "py.typed": "",
            top / "pyproject.toml": _fill("pyproject.toml", values),
            top / "README.md": _fill("camera_README.md", values).rstrip() + "\n",
            top / "tests" / f"test_{values['module']}.py": _fill("camera_test.py", values),
        }
    )


def check_place(name: str, folder: Path) -> Path:
    """Give the folder that a new package will have.

    Raises
    ------
    ScaffoldError
        If the name will not do or is taken, or the folder is there already.
    """
    _check_name(name)
    top = Path(folder) / f"albireo-{name}"
    if top.exists():
        raise ScaffoldError(f"{top} exists already; nothing was written. Choose another name or another folder")
    if top.parent.exists() and not top.parent.is_dir():
        raise ScaffoldError(f"{top.parent} is not a folder; nothing was written. Choose another folder")
    return top


def init(instrument: type[Instrument]) -> str:
    """Give a recipe to start from: the camera's own, or a general one for a camera that brings none.

    Parameters
    ----------
    instrument : type
        The class of a camera. Options that it requires stand in the general recipe with their description, to be
        filled in.

    Returns
    -------
    str
        TOML text.
    """
    required = {name: option for name, option in instrument.model_fields.items() if option.is_required()}
    options = "".join(f'{name} = ""  # {option.description}\n' for name, option in required.items())
    return instrument.recipe() or _fill("recipe.toml", {"name": instrument.name, "options": options})


def _check_name(name: str) -> None:
    if name.startswith(("albireo-", "albireo_")):
        short = name[len("albireo-") :]
        raise ScaffoldError(f"give the name without its prefix: {short!r} becomes the package albireo-{short}")
    if not _NAME.fullmatch(name):
        raise ScaffoldError(
            f"{name!r} is not a name for a plugin; use small letters and digits, begin with a letter, and join words "
            "by single hyphens, such as 'my-method'"
        )
    module = _module(name)
    if find_spec(module) is not None:
        raise ScaffoldError(f"a package with the module {module} is installed already; choose another name")


def _module(name: str) -> str:
    return f"albireo_{name.replace('-', '_')}"


def _write(files: dict[Path, str]) -> list[Path]:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _class_name(name: str, base: str, source: str) -> str:
    """Camel case; with the role behind it where the word means something else in the example or in Python."""
    cls = "".join(word.capitalize() for word in name.split("-"))
    return cls + base if keyword.iskeyword(cls) or re.search(rf"\b{cls}\b", source) else cls


def _bounds(version: str) -> str:
    """Accept the minor version a package was written for: it may break with the next one until 1.0."""
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<{major}.{int(minor) + 1}"


def _fill(template: str, values: dict[str, str]) -> str:
    return Template(_template(template)).substitute(values)


def _template(name: str) -> str:
    return resources.files(__package__).joinpath("templates", f"{name}.in").read_text(encoding="utf-8")
