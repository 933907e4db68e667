"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_alignment import Coordinates, Correlation, Patterns, Translation

STAGES = [
    Patterns(),
    Patterns(model="affine", mirrored=True, max_scale=None),
    Translation(),
    Correlation(),
    Coordinates(),
]
CASES = [pytest.param(case, id=f"{stage.name}-{case}") for stage in STAGES for case in conformance.cases(stage)]


@pytest.mark.parametrize("case", CASES)
def test_conforms(case):
    case()
