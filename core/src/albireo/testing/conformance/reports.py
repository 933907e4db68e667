"""What a report must do."""

from __future__ import annotations

from albireo.roles import Report
from albireo.testing.conformance.kit import Check, skip

__all__ = ["CHECKS"]


def writes_what_it_says(stage: Report) -> None:
    """Every path it gives back exists."""
    skip("a report needs a finished run; try it with: albireo run RECIPE")


CHECKS: list[Check] = [writes_what_it_says]
