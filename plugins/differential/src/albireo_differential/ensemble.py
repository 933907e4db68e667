"""Choosing the comparison stars, and dividing every star by what they show."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from albireo import MASKED, Ensemble, Flag, FrameError
from albireo_differential.weighing import Weighing, by_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from albireo_differential.differential import Differential

UNFIT = MASKED | Flag.NON_LINEAR | Flag.EDGE | Flag.FAILED
"""A measurement with any of these bits does not help to make a zero point."""

MAX_FLAGGED = 0.1
"""Largest share of unfit measurements of a comparison star."""

POOL = 4
"""Stars that are weighed for each that may be chosen: the most precise ones by their errors."""


def relative(options: Differential, curves: Ensemble) -> Ensemble:
    """Do the work of `Differential.apply`."""
    flux, error = curves.flux.astype(np.float64), curves.flux_err.astype(np.float64)
    fit = np.isfinite(flux) & np.isfinite(error) & (error > 0) & ((curves.flags & np.uint16(UNFIT)) == 0)
    left_out: dict[str, int] = {}
    variables: dict[int, str] = {}
    named = options.comparisons or tuple(curves.comparisons)
    if named:
        columns = np.array([_column(curves, star) for star in named])
        if not fit[:, columns].any():
            raise FrameError("none of the comparison stars was measured without flags in any frame")
        weighing = Weighing(flux[:, columns], error[:, columns], fit[:, columns])
    else:
        columns, left_out = _candidates(options, curves, fit)
        columns, weighing, variables = _choose(options, curves.sources, flux, error, fit, columns)

    solution = weighing.solution
    zero = np.repeat(solution.transparency[:, None], flux.shape[1], axis=1)
    zero_err = np.repeat(solution.transparency_err[:, None], flux.shape[1], axis=1)
    for index, column in enumerate(columns):
        others = weighing.without(index)
        zero[:, column], zero_err[:, column] = others.transparency, others.transparency_err
    new_flux = flux / zero
    new_error = np.hypot(error, new_flux * zero_err) / zero
    unit = curves.unit
    if options.normalise:
        median = by_column(np.median, new_flux, np.isfinite(new_flux))
        median[~(median > 0)] = np.nan
        new_flux, new_error, unit = new_flux / median, new_error / median, ""

    chosen = curves.sources[columns].tolist()
    share = weighing.precision / weighing.precision.max()  # a curve without any scatter has no finite precision
    share /= share.sum()
    report = {
        "transparency": _plain(solution.transparency),
        "transparency_err": _plain(solution.transparency_err),
        "scatter": dict(zip(chosen, _plain(weighing.scatter), strict=True)),
        "variable": variables,
        "left_out": left_out,
    }
    return curves.replace(
        flux=new_flux,
        flux_err=new_error,
        unit=unit,
        comparisons=dict(zip(chosen, share.tolist(), strict=True)),
        meta={**curves.meta, "differential": report},
    )


def _column(curves: Ensemble, star: int) -> int:
    try:
        return curves.column(star)
    except KeyError:
        raise FrameError(
            f"comparison star {star} is not in the catalogue of this field, which has {len(curves.sources)} sources"
        ) from None


def _candidates(
    options: Differential, curves: Ensemble, fit: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Columns of the stars that may be comparisons, most precise first, and how many others are out for what."""
    measured = np.isfinite(curves.flux)
    frames = max(1, int(measured.any(axis=1).sum()))
    targets = set(curves.targets.values())
    why: Counter[str] = Counter()
    noise: dict[int, float] = {}
    for column, star in enumerate(curves.sources.tolist()):
        present, good = int(measured[:, column].sum()), fit[:, column]
        if star in targets:
            why["target"] += 1
        elif present < options.min_present * frames:
            why[f"measured in less than {options.min_present:.0%} of the frames"] += 1
        elif np.count_nonzero(good) < (1.0 - MAX_FLAGGED) * present:
            why["flagged"] += 1
        elif not np.median(curves.flux[good, column]) > 0:
            why["without flux"] += 1
        else:
            noise[column] = float(np.median(curves.flux_err[good, column] / np.abs(curves.flux[good, column])))
    if not noise:
        counts = ", ".join(f"{number} {reason}" for reason, number in why.items()) or "there is none"
        raise FrameError(
            "a differential light curve needs at least one comparison star, and no source of this field will do "
            f"({counts}); lower min_present, or name comparisons"
        )
    order = sorted(noise, key=lambda column: (noise[column], column))
    pool = POOL * options.max_comparisons
    if len(order) > pool:
        why["fainter than those weighed"] = len(order) - pool
    return np.array(order[:pool]), dict(why)


def _choose(
    options: Differential,
    sources: NDArray[np.int64],
    flux: NDArray[np.float64],
    error: NDArray[np.float64],
    fit: NDArray[np.bool_],
    columns: NDArray[np.intp],
) -> tuple[NDArray[np.intp], Weighing, dict[int, str]]:
    """Drop variable stars, then keep the best."""
    variables: dict[int, str] = {}
    weighing = Weighing(flux[:, columns], error[:, columns], fit[:, columns])
    while len(columns) > 2:
        suspicion = weighing.suspicion()
        # Of two stars one cannot tell which is variable; of several suspects the worst may have made the others so.
        kept = suspicion <= max(options.max_excess, 0.5 * float(suspicion.max()))
        if kept.all():
            break
        if np.count_nonzero(kept) < 2:
            kept = suspicion < suspicion.max()
        for column, times in zip(columns[~kept], suspicion[~kept], strict=True):
            variables[int(sources[column])] = f"scatters {times:.1f} times more than stars as bright"
        columns = columns[kept]
        weighing = Weighing(flux[:, columns], error[:, columns], fit[:, columns])
    if len(columns) > options.max_comparisons:
        best = np.argsort(-weighing.precision, kind="stable")[: options.max_comparisons]
        columns = columns[best]
        weighing = Weighing(flux[:, columns], error[:, columns], fit[:, columns])
    return columns, weighing, variables


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers for JSON: None for NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]
