"""Look at sample files of a camera and say what they tell of it, how each value was found, and how sure it is.

First the cards: what each file is, when and where it was taken. Then the pixels of the commonest size: which of them
see light, their level without light, noise and gain. Measured values are held against those of the header; where these
are borne out the header is used, because it follows the mode of the camera, else the measured value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from albireo.declarative.reading import ZERO_CELSIUS
from albireo.frames import SECONDS_PER_DAY, Section
from albireo.headers import as_text
from albireo.survey.detector import (
    Channel,
    Measured,
    bias_level,
    dark_current,
    gain,
    overscan_level,
    read_noise,
    regions,
    saturation,
    usable_range,
)
from albireo.survey.findings import GIVE, Finding, plural, with_error
from albireo.survey.geometry import OVERSCAN_CARDS, TRIM_CARDS, find_geometry, sections
from albireo.survey.kinds import Sorted, sort_kinds
from albireo.survey.looks import Looks, some
from albireo.survey.moments import find_middle, find_start
from albireo.survey.noise import Estimate
from albireo.survey.pointing import find_pointing, find_site
from albireo.survey.quantities import (
    card_number,
    find_exptime,
    find_filter,
    find_identity,
    find_scale,
    find_setup,
    find_target,
    find_temperature,
    several_chips,
)
from albireo.survey.samples import Sample, Samples, SurveyError, read_samples

__all__ = ["Survey", "survey"]

_GAIN = ("GAIN", "EGAIN", "AGAIN_01", "GAIN_01", "GAIN1", "CCDGAIN", "GAIN01", "EPERADU", "ATODGAIN")
_READ_NOISE = (
    "RDNOISE",
    "READNOIS",
    "READNOISE",
    "RON",
    "ARDNS_01",
    "RN_01",
    "RDNOISE1",
    "ENOISE",
    "RDNOIS01",
    "RNOISE",
)
_SATURATION = ("SATURATE", "SATLEVEL", "SATURATI", "MAXLIN", "SATUR", "FULLWELL", "SATURLEV")

GAIN_AGREES = 0.03
"""A gain of the header is borne out if it differs from the measured one by less than this part; flats of one night are
no better, because charge spreads in bright pixels."""

READ_NOISE_AGREES = 0.1

MOST_FLATS = 60
"""Flats to look for pairs among."""

SCATTER_OF_FULL = 0.1
"""Full pixels scatter above the level from which they are not linear by less than this part."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What sample files tell of a camera.

    Attributes
    ----------
    samples : Samples
    kinds : Sorted
    findings : tuple of Finding
        In the order in which a person wants to read them.
    remarks : tuple of str
        What to know of the samples themselves: files not read, several sizes, several detectors.
    example : Sample
        A typical science frame.
    pedestal : float
        A level that the darkest pixels have, in adu, for cameras without bias and overscan.
    """

    samples: Samples
    kinds: Sorted
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    example: Sample
    pedestal: float

    def __getitem__(self, quantity: str) -> Finding:
        """Give the finding of a quantity.

        Raises
        ------
        KeyError
            If nothing was said about it.
        """
        for finding in self.findings:
            if finding.quantity == quantity:
                return finding
        raise KeyError(f"the survey says nothing about {quantity!r}")

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """What was not found and has to be given."""
        return tuple(finding for finding in self.findings if finding.certainty == "unknown")

    @property
    def has(self) -> frozenset[str]:
        """Kinds of frames among the samples."""
        return frozenset(self.kinds.kinds.values())

    @property
    def mosaic(self) -> bool:
        """Whether files keep the pixels of several amplifiers, each in an HDU of its own."""
        return len(self.example.hdus) > 1


def survey(folder: str | Path) -> Survey:
    """Look at all FITS files below a folder.

    Parameters
    ----------
    folder : path
        Samples of one camera: some bias frames, darks, flats of one filter and science frames are best.

    Returns
    -------
    Survey

    Raises
    ------
    SurveyError
        If there is no folder, no image, or no science frame.
    """
    samples = read_samples(Path(folder))
    looks = Looks()
    kinds = sort_kinds(samples, looks)
    science = kinds.of(samples, "science")
    if not science:
        raise SurveyError(
            f"there is no science frame among the {plural(len(samples), 'file')} below {samples.folder} "
            f"({kinds.finding.value}, {kinds.finding.how}); add one, such as a frame of any field of stars"
        )
    remarks = [f"{name} was not read: {reason}" for name, reason in samples.unread]

    told = _cards(samples, kinds, science)
    size, chip = _commonest(samples, remarks)
    own = [sample for sample in size if not chip or sample.cards[chip] == chip_of(size, chip)]
    example = next((s for s in own if s in science), science[len(science) // 2])
    groups = {s.name: as_text(s.cards.get(_keyword(told.filter.rule))) for s in samples}
    looked = [sample for sample in own if sample.hdus == example.hdus]
    if len(example.hdus) > 1:
        measured = _mosaic(looked, kinds, looks, told, groups, example)
    else:
        measured = _single(looked, size, kinds, looks, told, groups)
    remarks += [f"{name} has no pixels to read: {reason}" for name, reason in looks.failed.items()]
    lows = [look.low for _, look in looks.of(looked[:10])]
    return Survey(samples, kinds, (*told.findings, *measured), tuple(remarks), example, min(lows) if lows else nan)


@dataclass(frozen=True, eq=False)
class _Told:
    """What the cards tell."""

    findings: tuple[Finding, ...]
    filter: Finding
    start: Mapping[str, float]
    exptime: Mapping[str, float | None]
    temperature: Mapping[str, float | None]


def _cards(samples: Samples, kinds: Sorted, science: Sequence[Sample]) -> _Told:
    names = [sample.name for sample in samples]
    site, where = find_site(samples)
    start, mjd = find_start(samples, where.longitude)
    exptime, times = find_exptime(samples, mjd)
    half = [0.5 * (time or 0.0) / SECONDS_PER_DAY for time in times]
    middles = dict(zip(names, (mjd + np.array(half)).tolist(), strict=True))
    pointing, airmass, site, signed = find_pointing(samples, science, middles, site, where)
    if signed.longitude != where.longitude:  # the clock was tested with the wrong longitude
        start, mjd = find_start(samples, signed.longitude)
    middle = find_middle(samples, mjd, times)
    setup = find_setup(samples)
    light = [*science, *kinds.of(samples, "flat")]
    colour = find_filter(samples, light)
    temperature = find_temperature(samples)
    findings = [
        find_identity(samples),
        kinds.finding,
        colour,
        find_target(samples, science),
        exptime,
        start,
        *([middle] if middle is not None else []),
        pointing,
        airmass,
        temperature,
        find_scale(samples, science, setup.rule or {}),
        setup,
        site,
    ]
    begun = dict(zip(names, mjd.tolist(), strict=True))
    kelvin = isinstance(temperature.rule, dict) and temperature.rule.get("unit") == "K"
    degrees = samples.numbers(_keyword(temperature.rule))
    celsius = [None if value is None else value - ZERO_CELSIUS * kelvin for value in degrees]
    return _Told(
        tuple(findings),
        colour,
        begun,
        dict(zip(names, times, strict=True)),
        dict(zip(names, celsius, strict=True)),
    )


def _keyword(rule: Any) -> str:
    """Give the first keyword of a rule; empty if it has none."""
    keyword = rule.get("keyword", "") if isinstance(rule, dict) else rule
    while isinstance(keyword, list):
        keyword = keyword[0]
    return str(keyword or "")


def _commonest(samples: Samples, remarks: list[str]) -> tuple[Samples, str]:
    """Give the samples of the commonest size, and the card that tells several detectors apart among them."""
    sizes = samples.sizes()
    size = samples.only([sample for sample in samples if sample.size == sizes[0][0]])
    if len(sizes) > 1:
        listed = ", ".join(f"{name} ({plural(number, 'file')})" for name, number in sizes)
        remarks.append(
            f"the samples have several sizes: {listed}. The pixels of {sizes[0][0]} were measured; constants may "
            "differ for the others"
        )
    chip = several_chips(size)
    if chip:
        listed = ", ".join(f"{value}" for value in size.distinct(chip))
        remarks.append(
            f"{chip} tells several detectors apart: {listed}. The pixels of {chip_of(size, chip)} were measured; "
            "constants may differ for the others"
        )
    return size, chip


def chip_of(samples: Samples, chip: str) -> Any:
    """Give the detector with the most samples."""
    return samples.distinct(chip)[0]


def _single(
    own: Sequence[Sample], size: Samples, kinds: Sorted, looks: Looks, told: _Told, groups: Mapping[str, str]
) -> list[Finding]:
    """Measure a camera with one image in each file; ``size`` are all samples of that size, of any detector."""
    samples = Samples(own[0].path.parent, tuple(own))
    frames = _Frames.of(own, kinds, told, groups)
    ceiling, saturated = saturation(some(own), looks)
    light = [*some(frames.flat, 20), *some(frames.science, 20)]
    bright = [s for s in light if (look := looks(s)) and look.level < 0.95 * min(ceiling, look.top)]
    found, exposures, two = regions([*frames.bias[:3], *frames.dark[:3], *some(frames.science, 20)], bright, looks)
    trim, overscan, lit, strip = find_geometry(samples, found, exposures, single=not two)
    channel = Channel(None, lit, strip)
    known, findings = _noise(frames, channel, looks, ceiling)
    levels, noise, transfer, linear, dark = findings
    return [
        trim,
        overscan,
        _saturation(size, saturated, ceiling, looks),
        levels,
        _read_noise(samples, noise, known),
        _gain(samples, transfer, known),
        linear,
        dark,
    ]


@dataclass(frozen=True, eq=False)
class _Frames:
    """Samples of one detector by kind, in order of time."""

    bias: list[Sample]
    dark: list[Sample]
    flat: list[Sample]
    science: list[Sample]
    groups: Mapping[str, str]
    exptime: Mapping[str, float | None]
    temperature: Mapping[str, float | None]

    @classmethod
    def of(cls, own: Sequence[Sample], kinds: Sorted, told: _Told, groups: Mapping[str, str]) -> _Frames:
        def when(sample: Sample) -> tuple[float, str]:
            start = told.start.get(sample.name, nan)
            return (start if isfinite(start) else 0.0, sample.name)

        ordered = sorted(own, key=when)
        bias, dark, flat, science = (
            [sample for sample in ordered if kinds.kinds[sample.name] == kind]
            for kind in ("bias", "dark", "flat", "science")
        )
        return cls(bias, dark, flat, science, groups, told.exptime, told.temperature)


def _noise(
    frames: _Frames, channel: Channel, looks: Looks, ceiling: float
) -> tuple[Measured, tuple[Finding, tuple[Estimate, str], tuple[Estimate, str, tuple[str, ...]], Finding, Finding]]:
    known = Measured(saturation=ceiling)
    known.bias, level = bias_level(frames.bias, channel)
    if not frames.bias and channel.overscan is not None:
        known.bias, level = overscan_level([*frames.flat, *frames.science], channel)
    known.read_noise, noise_how = read_noise(frames.bias, [*frames.flat, *frames.science], channel)
    flats = [(sample, frames.groups[sample.name]) for sample in frames.flat[:MOST_FLATS]]
    known.gain, gain_how, left_out, pairs = gain(flats, channel, looks, known)
    darks = [(sample, frames.exptime[sample.name] or 0.0) for sample in frames.dark]
    dark = dark_current(darks, frames.bias, channel, known, frames.temperature)
    linear = usable_range(pairs, known.gain)
    return known, (level, (known.read_noise, noise_how), (known.gain, gain_how, left_out), linear, dark)


def _gain(samples: Samples, measured: tuple[Estimate, str, tuple[str, ...]], known: Measured) -> Finding:
    """Hold the measured gain against the header's."""
    found, how, left_out = measured
    key, said = card_number(samples, _GAIN, 0.005, 500.0)
    if not isfinite(found.value):
        if not key:
            return Finding("gain", GIVE, how, "unknown", None, left_out)
        nominal = "1 looks like a placeholder; " if said == 1.0 else ""
        return Finding("gain", f"{key}, {said:.4g} e-/adu", f"{nominal}not tested: {how}", "unverified", key, left_out)
    value = f"{with_error(found.value, found.error)} e-/adu"
    number = how.split(":", 1)[0]
    if key and abs(said / found.value - 1.0) < GAIN_AGREES:
        return Finding(
            "gain",
            f"{key}, {said:.4g} e-/adu",
            f"{how}; mean {with_error(found.value, found.error)}",
            "measured",
            key,
            left_out,
        )
    source = f"{number}: {with_error(found.value, found.error)}"
    rule: dict[str, Any] = {"value": float(f"{found.value:.4g}")}
    others = left_out
    if key:
        rule["keyword"] = key
        source += f"; the header says {said:.4g}"
        others = (f"{key}: {said:.4g}, contradicted by the flats", *left_out)
    return Finding("gain", value, how, "measured", rule | {"source": source}, others)


def _read_noise(samples: Samples, measured: tuple[Estimate, str], known: Measured) -> Finding:
    """Hold the measured read noise against the header's; it becomes electrons with the best gain there is."""
    found, how = measured
    key, said = card_number(samples, _READ_NOISE, 0.01, 500.0)
    if not isfinite(found.value):
        if not key:
            return Finding("read_noise", GIVE, how, "unknown")
        return Finding("read_noise", f"{key}, {said:.4g} e-", f"not tested: {how}", "unverified", key)
    adu = f"{with_error(found.value, found.error)} adu"
    gain_key, header_gain = card_number(samples, _GAIN, 0.005, 500.0)
    factor = known.gain.value if isfinite(known.gain.value) else header_gain
    if not isfinite(factor):
        return Finding("read_noise", adu, f"{how}; in electrons it is {GIVE} once there is a gain", "measured", None)
    electrons = found.value * factor
    value = f"{adu} = {electrons:.3g} e-"
    by = "" if isfinite(known.gain.value) else f" with {gain_key} of the header, which is not tested"
    if key and abs(said / electrons - 1.0) < READ_NOISE_AGREES:
        return Finding("read_noise", f"{key}, {said:.4g} e-", f"{how}: {value}{by}", "measured", key)
    rule: dict[str, Any] = {"value": float(f"{electrons:.3g}")}
    source = f"{how.split(',', 1)[0]}: {adu}{by}"
    others: tuple[str, ...] = ()
    if key:
        rule["keyword"] = key
        source += f"; the header says {said:.4g}"
        others = (f"{key}: {said:.4g} e-, contradicted by the frames",)
    return Finding("read_noise", value, f"{how}{by}", "measured", rule | {"source": source}, others)


def _saturation(samples: Samples, measured: Finding, ceiling: float, looks: Looks) -> Finding:
    """Prefer a saturation level of the header unless pixels exceed it or the pixels show another one."""
    key, said = card_number(samples, _SATURATION, 100.0, 1e7)
    if not key:
        return measured
    above = max((look.top for _, look in looks.of(some(samples.files))), default=nan)
    if measured.certainty == "measured" and not abs(said / ceiling - 1.0) < 0.02:
        return Finding(
            "saturation",
            measured.value,
            measured.how,
            "measured",
            measured.rule | {"keyword": key},
            (f"{key}: {said:.6g}",),
        )
    value = f"{key}, {said:.6g} adu"
    if above > (1.0 + SCATTER_OF_FULL) * said:
        how = f"by name; but the brightest pixel has {above:.0f} adu, and nothing piles up"
        return Finding("saturation", value, how, "unverified", key)
    return Finding("saturation", value, f"by name; the brightest pixel has {above:.0f} adu", "header", key)


def _mosaic(
    own: Sequence[Sample], kinds: Sorted, looks: Looks, told: _Told, groups: Mapping[str, str], example: Sample
) -> list[Finding]:
    """Measure a camera that keeps the pixels of each amplifier in an HDU of its own.

    The definition takes gains and sections from the header of each HDU; what the pixels say of each amplifier is told
    for comparison.
    """
    frames = _Frames.of(own, kinds, told, groups)
    units = example.units
    rule: dict[str, Any] = {"hdu": "each"}
    for name, keys in (
        ("data", TRIM_CARDS[1::-1]),
        ("overscan", OVERSCAN_CARDS),
        ("place", ("DETSEC", "CCDSEC")),
        ("gain", _GAIN),
        ("read_noise", _READ_NOISE),
    ):
        key = next((k for k in keys if all(k in unit for unit in units)), "")
        if not key and name in ("gain", "read_noise"):
            key = next((k for k in keys if card_number(Samples(example.path, (example,)), (k,), 0.01, 500.0)[0]), "")
        if key:
            rule[name] = key
    where = ", ".join(str(hdu) for hdu in example.hdus)
    told_by = ", ".join(f"{name} {key}" for name, key in rule.items() if name != "hdu")
    findings = [
        Finding(
            "amplifiers",
            f"{len(example.hdus)}, one in each of HDU {where}",
            f"images of {example.size} in each file; {told_by}",
            "header" if "place" in rule else "unverified",
            rule,
        )
    ]
    ceilings = []
    for hdu, unit in zip(example.hdus, units, strict=True):
        ceiling, saturated = saturation(some(own), looks, hdu)
        ceilings.append((ceiling, saturated))
        findings += _amplifier(frames, unit, hdu, looks, ceiling, example.shape)
    ceiling, saturated = min(ceilings, key=lambda pair: pair[0])
    findings.insert(1, _saturation(Samples(example.path, tuple(own)), saturated, ceiling, looks))
    return findings


def _amplifier(
    frames: _Frames, unit: Mapping[str, Any], hdu: int, looks: Looks, ceiling: float, shape: tuple[int, int]
) -> list[Finding]:
    said = sections(unit, (*TRIM_CARDS[1::-1], *TRIM_CARDS[2:]), shape)
    strips = sections(unit, OVERSCAN_CARDS, shape)
    found, exposures, _ = regions([*frames.bias, *frames.science], [*frames.flat, *frames.science], looks, hdu)
    lit = next(iter(said.values()), found.lit if found else Section(0, shape[0], 0, shape[1]))
    strip = next(iter(strips.values()), found.overscan if found else None)
    _, (level, noise, transfer, _, _) = _noise(frames, Channel(hdu, lit, strip), looks, ceiling)
    findings = [_named(level, f"bias level, HDU {hdu}")]
    if found is not None:
        value = f"lit {found.lit.to_fits()}, dark {found.dark}"
        findings.append(
            Finding(f"sections, HDU {hdu}", value, f"{exposures}; the header says {_said(unit)}", "measured")
        )
    for quantity, (estimate, how), unit_name in (
        ("read noise", noise, "adu"),
        ("gain", transfer[:2], "e-/adu"),
    ):
        if isfinite(estimate.value):
            value = f"{with_error(estimate.value, estimate.error)} {unit_name}"
            findings.append(Finding(f"{quantity}, HDU {hdu}", value, how, "measured"))
        else:
            key = next((k for k in (_GAIN if quantity == "gain" else _READ_NOISE) if k in unit), "")
            value = f"{key}, {unit[key]}" if key else "as the header says"
            findings.append(Finding(f"{quantity}, HDU {hdu}", value, f"not tested: {how}", "unverified"))
    return findings


def _named(finding: Finding, quantity: str) -> Finding:
    return Finding(quantity, finding.value, finding.how, finding.certainty, finding.rule, finding.others)


def _said(unit: Mapping[str, Any]) -> str:
    keys = [key for key in (*TRIM_CARDS, *OVERSCAN_CARDS) if re.match(r"\s*\[", str(unit.get(key, "")))]
    return ", ".join(f"{key} {unit[key]}" for key in keys) or "nothing"
