"""What there is to say of the raw frames of a night, before anything is reduced.

`look` finds which camera wrote which file. `judge` says what is missing or inconsistent from headers alone, and
`albireo.inspection.pixels` whether levels and noise of calibration frames bear out what the camera says. `check_file`
tries everything a camera promises on one file.
"""

from __future__ import annotations

from albireo.inspection.check import ASPECTS, Checked, Trouble, check_file
from albireo.inspection.finding import SEVERITIES, Finding
from albireo.inspection.judgement import judge
from albireo.inspection.night import Look, look
from albireo.inspection.roundtrip import differences, same_place, write_blank

__all__ = [
    "ASPECTS",
    "SEVERITIES",
    "Checked",
    "Finding",
    "Look",
    "Trouble",
    "check_file",
    "differences",
    "judge",
    "look",
    "same_place",
    "write_blank",
]
