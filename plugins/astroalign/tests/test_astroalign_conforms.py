"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_astroalign import Astroalign

CASES = [case for stage in (Astroalign(), Astroalign(model="affine")) for case in conformance.cases(stage)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conforms(case):
    case()
