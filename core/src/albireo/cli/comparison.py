"""Truth and measurement of a simulated night, for every detector and filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import ArrayLike, NDArray

    from albireo.results import Results
    from albireo.testing import Exposure, Observation

__all__ = ["Line", "Variable", "compare", "from_edge"]

NEAR = 3.0
"""A measurement this near to a true place (pixels) is of that star."""

BRIGHT = 50.0
"""Signal to noise from which the centre of a star is known to a twentieth of a pixel or so."""

MAD_SIGMA = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""

MEDIAN_ERROR = 1.25
"""Error of a median, times the square root of the number of values, over their standard deviation."""

MAD_ERROR = 1.17
"""Relative error of a width from a median absolute deviation, times the square root of the number of values."""


@dataclass
class Line:
    """One comparison of truth and measurement."""

    what: str
    truth: str
    measured: str
    good: bool


@dataclass(frozen=True)
class Variable:
    """The star that varies: its number in the scene, and its sine.

    Attributes
    ----------
    star : int
    amplitude : float
        Relative.
    period : float
        In hours.
    """

    star: int
    amplitude: float
    period: float


@dataclass
class _Band:
    """What was seen with one detector through one filter.

    ``seen`` holds the truth of each frame of the sky by its name in the run, ``stars`` what the table of stars says of
    the comparison stars by the best method and aperture, ``curve`` the light curve of the variable.
    """

    detector: str
    filter: str
    shape: tuple[int, int]
    seen: dict[str, Exposure] = field(default_factory=dict)
    stars: Table | None = None
    curve: Table | None = None

    @property
    def title(self) -> str:
        return f"{self.detector} {self.filter}".strip()

    @property
    def science(self) -> dict[str, Exposure]:
        return {name: exposure for name, exposure in self.seen.items() if exposure.frame.kind == "science"}


def compare(observation: Observation, results: Results, variable: Variable) -> dict[str, list[Line]]:
    """Hold what was measured against what was put in.

    Parameters
    ----------
    observation : Observation
    results : Results
        Of a run over the raw files of the observation.
    variable : Variable
        Its light curves belong to objects whose names begin with ``variable``.

    Returns
    -------
    dict of str to list of Line
        By detector and filter; under ``all detectors`` what concerns them together, where there are several.
    """
    bands = _bands(observation, results)
    told = {band.title: list(_lines(band, results, variable)) for band in bands}
    if len({band.detector for band in bands}) > 1:
        told["all detectors"] = [_identities(bands, results.photometry)]
    return told


def _bands(observation: Observation, results: Results) -> list[_Band]:
    frames = results.frames
    places = zip(frames["path"], frames["hdu"], _texts(frames["detector"]), frames["name"], strict=True)
    names = {(str(path), int(hdu), str(detector)): str(name) for path, hdu, detector, name in places}
    bands: dict[tuple[str, str], _Band] = {}
    for truth in observation.truths:
        for exposure in truth.exposures:
            frame = exposure.frame
            band = bands.setdefault(
                (frame.detector, frame.filter), _Band(frame.detector, frame.filter, truth.detector.window.shape)
            )
            name = names.get((frame.path, frame.hdu, frame.detector), frame.name)
            band.seen[name] = exposure
    for curve in results.curves:
        made = bands.get((curve.meta["DETECTOR"], curve.meta["FILTER"]))
        if made is not None and str(curve.meta["OBJECT"]).startswith("variable"):
            made.curve = curve
    for band in bands.values():
        band.stars = _best(band, results.stars)
    return list(bands.values())


def _best(band: _Band, stars: Table) -> Table | None:
    """Give the comparison stars of a band by the method and aperture with which they scatter least."""
    own = stars[(_texts(stars["detector"]) == band.detector) & (_texts(stars["filter"]) == band.filter)]
    own = own[(own["comparison"] > 0) & np.isfinite(own["scatter"])]
    groups = own.group_by(["method", "aperture"]).groups if len(own) else []
    return min(groups, key=lambda group: float(np.median(group["scatter"])), default=None)


def _lines(band: _Band, results: Results, variable: Variable) -> Iterator[Line]:
    yield from _used(band, results.frames)
    if band.stars is None:
        yield Line("comparison stars", "some", "none", False)
        return
    table, aperture = results.photometry, float(band.stars["aperture"][0])
    apertures = np.asarray(table["aperture"], dtype=float)  # NaN of a method that has none
    same = np.isnan(apertures) if np.isnan(aperture) else np.abs(apertures - aperture) < 0.01
    rows = table[same & (_texts(table["method"]) == band.stars["method"][0])]
    yield _positions(band, rows)
    yield from _fluxes(band, rows)
    yield _scatter(band.stars)
    if any(from_edge(exposure, band.shape)[variable.star] > 0 for exposure in band.science.values()):
        yield _amplitude(band, variable)


def _used(band: _Band, frames: Table) -> Iterator[Line]:
    fates = dict(zip(frames["name"], frames["fate"], strict=True))
    kinds = [exposure.frame.kind for exposure in band.seen.values()]
    for kind, what in (("science", "frames used"), ("sky", "sky frames used")):
        meant = kinds.count(kind)
        used = sum(fates.get(name) == "used" for name, e in band.seen.items() if e.frame.kind == kind)
        if meant or kind == "science":
            yield Line(what, str(meant), str(used), used == meant)


def _matched(rows: Table, exposures: dict[str, Exposure]) -> Iterator[tuple[Exposure, Table, Any, Any]]:
    """Give the rows of each frame, and for each row the star next to it and its distance in pixels."""
    order = np.argsort(rows["frame"], kind="stable")
    names = np.asarray(rows["frame"])[order]
    for name, exposure in exposures.items():
        part = rows[order[np.searchsorted(names, name, "left") : np.searchsorted(names, name, "right")]]
        x, y = np.asarray(part["x"]), np.asarray(part["y"])
        distance = np.hypot(x[:, None] - exposure.x[None, :], y[:, None] - exposure.y[None, :])
        star = np.argmin(distance, axis=1)
        yield exposure, part, star, distance[np.arange(len(star)), star]


def _positions(band: _Band, rows: Table) -> Line:
    """Compare where the catalogue's stars are said to be with where they were; centres of faint stars are noisy."""
    found = []
    for _, part, _, distance in _matched(rows, band.science):
        bright = np.asarray(part["flux"]) > BRIGHT * np.asarray(part["flux_err"])
        found.append(distance[bright & (distance < NEAR)])
    errors = np.concatenate(found)
    rms = float(np.sqrt(np.mean(errors**2))) if errors.size else np.nan
    return Line("position of stars", "0 pixel", f"{rms:.3f} pixel rms", rms < 0.1)


def _fluxes(band: _Band, rows: Table) -> Iterator[Line]:
    """Compare electrons, after the share of light inside the aperture, which is one number for each frame."""
    pulls, ratios, stars, shares = [], [], [], []
    for exposure, part, star, distance in _matched(rows, band.science):
        flux, error = np.asarray(part["flux"]), np.asarray(part["flux_err"])
        good = (distance < NEAR) & np.isfinite(flux) & (np.asarray(part["flags"]) == 0)
        if not good.any():
            continue
        true = exposure.electrons[star[good]]
        flux, error = flux[good], error[good]
        weight = true**2 / error**2
        share = float(np.sum(weight * flux / true) / np.sum(weight))
        shares.append(share)
        ratios.append(flux / (true * share))
        stars.append(star[good])
        pulls.append((flux - true * share) / error)
    if not ratios:
        yield Line("flux / truth (median)", "1.0000", "no flux was measured", False)
        return
    pull, ratio, star = np.concatenate(pulls), np.concatenate(ratios), np.concatenate(stars)
    median, width = float(np.median(ratio)), _width(pull)
    count = f"{len(ratio)} fluxes, {100 * float(np.median(shares)):.1f} % of the light inside the aperture"
    # Four times the error of a median, of a width: few measurements tell less than many. Noise of masters and light of
    # neighbours are the same in all frames of a star, so it is stars that count for the median.
    each = [float(np.median(ratio[star == number])) for number in np.unique(star)]
    off = max(0.003, 4 * MEDIAN_ERROR * _width(each) / len(each) ** 0.5)
    wide = max(0.1, 4 * MAD_ERROR / len(ratio) ** 0.5)
    yield Line("flux / truth (median)", "1.0000", f"{median:.4f} ({count})", abs(median - 1) < off)
    yield Line("error bars (width of pulls)", "1.00", f"{width:.2f}", abs(width - 1) < wide)


def _width(values: ArrayLike) -> float:
    """Robust standard deviation, from the median absolute deviation."""
    array = np.asarray(values, dtype=float)
    return MAD_SIGMA * float(np.median(np.abs(array - np.median(array))))


def _scatter(quiet: Table) -> Line:
    """Compare the scatter of comparison stars with their error bars."""
    ratio = float(np.median(quiet["scatter"] / quiet["expected"]))
    best = float(np.min(quiet["scatter"])) * 1e3
    # Of few points the scatter between neighbours is a poor measure; the median over stars helps.
    limit = 1.0 + max(0.25, 5 * MAD_ERROR / (len(quiet) * float(np.median(quiet["points"]))) ** 0.5)
    measured = f"{ratio:.2f} (best star {best:.2f} mmag)"
    return Line("scatter / photon limit", "1.00", measured, 1 / limit < ratio < limit)


def from_edge(exposure: Exposure, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Distance of each star from the nearest edge of the image in pixels; negative outside."""
    ny, nx = shape
    inside = np.minimum(exposure.x, nx - 1 - exposure.x), np.minimum(exposure.y, ny - 1 - exposure.y)
    return np.asarray(np.minimum(*inside))


def _amplitude(band: _Band, variable: Variable) -> Line:
    """Fit the amplitude of the variable, its period and phase given."""
    curve, truth = band.curve, f"{100 * variable.amplitude:.2f} %"
    if curve is None:
        return Line("amplitude of the variable", truth, "no light curve", False)
    hours = np.array([band.seen[str(name)].hours for name in curve["frame"]])
    phase = 2.0 * np.pi * hours / variable.period
    good = np.isfinite(curve["flux"])
    if good.sum() < 3:
        return Line("amplitude of the variable", truth, f"{good.sum()} points", False)
    flux, error = np.asarray(curve["flux"])[good], np.asarray(curve["flux_err"])[good]
    design = np.stack([np.ones(good.sum()), np.sin(phase[good])], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    level, amplitude = covariance @ design.T @ (flux / error)
    sigma = float(np.sqrt(covariance[1, 1]) / level)
    measured = float(amplitude / level)
    text = f"{100 * measured:.2f} ± {100 * sigma:.2f} %"
    return Line("amplitude of the variable", truth, text, abs(measured - variable.amplitude) < 4 * sigma)


def _identities(bands: list[_Band], table: Table) -> Line:
    """Count the stars that several detectors measured at once, and those that had one number in all of them."""
    numbers: dict[int, dict[int, dict[str, int]]] = {}  # exposure, star, detector -> number in the catalogue
    for band in bands:
        for exposure, part, stars, distances in _matched(table, band.science):
            for star, distance, source in zip(stars, distances, part["source"], strict=True):
                if distance < NEAR:
                    numbers.setdefault(exposure.number, {}).setdefault(int(star), {})[band.detector] = int(source)
    shared: dict[int, bool] = {}
    for stars_of in numbers.values():
        for star, by_detector in stars_of.items():
            if len(by_detector) > 1:
                shared[star] = shared.get(star, True) and len(set(by_detector.values())) == 1
    same = sum(shared.values())
    good = 0 < same == len(shared)
    return Line("same star, same number in all bands", str(len(shared)), f"{same} of {len(shared)}", good)


def _texts(column: Any) -> NDArray[np.str_]:
    """Give a column of texts; an empty text comes back from a file as a masked one."""
    return np.asarray(np.ma.filled(column, ""), dtype=str)
