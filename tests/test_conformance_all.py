"""Every stage that is installed passes the conformance kit, with its default options where it has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from albireo import ROLES, Registry
from albireo.frames import CALIBRATION_KINDS
from albireo.registry import Entry
from albireo.testing import conformance

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
OPTIONS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("instrument", "fits"): [{"definition": str(path)} for path in sorted(EXAMPLES.glob("*-camera.toml"))],
    ("selector", "level"): [{"min": 0.1, "max": 0.8}],
    ("selector", "simultaneous"): [{"filters": ["g", "r"]}],
    ("correction", "pedestal"): [{"level": 350.0}],
}
"""What a stage needs to be told before it can do anything."""


def configured(entry: Entry) -> Iterator[conformance.Case]:
    """Give the cases of a stage in every configuration that is tried."""
    kinds = [{"kind": kind} for kind in CALIBRATION_KINDS] if entry.role == "master" else [{}]
    for options in OPTIONS.get((entry.role, entry.name), kinds):
        yield from conformance.cases(entry.cls(**options))


def parameters() -> list[Any]:
    """Give every case of every stage with a name."""
    found = []
    for entry in Registry.discover().entries():
        for case in configured(entry):
            which = "".join(str(getattr(case.stage, name, "")) for name in ("kind", "definition"))
            label = Path(which).stem if entry.role in ("master", "instrument") else ""
            found.append(pytest.param(case, id="-".join(filter(None, (entry.role, entry.name, label, str(case))))))
    return found


@pytest.mark.parametrize("case", parameters())
def test_an_installed_stage_conforms(case: conformance.Case) -> None:
    case()


def test_every_role_has_a_stage_installed_and_nothing_is_broken() -> None:
    registry = Registry.discover()
    assert registry.broken == []
    assert {entry.role for entry in registry.entries()} == set(ROLES)
