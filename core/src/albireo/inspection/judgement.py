"""Everything there is to say of a night from its headers alone."""

from __future__ import annotations

from albireo.frames import Frames
from albireo.inspection.calibrations import (
    mixed_setups,
    science_without_bias,
    science_without_darks,
    science_without_flats,
    warm_darks,
)
from albireo.inspection.finding import SEVERITIES, Finding, Rule
from albireo.inspection.sequence import gaps, incomplete_exposures, nights, order_of_names, overlaps
from albireo.inspection.values import several_targets, unknown_kinds, unknown_values, unlikely_values
from albireo.roles import Instrument

__all__ = ["judge"]

RULES: tuple[Rule, ...] = (
    unknown_kinds,
    unknown_values,
    unlikely_values,
    mixed_setups,
    science_without_flats,
    science_without_darks,
    science_without_bias,
    warm_darks,
    overlaps,
    order_of_names,
    incomplete_exposures,
    several_targets,
    nights,
    gaps,
)


def judge(frames: Frames, camera: Instrument) -> list[Finding]:
    """Say what is missing or inconsistent in the frames of one camera.

    Parameters
    ----------
    frames : Frames
        Those of one camera; nothing but their headers counts.
    camera : Instrument
        Says what calibrations must match; no file is read.

    Returns
    -------
    list of Finding
        The most severe first.
    """
    found = [finding for rule in RULES for finding in rule(frames, camera)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
