"""What a step from light curves to light curves must do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from albireo.curves import Ensemble
from albireo.frames import FrameError
from albireo.roles import CurveStep
from albireo.testing.conformance.kit import Check, require, skip

__all__ = ["CHECKS", "typical"]

VARIABLE = 2
"""Column of the source that varies, by `AMPLITUDE`."""
AMPLITUDE = 0.1
NOISE = 0.002
"""Relative error of the brightest source; the faintest has five times that."""
SCATTER_TOLERANCE = 1.3
"""Scatter of a constant star after the step, relative to its error before; 80 points know it to 8 percent."""


def _ensemble(points: int = 80, sources: int = 12, clouds: bool = False, variable: bool = False) -> Ensemble:
    rng = np.random.default_rng(3)
    time = 2460310.6 + np.arange(points) / 480.0
    airmass = 1.1 + 0.4 * np.linspace(-1.0, 1.0, points) ** 2
    flux = np.geomspace(1e6, 4e4, sources)[None, :] * np.ones((points, 1))
    error = flux * np.geomspace(NOISE, 5 * NOISE, sources)
    signal = flux + error * rng.standard_normal(flux.shape)
    if variable and sources > VARIABLE:
        signal[:, VARIABLE] *= 1.0 + AMPLITUDE * np.sin(2 * np.pi * np.arange(points) / 40.0)
    if clouds:
        transparency = 10 ** (-0.4 * 0.15 * airmass) * (1.0 - 0.3 * np.exp(-(((np.arange(points) - 50) / 6.0) ** 2)))
        signal, error = signal * transparency[:, None], error * transparency[:, None]
    shape = (points, sources)
    return Ensemble(
        target="M 67",
        detector="",
        filter="r",
        method="aperture",
        aperture=4.0,
        frames=np.array([f"science-{n:04d}.fits" for n in range(points)]),
        time=time,
        time_scale="BJD_TDB",
        exptime=np.full(points, 60.0),
        airmass=airmass,
        fwhm=3.5 + 0.2 * rng.standard_normal(points),
        sources=np.arange(1, sources + 1),
        flux=signal,
        flux_err=error,
        x=rng.uniform(20, 1000, sources) + 0.1 * rng.standard_normal(shape),
        y=rng.uniform(20, 1000, sources) + 0.1 * rng.standard_normal(shape),
        sky=np.full(shape, 150.0),
        flags=np.zeros(shape, dtype=np.uint16),
        targets={"V1": VARIABLE + 1} if sources > VARIABLE else {"V1": 1},
    )


def _scatter(curves: Ensemble) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Relative scatter of each curve."""
    return np.asarray(np.nanstd(curves.flux, axis=0, ddof=1) / np.abs(np.nanmedian(curves.flux, axis=0)))


def typical(stage: CurveStep) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give a call to try."""
    yield "apply", (_ensemble(clouds=True, variable=True),)


def keeps_the_rectangle(stage: CurveStep) -> None:
    """Every array has one row for each frame and one column for each source, and times and identities stay together."""
    given = _ensemble()
    result = stage.apply(given)
    require(isinstance(result, Ensemble), f"it gave {type(result).__name__} instead of Ensemble")
    n, m = len(result.frames), len(result.sources)
    for name in ("flux", "flux_err", "x", "y", "sky", "flags"):
        shape = getattr(result, name).shape
        require(shape == (n, m), f"{name} has shape {shape}; {n} frames and {m} sources make it {(n, m)}")
    for name in ("time", "exptime", "airmass", "fwhm"):
        shape = getattr(result, name).shape
        require(shape == (n,), f"{name} has shape {shape}; there are {n} frames")
    require(set(result.sources.tolist()) <= set(given.sources.tolist()), "there are sources that were not given")
    total = sum(result.comparisons.values())
    require(
        not result.comparisons or abs(total - 1.0) < 1e-6, f"weights of comparison stars sum to {total}, not to one"
    )


def constant_stars_stay_constant(stage: CurveStep) -> None:
    """Constant stars under a steady sky come out constant: no more scatter than their errors."""
    given = _ensemble()
    result = stage.apply(given)
    _constant(result, given, "under a steady sky")


def takes_clouds_out(stage: CurveStep) -> None:
    """A step that chooses comparison stars removes what is common to all stars, and leaves a variable star alone."""
    given = _ensemble(clouds=True, variable=True)
    result = stage.apply(given)
    if not result.comparisons:
        skip("it chooses no comparison stars")
    _constant(result, given, "under clouds")
    require(VARIABLE + 1 not in result.comparisons, "the target, which varies, is a comparison star")
    at = result.column(VARIABLE + 1)
    curve = result.flux[:, at] / np.nanmedian(result.flux[:, at])
    wave = np.sin(2 * np.pi * np.arange(len(curve)) / 40.0)
    amplitude = float(np.nansum((curve - np.nanmean(curve)) * wave) / np.nansum(wave**2))
    require(
        abs(amplitude / AMPLITUDE - 1.0) < 0.1,
        f"a variable star of amplitude {AMPLITUDE:.2f} has an amplitude of {amplitude:.3f} afterwards",
    )


def _constant(result: Ensemble, given: Ensemble, when: str) -> None:
    expected = np.nanmedian(given.flux_err / given.flux, axis=0)
    for source, scatter in zip(result.sources, _scatter(result), strict=True):
        at = int(np.flatnonzero(given.sources == source)[0])
        if at == VARIABLE:
            continue
        require(
            scatter < SCATTER_TOLERANCE * np.hypot(expected[at], NOISE / 2),
            f"the constant star {source} scatters by {scatter:.4f} {when}; its error is {expected[at]:.4f}",
        )


def error_is_the_scatter(stage: CurveStep) -> None:
    """The errors of constant stars are their scatter, to 20 percent in the mean."""
    result = stage.apply(_ensemble())
    claimed = np.nanmedian(result.flux_err / np.abs(result.flux), axis=0)
    ratio = np.delete(_scatter(result) / claimed, VARIABLE) if len(result.sources) > VARIABLE else _scatter(result)
    mean = float(np.mean(ratio))
    require(abs(mean - 1.0) < 0.2, f"curves of constant stars scatter by {mean:.2f} times their error")


def survives_missing_points(stage: CurveStep) -> None:
    """A missing point stays missing and takes no other with it; a source without any point takes no other with it."""
    given = _ensemble(clouds=True)
    flux, error = given.flux.copy(), given.flux_err.copy()
    flux[10, 4] = error[10, 4] = np.nan
    flux[:, 7] = error[:, 7] = np.nan
    result = stage.apply(given.replace(flux=flux, flux_err=error))
    finite = np.isfinite(result.flux)
    kept = [source for source in result.sources.tolist() if source != 8]
    columns = [result.column(source) for source in kept]
    expected = np.ones((len(result.frames), len(kept)), dtype=bool)
    if 5 in kept and given.frames[10] in result.frames.tolist():
        expected[result.frames.tolist().index(given.frames[10]), kept.index(5)] = False
    lost = expected & ~finite[:, columns]
    require(not lost.any(), f"missing points of two sources took {lost.sum()} points of others with them")
    require(8 not in kept and not (finite[:, columns] & ~expected).any(), "a missing point became a number")
    require(np.isfinite(result.flux_err[finite]).all(), "a point with a flux has no error")


def survives_little(stage: CurveStep) -> None:
    """One frame, one source, two sources, and no frame give an ensemble or a FrameError with a reason."""
    for points, sources in ((1, 12), (80, 1), (80, 2), (1, 1), (0, 3)):
        try:
            result = stage.apply(_ensemble(points, sources))
        except FrameError as error:
            require(str(error).strip(), f"the FrameError for {points} frames and {sources} sources has no message")
            continue
        shape = (len(result.frames), len(result.sources))
        require(result.flux.shape == shape, f"{points} frames and {sources} sources gave a flux of {result.flux.shape}")


CHECKS: list[Check] = [
    keeps_the_rectangle,
    constant_stars_stay_constant,
    takes_clouds_out,
    error_is_the_scatter,
    survives_missing_points,
    survives_little,
]
