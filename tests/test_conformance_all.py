"""Every stage that is installed passes the conformance kit, with its default options where it has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from albireo import ROLES, Registry
from albireo.frames import CALIBRATION_KINDS
from albireo.registry import Entry
from albireo.testing import conformance

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
FOLDER = TemporaryDirectory()


def bad_pixel_map() -> str:
    """Write a map for the frames of the kit."""
    plane = np.zeros((60, 92), np.uint8)
    plane[20, 30:33] = 1
    path = Path(FOLDER.name) / "bad-pixels.fits"
    fits.writeto(path, plane)
    return str(path)


OPTIONS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("instrument", "fits"): [{"definition": str(path)} for path in sorted(EXAMPLES.glob("*-camera.toml"))],
    ("selector", "best"): [{"number": 2}, {"number": 2, "kind": "science", "by": "airmass"}],
    ("selector", "header"): [
        {"keep": {"airmass": "<= 1.5"}},
        {"kind": ["flat", "dark"], "drop": {"filter": ["r", ""], "exptime": "5 to 100"}, "unknown": "keep"},
    ],
    ("selector", "level"): [{"min": 0.1, "max": 0.8}, {"kind": "sky", "max": 0.8, "pedestal": "bias"}],
    ("selector", "overrides"): [{"file": "no-such-file.toml"}],
    ("selector", "quality"): [{"max_fwhm": 4.0}, {"outliers": 5.0, "best": 2, "unknown": "keep"}],
    ("selector", "sequence"): [{"skip": 1, "every": 2, "gap": 3.0}],
    ("selector", "simultaneous"): [{"filters": ["g", "r"]}],
    ("selector", "time"): [{"after": 60310.01, "skip_end": 10.0}],
    ("master", "dark-fit"): [{}],
    ("master", "twilight-flat"): [{}, {"smooth": 16, "clouds": 0.3}],
    ("master", "dome-flat"): [{}],
    ("master", "running-sky"): [{}, {"frames": "science", "window": 0}],
    ("master", "fringe"): [{}, {"scale": "sky"}],
    ("master", "illumination"): [{"cell": 4}, {"cell": 4, "surface": "spline", "knots": 2}],
    ("master", "bad-pixels"): [{}],
    ("correction", "pedestal"): [{"level": 350.0}],
    ("correction", "overscan"): [{}, {"fit": "polynomial"}, {"fit": "spline", "statistic": "median"}],
    ("correction", "crosstalk"): [{"coefficients": [[0.0]]}],
    ("correction", "bad-pixel-map"): [{"map": bad_pixel_map()}],
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
