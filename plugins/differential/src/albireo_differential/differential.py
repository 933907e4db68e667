"""The curve step: every star against an ensemble of constant stars that does not contain it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from albireo import CurveStep

if TYPE_CHECKING:
    from albireo import Ensemble


class Differential(CurveStep, name="differential"):
    """Divide by the transparency that an ensemble of comparison stars shows.

    Comparison stars are chosen and weighted by how constant they are, after Broeg, Fernandez & Neuhaeuser (2005): each
    star is compared with the ensemble of the others, its weight follows from the scatter (counting noise and whatever
    comes on top), and this is repeated until the weights stay the same; stars that scatter far more than stars of their
    kind are left out. The ensemble is not a sum of fluxes but a zero point for each frame, solved with the means of all
    comparison stars together, so that stars which are missing in some frames make no steps. A comparison star's own
    curve is taken against the others. Errors contain the error of the zero point.

    Without comparisons by hand, the targets of the recipe, stars with flags in more than a tenth of their frames
    (saturated, masked, cut by the edge) and stars missing in many frames take no part. Single flagged measurements have
    no weight in the ensemble; their own fluxes are kept.
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Broeg, C., Fernandez, M. & Neuhaeuser, R. 2005, Astronomische Nachrichten, 326, 134",
    )

    comparisons: tuple[int, ...] = Field(
        (),
        description="Identities of the comparison stars in the catalogue; empty for those that the recipe's targets "
        "name, and to have them chosen if these name none.",
    )
    max_comparisons: int = Field(20, ge=1, description="How many comparison stars to choose at most, best first.")
    min_present: float = Field(
        0.8, gt=0, le=1, description="Share of the frames in which a star must be measured to be chosen."
    )
    max_excess: float = Field(
        3.0,
        gt=1,
        description="A star is variable, and not chosen, if it scatters this many times more than comparison stars as "
        "bright.",
    )
    normalise: bool = Field(
        True, description="Whether to divide each curve by its median; otherwise fluxes keep their unit."
    )

    def apply(self, curves: Ensemble) -> Ensemble:
        """Make relative light curves of all stars.

        Parameters
        ----------
        curves : Ensemble
            Fluxes with errors; NaN where a star was not measured.

        Returns
        -------
        Ensemble
            ``flux`` and ``flux_err`` of every source, relative to its median (unit empty) or in the unit given; NaN
            where the star, or every comparison star but itself, was not measured. ``comparisons`` holds the weights.
            ``meta`` gains ``differential``: ``transparency`` and ``transparency_err`` (a number for each frame, median
            one, None where unknown), ``scatter`` (identity of each comparison star to its relative scatter),
            ``variable`` (identity of each star left out as variable to the reason) and ``left_out`` (reason to number
            of other stars).

        Raises
        ------
        FrameError
            If no comparison star is left, or one asked for is not in the field.
        """
        from albireo_differential.ensemble import relative

        return relative(self, curves)
