"""A row for each star of an ensemble: its brightness, its scatter, and what theory allows."""

from __future__ import annotations

from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from albireo.images import MASKED, Flag
from albireo.noise import noise_terms, scintillation_noise
from albireo.run.measurements import Measurements
from albireo.run.variability import candidates, excess_over_locus, point_to_point, smoothed_scatter, von_neumann

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo.curves import Ensemble

__all__ = ["STEP_NOTE", "kept_points", "star_rows"]

UNFIT = np.uint16(MASKED | Flag.NON_LINEAR | Flag.EDGE)
"""A measurement with any of these bits scatters for a reason that is not the star's."""

MAX_UNFIT = 0.1
"""Largest share of such measurements of a star that can be called variable."""

STEP_NOTE = "scintillation"
"""Where the step that adds scintillation to the errors notes how much it added."""


def kept_points(curves: Ensemble) -> NDArray[np.bool_]:
    """Say which points of the curves count: those with a value that no step called an outlier."""
    kept: NDArray[np.bool_] = np.isfinite(curves.flux) & ((curves.flags & np.uint16(Flag.OUTLIER)) == 0)
    return kept


def star_rows(raw: Ensemble, curves: Ensemble, part: Measurements) -> list[dict[str, Any]]:
    """Describe every star of an ensemble; the keys are described at `albireo.Results.stars`.

    Parameters
    ----------
    raw, curves : Ensemble
        Before the first curve step and after the last; the steps may have left out stars and frames.
    part : Measurements
    """
    names = {number: name for name, number in part.state.targets.items()}
    places = dict(zip(part.sources.tolist(), zip(part.catalogue.x, part.catalogue.y, strict=True), strict=True))
    kept = kept_points(curves)
    outliers = (curves.flags & np.uint16(Flag.OUTLIER)) != 0
    before = [raw.column(number) for number in curves.sources.tolist()]
    with np.errstate(all="ignore"):
        theory = _theory(raw, curves, before)
        rows = []
        for column, number in enumerate(curves.sources.tolist()):
            good, old = kept[:, column], before[column]
            flux, error = curves.flux[good, column], curves.flux_err[good, column]
            level = _median(flux)
            original = raw.flux[:, old]
            rows.append(
                {
                    "field": part.state.plan.name,
                    "sky": part.state.sky,
                    "target": curves.target,
                    "detector": curves.detector,
                    "filter": curves.filter,
                    "method": curves.method,
                    "aperture": curves.aperture,
                    "source": number,
                    "name": names.get(number, ""),
                    "x": float(places[number][0]),
                    "y": float(places[number][1]),
                    "flux": _median(original),
                    "mag": -2.5 * float(np.log10(_median(original / raw.exptime))),
                    "snr": _median(original / raw.flux_err[:, old]),
                    "scatter": point_to_point(flux) / level if len(flux) > 2 else nan,
                    "rms": float(np.std(flux)) / level if len(flux) > 2 else nan,
                    "expected": _median(error) / level,
                    **{name: float(values[column]) for name, values in theory.items()},
                    "eta": von_neumann(flux),
                    "points": len(flux),
                    "clipped": int(outliers[:, column].sum()),
                    "comparison": float(curves.comparisons.get(number, 0.0)),
                    "flags": int(np.bitwise_or.reduce(curves.flags[:, column], initial=0)),
                }
            )
        _judge(rows, [curves.flux[kept[:, column], column] for column in range(len(rows))], raw.flags[:, before])
    return rows


def _theory(raw: Ensemble, curves: Ensemble, before: list[int]) -> dict[str, NDArray[np.float64]]:
    """Give what each star may scatter: terms of its error bar, scintillation, and all together; relative."""
    terms = noise_terms(
        raw.flux,
        raw.flux_err,
        raw.area,
        raw.sky,
        raw.sky_err,
        dark=raw.dark,
        read_noise=raw.read_noise,
        digitisation=raw.digitisation,
        weighted=not isfinite(raw.aperture),
    )
    level = _medians(raw.flux)
    shares = {
        f"noise_{name}": (_medians(np.sqrt(np.maximum(variance, 0.0))) / level)[before]
        for name, variance in terms.columns().items()
    }
    added = STEP_NOTE in curves.meta
    noise = (
        np.array([nan if value is None else value for value in curves.meta[STEP_NOTE]["relative"]])
        if added
        else scintillation_noise(raw.diameter, raw.height, raw.exptime, raw.airmass)
    )
    twinkling = _median(noise)
    kept = np.where(kept_points(curves), 1.0, nan)
    expected = _medians(curves.flux_err * kept) / _medians(curves.flux * kept)
    limit = expected if added or not isfinite(twinkling) else np.hypot(expected, twinkling)
    return {**shares, "noise_scintillation": np.full(len(before), twinkling), "limit": limit}


def _judge(rows: list[dict[str, Any]], fluxes: list[NDArray[np.float64]], flags: NDArray[np.uint16]) -> None:
    """Add how far each star stands out from the stars as bright, and whether it is a candidate for a variable."""
    mag, limit = (np.array([row[name] for row in rows], dtype=np.float64) for name in ("mag", "limit"))
    points = np.array([row["points"] for row in rows], dtype=np.int64)
    ratio = np.array([smoothed_scatter(flux) / _median(flux) for flux in fluxes]) / limit
    fit = ((flags & UNFIT) != 0).mean(axis=0) <= MAX_UNFIT if len(flags) else np.zeros(len(rows), dtype=bool)
    excess = excess_over_locus(mag, ratio, fit)
    for row, value, variable in zip(rows, excess, candidates(excess, points, fit), strict=True):
        row["excess"], row["variable"] = float(value), bool(variable)


def _median(values: NDArray[np.float64]) -> float:
    """Median of what is known; NaN of nothing."""
    good = values[np.isfinite(values)]
    return float(np.median(good)) if good.size else nan


def _medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of what is known of each column."""
    return np.array([_median(column) for column in values.T])
