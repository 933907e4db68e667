"""The conformance kit, which tells whether a stage keeps the contract of its role.

Every check runs a stage on data with a known truth and says in words what is wrong. An author's test is three lines::

    from albireo.testing import conformance

    @pytest.mark.parametrize("case", conformance.cases(MyPhotometer(radius=4)), ids=str)
    def test_conforms(case):
        case()

and ``albireo certify ROLE NAME`` prints what `certify` reports. Checks that do not apply are skipped with a reason.
`certify_samples` holds a camera against real files.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import SkipTest

from pydantic import ValidationError

from albireo.frames import CALIBRATION_KINDS
from albireo.roles import ROLES, ImageAligner, Instrument, MasterBuilder, Stage
from albireo.testing.conformance import (
    aligners,
    backgrounds,
    calls,
    corrections,
    curve_steps,
    executors,
    finders,
    general,
    image_aligners,
    instruments,
    masters,
    photometers,
    psfs,
    reports,
    samples,
    selectors,
    stackers,
)
from albireo.testing.conformance.kit import ConformanceWarning, NonConformance

__all__ = ["Case", "ConformanceWarning", "NonConformance", "Report", "Result", "cases", "certify", "certify_samples"]

KITS: dict[str, ModuleType] = {
    "instrument": instruments,
    "selector": selectors,
    "master": masters,
    "correction": corrections,
    "background": backgrounds,
    "finder": finders,
    "psf": psfs,
    "aligner": aligners,
    "stacker": stackers,
    "photometer": photometers,
    "curve-step": curve_steps,
    "report": reports,
    "executor": executors,
}
"""For each role the module with its ``CHECKS`` and, where calls can be made up, a function ``typical`` that does."""


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Attributes
    ----------
    name, meaning : str
        What the check is called, and what must hold.
    status : str
        ``passed``, ``failed``, ``warned`` or ``skipped``.
    reason : str
        Empty for a check that passed.
    """

    name: str
    meaning: str
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Case:
    """One check of one stage. Calling it raises `NonConformance` where the stage does not conform."""

    stage: Stage
    name: str
    meaning: str
    check: Callable[[Any], None]

    def __call__(self) -> None:
        """Run the check.

        Raises
        ------
        NonConformance
            With the reason. Other exceptions are the stage's own.
        unittest.SkipTest
            If the check does not apply; pytest shows it as skipped.
        """
        self.check(self.stage)

    def __str__(self) -> str:
        return self.name

    def result(self) -> Result:
        """Run the check and put the outcome into words."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            status, reason = "passed", ""
            try:
                self()
            except SkipTest as error:
                status, reason = "skipped", str(error)
            except NonConformance as error:
                status, reason = "failed", str(error)
            except Exception as error:  # whatever a stage raises here, it should not
                status, reason = "failed", f"it raised {type(error).__name__}: {error}"
        said = [str(w.message) for w in caught if issubclass(w.category, ConformanceWarning)]
        if status == "passed" and said:
            status, reason = "warned", "; ".join(said)
        return Result(self.name, self.meaning, status, reason)


@dataclass(frozen=True)
class Report:
    """All checks of one stage.

    Attributes
    ----------
    role, name : str
    results : tuple of Result
    """

    role: str
    name: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.status == "failed")

    def __str__(self) -> str:
        count = Counter(result.status for result in self.results)
        lines = [f"{self.role} {self.name}: " + ", ".join(f"{n} {status}" for status, n in count.items())]
        for result in self.results:
            lines.append(f"  {result.status:8}{result.name}")
            if result.reason:
                lines.append(f"          {result.reason}")
            if result.status == "failed":
                lines.append(f"          must hold: {result.meaning}")
        return "\n".join(lines)


def cases(stage: Stage) -> list[Case]:
    """Give every check that applies to the role of a configured stage.

    Raises
    ------
    TypeError
        If it is a stage of no role.
    """
    role = _role(type(stage))
    kit = image_aligners if isinstance(stage, ImageAligner) else KITS[role]
    checks: list[Callable[..., None]] = [*general.CHECKS]
    if hasattr(kit, "typical"):
        checks += [_bound(check, kit.typical) for check in calls.CHECKS]
    checks += kit.CHECKS
    return [Case(stage, _name(check), " ".join((check.__doc__ or "").split()), check) for check in checks]


def certify(stage: Stage | type[Stage]) -> Report:
    """Run all checks.

    Parameters
    ----------
    stage : Stage or class of Stage
        A class is tried with its default options; a master builder once for each kind of master it accepts.

    Raises
    ------
    ValueError
        If a class has options without a default: configure it, and give the stage.
    TypeError
        If it is a stage of no role.
    """
    stages = _configured(stage) if isinstance(stage, type) else [stage]
    several = len(stages) > 1
    results = [
        Result(f"{result.name} [{one.kind}]", result.meaning, result.status, result.reason)
        if several and isinstance(one, MasterBuilder)
        else result
        for one in stages
        for result in (case.result() for case in cases(one))
    ]
    return Report(_role(type(stages[0])), stages[0].name, tuple(results))


NAMED = 5
"""How many files a failed rule names."""


def certify_samples(camera: Instrument, files: Sequence[Path]) -> Report:
    """Check a camera on real files, which are only read.

    Parameters
    ----------
    camera : Instrument
    files : sequence of Path

    Returns
    -------
    Report
        One result for each rule of `albireo.testing.conformance.samples`.
    """
    faults: dict[str, list[str]] = {}
    for rule, reason in samples.faults(camera, files):
        faults.setdefault(rule, []).append(reason)
    results = []
    for rule, meaning in samples.RULES.items():
        wrong = faults.get(rule, [])
        more = f"\n          and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        reason = "\n          ".join(wrong[:NAMED]) + more
        results.append(Result(f"samples: {rule}", meaning, "failed" if wrong else "passed", reason))
    return Report("instrument", camera.name, tuple(results))


def _role(cls: type[Stage]) -> str:
    for role in ROLES.values():
        if issubclass(cls, role.base):
            return role.name
    raise TypeError(f"{cls.__name__} is a stage of no role; derive it from one of {', '.join(ROLES)}")


def _configured(cls: type[Stage]) -> Sequence[Stage]:
    kinds = [{"kind": kind} for kind in CALIBRATION_KINDS] if issubclass(cls, MasterBuilder) else [{}]
    made: list[Stage] = []
    trouble = ""
    for options in kinds:
        try:
            made.append(cls(**options))
        except ValidationError as error:
            trouble = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    if not made:
        raise ValueError(
            f"{cls.__name__} needs options before it can be certified ({trouble}): give a configured stage"
        )
    return made


def _bound(check: Callable[..., None], typical: Any) -> Callable[..., None]:
    bound = partial(check, typical=typical)
    bound.__doc__ = check.__doc__
    return bound


def _name(check: Callable[..., None]) -> str:
    function = check.func if isinstance(check, partial) else check
    return str(function.__name__).replace("_", " ")
