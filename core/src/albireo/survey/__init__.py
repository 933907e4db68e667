"""What sample files tell of a camera: keywords, kinds of frames, overscan, saturation, gain, noise, dark current."""

from __future__ import annotations

from albireo.survey.findings import GIVE, Finding, plural
from albireo.survey.samples import Sample, SurveyError
from albireo.survey.survey import Survey, survey

__all__ = ["GIVE", "Finding", "Sample", "Survey", "SurveyError", "plural", "survey"]
