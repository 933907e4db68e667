"""What a run left in its folder, for reports and notebooks.

`Results` only reads, and only what is documented in the user guide, so that a report plugin and a person in a
notebook see the same things. Tables are astropy tables; each is read when it is first asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from astropy.nddata import CCDData
    from astropy.table import Table
    from numpy.typing import NDArray

__all__ = ["Cutouts", "FieldRecord", "MasterRecord", "Results", "StackRecord"]


@dataclass(frozen=True)
class MasterRecord:
    """One master of a run.

    Attributes
    ----------
    name : str
        File name without suffix, such as ``flat-VR``.
    kind : str
    path : Path
    frames : list of str
        Names of the frames it was made from.
    serves : int
        Number of frames it was used for.
    meta : dict
        What the builder noted: levels, counts, method.
    """

    name: str
    kind: str
    path: Path
    frames: list[str]
    serves: int
    meta: dict[str, Any] = field(default_factory=dict)

    def read(self) -> CCDData:
        """Read the pixels with variance and flags."""
        from albireo.images import read_image

        return read_image(self.path)


@dataclass(frozen=True)
class FieldRecord:
    """One field of a run: frames of one target, detector and pointing, aligned onto one reference.

    Attributes
    ----------
    name : str
    target, detector : str
    reference : str
        Name of the reference frame.
    image : Path
        The calibrated reference image.
    catalogue : Path
        ECSV table: id, x, y, flux, fwhm, a, b, theta, peak, flags, name (of a target, else empty).
    sky : str
        Fields of the same sky have their stars in common: a star has one identity in all of them.
    """

    name: str
    target: str
    detector: str
    reference: str
    image: Path
    catalogue: Path
    sky: str = ""

    def read_image(self) -> CCDData:
        """Read the calibrated reference image."""
        from albireo.images import read_image

        return read_image(self.image)

    def read_catalogue(self) -> Table:
        """Read the catalogue."""
        from astropy.table import Table

        return Table.read(self.catalogue, format="ascii.ecsv")


@dataclass(frozen=True, eq=False)
class Cutouts:
    """Small calibrated images of one star, frame by frame in order of time.

    Attributes
    ----------
    field : str
    source : int
        Its identity in the catalogue.
    frames : list of str
    corners : ndarray of int, shape (n, 2)
        Column and row, in the calibrated frame, of the first pixel of each.
    pixels : ndarray of float32 (big-endian), shape (n, 33, 33)
        In electrons; NaN beyond the frame.
    """

    field: str
    source: int
    frames: list[str]
    corners: NDArray[np.int64]
    pixels: NDArray[np.float32]


@dataclass(frozen=True)
class StackRecord:
    """One stack of a run.

    Attributes
    ----------
    name : str
        File name without suffix, such as ``M67-V``.
    path : Path
    field : str
        Name of its field.
    filter : str
        Empty for a stack of all filters.
    frames : list of str
        Names of the frames it was made from.
    meta : dict
        What its header says: numbers and texts.
    """

    name: str
    path: Path
    field: str
    filter: str
    frames: list[str]
    meta: dict[str, Any]

    def read(self) -> CCDData:
        """Read the pixels with variance and flags, and the planes COUNT, COVERAGE and REJECTED."""
        from albireo.images import read_image

        return read_image(self.path)


class Results:
    """A run folder.

    Parameters
    ----------
    folder : path
        What ``albireo run`` was given as ``--out``.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "run.json").exists():
            raise FileNotFoundError(f"{self.folder} holds no finished run (there is no run.json in it)")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Title, command line, versions, counts, warnings, citations, times: everything that is not a table.

        Keys: ``title``, ``command``, ``recipe`` (the file, where it lay then), ``started`` and ``finished`` (ISO, UTC),
        ``seconds``, ``versions`` (distribution to version), ``counts`` (fate to number), ``warnings`` (list of text:
        what a person should know), ``notes`` (what the camera assumed about its frames), ``citations`` (list),
        ``masters``, ``fields``, ``stacks``, ``curves``, ``bands``, ``timing`` (stage to seconds), ``ensembles`` (for
        each field, filter, method and aperture: ``frames``, ``comparisons`` with weights, and under ``steps`` what
        curve steps noted, such as ``steps["differential"]["transparency"]``, one number a frame), ``files`` (every
        table of the run).
        """
        text: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return text

    @cached_property
    def recipe(self) -> str:
        """The resolved recipe as TOML text, all defaults written out."""
        return (self.folder / "run.toml").read_text()

    @cached_property
    def frames(self) -> Table:
        """Every file and what became of it.

        Columns: name, path, hdu, instrument, detector, kind, variant, filter, target, field (of a science frame),
        exposure (shared by frames that were exposed at once), exptime, start, mid (ISO text, UTC), mjd_mid, airmass,
        gain, read_noise, saturation, setup, fate (used, dropped, failed, unused), stage, reason, masters (what it was
        corrected with), notes; for aligned science frames also dx, dy, rotation, scale, align_rms, matched, links
        (number of frames by way of which it was aligned), fwhm, elongation, sky, sky_rms, sources, saturated (number of
        saturated pixels); these counts are -1 where they are not known.
        """
        from astropy.table import Table

        return Table.read(self.folder / "frames.ecsv", format="ascii.ecsv")

    @cached_property
    def photometry(self) -> Table:
        """Every measurement, one row for each frame, source, method and aperture.

        Columns: frame, target, source, detector, filter, mjd (UTC, middle), bjd_tdb (days; NaN without a position),
        exptime, exposure, x, y, flux, flux_err, rate, rate_err (flux per second), sky, sky_err, method, aperture, area,
        correction, correction_err, x_err, y_err, flags, airmass, fwhm.
        """
        from astropy import units as u
        from astropy.table import Table

        table = Table.read(self.folder / "photometry.fits", unit_parse_strict="silent")
        table.convert_bytestring_to_unicode()
        for column in table.columns.values():
            if column.unit is not None:  # the FITS standard has no electron, astropy has
                column.unit = u.Unit(str(column.unit))
        return table

    @cached_property
    def masters(self) -> list[MasterRecord]:
        """The masters of the run."""
        return [MasterRecord(**{**entry, "path": self.folder / entry["path"]}) for entry in self.summary["masters"]]

    @cached_property
    def fields(self) -> list[FieldRecord]:
        """The fields of the run."""
        return [
            FieldRecord(
                **{
                    **entry,
                    "image": self.folder / entry["image"],
                    "catalogue": self.folder / entry["catalogue"],
                }
            )
            for entry in self.summary["fields"]
        ]

    @cached_property
    def stacks(self) -> list[StackRecord]:
        """The stacks of the run, in the order of the recipe."""
        return [
            StackRecord(
                name=entry["name"],
                path=self.folder / entry["path"],
                field=entry["field"],
                filter=entry["filter"],
                frames=entry["frames"],
                meta=entry["meta"],
            )
            for entry in self.summary["stacks"]
        ]

    @cached_property
    def curves(self) -> list[Table]:
        """Final light curves of the targets (of the brightest stars where a recipe names no target).

        Columns: time (BJD_TDB or JD_UTC, see ``meta["TIMESYS"]``), flux, flux_err, then airmass, x, y, sky, fwhm,
        exptime, flags, frame, exposure. ``meta``: OBJECT, SOURCE (id), FIELD, FILTER, DETECTOR, METHOD, APERTURE, UNIT,
        COMPARISONS (mapping of id to weight), SCATTER (robust point-to-point rms, relative), EXPECTED (median error,
        relative).
        """
        from astropy.table import Table

        return [Table.read(self.folder / entry, format="ascii.ecsv") for entry in self.summary["curves"]]

    @cached_property
    def bands(self) -> list[Table]:
        """Light curves of the same stars in several bands side by side: one row for each exposure.

        Columns: exposure, and of each band time, flux and flux_err, such as ``flux_g``; NaN where a band has no frame
        of that exposure. ``meta``: OBJECT, and BANDS, which says of each band FILTER, DETECTOR, METHOD, APERTURE,
        SOURCE, UNIT and TIMESYS. Empty where no camera exposed several detectors at once.
        """
        from astropy.table import Table

        return [Table.read(self.folder / entry, format="ascii.ecsv") for entry in self.summary["bands"]]

    @cached_property
    def stars(self) -> Table:
        """Every star in every ensemble after the last curve step: one row for each, to judge the night by.

        Columns: field, sky, target, detector, filter, method, aperture, source (the same star in all fields of one
        sky), name, x, y (pixels of the reference frame), flux (median, electron), mag (instrumental, ``-2.5 log10`` of
        electrons per second), snr (median of flux over its error, before the first step), scatter (robust
        point-to-point rms of the final curve, relative), rms (its standard deviation, relative), expected (median error
        of the final curve, relative), noise_source, noise_sky, noise_annulus, noise_dark, noise_read,
        noise_digitisation and noise_masters (the terms of the error before the first step, relative; see
        `albireo.noise`), noise_scintillation (relative; NaN without telescope and site), limit (expected, with
        scintillation whether or not a step added it), eta (von Neumann's ratio), points, clipped (points called
        outliers), comparison (weight, zero if it is none), flags (all bits together), excess (scatter over that of the
        stars as bright) and variable (whether that makes it a candidate).
        """
        from astropy.table import Table

        return Table.read(self.folder / "stars.ecsv", format="ascii.ecsv")

    def cutouts(self) -> Iterator[Cutouts]:
        """Small images of watched stars in every frame, star by star: the targets, else the five brightest.

        One star at a time is in memory.
        """
        import numpy as np
        from astropy.io import fits

        path = self.folder / "cutouts.fits"
        if not path.exists():
            return
        with fits.open(path, memmap=True) as hdus:
            rows = hdus[1].data.view(np.recarray)
            stars: dict[tuple[bytes, int], list[int]] = {}
            for number, star in enumerate(zip(rows["field"].tolist(), rows["source"].tolist(), strict=True)):
                stars.setdefault(star, []).append(number)
            for (field, source), numbers in stars.items():
                corners = np.stack([rows["x0"][numbers], rows["y0"][numbers]], axis=1).astype(int)
                frames = np.char.decode(rows["frame"][numbers], "utf-8").tolist()
                yield Cutouts(field.decode(), source, frames, corners, rows["pixels"][numbers])

    @cached_property
    def bakeoff(self) -> Table | None:
        """Which method and aperture serves each star best: a row for each star of each field and filter.

        Columns: field, sky, target, detector, filter, source, name, mag, winner (label of the method whose final curve
        scatters least from point to point; empty if there is none), gain (scatter of the next best over that of the
        winner), and the scatter of every method, such as ``scatter_aperture-r4``. ``meta``: WINS (filter and detector
        to how often each method wins) and TARGETS (name of each target to filter and detector to its winner). None
        where the recipe has one method and aperture.
        """
        from astropy.table import Table

        path = self.folder / "bakeoff.ecsv"
        return Table.read(path, format="ascii.ecsv") if path.exists() else None

    def reduced(self) -> list[Path]:
        """Reduced images, if the recipe asked for them."""
        return sorted((self.folder / "reduced").rglob("*.fits"))
