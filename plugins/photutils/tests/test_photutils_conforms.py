"""The conformance kit on the stages of this part."""

import pytest

from albireo.testing import conformance
from albireo_photutils import Dao, PhotutilsMesh, PsfPhotometry, Segmentation

STAGES = (
    PhotutilsMesh(),
    *(PhotutilsMesh(level=level, noise="mad") for level in ("mean", "median", "mode")),
    *(PhotutilsMesh(level=level, noise="biweight", box=32) for level in ("mmm", "biweight")),
    Segmentation(),
    Segmentation(filter_fwhm=0, deblend_levels=0, connectivity=4),
    Dao(),
    Dao(fwhm=4.0),
    PsfPhotometry(sky="background"),
)
CASES = [case for stage in STAGES for case in conformance.cases(stage)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conforms(case):
    case()
