"""The night through time: how the frames lie on the reference, and seeing, sky, transparency and airmass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from albireo import JD_OF_MJD_ZERO, SECONDS_PER_DAY
from albireo_html._chart import Chart, Panel, Series, draw, hues
from albireo_html._curves import Clock, Curve
from albireo_html._values import floats, number, plural, texts, unit_of

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray


class Night:
    """The science frames that were used, in time; in their order in the table where no time is known."""

    def __init__(self, frames: Table) -> None:
        fate, kind = np.array(texts(frames, "fate")), np.array(texts(frames, "kind"))
        table = frames[(fate == "used") & (kind == "science")]
        self.table = table[np.argsort(floats(table, "mjd_mid"), kind="stable")]
        mjd = floats(self.table, "mjd_mid")
        self.timed = bool(np.isfinite(mjd).any())
        detectors = texts(self.table, "detector")
        self.bands = [
            " · ".join(filter(None, (band, detector))) or "no filter"
            for band, detector in zip(texts(self.table, "filter"), detectors, strict=True)
        ]
        self.names = texts(self.table, "name")
        self.colour = hues(self.bands)
        self.clock = Clock(float(np.nanmin(mjd)), float(np.nanmax(mjd))) if self.timed else Clock(0.0, 0.0)
        self.x = self.clock(mjd) if self.timed else np.arange(1.0, len(mjd) + 1)
        self.seconds = (self.clock.end - self.clock.start) * SECONDS_PER_DAY
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


def alignment_section(night: Night) -> dict[str, Any] | None:
    """Shift, rotation, scale, residual and matches against time; None if nothing was aligned."""
    if not (night.has("dx") and night.has("dy")):
        return None
    pixel = unit_of(night.table, "dx", "pixel")
    panels = [night.panel(f"shift in x ({pixel})", "dx", True), night.panel(f"shift in y ({pixel})", "dy", False)]
    if night.has("rotation"):
        panels.append(night.panel(f"rotation ({unit_of(night.table, 'rotation', 'deg')})", "rotation", False))
    if night.has("scale"):
        panels.append(
            Panel("scale − 1 (parts per million)", night.series((night.values("scale") - 1) * 1e6, False), 110)
        )
    for label, name in (("residual, rms (pixel)", "align_rms"), ("matched stars", "matched")):
        if night.has(name):
            panels.append(night.panel(label, name, False))
    dx, dy = night.values("dx"), night.values("dy")
    facts: dict[str, Any] = {
        "aligned": int(np.isfinite(dx).sum()),
        "total": len(dx),
        "drift": number(float(np.hypot(np.nanmax(dx) - np.nanmin(dx), np.nanmax(dy) - np.nanmin(dy)))),
        "rms": number(_median(night.values("align_rms")), 2),
        "matched": f"{_median(night.values('matched')):.0f}",
    }
    alt = f"Alignment of {plural(facts['aligned'], 'frame')} against time; the field moved over {facts['drift']} pixel."
    return {"chart": draw(Chart(panels, night.xlabel, alt)), **facts}


def conditions_section(night: Night, shown: list[Curve]) -> dict[str, Any] | None:
    """Seeing, elongation, sky, transparency and airmass against time; None if nothing is known."""
    panels: list[Panel] = []
    for name, label, unit in (
        ("fwhm", "FWHM", "pixel"),
        ("elongation", "elongation", ""),
        ("sky", "sky", "electron"),
    ):
        if night.has(name):
            unit = unit_of(night.table, name, unit)
            panels.append(night.panel(f"{label} ({unit})" if unit else label, name, not panels))
    panels.extend(_transparency(night, shown))
    if night.has("airmass"):
        panels.append(night.panel("airmass", "airmass", not panels))
    if not panels:
        return None
    fwhm = _median(night.values("fwhm"))
    labels = ", ".join(panel.label for panel in panels)
    alt = f"Conditions of the night against time: {labels}. Median FWHM {number(fwhm)} pixel."
    return {"chart": draw(Chart(panels, night.xlabel, alt)), "fwhm": number(fwhm)}


def _transparency(night: Night, shown: list[Curve]) -> list[Panel]:
    """Frame zero points of the differential step, on the frames' own times."""
    row_of = {name: row for row, name in enumerate(night.names)}
    values = np.full(len(night.names), np.nan)
    for curve in shown:
        for name, value in curve.transparency.items():
            if name in row_of:
                values[row_of[name]] = value
    if not np.isfinite(values).any():
        return []
    return [Panel("transparency, relative", night.series(values, False), 110)]


def _median(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
