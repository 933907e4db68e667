"""The curve step: scintillation in the error bars, from telescope, site, exposure and airmass."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from albireo import CurveStep

if TYPE_CHECKING:
    from albireo import Ensemble


class Scintillation(CurveStep, name="scintillation"):
    """Add the scintillation of the atmosphere to the errors of all stars.

    Turbulence high above the telescope makes the light of every star flicker by a share that does not depend on its
    brightness. No image shows how much, so that error bars from pixels lack it; for bright stars and short exposures it
    is the largest term. It is predicted by Young's formula with the coefficient C of Osborn et al. (2015)::

        sigma**2 = 1e-5 C**2 D**(-4/3) t**-1 X**3 exp(-2 h / 8000 m)

    with the diameter D of the telescope (m), the exposure time t (s), the airmass X and the height h of the site (m).
    Stars flicker each for itself, so that the term of the comparison stars is theirs: put this step before
    ``differential``. Medians of C by Osborn et al. are 1.30 for La Palma, 1.42 for Cerro Tololo, 1.56 for Paranal, 1.61
    for Cerro Armazones, 1.63 for Mauna Kea and 1.67 for San Pedro Martir; in single nights it is half or twice as much.
    """

    citations: ClassVar[tuple[str, ...]] = (
        "Young, A. T. 1967, AJ, 72, 747",
        "Osborn, J., Foehring, D., Dhillon, V. S. & Wilson, R. W. 2015, MNRAS, 452, 1707",
    )

    coefficient: float = Field(1.5, gt=0, description="C of the site.", json_schema_extra={"unit": "m^(2/3) s^(1/2)"})

    def apply(self, curves: Ensemble) -> Ensemble:
        """Make the errors larger; fluxes stay.

        Parameters
        ----------
        curves : Ensemble
            Fluxes in electrons.

        Returns
        -------
        Ensemble
            ``meta`` gains ``scintillation``: ``coefficient``, ``diameter``, ``height`` and ``relative`` (the relative
            standard deviation of each frame; None where it is not known). Where the diameter or the height is not
            known, the errors stay and ``meta["warnings"]`` says so; so it is for single frames without an airmass or an
            exposure time.

        Raises
        ------
        FrameError
            If the fluxes are relative already.
        """
        import numpy as np

        from albireo import FrameError, scintillation_noise

        if curves.unit != "electron":
            raise FrameError(
                "scintillation belongs to each star, and these fluxes are compared with others already; put "
                'use = "scintillation" before use = "differential"'
            )
        missing = [
            name
            for name, value in (
                ("the diameter of the telescope ([instrument] diameter)", curves.diameter),
                ("the height of the site ([instrument] site)", curves.height),
            )
            if not np.isfinite(value)
        ]
        relative = scintillation_noise(curves.diameter, curves.height, curves.exptime, curves.airmass, self.coefficient)
        known = np.isfinite(relative)
        report = {
            "coefficient": self.coefficient,
            "diameter": curves.diameter,
            "height": curves.height,
            "relative": [float(value) if np.isfinite(value) else None for value in relative],
        }
        error = np.hypot(curves.flux_err, curves.flux * np.nan_to_num(relative)[:, None])
        result = curves.replace(flux_err=error, meta={**curves.meta, "scintillation": report})
        if missing:
            return result.warned(f"errors do not contain scintillation: {' and '.join(missing)} must be known")
        if not known.all():
            return result.warned(
                f"errors of {np.count_nonzero(~known)} of {len(known)} frames do not contain scintillation: their "
                "airmass or exposure time is not known"
            )
        return result
