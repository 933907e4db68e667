"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_differential import Differential

CASES = [
    case
    for stage in (Differential(), Differential(normalise=False), Differential(max_comparisons=3))
    for case in conformance.cases(stage)
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conforms(case):
    case()
