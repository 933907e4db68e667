"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_aperture import Aperture, Optimal

STAGES = (
    Aperture(),
    Aperture(radius=(3, 5), sky="background"),
    Aperture(radius=1.0, unit="fwhm", statistic="median"),
    Aperture(radius=(3, 5), shape="ellipse", ellipse=(1.5, 30), recenter="windowed"),
    Optimal(),
    Optimal(weights="full"),
    Optimal(psf="reference", sky="background", recenter="moments", statistic="mode"),
)
CASES = [case for stage in STAGES for case in conformance.cases(stage)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conforms(case):
    case()
