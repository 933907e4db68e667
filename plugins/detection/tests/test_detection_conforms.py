"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_detection import Constant, Mesh, NoBackground, Segments

STAGES = (
    Mesh(),
    Mesh(box=32, thin=True, mask_sources=6),
    Constant(),
    NoBackground(),
    Segments(),
    Segments(filter_fwhm=3.0, deblend_contrast=1.0, max_elongation=0.0),
)
CASES = [case for stage in STAGES for case in conformance.cases(stage)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conforms(case):
    case()
