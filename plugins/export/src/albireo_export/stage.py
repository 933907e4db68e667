"""The report `export`: light curves as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from albireo import Report

if TYPE_CHECKING:
    from albireo import Results


class Comparison(BaseModel):
    """What is known of a comparison star."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    star: int = Field(description="Its identity in the catalogue.")
    name: str = Field("", max_length=20, description="AUID or label on the chart; else its identity stands there.")
    magnitudes: dict[str, float] = Field({}, description="Filter, as the frames name it, to catalogue magnitude.")


class Export(Report, name="export"):
    """Write the light curves of every target in formats of other programs, one file for each target and band.

    ``aavso``: Extended File Format of the AAVSO, magnitudes in JD UTC. ``lightkurve``: FITS table with times as
    BJD_TDB. ``csv``: plain columns with units in the first line, and the bands of a target side by side where several
    detectors exposed at once. ``ecsv``: columns with units and everything that is known of the curve. Points without a
    value and outliers are left out and counted. What a format cannot hold is refused, and the reason stands beside the
    name in ``contents.ecsv``, the list of all files.
    """

    citations = ()

    format: tuple[Literal["aavso", "lightkurve", "csv", "ecsv"], ...] = Field(
        ("csv",), min_length=1, description="One format or several."
    )
    obscode: str = Field("", description="AAVSO: code of the observer.")
    chart: str = Field("", max_length=20, description="AAVSO: name of the chart with the comparison stars.")
    filters: dict[str, str] = Field(
        {}, description="AAVSO: filter, as the frames name it, to a code of the AAVSO, where the name does not tell it."
    )
    comparisons: tuple[Comparison, ...] = Field(
        (),
        description="AAVSO: names and catalogue magnitudes of comparison stars. Where one has a magnitude in the "
        "filter, magnitudes are standard, else differences from the comparison stars.",
    )
    limit: float = Field(
        3.0,
        gt=0,
        description="AAVSO: a flux of fewer standard deviations is written as an upper limit of so many.",
    )

    @field_validator("format", mode="before")
    @classmethod
    def _is_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def write(self, run: Results, folder: Path) -> list[Path]:
        """Write the files into ``export/``.

        Parameters
        ----------
        run : Results
            A finished run.
        folder : Path
            Made if missing. Every file is written under a temporary name and renamed; those of an earlier run that are
            not written again are removed.

        Returns
        -------
        list of Path
            ``contents.ecsv``, then the files that it lists. Its columns: file (empty if the format was refused),
            format, target, filter, detector, points, left_out, note.
        """
        from albireo_export.files import write_all

        return write_all(self, run, Path(folder) / "export")
