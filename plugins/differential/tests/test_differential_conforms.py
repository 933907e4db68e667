"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_differential import Clip, Detrend, Differential, Scintillation

STAGES = (
    Differential(),
    Differential(normalise=False),
    Differential(max_comparisons=3),
    Scintillation(),
    Clip(),
    Clip(keep=True),
    Detrend(),
    Detrend(terms=("time", "time^2", "x", "y", "fwhm", "sky")),
)
CASES = [case for stage in STAGES for case in conformance.cases(stage)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conforms(case):
    case()
