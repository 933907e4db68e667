"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_sep import SepBackground, SepFinder

CASES = [
    case
    for stage in (
        SepBackground(),
        SepBackground(box=32, thin=False),
        SepFinder(),
        SepFinder(filter_fwhm=3.0, deblend_contrast=1.0),
    )
    for case in conformance.cases(stage)
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conforms(case):
    case()
