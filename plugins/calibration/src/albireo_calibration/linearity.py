"""Linearity: counts in proportion to light, by a polynomial that the camera gives.

The polynomial turns counts x above the pedestal into linear counts ``t(x) = x (c0 + c1 x + c2 x**2 + ...)``. It is
found from exposures of different length to a steady lamp, and is valid up to the highest level of that measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from albireo import Frame, FrameError, Frames, PixelwiseCorrection

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from albireo import Terms

HIGHEST = 65535.0
"""Counts up to which the polynomial must rise where no saturation is known: the most that 16 bits hold."""

STEPS = 64
"""Levels at which the slope of the polynomial is looked at."""


class Linearity(PixelwiseCorrection, name="linearity"):
    """Bring counts into proportion to light, with the coefficients of the camera or of the recipe.

    Counts x above the pedestal become ``t(x) = x (c0 + c1 x + c2 x**2 + ...)``, and a variance V that the image has by
    then, such as that of the overscan, becomes ``V t'(x)**2``. The photon noise is that of the linear counts: light is
    counted before the electronics bends its number.

    A frame without coefficients is left as it is, and the plan says so. NaN stays NaN.
    """

    needs = frozenset({"pedestal"})
    excludes = frozenset({"dark", "electron", "flat"})

    coefficients: tuple[float, ...] = Field(
        (),
        description="Coefficients c0, c1, ...: counts x above the pedestal become x (c0 + c1 x + c2 x^2 + ...). Empty "
        "for those of the camera.",
        json_schema_extra={"unit": "1, 1/adu, 1/adu^2, ..."},
    )
    limit: float | None = Field(
        None,
        gt=0,
        description="Pixels with more counts above the pedestal than this are flagged NON_LINEAR: usable, with care.",
        json_schema_extra={"unit": "adu"},
    )

    @field_validator("coefficients")
    @classmethod
    def _are_numbers(cls, coefficients: tuple[float, ...]) -> tuple[float, ...]:
        if not all(isfinite(c) for c in coefficients):
            raise ValueError("coefficients are numbers")
        return coefficients

    def terms(self, image: CCDData, frame: Frame, masters: Mapping[str, CCDData]) -> Terms:
        """Give the polynomial and the limit.

        Raises
        ------
        FrameError
            If the polynomial does not rise all the way to saturation.
        """
        from albireo import Terms

        coefficients = self.coefficients or frame.linearity
        problem = _falls(coefficients, frame)
        if problem:
            raise FrameError(problem)
        return Terms(linearity=coefficients, nonlinear_above=inf if self.limit is None else self.limit)

    def check(self, frame: Frame, group: Frames | None) -> str:
        """Say if there is no polynomial for this frame, or one that cannot be right."""
        coefficients = self.coefficients or frame.linearity
        if not coefficients:
            return (
                f"the correction `linearity` does nothing for frames of {_camera(frame)}: no coefficients are known; "
                "give them as `coefficients`, or leave the correction out"
            )
        return _falls(coefficients, frame)


def _falls(coefficients: Sequence[float], frame: Frame) -> str:
    """Say where the polynomial stops to rise; empty if it rises up to saturation."""
    highest = frame.saturation if frame.saturation > 0 else HIGHEST
    for step in range(STEPS + 1 if coefficients else 0):
        x = highest * step / STEPS
        if sum(power * c * x ** (power - 1) for power, c in enumerate(coefficients, 1)) <= 0:
            listed = ", ".join(f"{c:g}" for c in coefficients)
            return (
                f"the linearity polynomial of frames of {_camera(frame)} (coefficients {listed}) stops to rise at "
                f"{x:.0f} adu, below saturation at {highest:.0f} adu: counts x become x (c0 + c1 x + c2 x^2 + ...), "
                "with c0 near 1; correct the coefficients"
            )
    return ""


def _camera(frame: Frame) -> str:
    return " ".join(part for part in (frame.instrument, frame.detector) if part) or "this camera"
