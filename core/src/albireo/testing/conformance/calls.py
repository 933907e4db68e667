"""What holds for the methods of every role: same input, same output, and inputs stay as they were."""

from __future__ import annotations

import pickle
from typing import Any

from albireo.testing.conformance.kit import Typical, changed, fingerprint, require

__all__ = ["CHECKS"]


def leaves_its_inputs_alone(stage: Any, typical: Typical) -> None:
    """No array, image or mapping that was given is changed."""
    for method, arguments in typical(stage):
        before = fingerprint(arguments)
        getattr(stage, method)(*arguments)
        part = changed(before, fingerprint(arguments), "argument")
        require(not part, f"{method}() changed {part}; copy what you work on")


def is_deterministic(stage: Any, typical: Typical) -> None:
    """Two calls with the same input give the same bytes, also from a pickled copy of the stage."""
    copy = pickle.loads(pickle.dumps(stage))
    for (method, once), (_, twice) in zip(typical(stage), typical(stage), strict=True):
        first, second = fingerprint(getattr(stage, method)(*once)), fingerprint(getattr(copy, method)(*twice))
        part = changed(first, second, "result")
        require(not part, f"{method}() gave another {part} the second time; seed what is random")


CHECKS = [leaves_its_inputs_alone, is_deterministic]
