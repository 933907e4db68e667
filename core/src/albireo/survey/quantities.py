"""What cards say of an exposure and of the camera: exposure time, filter, target, temperature, scale, set-up, identity.

Each quantity has the names that telescopes use for it, in order of habit, and what a value must be like. The comment of
a card may speak for it as well.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from math import isfinite, nan, sqrt
from typing import Any

import numpy as np

from albireo.declarative.reading import ZERO_CELSIUS
from albireo.frames import SECONDS_PER_DAY
from albireo.headers import as_float, celestial_wcs
from albireo.survey.findings import GIVE, Certainty, Finding, plural
from albireo.survey.samples import Sample, Samples

__all__ = [
    "card_number",
    "find_exptime",
    "find_filter",
    "find_identity",
    "find_scale",
    "find_setup",
    "find_target",
    "find_temperature",
    "several_chips",
]

_EXPTIME = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "EXPOSED", "ITIME", "INTTIME", "TEXP", "EXPT")
_FILTER = ("FILTER", "FILTERS", "FILTNAME", "FILTNAM", "FILTER_N", "FLTNAME", "INSFILTE", "FILTERID", "FILT", "FILTER1")
_FILTER_WHEELS = (("FILTER1", "FILTER2"), ("FILTER01", "FILTER02"), ("FILT1", "FILT2"), ("FILTERA", "FILTERB"))
_OPEN = re.compile(r"open|clear|air|none|empty|blank|free|no filter", re.IGNORECASE)
_TARGET = ("OBJECT", "OBJNAME", "TARGNAME", "TARGET", "OBJ_NAME", "OBJID", "FIELD", "SCITARG")
_TEMPERATURE = (
    *("CCD-TEMP", "CCD_TEMP", "CCDTEMP", "DETTEMP", "DET-TEMP", "DET_TEMP", "CCDATEMP", "TEMPCCD", "CAMTEMP"),
    *("CCDTMP", "TEMP-CCD", "DETTEM", "TEMPERAT", "CCD_TEMPERATURE"),
)
_SCALE = ("PIXSCALE", "PIXSCAL", "SECPIX", "SECPIX1", "IM_SCALE", "PLATESCL", "PIXSCL", "SCALE", "PIXELSCL", "PSCALE")
_BINNING = ("CCDSUM", "BINNING", "BINNING1")
_BINNING_PAIRS = (
    ("XBINNING", "YBINNING"),
    ("CCDXBIN", "CCDYBIN"),
    ("BINX", "BINY"),
    ("XBIN", "YBIN"),
    ("BIN1", "BIN2"),
)
_READOUT = ("READOUTM", "RDOUTM", "READMODE", "RDMODE", "CCDMODE", "READSPEE", "RDSPEED", "AMPID")
_AMPLIFICATION = ("SOFTGAIN", "GAINSET", "GAINMODE", "PREAMP", "PREAMPG")
_CAMERA = ("INSTRUME", "CAMERA", "INSTRMNT", "LCAMMOD", "CAMNAME", "DETNAM")
_TELESCOPE = ("TELESCOP", "TELID", "OBSERVAT")
_CHIP = ("CCD_SER", "SERIALN", "DETSER", "SERNO", "CAMID", "CCD_NAME", "DETNAME", "DETECTOR", "CCDTYPE", "CCD_TYPE")
_GENERIC = re.compile(r"unknown|none|null|n/a|default|undefined|\?+", re.IGNORECASE)


def card_number(samples: Samples, keys: Sequence[str], low: float, high: float) -> tuple[str, float]:
    """Give the first card that has one plausible number in every file; an empty keyword if there is none."""
    for key in keys:
        numbers = samples.numbers(key)
        known = [number for number in numbers if number is not None]
        if known and min(known) >= low and max(known) <= high:
            return key, float(np.median(known))
    return "", nan


def find_exptime(samples: Samples, start: np.ndarray) -> tuple[Finding, list[float | None]]:
    """Say which card holds the exposure time; it must not be longer than the time to the next frame."""
    named = [key for key in _EXPTIME if key in samples.keys]
    spoken = [k for k in samples.keys if re.search(r"exposure.*(time|length)|integration time", samples.comment(k))]
    refused = []
    good: list[tuple[str, list[float | None]]] = []
    for key in dict.fromkeys((*named, *spoken)):
        numbers = samples.numbers(key)
        known = [number for number in numbers if number is not None]
        if not known or (key not in named and "pixel" in samples.comment(key)):
            continue
        if min(known) < 0 or max(known) > 1e5 or (max(known) == 0 and len(known) > 3):
            refused.append(f"{key}: {min(known):g} to {max(known):g} s")
            continue
        if len(known) < len(samples):
            refused.append(f"{key}: only in {plural(len(known), 'file')}")
            continue
        good.append((key, numbers))
    if not good:
        return Finding("exptime", GIVE, "no card names it", "unknown", None, tuple(refused)), [None] * len(samples)
    key, numbers = good[0]
    same = [other for other, theirs in good[1:] if theirs == numbers and other in _EXPTIME]
    refused += [f"{other}: says the same" for other in same]
    times = np.array(numbers, dtype=float)
    value = f"{key}, {times.min():g} to {times.max():g} s" if times.min() < times.max() else f"{key}, {times[0]:g} s"
    certainty: Certainty = "header" if same else "inferred"
    how = f"by name; {', '.join(same)} says the same" if same else "by name"
    order = np.argsort(start)
    gaps = np.diff(start[order]) * SECONDS_PER_DAY
    told = np.isfinite(gaps) & (gaps > 0.5)
    if told.any():
        late = told & (times[order][:-1] > gaps + 1.0)
        if late.mean() > 0.1:
            how, certainty = f"{how}; but longer than the time to the next frame: is it in s?", "unverified"
        else:
            how, certainty = f"{how}; it fits between the starts of the frames", "header"
    rule = [key, *same] if same else key
    return Finding("exptime", value, how, certainty, rule, tuple(refused)), numbers


def find_filter(samples: Samples, light: Sequence[Sample]) -> Finding:
    """Say which card names the filter: a short text with few values, which frames with light all have."""
    lit = samples.only(light) if light else samples
    for pair in _FILTER_WHEELS:
        if pair[0] in lit.keys and pair[1] in lit.keys and "FILTER" not in lit.keys and "FILTERS" not in lit.keys:
            dropped = sorted({t for key in pair for t in lit.texts(key) if _OPEN.fullmatch(t)})
            rule: dict[str, Any] = {"keyword": [list(pair)]} | ({"drop": dropped} if dropped else {})
            values = sorted({"-".join(v) for v in zip(*(lit.texts(key) for key in pair), strict=True)})
            return Finding("filter", f"{pair[0]} with {pair[1]}", f"two wheels: {', '.join(values)}", "inferred", rule)
    ranked: list[tuple[float, str, list[str]]] = []
    refused = []
    for key in lit.keys:
        named = key in _FILTER
        if not (named or "filter" in lit.comment(key) or "FILT" in key):
            continue
        values = sorted({text for text in lit.texts(key) if text})
        if not values or max(map(len, values)) > 24 or len(values) > max(6, len(lit) // 2):
            continue
        plain = all(as_float(value) is not None for value in values)
        score = 10.0 * lit.coverage(key) + samples.coverage(key) + (5.0 - 0.1 * _FILTER.index(key) if named else 0.0)
        score -= 6.0 * plain + 3.0 * bool(re.search(r"position|number|status|\bid\b|focus|time", lit.comment(key)))
        score -= 4.0 * all(_GENERIC.fullmatch(value) for value in values)
        ranked.append((score, key, values))
    ranked.sort(key=lambda item: item[0], reverse=True)
    for _, key, values in ranked[1:5]:
        few = lit.coverage(key) < 1.0 or samples.coverage(key) < 1.0
        same = values == ranked[0][2]
        refused.append(
            f"{key}: {'says the same' if same else ', '.join(values[:4])}{', only in some files' if few else ''}"
        )
    if not ranked or ranked[0][0] < 6.0:
        how = "no card names it; it is called 'none' until you say better"
        return Finding("filter", GIVE, how, "unknown", {"default": "none"}, tuple(refused))
    _, key, values = ranked[0]
    value = f"{key}: {', '.join(values[:8])}"
    if len(values) == 1:
        how = "by name; the same in all frames with light, so that it is not proved to change"
        return Finding("filter", value, how, "inferred", key, tuple(refused))
    return Finding("filter", value, "by name; few values", "header", key, tuple(refused))


def find_target(samples: Samples, science: Sequence[Sample]) -> Finding:
    """Say which card names the target."""
    sky = samples.only(science) if science else samples
    for key in _TARGET:
        values = sky.distinct(key)
        if values:
            same = [k for k in _TARGET if k != key and sky.texts(k) == sky.texts(key)]
            told = ", ".join(str(value) for value in values[:3]) + (", ..." if len(values) > 3 else "")
            rule = [key, *same] if same else key
            return Finding("target", f"{key}: {told}", "by name", "header", rule)
    blank = next((key for key in _TARGET if any(key in sample.empty for sample in sky)), "")
    if blank:
        return Finding("target", blank, "by name; it is empty in all samples", "unverified", blank)
    return Finding("target", GIVE, "no card names it", "unknown")


def find_temperature(samples: Samples) -> Finding:
    """Say which card holds the temperature of the detector, not that it was set to."""
    spoken = [key for key in samples.keys if re.search(r"(ccd|detector|chip|camera).*temp", samples.comment(key))]
    refused = []
    for key in dict.fromkeys((*(k for k in _TEMPERATURE if k in samples.keys), *spoken)):
        numbers = [number for number in samples.numbers(key) if number is not None]
        comment = samples.comment(key)
        if not numbers or re.search(r"\bset\b|required|air temp|housing|cooler|point", comment) or "SET" in key:
            continue
        kelvin = "kelvin" in comment or "[k]" in comment or min(n for n in numbers) > 60.0
        unknown = sorted({n for n in numbers if kelvin and n <= 0.0})
        real = [n - ZERO_CELSIUS if kelvin else n for n in numbers if n not in unknown]
        if not real or not all(-220.0 < value < 45.0 for value in real):
            refused.append(f"{key}: {min(numbers):g} to {max(numbers):g}")
            continue
        rule: Any = {"keyword": key} | ({"unit": "K"} if kelvin else {}) | ({"unknown": unknown} if unknown else {})
        value = f"{key}, {np.median(real):.1f} deg C" + (" (in K)" if kelvin else "")
        how = "by name" if key in _TEMPERATURE else "by its comment"
        return Finding("temperature", value, how, "header", rule if len(rule) > 1 else key, tuple(refused))
    return Finding("temperature", GIVE, "no card holds a likely one", "unknown", None, tuple(refused))


def find_setup(samples: Samples) -> Finding:
    """Say what calibrations must share with a frame: binning, way of readout, and the chip where there are several.

    The rule is a table for ``[setup]``.
    """
    rule: dict[str, Any] = {}
    told = []
    for key in _BINNING:
        if samples.coverage(key) == 1.0:
            rule["binning"] = key
            told.append(f"binning {key} ({', '.join(map(str, samples.distinct(key)))})")
            break
    else:
        for pair in _BINNING_PAIRS:
            if all(samples.coverage(key) == 1.0 for key in pair):
                rule["binning"] = {"keyword": [list(pair)], "join": "x"}
                told.append(f"binning {pair[0]} x {pair[1]}")
                break
    for name, keys in (("readout", _READOUT), ("amplification", _AMPLIFICATION)):
        key = next((k for k in keys if samples.coverage(k) == 1.0 and len(samples.distinct(k)) < 9), "")
        if key:
            rule[name] = key
            told.append(f"{name} {key} ({', '.join(map(str, samples.distinct(key)))})")
    chip = several_chips(samples)
    if chip:
        rule["chip"] = chip
        told.append(f"chip {chip} ({', '.join(map(str, samples.distinct(chip)))})")
    if not rule:
        return Finding("setup", "nothing", "no card of binning or readout is in all files", "inferred")
    return Finding("setup", "; ".join(told), "by name", "header", rule)


def several_chips(samples: Samples) -> str:
    """Give the card that tells several detectors apart; empty if there seems to be one."""
    for key in _CHIP:
        if samples.coverage(key) == 1.0 and 1 < len(samples.distinct(key)) <= 16:
            return key
    return ""


def find_identity(samples: Samples) -> Finding:
    """Say which cards only files of this camera have: constant ones that name camera, telescope and chip.

    The rule is a table for ``[identity]``.
    """
    rule: dict[str, Any] = {}
    for keys in (_CAMERA, _TELESCOPE, _CHIP):
        for key in keys:
            value = samples.constant(key)
            if isinstance(value, str) and not _GENERIC.fullmatch(value) and "*" not in value:
                rule[key] = value
                break
    if not rule:
        how = "no constant card names camera or telescope: any file counts as one of this camera"
        return Finding("identity", GIVE, how, "unknown")
    value = ", ".join(f"{key} {text!r}" for key, text in rule.items())
    return Finding("identity", value, "constant in all files", "inferred", rule)


def find_scale(samples: Samples, science: Sequence[Sample], setup: Mapping[str, Any]) -> Finding:
    """Say how large a pixel is on the sky: by celestial coordinates in the headers, else by a card.

    Coordinates that were fitted to stars are right; a nominal scale may be off by several per cent.
    """
    key, value = card_number(samples, _SCALE, 0.005, 60.0)
    spoken = [k for k in samples.keys if "arcsec" in samples.comment(k) and "pix" in samples.comment(k)]
    if not key:
        key, value = card_number(samples, spoken, 0.005, 60.0)
    rule: dict[str, Any] = {"keyword": key} if key else {}
    factor, by = 1.0, _binning_card(samples, setup)
    if key and "unbinned" in samples.comment(key) and by:
        rule["times"] = by
        factor = _first_number(samples.files[0].cards[by])
    fitted = _fitted_scale(science)
    if isfinite(fitted):
        if key and abs(fitted / (value * factor) - 1.0) < 0.02:
            how = f"the celestial coordinates of the science frames agree ({fitted:.4f})"
            return Finding("scale", f"{key}, {value * factor:.4g} arcsec/pixel", how, "header", _short(rule))
        rule |= {"value": round(fitted / factor, 5), "source": "celestial coordinates in the headers of science frames"}
        others = (f"{key}: {value * factor:.4g}",) if key else ()
        how = "celestial coordinates in the headers of science frames"
        return Finding("scale", f"{fitted:.4f} arcsec/pixel", how, "header", rule, others)
    if not key:
        return Finding("scale", GIVE, "no card and no celestial coordinates tell it", "unknown")
    binned = f", times {by}" if factor != 1.0 else ""
    return Finding("scale", f"{key}{binned}, {value * factor:.4g} arcsec/pixel", "by name", "inferred", _short(rule))


def _short(rule: dict[str, Any]) -> Any:
    return rule["keyword"] if set(rule) == {"keyword"} else rule


def _binning_card(samples: Samples, setup: Mapping[str, Any]) -> str:
    binning = setup.get("binning", "")
    return binning if isinstance(binning, str) else str(binning["keyword"][0][0])


def _first_number(value: Any) -> float:
    number = as_float(re.split(r"[\sx,]", str(value), maxsplit=1)[0])
    return 1.0 if number is None or number <= 0 else number


def _fitted_scale(science: Sequence[Sample]) -> float:
    """Pixel scale of celestial coordinates that change with the pointing, in arcsec; NaN without such."""
    from astropy.io.fits import Header

    scales, places = [], set()
    for sample in science[:: max(1, len(science) // 10)]:
        header = Header()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for key, value in sample.cards.items():
                if len(key) <= 8:
                    header[key] = value
            wcs = celestial_wcs(header)
            if wcs is None:
                continue
            matrix = wcs.celestial.pixel_scale_matrix
        scale = 3600.0 * sqrt(abs(float(np.linalg.det(matrix))))
        if 0.005 < scale < 60.0 and abs(wcs.wcs.crval).max() > 0:
            scales.append(scale)
            places.add(tuple(np.round(wcs.wcs.crval, 6)))
    # One place in all frames is where somebody pointed; a fit differs from frame to frame.
    if len(scales) < 3 or len(places) < 2 or np.std(scales) > 0.01 * np.median(scales) or np.ptp(scales) == 0:
        return nan
    return float(np.median(scales))
