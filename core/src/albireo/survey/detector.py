"""Measure a detector: level without light, read noise, gain, saturation, the range in which it is linear, dark current.

Only a few frames are in memory at a time: pairs, and a sum of bias frames for the dark current.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nan, sqrt
from typing import TYPE_CHECKING

import numpy as np

from albireo.frames import FrameError, Section
from albireo.pixels import read_pixels
from albireo.survey.findings import GIVE, Finding, plural, with_error
from albireo.survey.geometry import Regions, measured_regions, profile
from albireo.survey.looks import Looks
from albireo.survey.noise import Estimate, combined, gain_of_pair, mean_level, noise_of_pair
from albireo.survey.samples import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Channel",
    "Measured",
    "bias_level",
    "dark_current",
    "gain",
    "overscan_level",
    "read_noise",
    "regions",
    "saturation",
    "usable_range",
]

CLOSE_LEVELS = 1.25
"""Two flats make a pair if their levels differ by less than this factor: the sky between them was the same."""

NEAR_SATURATION = 0.9
"""Flats brighter than this part of saturation may have left the linear range."""

PILED_UP = 30
"""Pixels with exactly the brightest count of all, from which on the count is taken for a ceiling."""

MOST_PAIRS = 12
"""More pairs make no better gain, and take time."""

HOT = 10.0
"""Pixels above the dark level by this many times the read noise are hot."""


@dataclass(frozen=True)
class Channel:
    """One readout channel of the samples: which image of the files it is, and which of its pixels.

    Attributes
    ----------
    hdu : int or None
        None for the only image of each file.
    lit : Section
        Pixels that see light.
    overscan : Section or None
    """

    hdu: int | None
    lit: Section
    overscan: Section | None

    def read(self, sample: Sample, section: Section | None = None) -> NDArray[np.float32]:
        """Read some pixels of a sample."""
        return read_pixels(sample.path, sample.hdus[0] if self.hdu is None else self.hdu, section)

    def light(self, sample: Sample, bias: float) -> NDArray[np.float32]:
        """Read the lit pixels above the level without light."""
        level = mean_level(self.read(sample, self.overscan)) if self.overscan is not None else bias
        return self.read(sample, self.lit) - np.float32(level)


@dataclass
class Measured:
    """What was measured of one channel, for what is measured next.

    Attributes
    ----------
    bias, read_noise, gain : Estimate
        In adu, adu, electron/adu; NaN where unknown.
    saturation : float
        In adu; infinite where no frame reaches it.
    """

    bias: Estimate = field(default_factory=lambda: Estimate(nan, nan, 0))
    read_noise: Estimate = field(default_factory=lambda: Estimate(nan, nan, 0))
    gain: Estimate = field(default_factory=lambda: Estimate(nan, nan, 0))
    saturation: float = inf


def regions(
    faint: Sequence[Sample], bright: Sequence[Sample], looks: Looks, hdu: int | None = None
) -> tuple[Regions | None, str, bool]:
    """Compare a bright with a faint exposure to see which columns and rows respond to light.

    Returns
    -------
    Regions or None
        None if there is too little light to tell.
    str
        Which exposures were compared.
    bool
        Whether there were two.
    """
    whole = Section(0, 1, 0, 1)
    levels = sorted(
        (
            (look.level, sample)
            for sample in dict.fromkeys((*faint, *bright))
            if (look := looks(sample, hdu)) is not None and look.level < look.top
        ),
        key=lambda pair: pair[0],
    )
    if not levels:
        return None, "", False
    reader = Channel(hdu, whole, None)
    (low, dim), (high, lit) = levels[0], levels[-1]
    if high - low > 40.0:
        found = measured_regions(profile(reader.read(lit), reader.read(dim)))
        return found, f"{lit.name} against {dim.name}", True
    found = measured_regions(profile(reader.read(lit), None))
    return found, f"{lit.name} alone", False


def saturation(samples: Sequence[Sample], looks: Looks, hdu: int | None = None) -> tuple[float, Finding]:
    """Find the count at which pixels pile up.

    A ceiling shows as many pixels with exactly the brightest count of all samples and few just below it. Where charge
    overflows before the converter ends, full pixels scatter about a level and no ceiling shows.
    """
    seen = [(s, look) for s in samples if (look := looks(s, hdu)) is not None]
    if not seen:
        return inf, Finding("saturation", GIVE, "no frame can be read", "unknown")
    top = max(look.top for _, look in seen)
    piled = [(s, look) for s, look in seen if look.top == top]
    number = sum(look.at_top for _, look in piled)
    near = sum(look.near_top for _, look in piled)
    end = min(s.converter for s in samples)
    if number >= PILED_UP and number > near:
        where = f" in {plural(len(piled), 'frame')}"
        exact = ", the end of the converter" if top == end else ""
        how = f"{plural(number, 'pixel')}{where} have exactly this count{exact}, {near} come close to it"
        source = f"{number} pixels have exactly this count"
        return top, Finding("saturation", f"{top:.0f} adu", how, "measured", {"value": top, "source": source})
    if not isfinite(end):
        return inf, Finding("saturation", GIVE, f"no pixels pile up; the brightest has {top:.0f} adu", "unknown")
    how = f"the end of the converter; no pixels pile up, the brightest has {top:.0f} adu"
    rule = {"value": end, "source": "end of the converter; no sample reaches it"}
    return inf, Finding("saturation", f"{end:.0f} adu", how, "unverified", rule)


def bias_level(bias: Sequence[Sample], channel: Channel) -> tuple[Estimate, Finding]:
    """Give the level without light, from bias frames or from the overscan."""
    if not bias:
        return Estimate(nan, nan, 0), Finding("bias level", GIVE, "no bias frames", "unknown")
    levels = np.array([mean_level(channel.read(sample, channel.lit)) for sample in bias[:MOST_PAIRS]])
    error = float(levels.std(ddof=1)) if len(levels) > 1 else nan
    found = Estimate(float(levels.mean()), error, len(levels))
    how = f"mean of {plural(len(levels), 'bias frame')}"
    if len(levels) > 1:
        how += f"; +- is their scatter from {levels.min():.2f} to {levels.max():.2f}"
    return found, Finding("bias level", f"{with_error(found.value, error)} adu", how, "measured")


def overscan_level(samples: Sequence[Sample], channel: Channel) -> tuple[Estimate, Finding]:
    """Give the level and its scatter among frames in the overscan."""
    assert channel.overscan is not None
    levels = np.array([mean_level(channel.read(sample, channel.overscan)) for sample in samples[:MOST_PAIRS]])
    error = float(levels.std(ddof=1)) if len(levels) > 1 else nan
    how = f"mean of the overscan of {plural(len(levels), 'frame')}"
    return Estimate(float(levels.mean()), error, len(levels)), Finding(
        "bias level", f"{with_error(float(levels.mean()), error)} adu", how, "measured"
    )


def read_noise(bias: Sequence[Sample], light: Sequence[Sample], channel: Channel) -> tuple[Estimate, str]:
    """Give the read noise in adu, from differences of bias frames, else of overscans, and say how it was found."""
    for frames, section, what in ((bias, channel.lit, "bias frames"), (light, channel.overscan, "overscans")):
        if len(frames) < 2 or section is None:
            continue
        pairs = [noise_of_pair(a, b) for a, b in _neighbours(frames[: MOST_PAIRS + 1], channel, section)]
        good = [pair for pair in pairs if isfinite(pair.value)]
        if good:
            found = combined(good, shared=len(good) - 1)
            values = sorted(pair.value for pair in good)
            told = f"differences of {plural(len(good), 'pair')} of {what}, {values[0]:.3f} to {values[-1]:.3f} adu"
            return found, f"{told}; rounding to integers included"
    return Estimate(nan, nan, 0), "no two bias frames, and no two overscans"


def _neighbours(
    frames: Sequence[Sample], channel: Channel, section: Section
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    before: NDArray[np.float32] | None = None
    for sample in frames:
        pixels = channel.read(sample, section)
        if before is not None:
            yield before, pixels
        before = pixels


@dataclass(frozen=True)
class _Pair:
    first: Sample
    second: Sample
    gain: Estimate
    level: float


def gain(
    flats: Sequence[tuple[Sample, str]], channel: Channel, looks: Looks, known: Measured
) -> tuple[Estimate, str, tuple[str, ...], list[tuple[float, Estimate]]]:
    """Give the gain by photon transfer from neighbouring flats.

    Parameters
    ----------
    flats : sequence of (Sample, str)
        In order of time, each with what must agree for a pair: the filter.
    channel : Channel
    looks : Looks
    known : Measured
        Bias level, read noise and saturation.

    Returns
    -------
    Estimate
        Electrons per adu; NaN if unknown.
    str
        How it was found, or why not.
    tuple of str
        Flats that were left out, with the reason.
    list of (float, Estimate)
        Signal in adu and gain of each pair.
    """
    nothing = Estimate(nan, nan, 0)
    if not flats:
        return nothing, "no flats", (), []
    if not isfinite(known.read_noise.value):
        return nothing, "it needs the read noise: two bias frames, or an overscan", (), []
    if not isfinite(known.bias.value) and channel.overscan is None:
        return nothing, "it needs the level without light: a bias frame, or an overscan", (), []
    left_out, good = [], []
    ceiling = known.saturation if isfinite(known.saturation) else min(s.converter for s, _ in flats)
    for sample, group in flats:
        look = looks(sample, channel.hdu)
        if look is None:
            left_out.append(f"{sample.name}: it cannot be read")
        elif look.level >= ceiling:
            left_out.append(f"{sample.name}: saturated")
        elif look.level > NEAR_SATURATION * ceiling:
            left_out.append(f"{sample.name}: close to saturation, {100 * look.level / ceiling:.0f} % of it")
        else:
            good.append((sample, group, look.level))
    pairs: list[_Pair] = []
    apart: list[str] = []
    shared = 0
    before: tuple[Sample, str, NDArray[np.float32]] | None = None
    for sample, group, _ in good:
        if len(pairs) >= MOST_PAIRS:
            break
        try:
            light = channel.light(sample, known.bias.value)
        except FrameError as error:
            left_out.append(f"{sample.name}: {error}")
            continue
        if before is not None and before[1] == group and before[2].shape == light.shape:
            ratio = float(np.median(before[2]) / np.median(light))
            if 1.0 / CLOSE_LEVELS < ratio < CLOSE_LEVELS:
                limit = NEAR_SATURATION * ceiling - (known.bias.value if isfinite(known.bias.value) else 0.0)
                estimate, level = gain_of_pair(before[2], light, known.read_noise.value, limit)
                if isfinite(estimate.value):
                    shared += bool(pairs and pairs[-1].second is before[0])
                    pairs.append(_Pair(before[0], sample, estimate, level))
            else:
                apart.append(f"{before[0].name} and {sample.name}: their levels differ by {100 * abs(ratio - 1):.0f} %")
        before = (sample, group, light)
    others = (*left_out, *apart)
    if not pairs:
        why = "no two flats of one filter have similar levels" if len(good) > 1 else "it needs two flats of one filter"
        if not good and flats:
            why = "all flats are saturated"
        return nothing, why, others, []
    found = combined([pair.gain for pair in pairs], shared)
    values = ", ".join(f"{pair.gain.value:.3f} ({pair.level:.0f} adu)" for pair in pairs[:6])
    how = f"photon transfer from {plural(len(pairs), 'flat pair')}: {values}{', ...' if len(pairs) > 6 else ''}"
    return found, how, others, [(pair.level, pair.gain) for pair in pairs]


def usable_range(pairs: Sequence[tuple[float, Estimate]], found: Estimate) -> Finding:
    """Say up to which signal the variance of flat pairs grows with the signal as one gain demands."""
    if not pairs:
        return Finding("usable range", GIVE, "it needs pairs of flats at several levels", "unknown")
    held: list[float] = []
    lost: list[float] = []
    for level, estimate in sorted(pairs, key=lambda pair: pair[0]):
        off = abs(estimate.value / found.value - 1.0)
        (lost if off > 0.05 and off * found.value > 5.0 * estimate.error else held).append(level)
    low, high = (min(held), max(held)) if held else (nan, nan)
    if lost:
        how = f"the variance of flat pairs departs from one gain by more than 5 % at {min(lost):.0f} adu above the bias"
        return Finding("usable range", f"up to {high:.0f} adu above the bias" if held else GIVE, how, "measured")
    value = f"at least {low:.0f} to {high:.0f} adu above the bias"
    return Finding(
        "usable range", value, "the variance of all flat pairs agrees with one gain; no pair is brighter", "measured"
    )


def dark_current(
    darks: Sequence[tuple[Sample, float]],
    bias: Sequence[Sample],
    channel: Channel,
    known: Measured,
    temperature: Mapping[str, float | None],
) -> Finding:
    """Give the dark current from darks above the mean of the bias frames.

    Parameters
    ----------
    darks : sequence of (Sample, float)
        With exposure times in s.
    bias : sequence of Sample
    channel : Channel
    known : Measured
        Read noise and gain.
    temperature : dict
        Name of a sample to the temperature of the detector.
    """
    timed = [(sample, time) for sample, time in darks if time > 0]
    if not timed:
        return Finding("dark current", GIVE, "no dark frames", "unknown")
    if not bias and channel.overscan is None:
        return Finding("dark current", GIVE, "it needs bias frames or an overscan", "unknown")
    floor = np.zeros(channel.lit.shape, dtype=np.float64)
    for sample in bias:
        floor += channel.light(sample, known.bias.value)
    floor /= max(1, len(bias))
    rates, counts, hot = [], [], []
    for sample, time in timed[:MOST_PAIRS]:
        light = channel.light(sample, known.bias.value) - floor
        counts.append(float(np.median(light)))  # the typical pixel: a mean would follow the warm ones
        rates.append(counts[-1] / time)
        if isfinite(known.read_noise.value):
            hot.append(float((light > counts[-1] + HOT * known.read_noise.value).mean()))
    rate = float(np.mean(rates))
    error = float(np.std(rates, ddof=1)) / sqrt(len(rates)) if len(rates) > 1 else nan
    value = f"{with_error(rate, error)} adu/s"
    if isfinite(known.gain.value):
        value += f" = {rate * known.gain.value:.3g} e-/s"
    longest = max(time for _, time in timed)
    typical = float(np.mean([count for count, (_, time) in zip(counts, timed, strict=False) if time == longest]))
    how = f"median of {plural(len(rates), 'dark')} above the bias: {typical:.2f} adu in {longest:g} s"
    degrees = [degree for sample, _ in timed if (degree := temperature.get(sample.name)) is not None]
    if degrees:
        how += f", at {np.median(degrees):.1f} deg C"
    if hot:
        how += (
            f"; {100 * float(np.median(hot)):.2g} % of the pixels are hot ({HOT:.0f} times the read noise above that)"
        )
    return Finding("dark current", value, how, "measured")
