"""The long table of measurements, read in parts, so that the length of a night does not matter.

What is kept are the fluxes of a few stars in all frames, for ratios, and those of all stars in some frames, for the
signal to noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from albireo_html._values import texts

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

    from albireo_html._curves import Curve

PART = 200_000
"""Rows that are in memory at once."""

SAMPLE = 400_000
"""About how many rows the signal to noise is taken from."""

Fluxes = dict[int, "NDArray[np.float64]"]
"""Fluxes or errors of stars, by their numbers; NaN where there is none."""


class Measured(NamedTuple):
    """Some stars in some frames, by their numbers, as one method and aperture measured them.

    Attributes
    ----------
    flux, err : dict of int to ndarray, shape (frames,)
        NaN where there is none.
    flagged : dict of int to ndarray of bool, shape (frames,)
        Where a measurement has a flag.
    """

    flux: Fluxes
    err: Fluxes
    flagged: dict[int, NDArray[np.bool_]]


class Group(NamedTuple):
    """The stars of a field in one filter, as one method and aperture measured them: medians over the frames.

    Attributes
    ----------
    flux, snr : ndarray, shape (stars,)
        Flux in electrons and flux over its error.
    """

    field: str
    band: str
    method: str
    aperture: float
    sources: NDArray[np.int64]
    flux: NDArray[np.float64]
    snr: NDArray[np.float64]


class Measurements:
    """The measurements of a run.

    Parameters
    ----------
    path : Path
        The table ``photometry.fits``; a run without photometry has none.
    frames : Table
        The table of frames.
    stars : collection of int
        Stars whose fluxes in all frames are wanted.
    """

    def __init__(self, path: Path, frames: Table, stars: Collection[int]) -> None:
        self._bands = dict(
            zip(
                texts(frames, "name"),
                zip(texts(frames, "field"), texts(frames, "filter"), texts(frames, "detector"), strict=True),
                strict=True,
            )
        )
        self._stars = np.array(sorted(stars), dtype=np.int64)
        self._number: dict[str, int] = {}
        self._methods: dict[str, int] = {}
        self._kept: list[NDArray[np.float64]] = []
        self._sampled: list[NDArray[np.float64]] = []
        self._seen: Counter[tuple[str, str, str]] = Counter()
        if path.exists():
            self._read(path)
        # Columns: frame, source, method, aperture, flux, error, flags.
        self._rows = np.concatenate(self._kept) if self._kept else np.empty((0, 7))
        self._kept = []

    def _read(self, path: Path) -> None:
        from astropy.io import fits

        with fits.open(path, memmap=True) as opened:
            table: Any = opened[1].data.view(np.ndarray)
            step = max(1, len(table) // SAMPLE)
            for start in range(0, len(table), PART):
                self._take(table[start : start + PART], step)
            del table

    def _take(self, part: NDArray[Any], step: int) -> None:
        frame, picked = self._frames(part["frame"], step)
        source = part["source"].astype(np.int64)
        wanted = np.isin(source, self._stars)
        methods, which = np.unique(part["method"], return_inverse=True)
        codes = np.array([self._methods.setdefault(_text(name), len(self._methods)) for name in methods])
        numbers = (part[name] for name in ("aperture", "flux", "flux_err", "flags"))
        columns = (frame, source, codes[which.reshape(-1)], *numbers)
        for keep, rows in ((self._kept, wanted), (self._sampled, picked)):
            if rows.any():
                keep.append(np.column_stack([np.asarray(column)[rows].astype(np.float64) for column in columns]))

    def _frames(self, names: NDArray[Any], step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Number the frames, whose rows stand together, and pick every so many of each field and filter."""
        starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
        numbers, picked = [], []
        for name in map(_text, names[starts]):
            new = name not in self._number
            numbers.append(self._number.setdefault(name, len(self._number)))
            band = self._bands.get(name, ("", "", ""))
            self._seen[band] += new
            picked.append((self._seen[band] - 1) % step == 0)
        lengths = np.diff(np.append(starts, len(names)))
        return np.repeat(numbers, lengths), np.repeat(picked, lengths)

    def of(self, curve: Curve, names: Sequence[str], stars: Collection[int]) -> Measured:
        """Give stars in frames, as the method of a curve measured them; who has no flux is missing."""
        method = self._methods.get(str(curve.meta("METHOD")), -1)
        aperture = float(curve.meta("APERTURE", np.nan))
        rows = self._rows[(self._rows[:, 2] == method) & np.isin(self._rows[:, 1], list(stars))]
        if isfinite(aperture):
            rows = rows[np.isclose(rows[:, 3], aperture)]
        row_of = np.full(len(self._number) + 1, -1)
        for row, name in enumerate(names):
            row_of[self._number.get(name, -1)] = row
        row_of[-1] = -1  # frames without a measurement
        where = row_of[rows[:, 0].astype(np.int64)]
        rows, where = rows[where >= 0], where[where >= 0]
        found = Measured({}, {}, {})
        for star in np.unique(rows[:, 1]).astype(np.int64).tolist():
            mine = rows[:, 1] == star
            if np.isfinite(rows[mine, 4]).any():
                for values, column in ((found.flux, 4), (found.err, 5)):
                    values[star] = np.full(len(names), np.nan)
                    values[star][where[mine]] = rows[mine, column]
                found.flagged[star] = np.zeros(len(names), dtype=bool)
                found.flagged[star][where[mine]] = rows[mine, 6] > 0
        return found

    def groups(self) -> list[Group]:
        """Medians of flux and signal to noise of every star, by field, filter, method and aperture."""
        if not self._sampled:
            return []
        rows = np.concatenate(self._sampled)
        bands = [self._bands.get(name, ("", "", "")) for name in self._number]
        order = {band: number for number, band in enumerate(dict.fromkeys(bands))}
        band = np.array([order[one] for one in bands])[rows[:, 0].astype(np.int64)]
        names, found = list(self._methods), []
        # The radius of an aperture that follows the seeing differs from frame to frame, so it is told by its place.
        place = _places(rows)
        keys, inverse = np.unique(np.column_stack([band, rows[:, 2], place]), axis=0, return_inverse=True)
        for number, (one, method, _) in enumerate(keys.astype(np.int64).tolist()):
            mine = rows[inverse.reshape(-1) == number]
            with np.errstate(invalid="ignore", divide="ignore"):
                snr = mine[:, 5] ** -1 * mine[:, 4]
            good = np.isfinite(snr)
            if not good.any():
                continue
            sources, of = np.unique(mine[good, 1].astype(np.int64), return_inverse=True)
            field, colour, detector = list(order)[one]
            title = " · ".join(filter(None, (colour, detector))) or "no filter"
            radius = float(np.median(mine[:, 3])) if np.isfinite(mine[:, 3]).any() else float("nan")
            medians = [_medians(values[good], of, len(sources)) for values in (mine[:, 4], snr)]
            found.append(Group(field, title, names[method], radius, sources, *medians))
        return found


def _places(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """How often the same star of the same frame has come before with the same method: which aperture a row is."""
    order = np.lexsort((np.arange(len(rows)), rows[:, 2], rows[:, 1], rows[:, 0]))
    same = np.concatenate([[False], (rows[order][1:, :3] == rows[order][:-1, :3]).all(axis=1)])
    at = np.arange(len(rows))
    first = np.maximum.accumulate(np.where(same, 0, at))
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = at - first
    return place


def _medians(values: NDArray[np.float64], of: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    order = np.argsort(of, kind="stable")
    ends = np.cumsum(np.bincount(of, minlength=count))
    return np.array([np.median(part) for part in np.split(values[order], ends[:-1])])


def _text(value: bytes | str) -> str:
    return (value.decode("utf-8") if isinstance(value, bytes) else str(value)).rstrip()
