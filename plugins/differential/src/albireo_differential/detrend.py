"""The curve step: what goes with airmass, place, seeing, sky or time is fitted and divided out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from albireo import CurveStep

if TYPE_CHECKING:
    from albireo import Ensemble

COLUMNS = ("time", "airmass", "fwhm", "x", "y", "sky")

_TERM = re.compile(r"\s*([a-z]+)\s*(?:\^\s*([1-9]))?\s*")


class Detrend(CurveStep, name="detrend"):
    """Divide each curve by a linear model of columns such as airmass or position in the frame.

    The model is ``c0 + sum(c_k z_k)``, with ``z_k`` a power of a column, shifted by its median and divided by its
    standard deviation, so that coefficients can be compared. It is fitted to each star by linear least squares, with
    the errors as weights; flagged points and those inside ``exclude``, such as a transit, do not take part but are
    corrected. The light outside the windows has a mean of one (or keeps its level, where fluxes have a unit).

    Errors contain that of the model. Where the fit is worse than the errors allow, the errors of the coefficients are
    those that the residuals show. Whether a model is worth its coefficients is told by the Bayesian information
    criterion (Schwarz 1978, Annals of Statistics 6, 461) with the scatter taken from the residuals,
    ``n ln(chi2 / n) + k ln n``: noted is by how much the model lowers that of a constant. Ten or more is clear; below
    zero the model is worse than none, and should be left out. A model is a guess about the instrument: it takes away
    what looks like it in the sky.
    """

    terms: tuple[str, ...] = Field(
        ("airmass",),
        min_length=1,
        description=f"Columns of the model, of {', '.join(COLUMNS)}, or powers of them, such as 'time^2'.",
    )
    exclude: tuple[tuple[float, float], ...] = Field(
        (),
        description="Windows of time that the fit leaves out, each with begin and end, on the scale of the curve.",
        json_schema_extra={"unit": "d"},
    )

    @field_validator("terms")
    @classmethod
    def _are_known(cls, terms: tuple[str, ...]) -> tuple[str, ...]:
        parsed = [_TERM.fullmatch(term) for term in terms]
        for term, match in zip(terms, parsed, strict=True):
            if match is None or match[1] not in COLUMNS:
                raise ValueError(
                    f"{term!r} is no term: write one of {', '.join(COLUMNS)}, or a power of it such as 'time^2'"
                )
        names = [f"{match[1]}^{match[2] or 1}" for match in parsed if match]
        if len(set(names)) < len(names):
            raise ValueError("a term stands there twice")
        return terms

    @field_validator("exclude")
    @classmethod
    def _have_a_length(cls, windows: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for begin, end in windows:
            if not begin < end:
                raise ValueError(f"a window ends after it begins, and [{begin:g}, {end:g}] does not")
        return windows

    @property
    def powers(self) -> list[tuple[str, int]]:
        """Column and power of each term."""
        return [(match[1], int(match[2] or 1)) for term in self.terms if (match := _TERM.fullmatch(term))]

    def apply(self, curves: Ensemble) -> Ensemble:
        """Correct all stars.

        Parameters
        ----------
        curves : Ensemble
            Fluxes with errors; best after ``differential``.

        Returns
        -------
        Ensemble
            Corrected ``flux`` and ``flux_err``; NaN where a column of the model is not known. ``meta`` gains
            ``detrend``: ``terms``, ``exclude`` and ``stars``, which has of each star ``coefficients`` and ``errors``
            (the constant first, then the terms; relative to the constant), ``points`` in the fit, ``chi2`` per degree
            of freedom, and ``bic_gain``. A star with too few points for its coefficients stays as it is, and is listed
            under ``left``.

        Raises
        ------
        FrameError
            If a column of the model is known for no frame, or no frame lies outside the windows.
        """
        from albireo_differential.fitting import detrended

        return detrended(self, curves)
