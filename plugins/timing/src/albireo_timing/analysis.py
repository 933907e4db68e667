"""Everything the report says of one target: each band alone, and each pair of bands.

A part that cannot be made of the data is left out with a note that says why, and the others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from albireo import SECONDS_PER_DAY, Flag
from albireo_timing.correlation import Correlation, Lag, cross_correlation, time_lag
from albireo_timing.folding import Phased, phase_bin
from albireo_timing.intervals import good_time_intervals, median_cadence
from albireo_timing.periodogram import Periodogram, lomb_scargle
from albireo_timing.sines import PhaseLag, phase_lag
from albireo_timing.spectrum import PowerSpectrum, power_spectrum

if TYPE_CHECKING:
    from astropy.table import Table

    from albireo_timing.report import Timing

__all__ = ["CERTAIN", "Analysis", "Band", "Pair", "analyse", "bands_of"]

CERTAIN = 0.01
"""A peak that noise makes less often than this is called significant."""

CORRELATED = 4.0
"""Peak of a correlation, in units of one over the root of the points, from which there is a lag to speak of: white
noise has a standard deviation of one, and reaches three somewhere among a hundred lags."""

LAGS = 100
"""Steps of lag to either side, at most."""

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Band:
    """A light curve without what does not count.

    Attributes
    ----------
    label : str
        The filter, with the detector where two have the same.
    time, flux, flux_err : ndarray, shape (n,)
        Time in days. No NaN, no outliers.
    dropped : int
        Points left out.
    meta : dict
        Of the curve.
    """

    label: str
    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    dropped: int
    meta: dict[str, Any]

    def seconds(self, start: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Time in seconds since a start, flux and error."""
        return (self.time - start) * SECONDS_PER_DAY, self.flux, self.flux_err


@dataclass(frozen=True, eq=False)
class Pair:
    """Two bands: how the second follows the first; no lag where they are not correlated."""

    first: str
    second: str
    correlation: Correlation
    lag: Lag | None
    phase: PhaseLag | None


@dataclass(eq=False)
class Analysis:
    """What was found of one target.

    Attributes
    ----------
    target : str
    bands : list of Band
        At least one.
    start : float
        First time of all bands, in days; lags and power spectra count in seconds from it.
    intervals : dict of str to ndarray, shape (k, 2)
        Good-time intervals of each band, in days.
    periodogram : Periodogram or None
        Frequencies per day, of all bands with enough points.
    searched : list of str
        Labels of these bands.
    period, t0 : float or None, float
        What was folded with, in days.
    given : bool
        Whether the recipe gave the period.
    phased, spectra : dict of str to Phased and to PowerSpectrum
        By band; frequencies of spectra in Hz.
    pairs : list of Pair
        Lags in seconds.
    notes : list of str
        What could not be made, and why.
    """

    target: str
    bands: list[Band]
    start: float
    intervals: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    periodogram: Periodogram | None = None
    searched: list[str] = field(default_factory=list)
    period: float | None = None
    t0: float = 0.0
    given: bool = False
    phased: dict[str, Phased] = field(default_factory=dict)
    spectra: dict[str, PowerSpectrum] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def periodic(self) -> bool:
        """Whether the period means something: it was given, or noise hardly makes such a peak."""
        return self.given or (self.periodogram is not None and self.periodogram.false_alarm < CERTAIN)

    def attempt(self, what: str, make: Callable[[], Made]) -> Made | None:
        """Make a part, or note why it cannot be made."""
        try:
            return make()
        except ValueError as error:
            self.notes.append(f"{what}: {error}")
            return None


def bands_of(curves: Sequence[Table]) -> list[Band]:
    """Take the light curves of one target as bands.

    Parameters
    ----------
    curves : sequence of Table
        As `albireo.Results.curves` gives them.
    """
    filters = Counter(curve.meta["FILTER"] for curve in curves)
    taken: Counter[str] = Counter()
    bands = []
    for curve in curves:
        colour, detector = curve.meta["FILTER"], curve.meta["DETECTOR"]
        label = " ".join(filter(None, (colour, detector if filters[colour] > 1 else ""))) or "no filter"
        taken[label] += 1
        if taken[label] > 1:
            label = f"{label} {taken[label]}"
        t, f, e = (np.asarray(curve[name], dtype=np.float64) for name in ("time", "flux", "flux_err"))
        good = np.isfinite(t) & np.isfinite(f) & np.isfinite(e) & (e > 0)
        good &= (np.asarray(curve["flags"]).astype(np.int64) & int(Flag.OUTLIER)) == 0
        bands.append(Band(label, t[good], f[good], e[good], int((~good).sum()), dict(curve.meta)))
    return bands


def analyse(options: Timing, target: str, bands: Sequence[Band]) -> Analysis:
    """Make everything of one target.

    Parameters
    ----------
    options : Timing
    target : str
    bands : sequence of Band
        With different labels.
    """
    times = np.concatenate([band.time for band in bands])
    made = Analysis(target, list(bands), float(times.min()) if times.size else 0.0, given=options.period is not None)
    made.intervals = {band.label: good_time_intervals(band.time) for band in bands}
    _search(options, made)
    if made.period is not None:
        made.t0 = options.t0 if options.t0 is not None else made.start
        for band in bands:
            if len(band.time):
                made.phased[band.label] = phase_bin(
                    band.time, band.flux, band.flux_err, period=made.period, t0=made.t0, n_bins=options.n_bins
                )
    for band in bands:
        spectrum = made.attempt(
            f"power spectrum, {band.label}",
            lambda band=band: power_spectrum(  # type: ignore[misc]
                *band.seconds(made.start), segment=options.segment, factor=options.rebin
            ),
        )
        if spectrum is not None:
            made.spectra[band.label] = spectrum
    for one, two in _wanted(options, made):
        pair = made.attempt(
            f"lag of {two.label} behind {one.label}",
            lambda one=one, two=two: _pair(options, made, one, two),  # type: ignore[misc]
        )
        if pair is not None:
            made.pairs.append(pair)
    return made


def _search(options: Timing, made: Analysis) -> None:
    """Look for a period in all bands, and decide which one to fold with."""
    low, high = options.frequencies or (None, None)
    rich = [band for band in made.bands if len(band.time) > 3]
    made.periodogram = made.attempt(
        "periodogram",
        lambda: lomb_scargle(*((b.time, b.flux, b.flux_err) for b in rich), minimum=low, maximum=high),
    )
    if made.periodogram is not None:
        made.searched = [band.label for band in rich]
    made.period = options.period or (made.periodogram.period if made.periodogram is not None else None)


def _wanted(options: Timing, made: Analysis) -> list[tuple[Band, Band]]:
    """Pairs of bands to compare; a name stands for a label or for the filter."""
    if options.pairs is None:
        return list(combinations(made.bands, 2))
    found = []
    for names in options.pairs:
        both = [[b for b in made.bands if name in (b.label, b.meta["FILTER"])][:1] for name in names]
        if all(both):
            found.append((both[0][0], both[1][0]))
        else:
            missing = " and ".join(name for name, band in zip(names, both, strict=True) if not band)
            made.notes.append(f"pair {names[0]}, {names[1]}: there is no light curve in {missing}")
    return found


def _pair(options: Timing, made: Analysis, one: Band, two: Band) -> Pair:
    first, second = one.seconds(made.start), two.seconds(made.start)
    longest = options.max_lag
    if longest is None:
        lengths = [float(np.ptp(t)) for t, _, _ in (first, second) if len(t)]
        longest = 0.25 * min(lengths, default=0.0)
        if made.period is not None and made.periodic:  # further away the same peaks come again
            longest = min(longest, 0.5 * made.period * SECONDS_PER_DAY)
    cadence = min(median_cadence(first[0]), median_cadence(second[0]))
    step = max(0.5 * cadence, longest / LAGS)
    correlation = cross_correlation(first[0], first[1], second[0], second[1], longest, step)
    lag = None
    peak = correlation.peak[1]
    if not np.isfinite(peak):
        raise ValueError("the bands have too few points in common at any lag")
    if peak > CORRELATED / np.sqrt(0.5 * correlation.n.max()):  # each point counts in both directions
        lag = time_lag(*first, *second, max_lag=longest, step=step, trials=options.trials, seed=options.seed)
    else:
        made.notes.append(
            f"lag of {two.label} behind {one.label}: the bands are not correlated more than noise is; "
            f"the correlation is at most {peak:.2f}"
        )
    phase = None
    if made.period is not None:
        frequency = 1.0 / (made.period * SECONDS_PER_DAY)
        phase = made.attempt(
            f"phase lag of {two.label} behind {one.label}", lambda: phase_lag(*first, *second, frequency)
        )
    return Pair(one.label, two.label, correlation, lag, phase)
