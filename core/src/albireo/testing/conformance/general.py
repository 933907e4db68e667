"""What holds for every stage, whatever its role."""

from __future__ import annotations

import importlib.util
import inspect
import json
import pickle
import subprocess
import sys
import warnings
from functools import lru_cache

from pydantic import ValidationError

from albireo.roles import Stage
from albireo.testing.conformance.kit import Check, ConformanceWarning, require, skip

__all__ = ["CHECKS"]

HEAVY = ("astropy", "matplotlib", "numba", "scipy")
"""Libraries that take long to import and belong inside methods."""


def has_a_docstring(stage: Stage) -> None:
    """The class says in a docstring of its own what it does; its first paragraph is shown to users."""
    require(inspect.getdoc(type(stage)) and type(stage).__doc__, f"class {type(stage).__name__} has no docstring")


def describes_every_option(stage: Stage) -> None:
    """Every option has a description."""
    silent = [name for name, field in type(stage).model_fields.items() if not (field.description or "").strip()]
    require(not silent, f"no description on {', '.join(silent)}; write Field(..., description='...')")


def is_frozen(stage: Stage) -> None:
    """Options cannot be changed after the stage was made."""
    require(type(stage).model_config.get("frozen"), "the class allows changes; leave frozen=True in model_config")


def refuses_unknown_options(stage: Stage) -> None:
    """A misspelt option is an error."""
    try:
        type(stage).model_validate({**stage.model_dump(), "no_such_option": 1})
    except ValidationError:
        return
    require(False, "it accepted the option 'no_such_option'; leave extra='forbid' in model_config")


def options_survive_json(stage: Stage) -> None:
    """Options can be written as JSON, and the same stage comes back from it."""
    text = json.dumps(stage.model_dump(mode="json"))
    again = type(stage).model_validate(json.loads(text))
    require(again == stage, f"options came back as {again!r} instead of {stage!r}")


def has_a_json_schema(stage: Stage) -> None:
    """Editors can be given a JSON Schema of the options."""
    json.dumps(type(stage).model_json_schema())


def can_be_pickled(stage: Stage) -> None:
    """A stage travels to worker processes."""
    require(pickle.loads(pickle.dumps(stage)) == stage, "the pickled copy differs")


def is_light_to_import(stage: Stage) -> None:
    """Importing the module imports no heavy library; otherwise every command becomes slower (a warning)."""
    module = type(stage).__module__
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or module == "__main__":
        skip(f"module {module!r} cannot be imported by its name")
    heavy, trouble = _imports(module)
    require(not trouble, f"import of {module} failed in a new interpreter: {trouble}")
    if heavy:
        warnings.warn(
            f"import of {module} also imports {', '.join(heavy)}; move such imports into the methods that need them",
            ConformanceWarning,
            stacklevel=2,
        )


@lru_cache
def _imports(module: str) -> tuple[list[str], str]:
    """Import a module in a new interpreter: heavy libraries that came with it, and what went wrong."""
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return (run.stdout.split(), "") if run.returncode == 0 else ([], run.stderr.strip()[-300:] or "it ended")


CHECKS: list[Check] = [
    has_a_docstring,
    describes_every_option,
    is_frozen,
    refuses_unknown_options,
    options_survive_json,
    has_a_json_schema,
    can_be_pickled,
    is_light_to_import,
]
