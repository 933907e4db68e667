"""A package for a camera, written from what a survey of its sample files found out.

The definition says beside each value how it was found and how sure it is. What was not found stands there as a comment
to be filled in, never as a guess; the README lists everything in one table.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from albireo.survey import GIVE, Finding, Survey, plural

__all__ = ["camera_definition", "camera_readme", "camera_recipe", "stand_ins"]

WIDTH = 118

MOST_OTHERS = 4
"""Candidates not chosen that the definition names; the README has all."""

_QUANTITIES = (
    *("filter", "target", "exptime", "start", "mid", "airmass", "temperature", "scale", "gain", "read_noise"),
    *("saturation", "trim", "overscan"),
)
"""Findings that are quantities of a frame, in the order of the definition; the pointing is two."""

_PLACES = {"gain": "e-/adu", "read_noise": "e-", "saturation": "adu", "scale": "arcsec/pixel"}
"""Units of what a person may have to fill in."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def camera_definition(name: str, found: Survey) -> str:
    """Write the definition of a camera, as TOML.

    Parameters
    ----------
    name : str
        Of the camera.
    found : Survey
    """
    blocks = [
        _comment(
            f'How the camera "{name}" writes its files, by {plural(len(found.samples), "sample file")}. Beside each '
            "value stands how it was found and how sure that is: measured in the pixels, said by the header, inferred "
            "from names and values, unverified, or unknown."
        )
        + f"name = {toml(name)}\n"
    ]
    if found.mosaic:
        blocks.append(_amplifiers(found["amplifiers"]))
    identity = found["identity"]
    blocks.append(_said(identity) + (_table("identity", identity.rule) if identity.rule else ""))
    blocks.append(_kinds(found))
    blocks.append(_frame(found))
    site = found["site"]
    blocks.append(_site(site) if site.rule else _said(site))
    setup = found["setup"]
    blocks.append(
        _comment("What calibrations must share with a frame.") + _said(setup) + _table("setup", setup.rule or {})
    )
    # Keys without a table must stand before the first one, arrays of tables may stand anywhere.
    return "\n".join([*blocks, _example(found)])


def camera_recipe(name: str, found: Survey) -> str:
    """Write a recipe that uses the calibrations which the samples have, as TOML."""
    has, rules = found.has, {finding.quantity: finding.rule for finding in found.findings}
    overscan = found.mosaic or rules.get("overscan") is not None
    trim = found.mosaic or rules.get("trim") is not None
    lines = [
        f'# A night with the camera "{name}". albireo check tells whether it is right, albireo plan what it would do.'
    ]
    lines += ["", "[recipe]", f'title = "One night with {name}"', f'requires = ["albireo-{name}>=0.1"]']
    lines += ["", "[data]", 'path = "."              # where the raw frames are, relative to this file']
    lines += ["", "[instrument]", f"use = {toml(name)}"]
    lines += [f"# {quantity} =            # {GIVE}, in {_PLACES[quantity]}" for quantity in _missing(found)]
    lines += ["", "# What to measure; without targets the brightest stars get light curves."]
    lines += ["# [[targets]]", '# name = "WASP-12"', '# ra = "06:30:32.8"', '# dec = "+29:40:20"']
    if "flat" in has and "saturation" not in _missing(found):
        lines += ["", "[[select]]", 'use = "level"            # flats that are bright, but not too bright']
        lines += ['kind = "flat"', "min = 0.05", "max = 0.85"]
    for kind in ("bias", "dark", "flat"):
        if kind in has:
            lines += ["", "[[masters]]", 'use = "combine"', f'kind = "{kind}"']
    steps: list[tuple[str, list[str]]] = []
    if overscan:
        steps.append(("overscan", []))
    if trim:
        steps.append(("trim", []))
    if "bias" in has:
        steps.append(("bias", []))
    elif not overscan:
        level = f"level = {found.pedestal:.0f}            # unverified: about the darkest pixels of the samples"
        steps.append(("pedestal", [level if isfinite(found.pedestal) else "level = 0             # " + GIVE]))
    if "dark" in has:
        steps.append(("dark", []))
    steps.append(("gain", []))
    if "flat" in has:
        steps.append(("flat", []))
    for use, options in steps:
        lines += ["", "[[corrections]]", f"use = {toml(use)}", *options]
    for table, use in (
        ("[background]", "mesh"),
        ("[finding]", "sep"),
        ("[alignment]", "astroalign"),
        ("[[photometry]]", "aperture"),
        ("[[curves]]", "differential"),
        ("[[reports]]", "html"),
    ):
        lines += ["", table, f"use = {toml(use)}"]
    return "\n".join(lines) + "\n"


def camera_readme(found: Survey) -> str:
    """Write the part of a README that tells what was found, as Markdown."""
    rows = ["| quantity | value | how it was found | how sure | not chosen |", "|---|---|---|---|---|"]
    for finding in found.findings:
        cells = (finding.quantity, finding.value, finding.how, finding.certainty, "; ".join(finding.others))
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    remarks = [f"* {remark}" for remark in found.remarks]
    return "\n".join([*rows, *(["", "Of the samples:", "", *remarks] if remarks else [])]) + "\n"


def stand_ins(found: Survey) -> str:
    """Write the arguments that a test of the camera gives where the samples do not tell a constant."""
    values = {"gain": 1.0, "read_noise": 5.0, "saturation": 60000.0}
    return ", ".join(f"{quantity}={values[quantity]}" for quantity in _missing(found))


def _missing(found: Survey) -> list[str]:
    """Constants that every measurement needs and that the samples do not tell."""
    rules = {finding.quantity: finding.rule for finding in found.findings}
    per_amplifier = rules.get("amplifiers") or {}
    needed = ("gain", "read_noise", "saturation")
    return [name for name in needed if rules.get(name) is None and name not in per_amplifier]


# --- parts of a definition --------------------------------------------------------------------------------------------


def _kinds(found: Survey) -> str:
    finding = found["kind"]
    text = _comment("What a frame is: the first rule that fits.") + _said(finding)
    rules = list(finding.rule)
    catch_all = rules.pop() if rules and set(rules[-1]) == {"kind"} else None
    text += "".join(_array("kinds", rule) for rule in rules)
    # A rule for one file tells nothing of the names of others: those of simulated nights need some of their own.
    patterned = {rule["kind"] for rule in rules if "*" in rule.get("file", "")}
    lone = [kind for kind in dict.fromkeys(rule["kind"] for rule in rules) if kind not in patterned]
    if found.kinds.by_name and lone:
        text += _comment("Names in simulated nights.")
        for kind in lone:
            variant = {k: v for rule in rules if rule["kind"] == kind for k, v in rule.items() if k == "variant"}
            text += _array("kinds", {"kind": kind, **variant, "file": f"{kind}-*"})
    return text + (_array("kinds", catch_all) if catch_all else "")


def _frame(found: Survey) -> str:
    findings = {finding.quantity: finding for finding in found.findings}
    text = _comment("Quantity to header card, or to a constant with its source.") + "[frame]\n"
    for quantity in _QUANTITIES:
        finding = findings.get(quantity)
        if finding is None:
            if quantity in _PLACES and not found.mosaic:
                text += f"# {quantity} =   # {GIVE}\n"
            continue
        text += _said(finding)
        if finding.rule is not None:
            text += f"{quantity} = {toml(_plain(finding))}\n"
        elif quantity in _PLACES:
            text += f"# {quantity} =   # {GIVE}, in {_PLACES[quantity]}\n"
    pointing = findings["pointing"]
    text += _said(pointing)
    for axis, rule in (pointing.rule or {}).items():
        text += f"{axis} = {toml(rule)}\n"
    for quantity in ("bias level", "usable range", "dark current"):
        if quantity in findings and findings[quantity].value != GIVE:
            text += _said(findings[quantity])
    return text


def _plain(finding: Finding) -> Any:
    """Give the rule with whole numbers as such, and the certainty of a constant."""
    rule = finding.rule
    if not (isinstance(rule, dict) and "value" in rule):
        return rule
    value = int(rule["value"]) if float(rule["value"]).is_integer() else rule["value"]
    ordered = {"value": value} | {key: item for key, item in rule.items() if key not in ("value", "source")}
    return ordered | {"source": rule.get("source", ""), "certainty": finding.certainty}


def _site(site: Finding) -> str:
    rule = dict(site.rule)
    text = _said(site) + "[site]\n"
    for name in ("longitude", "latitude", "height"):
        if name in rule:
            text += f"{name} = {toml(rule[name])}\n"
    if {"longitude", "latitude"} <= set(rule):
        # A few kilometres of height change barycentric times by microseconds.
        return text if "height" in rule else text + f"# height = 1000   # {GIVE}, in m; zero until then\n"
    return _comment(f"{site.value}: a site needs longitude, latitude and height; {GIVE}.")


def _amplifiers(finding: Finding) -> str:
    return _said(finding) + _table("amplifiers", finding.rule, array=True)


def _example(found: Survey) -> str:
    sample, findings = found.example, found.findings
    keys = dict.fromkeys(key for finding in findings for key in _keywords(finding.quantity, finding.rule))
    cards = {"NAXIS1": sample.shape[1], "NAXIS2": sample.shape[0]}
    own = [key for key in keys if found.mosaic and any(key in unit for unit in sample.units)]
    cards |= {key: sample.cards[key] for key in keys if key in sample.cards and key not in own}
    text = _comment(
        f"A typical science frame ({sample.name}), for simulations and tests: the cards that the rules use."
    )
    text += _table("example", cards)
    for unit in sample.units if found.mosaic else ():
        text += _table("example_hdus", {key: unit[key] for key in own if key in unit}, array=True)
    return text


def _keywords(quantity: str, rule: Any) -> Iterable[str]:
    """Give the keywords that a rule reads."""
    if quantity == "identity":
        yield from rule or {}
    elif quantity == "kind":
        for part in rule:
            yield from part.get("when", {})
    elif quantity in ("site", "setup", "pointing", "amplifiers"):
        for name, part in (rule or {}).items():
            if name != "hdu":
                yield from _keywords("", part)
    elif isinstance(rule, str) and not rule.lstrip().startswith("["):
        yield rule
    elif isinstance(rule, list):
        for part in rule:
            yield from _keywords("", part)
    elif isinstance(rule, dict):
        for name in ("keyword", "time", "times"):
            yield from _keywords("", rule.get(name))


# --- TOML -------------------------------------------------------------------------------------------------------------


def toml(value: Any) -> str:
    """Write a value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return repr(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _table(name: str, entries: Mapping[str, Any], array: bool = False) -> str:
    head = f"[[{name}]]" if array else f"[{name}]"
    return "\n".join([head, *(f"{_key(key)} = {toml(value)}" for key, value in entries.items())]) + "\n"


def _array(name: str, entries: Mapping[str, Any]) -> str:
    return _table(name, entries, array=True)


def _said(finding: Finding) -> str:
    """Write how a value was found as a comment, and what was not chosen."""
    name = finding.quantity.replace("_", " ")
    text = f"{name[0].upper()}{name[1:]}: {finding.value} ({finding.certainty}: {finding.how})."
    if finding.certainty == "unknown":
        text = f"{name[0].upper()}{name[1:]} is {GIVE} ({finding.how})."
    if finding.others:
        text += f" Not chosen: {'; '.join(finding.others[:MOST_OTHERS])}."
    return _comment(text)


def _comment(text: str) -> str:
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, WIDTH - 2) or [""]]
    return "".join(f"# {line}\n" for line in lines)
