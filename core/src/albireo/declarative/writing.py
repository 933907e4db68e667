"""From a `Frame` back to the cards of its camera: the inverse of reading, for simulations and tests.

The cards of the definition's example are the ground: what no rule reads (a serial number, a software gain) stands there
as a camera writes it. Every quantity of the frame is then written under the first keyword of its rule.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import asin, degrees, isfinite
from typing import TYPE_CHECKING, Any

from albireo.declarative.reading import SECONDS, UNIX_OF_MJD_ZERO, ZERO_CELSIUS
from albireo.definition import FACTS
from albireo.frames import JD_OF_MJD_ZERO, SECONDS_PER_DAY, Frame, Section, Tile, mjd_to_iso
from albireo.headers import as_float

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from albireo.definition import CameraDefinition, Card, Moment, Number, SectionRule, Text

__all__ = ["cards_of", "extension_cards"]

NUMBERS = (
    "exptime",
    "ra",
    "dec",
    "airmass",
    "temperature",
    "gain",
    "read_noise",
    "saturation",
    "dark_current",
    "scale",
)
SIZE = ("NAXIS1", "NAXIS2")


def cards_of(camera: CameraDefinition, frame: Frame, example: Mapping[str, Card]) -> dict[str, Any]:
    """Write the cards of a frame.

    Parameters
    ----------
    camera : CameraDefinition
    frame : Frame
    example : mapping
        The example cards of its detector.

    Raises
    ------
    ValueError
        If the definition has no rule for the kind of this frame.
    """
    rules = camera.frame
    cards: dict[str, Any] = {key: value for key, value in example.items() if key not in SIZE}
    for rule in _rules(camera):
        for keyword in rule.keyword:
            for key in [keyword] if isinstance(keyword, str) else keyword:
                if not _fixed(rule):
                    cards.pop(key, None)
    for key, wants in camera.identity.items():
        if key not in FACTS:
            cards.setdefault(key, _plain(wants[0]))
    for name in ("detector", "filter", "target", "exposure"):
        _write_text(cards, getattr(rules, name), getattr(frame, name))
    for name, setting in frame.setup:
        _write_text(cards, camera.setup.get(name), setting)
    for name in NUMBERS:
        _write_number(cards, getattr(rules, name), getattr(frame, name), frame.gain)
    if camera.site is not None and frame.site is not None:
        for name, value in zip(("longitude", "latitude", "height"), frame.site, strict=True):
            _write_number(cards, getattr(camera.site, name), value, frame.gain)
    if camera.telescope is not None:
        _write_number(cards, camera.telescope.diameter, frame.diameter, frame.gain)
    end = frame.start + frame.exptime / SECONDS_PER_DAY
    for moments, moment in ((rules.end, end), (rules.mid, frame.mid), (rules.start, frame.start)):
        for rule in reversed(moments or ()):
            _write_moment(cards, rule, moment)
    cards.update(_kind_cards(camera, frame))
    if frame.amplifiers and not frame.tiles and not camera.amplifiers:
        _write_section(cards, rules.trim, frame.amplifiers[0].data)
        _write_section(cards, rules.overscan, frame.amplifiers[0].overscan)
    if camera.amplifiers and not any(rule.hdu is not None for rule in camera.amplifiers):
        for number, amplifier in enumerate(camera.amplifiers[: len(frame.amplifiers)]):
            cards.update(_amplifier_cards(camera, frame, number, amplifier.name))
    return {key: value for key, value in cards.items() if key not in FACTS}


def extension_cards(camera: CameraDefinition, frame: Frame) -> dict[int, dict[str, Any]]:
    """Write the cards of each extension that holds an amplifier of a frame, by the index of its HDU."""
    spread = [rule for rule in camera.amplifiers if rule.hdu is not None]
    if not spread:
        return {}
    extensions: dict[int, dict[str, Any]] = {}
    for number, tile in enumerate(frame.tiles[: len(frame.amplifiers)]):
        example = camera.example_hdus[number] if number < len(camera.example_hdus) else {}
        cards = {key: value for key, value in example.items() if key not in SIZE}
        extensions[tile.hdu] = cards | _amplifier_cards(camera, frame, number, "")
    return extensions


def _rules(camera: CameraDefinition) -> Iterable[Text | Number | Moment]:
    rules = camera.frame
    singles = [getattr(rules, name) for name in (*NUMBERS, "detector", "filter", "target", "exposure")]
    moments = [moment for name in ("start", "mid", "end") for moment in getattr(rules, name) or ()]
    site = [] if camera.site is None else [camera.site.longitude, camera.site.latitude, camera.site.height]
    telescope = [] if camera.telescope is None else [camera.telescope.diameter]
    return [rule for rule in (*singles, *moments, *site, *telescope, *camera.setup.values()) if rule is not None]


def _fixed(rule: Text | Number | Moment) -> bool:
    """Whether the cards of a rule cannot be written from a value: those of the example stay."""
    return bool(rule.pattern)


def _kind_cards(camera: CameraDefinition, frame: Frame) -> dict[str, Any]:
    if frame.kind == "unknown":
        return {}
    rule = next((rule for rule in camera.kinds if (rule.kind, rule.variant) == (frame.kind, frame.variant)), None)
    if rule is None:
        rule = next((rule for rule in camera.kinds if rule.kind == frame.kind), None)
    if rule is None:
        known = ", ".join(dict.fromkeys(rule.kind for rule in camera.kinds)) or "none"
        raise ValueError(f"{camera.name} has no rule for {frame.kind} frames; it knows {known}")
    return {key: _plain(wants[0]) for key, wants in rule.when.items() if key not in FACTS}


def _plain(want: Any) -> Any:
    """Give a value that fits a wanted one: what stands before the ``*``."""
    return want.split("*")[0] if isinstance(want, str) else want


def _write_text(cards: dict[str, Any], rule: Text | None, value: str) -> None:
    first = _writable(rule)
    if rule is None or first is None or not value:
        return
    theirs = (header for header, ours in rule.values.items() if ours == value and "*" not in header)
    value = next(theirs, value)
    if isinstance(first, str):
        cards[first] = value
        return
    parts = value.split(rule.join)
    parts += [rule.drop[0] if rule.drop else ""] * (len(first) - len(parts))
    cards.update(zip(first, parts, strict=False))


def _writable(rule: Text | Number | Moment | None) -> str | tuple[str, ...] | None:
    """Give the first keyword of a rule that is a card, if its value can be written there."""
    if rule is None or _fixed(rule):
        return None
    return next((key for key in rule.keyword if key not in FACTS), None)


def _write_number(cards: dict[str, Any], rule: Number | None, value: float, gain: float) -> None:
    key = _writable(rule)
    if rule is None or key is None or not isfinite(value):
        return
    assert isinstance(key, str)
    if rule.times:
        binning = next((cards[card] for card in rule.times if card in cards), "1")
        value /= as_float(str(binning).split()[0]) or 1.0
    written: float | str = value
    if rule.unit in ("hms", "dms"):
        written = _sexagesimal_text(value / 15.0 if rule.unit == "hms" else value, 4 if rule.unit == "hms" else 3)
    elif rule.unit == "west":
        written = -value
    elif rule.unit == "K":
        written = value + ZERO_CELSIUS
    elif rule.unit == "altitude":
        written = degrees(asin(1.0 / value))
    elif rule.unit == "adu":
        written = value / gain
    elif rule.unit in SECONDS:
        written = value / SECONDS[rule.unit]
    cards[key] = written


def _sexagesimal_text(value: float, decimals: int) -> str:
    units = round(abs(value) * 3600 * 10**decimals)
    seconds, fraction = divmod(units, 10**decimals)
    minutes, second = divmod(seconds, 60)
    whole, minute = divmod(minutes, 60)
    return f"{'-' if value < 0 else ''}{whole:02d}:{minute:02d}:{second:02d}.{fraction:0{decimals}d}"


def _write_moment(cards: dict[str, Any], rule: Moment, value: float) -> None:
    key = _writable(rule)
    if key is None or not isfinite(value):
        return
    if not isinstance(rule.offset, str):
        value += rule.offset / 24.0
    keys = [key] if isinstance(key, str) else list(key)
    if rule.format in ("mjd", "jd"):
        cards[keys[0]] = value + (JD_OF_MJD_ZERO if rule.format == "jd" else 0.0)
        return
    if rule.format == "unix":
        cards[keys[0]] = (value - UNIX_OF_MJD_ZERO) * SECONDS_PER_DAY
        return
    if rule.format != "iso":
        zero = datetime(1858, 11, 17, tzinfo=UTC)
        text = (zero + timedelta(days=value, microseconds=0.5)).strftime(rule.format)
        cards.update(zip(keys, text.split(" ", len(keys) - 1), strict=False))
        return
    text = mjd_to_iso(value)
    date, _, clock = text.partition("T")
    if len(keys) > 1:
        cards |= {keys[0]: date, keys[1]: clock}
        return
    cards[keys[0]] = text
    if rule.time:
        cards[rule.time[0]] = clock


def _write_section(cards: dict[str, Any], rule: SectionRule | None, section: Section | None) -> None:
    if rule is not None and rule.keyword and rule.value is None and section is not None:
        cards[rule.keyword[0]] = section.to_fits()


def _amplifier_cards(camera: CameraDefinition, frame: Frame, number: int, name: str) -> dict[str, Any]:
    """Write the cards of one amplifier; where it lies on the detector as its place in the image, times the binning."""
    rules = [rule for rule in camera.amplifiers if not name or rule.name == name]
    rule, amplifier = rules[min(number, len(rules) - 1) if not name else 0], frame.amplifiers[number]
    cards: dict[str, Any] = {}
    _write_number(cards, rule.gain or (camera.frame.gain if rule.hdu is not None else None), amplifier.gain, 1.0)
    noise = rule.read_noise or (camera.frame.read_noise if rule.hdu is not None else None)
    _write_number(cards, noise, amplifier.read_noise, amplifier.gain)
    if not frame.tiles:
        _write_section(cards, rule.data, amplifier.data)
        _write_section(cards, rule.overscan, amplifier.overscan)
        return cards
    lit = frame.tiles[number]
    _write_section(cards, rule.data, lit.source)
    _write_section(cards, rule.overscan, _dark_source(frame, amplifier.overscan))
    if rule.place is not None and rule.place.keyword:
        cards[rule.place.keyword[0]] = _place_text(lit)
    return cards


def _dark_source(frame: Frame, overscan: Section | None) -> Section | None:
    return next((tile.source for tile in frame.tiles if tile.target == overscan), None)


def _place_text(tile: Tile) -> str:
    at = tile.target
    columns: Sequence[int] = (at.x0 + 1, at.x1)
    rows: Sequence[int] = (at.y0 + 1, at.y1)
    if tile.flip_x:
        columns = columns[::-1]
    if tile.flip_y:
        rows = rows[::-1]
    return f"[{columns[0]}:{columns[1]},{rows[0]}:{rows[1]}]"
