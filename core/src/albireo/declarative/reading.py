"""From the cards of one image to a `Frame`, by the rules of a definition.

For every number the order is: what the recipe says, a constant of the definition, the header, a default of the
definition; where two of them differ, the frame carries a note that says which one counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf, isclose, isfinite, nan, radians, sin
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from albireo.declarative.cards import (
    Cards,
    agrees,
    file_facts,
    matched,
    named,
    quoted,
    same,
)
from albireo.declarative.layout import Channel, mosaic, parse_section
from albireo.definition import (
    AmplifierRule,
    CameraDefinition,
    Case,
    Moment,
    Number,
    Part,
    SectionRule,
    Text,
)
from albireo.expressions import evaluate
from albireo.frames import JD_OF_MJD_ZERO, SECONDS_PER_DAY, Amplifier, Frame, FrameError, Section, Tile, iso_to_mjd
from albireo.headers import as_float, as_text, sexagesimal

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from albireo.definition import _Occasion

__all__ = ["UNIX_OF_MJD_ZERO", "ZERO_CELSIUS", "Image", "Reading", "Wishes"]

UNIX_OF_MJD_ZERO = 40587.0  # MJD of 1970-01-01
ZERO_CELSIUS = 273.15  # K

UNITS = {
    "gain": "e-/adu",
    "read_noise": "e-",
    "saturation": "adu",
    "scale": "arcsec/pixel",
    "exptime": "s",
    "ra": "deg",
    "dec": "deg",
    "temperature": "deg C",
    "dark_current": "e-/s",
    "longitude": "deg",
    "latitude": "deg",
    "height": "m",
}

POSSIBLE = {
    "gain": (1e-6, 1e6),
    "read_noise": (0.0, 1e6),
    "saturation": (1.0, 1e12),
    "scale": (1e-6, 1e6),
    "airmass": (1.0, 100.0),
    "ra": (0.0, 360.0),
    "dec": (-90.0, 90.0),
    "temperature": (-ZERO_CELSIUS, 1000.0),
    "dark_current": (0.0, 1e9),
    "longitude": (-360.0, 360.0),
    "latitude": (-90.0, 90.0),
}
"""What a header may say without being wrong; cameras write 0, -1 or 99 for what they do not know."""

SECONDS = {"ms": 1e-3, "us": 1e-6, "min": 60.0}
LONGEST_EXPOSURE = 1e6  # s
FIRST_MJD, LAST_MJD = -678575.0, 2973483.0  # years 1 to 9999, as far as calendars go

_ZONE = re.compile(r":\d[\d.]*\s*(Z|[+-]\d{2}:?(\d{2})?)\s*$", re.IGNORECASE)
"""The offset at the end of an ISO time."""

Image = tuple[int, "Header"]
"""Index and header of an HDU with an image."""


class Wishes(Protocol):
    """What a recipe may say about a camera."""

    @property
    def site(self) -> tuple[float, float, float] | None:
        """Longitude, latitude and height."""

    @property
    def diameter(self) -> float | None:
        """Diameter of the telescope in m."""

    def wanted(self, quantity: str, detector: str, amplifier: str = "") -> float | None:
        """Give the value of a quantity that counts in place of the header's and the definition's."""


class Reading:
    """One image on its way to a frame.

    Parameters
    ----------
    camera : CameraDefinition
    wishes : Wishes
    path : Path
    images : sequence of (int, Header)
        The image; or every image of the file, for a camera whose amplifiers have an HDU each.
    primary : Header or None
        The primary header, where it is not that of the image.
    """

    def __init__(
        self, camera: CameraDefinition, wishes: Wishes, path: Path, images: Sequence[Image], primary: Header | None
    ) -> None:
        self.camera, self.wishes, self.path, self.images = camera, wishes, path, images
        self.primary = primary
        self.hdu, self.header = images[0]
        self.shape = self._shape(self.hdu, self.header)
        self.notes: list[str] = []
        self.known: dict[str, Any] = {}
        self.cards = self._cards(self.hdu, self.header, self.shape)

    def _cards(self, hdu: int, header: Header, shape: tuple[int, int]) -> Cards:
        facts = file_facts(self.path, hdu, shape)
        rules = self.camera.frame
        for name, rule in (("detector", rules.detector), ("filter", rules.filter)):
            facts[name] = self._once(name, lambda rule=rule: self._text(rule))  # type: ignore[misc]
        facts["kind"] = lambda: self.kind()[0]
        facts["part"] = lambda: str(self.known.get("part", ""))
        return Cards([header] if self.primary is None else [header, self.primary], facts)

    def _once(self, name: str, make: Callable[[], str]) -> Callable[[], str]:
        def value() -> str:
            if name not in self.known:
                self.known[name] = ""  # a rule that asks for itself gets nothing
                self.known[name] = make()
            return str(self.known[name])

        return value

    def parts(self) -> list[Part | None]:
        """Give the pieces of this image that are frames of their own; None for the whole."""
        return [part for part in self.camera.parts if self._holds(part)] or [None]

    def frame(self, part: Part | None = None) -> Frame:
        """Give the frame of the whole image, or of a piece of it.

        Raises
        ------
        FrameError
            If a value cannot be understood, or a science frame lacks what it needs.
        """
        self.notes, self.known = [], {"part": part.name if part is not None else ""}
        rules = self.camera.frame
        kind, variant = self.kind()
        exptime = self._number("exptime", rules.exptime)
        start, end = self.start(), self._moment("end", rules.end)
        if not isfinite(start):
            start = end - exptime / SECONDS_PER_DAY
        mid = self._moment("mid", rules.mid)
        if not isfinite(mid):
            mid = start + exptime / 2 / SECONDS_PER_DAY
        if kind == "science":
            self._require("exptime", rules.exptime.keyword if rules.exptime else (), exptime)
            moments = [m for moment in (rules.start, rules.end) for m in moment or ()]
            self._require("start", [key for m in moments for key in m.keyword], start if rules.mid is None else mid)
        detector = self._text(rules.detector)
        shape, tiles, amplifiers = self._pixels(part, detector)
        return Frame(
            path=str(self.path),
            hdu=self.hdu,
            instrument=self.camera.name,
            detector=detector,
            kind=kind,
            variant=variant,
            filter=self._text(rules.filter),
            target=self._text(rules.target),
            exptime=exptime,
            start=start,
            mid=mid,
            ra=self._number("ra", rules.ra),
            dec=self._number("dec", rules.dec),
            airmass=self._number("airmass", rules.airmass),
            temperature=self._number("temperature", rules.temperature),
            scale=self._number("scale", rules.scale, wanted=self.wishes.wanted("scale", detector)),
            shape=shape,
            tiles=tiles,
            amplifiers=amplifiers,
            saturation=self._number("saturation", rules.saturation, wanted=self.wishes.wanted("saturation", detector)),
            linearity=self._linearity(),
            dark_current=self._number(
                "dark_current", rules.dark_current, wanted=self.wishes.wanted("dark_current", detector)
            ),
            site=self._site(),
            diameter=self._diameter(),
            spared=tuple(dict.fromkeys(k for rule in self.camera.spared if self._holds(rule) for k in rule.kinds)),
            setup=tuple((name, self._text(rule)) for name, rule in self.camera.setup.items()),
            exposure=self._text(rules.exposure),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    # --- pixels -------------------------------------------------------------------------------------------------------

    def _shape(self, hdu: int, header: Header) -> tuple[int, int]:
        axes = header.get("NAXIS", 2)
        if axes != 2:
            raise FrameError(f"HDU {hdu} of {self.path} has {axes} axes (NAXIS); an image has 2")
        return int(header["NAXIS2"]), int(header["NAXIS1"])

    def _pixels(
        self, part: Part | None, detector: str
    ) -> tuple[tuple[int, int], tuple[Tile, ...], tuple[Amplifier, ...]]:
        rules = self.camera.frame
        active = [rule for rule in self.camera.amplifiers if agrees(self.cards, rule.when)]
        if part is not None:
            if not part.section.within(self.shape):
                raise FrameError(
                    f"{self.path}: the part {part.name or part.section.to_fits()} lies at {part.section.to_fits()}, "
                    f"beyond the image of {self.shape[1]} x {self.shape[0]} pixels (NAXIS1 x NAXIS2)"
                )
            ny, nx = part.section.shape
            lit = Section(0, ny, 0, nx)
            amplifier = self._amplifier(None, self.cards, detector, "")
            return (ny, nx), (Tile(self.hdu, self.shape, part.section, lit),), (replace(amplifier, data=lit),)
        if not active:
            lit = self._section("trim", rules.trim, self.shape) or Section(0, self.shape[0], 0, self.shape[1])
            amplifier = self._amplifier(None, self.cards, detector, "")
            dark = self._section("overscan", rules.overscan, self.shape)
            return self.shape, (), (replace(amplifier, data=lit, overscan=dark),)
        channels: list[Channel] = []
        amplifiers: list[Amplifier] = []
        for rule in active:
            for hdu, header in self._images_of(rule):
                shape = self._shape(hdu, header)
                cards = self.cards if hdu == self.hdu else self._cards(hdu, header, shape)
                name = rule.name or (f"HDU {hdu}" if rule.hdu is not None else f"amplifier {len(channels) + 1}")
                channels.append(self._channel(rule, cards, hdu, shape, name))
                amplifiers.append(self._amplifier(rule, cards, detector, name))
        try:
            whole = mosaic(channels)
        except FrameError as error:
            raise FrameError(f"{self.path}: {error}") from None
        made = [
            replace(amplifier, data=lit, overscan=dark)
            for amplifier, (lit, dark) in zip(amplifiers, whole.sections, strict=True)
        ]
        return whole.shape, whole.tiles, tuple(made)

    def _images_of(self, rule: AmplifierRule) -> Sequence[Image]:
        if rule.hdu == "each":
            return self.images
        if rule.hdu is None:
            return self.images[:1]
        found = [image for image in self.images if image[0] == rule.hdu]
        if not found:
            raise FrameError(f"{self.path} has no image in HDU {rule.hdu}, where amplifier {rule.name} should be")
        return found

    def _channel(self, rule: AmplifierRule, cards: Cards, hdu: int, shape: tuple[int, int], name: str) -> Channel:
        lit = self._section("data", rule.data, shape, cards) or Section(0, shape[0], 0, shape[1])
        dark = self._section("overscan", rule.overscan, shape, cards)
        place, flip_y, flip_x = None, False, False
        if rule.place is not None:
            key, raw = self._first(rule.place.keyword, cards=cards)
            if rule.place.value is not None:
                place = rule.place.value
            elif (found := parse_section(str(raw))) is not None:
                place, flip_y, flip_x = found
            else:
                raise self._fail("place", key, raw, "a section of the form '[x1:x2,y1:y2]'")
        return Channel(name, hdu, shape, lit, dark, place, flip_y, flip_x)

    def _amplifier(self, rule: AmplifierRule | None, cards: Cards, detector: str, name: str) -> Amplifier:
        """Give the constants of an amplifier; its sections follow."""
        rules = self.camera.frame
        gain = self._number(
            "gain",
            (rule and rule.gain) or rules.gain,
            wanted=self.wishes.wanted("gain", detector, name),
            cards=cards,
            of=name,
        )
        noise = self._number(
            "read_noise",
            (rule and rule.read_noise) or rules.read_noise,
            wanted=self.wishes.wanted("read_noise", detector, name),
            cards=cards,
            of=name,
            gain=gain,
        )
        return Amplifier(Section(0, 1, 0, 1), None, gain, noise, name)

    def _section(
        self, quantity: str, rule: SectionRule | None, shape: tuple[int, int], cards: Cards | None = None
    ) -> Section | None:
        if rule is None:
            return None
        cards = cards or self.cards
        section, where = rule.value, ""
        said = [(key, value) for key in rule.keyword for value in cards.every(key)] if section is None else []
        for key, value in said:
            found = parse_section(str(value))
            if found is not None and not any(found[1:]):
                section, where = found[0], f"{key} = "
                break
        if section is None and said:
            key, value = said[0]
            raise self._fail(quantity, key, value, "a section of the form '[x1:x2,y1:y2]'")
        if section is None:
            section = rule.sizes.get(f"{shape[1]}x{shape[0]}")
        if section is not None and not section.within(shape):
            raise FrameError(
                f"{self.path}: {quantity} section {where}{section.to_fits()} reaches beyond the image of "
                f"{shape[1]} x {shape[0]} pixels (NAXIS1 x NAXIS2)"
            )
        return section

    # --- what and when ------------------------------------------------------------------------------------------------

    def kind(self) -> tuple[str, str]:
        """Give kind and variant by the first rule that fits."""
        if "kinds" not in self.known:
            self.known["kinds"] = ("unknown", "")
            self.known["kinds"] = self._kind()
        kind, variant = self.known["kinds"]
        return str(kind), str(variant)

    def _kind(self) -> tuple[str, str]:
        for rule in self.camera.kinds:
            if named(self.path, rule.file) and self._holds(rule):
                return rule.kind, rule.variant
        asked = dict.fromkeys(key for rule in self.camera.kinds for key in rule.when)
        said = [f"{key} = {quoted(self.cards.get(key))}" for key in asked]
        self.notes.append(f"kind unknown: {', '.join(said) or 'no rule fits'}")
        return "unknown", ""

    def _holds(self, rule: _Occasion) -> bool:
        """Whether something holds for this frame, by cards, expression and date."""
        if not agrees(self.cards, rule.when) or (rule.test and not evaluate(rule.test, self.cards.get)):
            return False
        if rule.since or rule.until:
            start = self.start()
            if not isfinite(start):
                return False
            first, end = (iso_to_mjd(text) if text else None for text in (rule.since, rule.until))
            return (first is None or start >= first) and (end is None or start < end)
        return True

    def start(self) -> float:
        """Start of the exposure; NaN if it is not known."""
        if "start" not in self.known:
            self.known["start"] = nan
            self.known["start"] = self._moment("start", self.camera.frame.start)
        return float(self.known["start"])

    def _moment(self, quantity: str, rules: Sequence[Moment] | None) -> float:
        for number, rule in enumerate(rules or (), 1):
            if self._placeholder(quantity):
                return nan
            try:
                moment = self._one_moment(quantity, rule)
            except FrameError as error:
                if number == len(rules or ()):
                    raise
                self.notes.append(f"{quantity} by another card: {str(error).removeprefix(f'{self.path}: ')}")
                continue
            if isfinite(moment):
                return moment
        return nan

    def _one_moment(self, quantity: str, rule: Moment) -> float:
        key, raw = self._joined(rule.keyword, " ", rule.unknown)
        if raw is not None and rule.pattern:
            raw = matched(rule.pattern, str(raw))
        if raw is None:
            return nan
        hours = self._worked_out(rule.offset)
        if hours is None:
            raise self._fail(quantity, f"the offset {rule.offset}", None, "a number of hours")
        offset = hours / 24.0
        if rule.format in ("mjd", "jd", "unix"):
            number = as_float(raw)
            if number is None:
                raise self._fail(quantity, key, raw, f"a number ({rule.format.upper()})")
            if rule.format == "unix":
                number = UNIX_OF_MJD_ZERO + number / SECONDS_PER_DAY
            number -= JD_OF_MJD_ZERO if rule.format == "jd" else 0.0
            if not FIRST_MJD <= number <= LAST_MJD:
                raise self._fail(quantity, key, raw, f"a date of years 1 to 9999 ({rule.format.upper()})")
            return number - offset
        text = str(raw)
        if rule.time and ":" not in text:
            clock, time = self._first(rule.time, rule.unknown)
            if time is None:
                raise FrameError(
                    f"{self.path}: {key} = {quoted(raw)} is a date without a time, and the header has no "
                    f"{' or '.join(rule.time)}"
                )
            key, text = f"{key} and {clock}", f"{text}T{time}"
        try:
            if rule.format == "iso":
                # A text that tells its own offset needs no other.
                return iso_to_mjd(text) - (0.0 if _ZONE.search(text) else offset)
            return iso_to_mjd(datetime.strptime(text, rule.format).replace(tzinfo=UTC).isoformat()) - offset
        except ValueError:
            example = datetime(2017, 12, 20, 1, 33, 43, 500000, tzinfo=UTC)
            form = "2017-12-20T01:33:43.5" if rule.format == "iso" else example.strftime(rule.format)
            hint = "" if as_float(raw) is None else "; for a number set format = 'mjd', 'jd' or 'unix'"
            raise self._fail(quantity, key, text, f"a date of the form {form}{hint}") from None

    # --- values -------------------------------------------------------------------------------------------------------

    def _first(
        self, keywords: Iterable[str], unknown: Iterable[Any] = (), cards: Cards | None = None
    ) -> tuple[str, Any]:
        """Give the first card with a value; the value is None if there is none."""
        key = ""
        for key in keywords:
            value = (cards or self.cards).get(key)
            if value is not None and not any(same(value, want) for want in unknown):
                return key, value
        return key, None

    def _joined(
        self, keywords: Iterable[str | tuple[str, ...]], join: str, unknown: Iterable[Any], drop: Sequence[str] = ()
    ) -> tuple[str, Any]:
        """Give the first card, or group of cards joined to a text, with a value."""
        key = ""
        for keyword in keywords:
            if isinstance(keyword, str):
                key, value = self._first((keyword,), unknown)
                if value is not None:
                    return key, value
                continue
            found = [(k, part) for k in keyword if (part := as_text(self._first((k,), unknown)[1]))]
            key = " and ".join(k for k, _ in found) or " and ".join(keyword)
            kept = [part for _, part in found if part not in drop]
            if found:
                return key, join.join(kept or [found[0][1]])
        return key, None

    def _placeholder(self, quantity: str) -> bool:
        """Whether what a header says of a quantity is a placeholder; the notes say why."""
        for rule in self.camera.placeholders:
            if quantity in rule.of and self._holds(rule):
                said = ", ".join(f"{key} = {quoted(self.cards.get(key))}" for key in rule.when)
                self.notes.append(f"{', '.join(rule.of)} unknown: {rule.why or f'{said} is a placeholder'}")
                return True
        return False

    def _fail(self, quantity: str, key: str, value: Any, right: str) -> FrameError:
        return FrameError(
            f"{self.path}: {quantity.replace('_', ' ')} cannot be read from {key} = {quoted(value)}; "
            f"it should be {right}"
        )

    def _require(self, quantity: str, keywords: Iterable[str | tuple[str, ...]], value: float) -> None:
        if keywords and not isfinite(value):
            cards = " or ".join(" and ".join(k) if isinstance(k, tuple) else k for k in keywords)
            raise FrameError(f"{self.path}: the header has no {quantity} ({cards}), which a science frame needs")

    def _constants(self, rule: Number) -> Case:
        """Give the constant and default that hold for this frame."""
        for case in rule.cases:
            if self._holds(case):
                return case
        return Case(value=rule.value, default=rule.default, source=rule.source, certainty=rule.certainty)

    def _worked_out(self, value: float | str | None) -> float | None:
        return as_float(evaluate(value, self.cards.get)) if isinstance(value, str) else value

    def _number(
        self,
        quantity: str,
        rule: Number | None,
        *,
        wanted: float | None = None,
        cards: Cards | None = None,
        of: str = "",
        gain: float = nan,
    ) -> float:
        """Resolve one number: recipe, constant, header, default; notes say where these differ."""
        rule = rule or Number()
        cards = cards or self.cards
        factor = self._factor(quantity, rule)
        if rule.unit == "adu":
            factor *= gain
        key, raw = self._first(rule.keyword, rule.unknown, cards)
        if raw is not None and rule.pattern:
            raw = matched(rule.pattern, as_text(raw))
        if raw is not None and self._placeholder(quantity):
            raw = None
        said = nan if raw is None else self._convert(quantity, rule, key, raw) * factor
        low, high = POSSIBLE.get(quantity, (-inf, inf))
        if said < low or said > high:
            self.notes.append(f"{quantity.replace('_', ' ')} unknown: {key} = {quoted(raw)} cannot be")
            raw, said = None, nan
        name, unit = quantity.replace("_", " "), UNITS.get(quantity, "")
        constants = self._constants(rule)
        value, default = self._worked_out(constants.value), self._worked_out(constants.default)
        sure = "; ".join(text for text in (constants.source, constants.certainty) if text)
        why = f" ({sure})" if sure else ""

        def note(number: float, text: str) -> None:
            who = f"{name} of {of}" if of else name
            self.notes.append(f"{who} {number:.6g}{' ' * bool(unit)}{unit} {text}")

        fixed = nan if value is None else value * factor
        if wanted is not None:
            if _differ(wanted, said):
                note(wanted, f"from the recipe; the header says {said:.6g}")
            elif _differ(wanted, fixed):
                note(wanted, f"from the recipe; the camera's definition says {fixed:.6g}")
            return wanted
        if value is not None:
            if _differ(fixed, said):
                note(fixed, f"from the camera's definition{why}; the header says {said:.6g}")
            elif why:
                note(fixed, f"from the camera's definition{why}")
            return fixed
        if raw is None and default is not None and isfinite(default * factor):
            note(default * factor, f"from the camera's definition{why}; the header has none")
            return default * factor
        return said

    def _factor(self, quantity: str, rule: Number) -> float:
        if not rule.times:
            return 1.0
        key, raw = self._first(rule.times)
        if raw is None:
            return nan
        first = as_float(re.split(r"[\sx,]", str(raw), maxsplit=1)[0])
        if first is None:
            raise self._fail(quantity, key, raw, "a number, or numbers such as '2 2'")
        return first

    def _convert(self, quantity: str, rule: Number, key: str, raw: Any) -> float:
        if rule.unit in ("hms", "dms"):
            value = sexagesimal(str(raw))
            value = as_float(raw) if value is None else value
            if value is None:
                example = repr("08:18:29.9" if rule.unit == "hms" else "+25:20:01")
                raise self._fail(quantity, key, raw, f"a number or a text such as {example}")
            return value * 15.0 if rule.unit == "hms" else value
        value = as_float(raw)
        if value is None:
            hint = "; for sexagesimal texts set unit = 'hms' or 'dms'" if sexagesimal(str(raw)) is not None else ""
            raise self._fail(quantity, key, raw, f"a number{hint}")
        value *= SECONDS.get(rule.unit, 1.0)
        if quantity == "exptime" and not 0.0 <= value <= LONGEST_EXPOSURE:
            raise self._fail(quantity, key, raw, f"from 0 to {LONGEST_EXPOSURE:g} s")
        if rule.unit == "west":
            return -value
        if rule.unit == "K":
            return value - ZERO_CELSIUS
        if rule.unit == "altitude":
            return 1.0 / sin(radians(value)) if 0.0 < value <= 90.0 else nan
        return value

    def _text(self, rule: Text | None) -> str:
        if rule is None:
            return ""
        for keyword in rule.keyword:
            _, raw = self._joined((keyword,), rule.join, rule.unknown, rule.drop)
            text = as_text(raw)
            if text and rule.pattern:
                text = matched(rule.pattern, text) or ""
            if text:
                renamed = (ours for theirs, ours in rule.values.items() if same(text, theirs))
                text = next(renamed, text)
            if text:
                return text
        return rule.default

    def _linearity(self) -> tuple[float, ...]:
        for case in self.camera.frame.linearity:
            if self._holds(case):
                return case.value
        return ()

    def _site(self) -> tuple[float, float, float] | None:
        rules = self.camera.site
        if self.wishes.site is not None:
            return self.wishes.site
        if rules is None:
            return None
        site = (
            self._number("longitude", rules.longitude),
            self._number("latitude", rules.latitude),
            self._number("height", rules.height),
        )
        return site if all(map(isfinite, site)) else None

    def _diameter(self) -> float:
        if self.wishes.diameter is not None:
            return self.wishes.diameter
        telescope = self.camera.telescope
        return nan if telescope is None else self._number("diameter", telescope.diameter)


def _differ(first: float, second: float) -> bool:
    return isfinite(first) and isfinite(second) and not isclose(first, second, rel_tol=1e-6)
