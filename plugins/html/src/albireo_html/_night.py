"""The science frames of a night on their axis of time, band by band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import JD_OF_MJD_ZERO, SECONDS_PER_DAY
from albireo_html._chart import Chart, Panel, Series, draw, hues
from albireo_html._curves import Clock
from albireo_html._values import floats, texts

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray


def bands_of(frames: Table) -> list[str]:
    """Name the filter of each frame, with its detector where there is one."""
    pairs = zip(texts(frames, "filter"), texts(frames, "detector"), strict=True)
    return [" · ".join(filter(None, pair)) or "no filter" for pair in pairs]


class Night:
    """The science frames that were used, in time; in their order in the table where no time is known.

    Attributes
    ----------
    table : Table
        Those that were used.
    lost : Table
        Those that were taken and not used, in time as well.
    x : ndarray
        Where the frames of ``table`` stand on the axis.
    """

    def __init__(self, frames: Table) -> None:
        fate, kind = np.array(texts(frames, "fate")), np.array(texts(frames, "kind"))
        self.table = _in_time(frames[(fate == "used") & (kind == "science")])
        self.lost = _in_time(frames[np.isin(fate, ("failed", "dropped")) & (kind == "science")])
        mjd, lost = floats(self.table, "mjd_mid"), floats(self.lost, "mjd_mid")
        known = np.concatenate([mjd, lost])
        known = known[np.isfinite(known)]
        self.timed = bool(known.size)
        self.bands = bands_of(self.table)
        self.names = texts(self.table, "name")
        self.colour = hues(self.bands)
        self.clock = Clock(float(known.min()), float(known.max())) if self.timed else Clock(0.0, 0.0)
        self.x = self.clock(mjd) if self.timed else np.arange(1.0, len(mjd) + 1)
        self.lost_x = self.clock(lost) if self.timed else np.full(len(lost), np.nan)
        self.seconds = float(np.nanmax(mjd) - np.nanmin(mjd)) * SECONDS_PER_DAY if np.isfinite(mjd).any() else 0.0
        self.exposure = float(np.nansum(floats(self.table, "exptime")))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def xlabel(self) -> str:
        """Label of the time axis."""
        return f"{self.clock.unit} since JD UTC {self.clock.start + JD_OF_MJD_ZERO:.5f}" if self.timed else "frame"

    def values(self, name: str) -> NDArray[np.float64]:
        """Give one quantity of every frame; NaN where it is unknown, which a count says by a negative number."""
        values = floats(self.table, name)
        return np.where(values < 0, np.nan, values) if name == "matched" else values

    def has(self, name: str) -> bool:
        """Whether at least one frame has a value."""
        return bool(np.isfinite(self.values(name)).any())

    def series(self, values: NDArray[np.float64], legend: bool, style: str = "dots") -> list[Series]:
        """One series for each band."""
        found = []
        for band, hue in self.colour.items():
            where = [row for row, name in enumerate(self.bands) if name == band]
            names = [self.names[row] for row in where]
            label = band if legend and len(self.colour) > 1 else ""
            found.append(Series(self.x[where], values[where], label, hue, None, style, 4.0, names))
        return found

    def panel(self, label: str, name: str, legend: bool, height: int = 110) -> Panel:
        """One quantity."""
        return Panel(label, self.series(self.values(name), legend), height)

    def losses(self) -> list[Series]:
        """Marks at the foot of a panel for frames that were taken and not used, with the reason."""
        if not np.isfinite(self.lost_x).any():
            return []
        columns = (texts(self.lost, name) for name in ("name", "fate", "stage", "reason"))
        names = [f"{name}: {fate} in {stage}: {reason}" for name, fate, stage, reason in zip(*columns, strict=True)]
        return [Series(self.lost_x, self.lost_x, "not used", "red", style="floor", size=5.0, names=names)]

    def draw(self, panels: list[Panel], alt: str) -> dict[str, Any]:
        """Draw panels above the axis of time of the night, which all of its charts share."""
        return draw(Chart(panels, self.xlabel, alt, bounds=self._bounds(), group="night" if self.timed else ""))

    def _bounds(self) -> tuple[float, float] | None:
        x = np.concatenate([self.x, self.lost_x])
        x = x[np.isfinite(x)]
        if not x.size:
            return None
        margin = 0.03 * float(np.ptp(x)) or 0.5
        return float(x.min()) - margin, float(x.max()) + margin


def _in_time(table: Table) -> Table:
    return table[np.argsort(floats(table, "mjd_mid"), kind="stable")]


def median(values: NDArray[np.float64]) -> float:
    """Median of the values that are known; NaN if none is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
