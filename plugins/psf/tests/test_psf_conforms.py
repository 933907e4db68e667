"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_psf import EmpiricalPSF, GaussianPSF, MoffatPSF, PSFPhotometer

STAGES = (
    GaussianPSF(),
    MoffatPSF(stars=15, radius=2.5),
    EmpiricalPSF(),
    PSFPhotometer(),
    PSFPhotometer(sky="fit"),
    PSFPhotometer(radius=1.2, recenter=True),
)
CASES = [case for stage in STAGES for case in conformance.cases(stage)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conforms(case):
    case()
