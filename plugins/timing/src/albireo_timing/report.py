"""The report `timing`: what time series say, as tables and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from albireo import Report

if TYPE_CHECKING:
    from albireo import Results


class Timing(Report, name="timing"):
    """Look at the light curves of every target as time series: periods, phases, power spectra, lags between bands.

    Writes the page ``timing.html``, which needs no network, and tables in ``timing/``. A positive lag means that the
    second band of a pair comes later. Outliers and missing points are left out and counted; what cannot be made of a
    curve is left out with the reason.
    """

    citations = (
        "VanderPlas & Ivezic 2015, ApJ 812, 18",
        "Baluev 2008, MNRAS 385, 1279",
        "Gaskell & Peterson 1987, ApJS 65, 1",
        "Peterson et al. 1998, PASP 110, 660",
    )

    period: float | None = Field(
        None,
        gt=0,
        description="Period to fold with. Without it that of the highest peak of the periodogram.",
        json_schema_extra={"unit": "d"},
    )
    t0: float | None = Field(
        None,
        description="Time of phase zero, on the scale of the curves. Without it the first exposure.",
        json_schema_extra={"unit": "d"},
    )
    n_bins: int = Field(20, ge=1, description="Bins of phase.")
    frequencies: tuple[float, float] | None = Field(
        None,
        description="Least and greatest frequency of the periodogram. Without it from one cycle in the length of the "
        "series to half a cycle in its cadence.",
        json_schema_extra={"unit": "1/d"},
    )
    segment: float | None = Field(
        None,
        gt=0,
        description="Length of the segments whose power spectra are averaged. Without it the longest stretch without "
        "a gap.",
        json_schema_extra={"unit": "s"},
    )
    rebin: float = Field(
        0.05, ge=0, description="By which share each frequency bin of a power spectrum is wider than the one before."
    )
    pairs: tuple[tuple[str, str], ...] | None = Field(
        None, description="Pairs of filters whose lag is measured. Without it every pair."
    )
    max_lag: float | None = Field(
        None,
        gt=0,
        description="Longest lag to either side. Without it a quarter of the series, and at most half a period.",
        json_schema_extra={"unit": "s"},
    )
    trials: int = Field(100, ge=2, description="How often points are drawn again for the error of a lag.")
    seed: int = Field(1, ge=0, description="Of the random numbers of these trials.")

    @field_validator("frequencies")
    @classmethod
    def _is_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] < value[1]:
            raise ValueError("give a least frequency above 0 and a greater one after it")
        return value

    def write(self, run: Results, folder: Path) -> list[Path]:
        """Write ``timing.html``, and tables as ECSV in ``timing/``.

        Parameters
        ----------
        run : Results
            A finished run.
        folder : Path
            Made if missing. Every file is written under a temporary name and renamed; tables of an earlier run that
            are not written again are removed.

        Returns
        -------
        list of Path
            The page, then the tables.
        """
        from albireo import atomic_path
        from albireo_timing.analysis import analyse, bands_of
        from albireo_timing.page import render
        from albireo_timing.tables import tables_of

        groups: dict[str, list[int]] = {}
        for number, curve in enumerate(run.curves):
            groups.setdefault(str(curve.meta["OBJECT"]), []).append(number)
        found = [
            analyse(self, target, bands_of([run.curves[number] for number in numbers]))
            for target, numbers in groups.items()
        ]
        page, place = Path(folder) / "timing.html", Path(folder) / "timing"
        tables = tables_of(found)
        with atomic_path(page) as partial:
            partial.write_text(render(str(run.summary["title"]), found, list(tables)), encoding="utf-8")
        for name, table in tables.items():
            with atomic_path(place / name) as partial:
                table.write(partial, format="ascii.ecsv", overwrite=True)
        for old in place.glob("*.ecsv"):
            if old.name not in tables:
                old.unlink()
        return [page, *(place / name for name in tables)]
