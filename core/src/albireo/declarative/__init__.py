"""A camera described by a table: headers to frames, and frames back to headers.

`DeclarativeInstrument` reads and writes headers by a `CameraDefinition`. For every number the order is: what the
recipe says, a constant of the definition, the header, a default of the definition; where two of them differ, the frame
carries a note that says which one counts.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from math import asin, degrees, inf, isclose, isfinite, nan, radians, sin
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from albireo.definition import (
    CameraDefinition,
    Condition,
    Moment,
    Number,
    SectionRule,
    Text,
    load_definition,
)
from albireo.frames import SECONDS_PER_DAY, Amplifier, Frame, FrameError, Section, iso_to_mjd, mjd_to_iso
from albireo.headers import celestial_wcs, read_header, sexagesimal
from albireo.roles import Instrument

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.nddata import CCDData
    from astropy.wcs import WCS

__all__ = ["DeclarativeInstrument"]

JD_OF_MJD_ZERO = 2400000.5
ZERO_CELSIUS = 273.15  # K


class DeclarativeInstrument(Instrument):
    """A camera described by a table in a TOML file.

    A subclass names the file, which lies beside its module::

        class MyCam(DeclarativeInstrument, name="mycam"):
            '''My camera on my telescope.'''
            definition = "mycam.toml"

    What a table cannot say goes into `frame`, which turns one header into one frame.
    """

    definition: ClassVar[str]

    gain: float | None = Field(
        None,
        gt=0,
        description="Gain that counts in place of the header's or the definition's.",
        json_schema_extra={"unit": "electron/adu"},
    )
    read_noise: float | None = Field(
        None,
        gt=0,
        description="Read noise that counts in place of the header's or the definition's.",
        json_schema_extra={"unit": "electron"},
    )
    saturation: float | None = Field(
        None,
        gt=0,
        description="Raw level from which a pixel is saturated, in place of the header's or the definition's.",
        json_schema_extra={"unit": "adu"},
    )
    site: tuple[float, float, float] | None = Field(
        None,
        description="Longitude (east), latitude and height of the telescope, in place of the definition's.",
        json_schema_extra={"unit": "deg, deg, m"},
    )

    @property
    def camera(self) -> CameraDefinition:
        """The table; read once for each state of the file.

        Raises
        ------
        ValueError
            With everything that is wrong with the file.
        """
        owner = next(cls for cls in type(self).__mro__ if "definition" in vars(cls))
        return load_definition(Path(str(sys.modules[owner.__module__].__file__)).with_name(self.definition))

    def fingerprint(self) -> str:
        """Give the digest of the table, so that what was made by another table is made again."""
        return hashlib.sha256(self.camera.model_dump_json().encode()).hexdigest()

    def owns(self, header: Header, path: Path) -> bool:
        """Whether the identity cards of the definition are in the header (of a packed file: in that of its image)."""
        identity = self.camera.identity
        if identity and not header.get("NAXIS") and not any(key in header for key in identity):
            try:
                header = read_header(path, self._hdu)[1]
            except FrameError:
                return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _agrees(header, identity)

    @property
    def _hdu(self) -> int | None:
        hdu = self.camera.hdu
        return None if hdu == "first" else hdu

    def frames(self, path: Path) -> Iterable[Frame]:
        """Read the header of the image in one file.

        Raises
        ------
        FrameError
            If the file is no FITS file or is truncated; if a value cannot be understood; if a science frame has no
            exposure time or start although the definition says where they are.
        """
        file = Path(os.path.abspath(path))
        hdu, header = read_header(file, self._hdu)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cards that break the standard in ways that do no harm
            return (self.frame(header, file, hdu),)

    def frame(self, header: Header, path: Path, hdu: int) -> Frame:
        """Turn one header into a frame; a subclass adds here what a table cannot say.

        Parameters
        ----------
        header : Header
        path : Path
            Named in messages, and for kinds that a file name tells.
        hdu : int

        Raises
        ------
        FrameError
            As for `frames`.
        """
        return _Reading(self, header, path, hdu).frame()

    def read(self, frame: Frame, region: Section | None = None) -> CCDData:
        """Read raw pixels in adu; ``SATURATED`` from `Frame.saturation` on, ``NO_DATA`` where a pixel is blank.

        Zero is a value like any other.

        Raises
        ------
        FrameError
            If the pixels cannot be read.
        """
        from albireo.images import raw_image
        from albireo.pixels import read_pixels

        return raw_image(read_pixels(frame.path, frame.hdu, region), frame.saturation)

    def header(self, frame: Frame) -> Header:
        """Write the cards that the definition reads; `frame` gives the same frame back, to the precision of the cards.

        Raises
        ------
        ValueError
            If the definition has no rule for the kind of this frame.
        """
        from astropy.io.fits import Header

        header = Header()
        header.update(_cards(self.camera, frame))
        return header

    def example(self) -> Frame:
        """Give the frame of the example cards in the definition."""
        from astropy.io.fits import Header

        header = Header()
        header.update(dict(self.camera.example))
        return self.frame(header, Path(f"{self.camera.name}.fits"), 0)

    def match(self, kind: str) -> tuple[str, ...]:
        """Which attributes a master shares with its frames: those of the definition, else the usual ones."""
        return self.camera.match.get(kind) or super().match(kind)

    def wcs(self, frame: Frame) -> WCS | None:
        """Celestial coordinates from the header of the file; None if there are none to trust."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return celestial_wcs(read_header(frame.path, frame.hdu)[1])


# --- reading ----------------------------------------------------------------------------------------------------------

_UNITS = {
    "gain": "e-/adu",
    "read_noise": "e-",
    "saturation": "adu",
    "scale": "arcsec/pixel",
    "exptime": "s",
    "ra": "deg",
    "dec": "deg",
    "temperature": "deg C",
    "longitude": "deg",
    "latitude": "deg",
    "height": "m",
}

_POSSIBLE = {
    "gain": (1e-6, 1e6),
    "read_noise": (0.0, 1e6),
    "saturation": (1.0, 1e12),
    "scale": (1e-6, 1e6),
    "airmass": (1.0, 100.0),
    "ra": (0.0, 360.0),
    "dec": (-90.0, 90.0),
    "temperature": (-ZERO_CELSIUS, 1000.0),
    "longitude": (-360.0, 360.0),
    "latitude": (-90.0, 90.0),
}
"""What a header may say without being wrong; cameras write 0, -1 or 99 for what they do not know."""

LONGEST_EXPOSURE = 1e6  # s
FIRST_MJD, LAST_MJD = -678575.0, 2973483.0  # years 1 to 9999, as far as calendars go


class _Reading:
    """One header on its way to a frame."""

    def __init__(self, stage: DeclarativeInstrument, header: Header, path: Path, hdu: int) -> None:
        self.stage, self.header, self.path, self.hdu = stage, header, path, hdu
        self.camera = stage.camera
        self.notes: list[str] = []

    def frame(self) -> Frame:
        rules, shape = self.camera.frame, self._shape()
        kind, variant = self._kind()
        exptime = self._number("exptime", rules.exptime)
        start = self._moment("start", rules.start)
        mid = self._moment("mid", rules.mid)
        if not isfinite(mid):
            mid = start + exptime / 2 / SECONDS_PER_DAY
        if kind == "science":
            self._require("exptime", rules.exptime, exptime)
            self._require("start", rules.start, start if rules.mid is None else mid)
        trim = self._section("trim", rules.trim, shape) or Section(0, shape[0], 0, shape[1])
        amplifier = Amplifier(
            data=trim,
            overscan=self._section("overscan", rules.overscan, shape),
            gain=self._number("gain", rules.gain, self.stage.gain),
            read_noise=self._number("read_noise", rules.read_noise, self.stage.read_noise),
        )
        return Frame(
            path=str(self.path),
            hdu=self.hdu,
            instrument=self.camera.name,
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
            scale=self._number("scale", rules.scale),
            shape=shape,
            amplifiers=(amplifier,),
            saturation=self._number("saturation", rules.saturation, self.stage.saturation),
            site=self._site(),
            setup=tuple((name, self._text(rule)) for name, rule in self.camera.setup.items()),
            notes=tuple(self.notes),
        )

    def _shape(self) -> tuple[int, int]:
        axes = self.header.get("NAXIS", 2)
        if axes != 2:
            raise FrameError(f"HDU {self.hdu} of {self.path} has {axes} axes (NAXIS); an image has 2")
        return int(self.header["NAXIS2"]), int(self.header["NAXIS1"])

    def _kind(self) -> tuple[str, str]:
        for rule in self.camera.kinds:
            if _agrees(self.header, rule.when) and _named(self.path, rule.file):
                return rule.kind, rule.variant
        asked = dict.fromkeys(key for rule in self.camera.kinds for key in rule.when)
        said = [f"{key} = {_quote(self.header.get(key))}" for key in asked]
        self.notes.append(f"kind unknown: {', '.join(said) or 'no rule fits'}")
        return "unknown", ""

    def _first(self, keywords: Iterable[str], unknown: Iterable[Any] = ()) -> tuple[str, Any]:
        """Give the first card with a value; the value is None if there is none."""
        key = ""
        for key in keywords:
            value = _value(self.header, key)
            if value is not None and not any(_same(value, want) for want in unknown):
                return key, value
        return key, None

    def _fail(self, quantity: str, key: str, value: Any, right: str) -> FrameError:
        return FrameError(
            f"{self.path}: {quantity.replace('_', ' ')} cannot be read from {key} = {_quote(value)}; "
            f"it should be {right}"
        )

    def _require(self, quantity: str, rule: Number | Moment | None, value: float) -> None:
        if rule is not None and rule.keyword and not isfinite(value):
            cards = " or ".join(rule.keyword)
            raise FrameError(f"{self.path}: the header has no {quantity} ({cards}), which a science frame needs")

    def _number(self, quantity: str, rule: Number | None, wanted: float | None = None) -> float:
        """Resolve one number: recipe, constant, header, default; notes say where these differ."""
        rule = rule or Number()
        factor = self._factor(quantity, rule)
        key, raw = self._first(rule.keyword, rule.unknown)
        said = nan if raw is None else self._convert(quantity, rule, key, raw) * factor
        low, high = _POSSIBLE.get(quantity, (-inf, inf))
        if said < low or said > high:
            self.notes.append(f"{quantity.replace('_', ' ')} unknown: {key} = {_quote(raw)} cannot be")
            raw, said = None, nan
        fixed = nan if rule.value is None else rule.value * factor
        name, unit = quantity.replace("_", " "), _UNITS.get(quantity, "")
        of = f" ({rule.source})" if rule.source else ""

        def note(value: float, text: str) -> None:
            self.notes.append(f"{name} {value:.6g}{' ' * bool(unit)}{unit} {text}")

        if wanted is not None:
            if _differ(wanted, said):
                note(wanted, f"from the recipe; the header says {said:.6g}")
            elif _differ(wanted, fixed):
                note(wanted, f"from the recipe; the camera's definition says {fixed:.6g}")
            return wanted
        if rule.value is not None:
            if _differ(fixed, said):
                note(fixed, f"from the camera's definition{of}; the header says {said:.6g}")
            elif of:
                note(fixed, f"from the camera's definition{of}")
            return fixed
        if raw is None and rule.default is not None:
            note(rule.default * factor, f"from the camera's definition{of}; the header has none")
            return rule.default * factor
        return said

    def _factor(self, quantity: str, rule: Number) -> float:
        if not rule.times:
            return 1.0
        key, raw = self._first(rule.times)
        if raw is None:
            return nan
        first = _float(re.split(r"[\sx,]", str(raw), maxsplit=1)[0])
        if first is None:
            raise self._fail(quantity, key, raw, "a number, or numbers such as '2 2'")
        return first

    def _convert(self, quantity: str, rule: Number, key: str, raw: Any) -> float:
        if rule.unit in ("hms", "dms"):
            value = sexagesimal(str(raw))
            value = _float(raw) if value is None else value
            if value is None:
                raise self._fail(
                    quantity,
                    key,
                    raw,
                    f"a number or a text such as {'08:18:29.9' if rule.unit == 'hms' else '+25:20:01'!r}",
                )
            return value * 15.0 if rule.unit == "hms" else value
        value = _float(raw)
        if value is None:
            hint = "; for sexagesimal texts set unit = 'hms' or 'dms'" if sexagesimal(str(raw)) is not None else ""
            raise self._fail(quantity, key, raw, f"a number{hint}")
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
            if isinstance(keyword, str):
                text = _as_text(self._first((keyword,), rule.unknown)[1])
            else:
                parts = [part for key in keyword if (part := _as_text(self._first((key,), rule.unknown)[1]))]
                kept = [part for part in parts if part not in rule.drop]
                text = rule.join.join(kept or parts[:1])
            if text:
                renamed = (ours for theirs, ours in rule.values.items() if _same(text, theirs))
                return next(renamed, text)
        return rule.default

    def _moment(self, quantity: str, rule: Moment | None) -> float:
        if rule is None:
            return nan
        key, raw = self._first(rule.keyword, rule.unknown)
        if raw is None:
            return nan
        if rule.format != "iso":
            number = _float(raw)
            if number is None:
                raise self._fail(quantity, key, raw, f"a number ({rule.format.upper()})")
            number -= JD_OF_MJD_ZERO if rule.format == "jd" else 0.0
            if not FIRST_MJD <= number <= LAST_MJD:
                raise self._fail(quantity, key, raw, f"a date of years 1 to 9999 ({rule.format.upper()})")
            return number - rule.offset / 24.0
        text = str(raw)
        if rule.time and ":" not in text:
            clock, time = self._first(rule.time, rule.unknown)
            if time is None:
                raise FrameError(
                    f"{self.path}: {key} = {_quote(raw)} is a date without a time, and the header has no "
                    f"{' or '.join(rule.time)}"
                )
            key, text = f"{key} and {clock}", f"{text}T{time}"
        try:
            return iso_to_mjd(text) - rule.offset / 24.0
        except ValueError:
            raise self._fail(quantity, key, text, "a date of the form 2017-12-20T01:33:43.5") from None

    def _section(self, quantity: str, rule: SectionRule | None, shape: tuple[int, int]) -> Section | None:
        if rule is None:
            return None
        key, raw = self._first(rule.keyword)
        section = rule.value
        if section is None and raw is not None:
            try:
                section = Section.from_fits(str(raw))
            except ValueError:
                raise self._fail(quantity, key, raw, "a section of the form '[x1:x2,y1:y2]'") from None
        if section is None:
            section = rule.sizes.get(f"{shape[1]}x{shape[0]}")
        if section is not None and not section.within(shape):
            where = f"{key} = " if raw is not None and rule.value is None else ""
            raise FrameError(
                f"{self.path}: {quantity} section {where}{section.to_fits()} reaches beyond the image of "
                f"{shape[1]} x {shape[0]} pixels (NAXIS1 x NAXIS2)"
            )
        return section

    def _site(self) -> tuple[float, float, float] | None:
        rules = self.camera.site
        if self.stage.site is not None:
            return self.stage.site
        if rules is None:
            return None
        site = (
            self._number("longitude", rules.longitude),
            self._number("latitude", rules.latitude),
            self._number("height", rules.height),
        )
        return site if all(map(isfinite, site)) else None


def _value(header: Header | Mapping[str, Any], key: str) -> Any:
    """Give the value of a card, text without surrounding blanks; None for no card, no value or empty text."""
    from astropy.io.fits import VerifyError
    from astropy.io.fits.card import Undefined

    try:
        value = header.get(key)
    except VerifyError:  # a card that breaks the standard beyond what can be read
        return None
    if isinstance(value, str):
        return " ".join(value.split()) or None
    return None if isinstance(value, Undefined) else value


def _float(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
        return None
    return number if isfinite(number) else None


def _as_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _same(value: Any, want: Any) -> bool:
    """Compare a card with what a definition says: numbers as numbers, texts with ``*`` and without regard to case."""
    if isinstance(want, bool) or isinstance(value, bool):
        return value is want or str(value).upper()[:1] == str(want).upper()
    if isinstance(want, int | float):
        return _float(value) == want
    return fnmatchcase(_as_text(value).lower(), " ".join(want.lower().split()))


def _agrees(header: Header, condition: Condition) -> bool:
    return all(
        (value := _value(header, key)) is not None and any(_same(value, want) for want in wants)
        for key, wants in condition.items()
    )


def _named(path: Path, pattern: str) -> bool:
    name = path.as_posix() if "/" in pattern else path.name
    return not pattern or fnmatchcase(name.lower(), pattern.lower())


def _differ(first: float, second: float) -> bool:
    return isfinite(first) and isfinite(second) and not isclose(first, second, rel_tol=1e-6)


def _quote(value: Any) -> str:
    return "(none)" if value is None else repr(value)


# --- writing ----------------------------------------------------------------------------------------------------------


def _cards(camera: CameraDefinition, frame: Frame) -> dict[str, Any]:
    """Write a frame as cards, each quantity under the first keyword of its rule."""
    cards: dict[str, Any] = {}
    for key, wants in camera.identity.items():
        cards[key] = _plain(wants[0])
    cards.update(_kind_cards(camera, frame))
    rules = camera.frame
    for name in ("filter", "target"):
        _write_text(cards, getattr(rules, name), getattr(frame, name))
    for name, setting in frame.setup:
        _write_text(cards, camera.setup.get(name), setting)
    for name in ("exptime", "ra", "dec", "airmass", "temperature", "gain", "read_noise", "saturation"):
        _write_number(cards, getattr(rules, name), getattr(frame, name))
    _write_number(cards, rules.scale, frame.scale)
    if camera.site is not None and frame.site is not None:
        for name, value in zip(("longitude", "latitude", "height"), frame.site, strict=True):
            _write_number(cards, getattr(camera.site, name), value)
    _write_moment(cards, rules.mid, frame.mid)
    _write_moment(cards, rules.start, frame.start)
    if frame.amplifiers:
        _write_section(cards, rules.trim, frame.amplifiers[0].data)
        _write_section(cards, rules.overscan, frame.amplifiers[0].overscan)
    return cards


def _kind_cards(camera: CameraDefinition, frame: Frame) -> dict[str, Any]:
    if frame.kind == "unknown":
        return {}
    rule = next((rule for rule in camera.kinds if (rule.kind, rule.variant) == (frame.kind, frame.variant)), None)
    if rule is None:
        rule = next((rule for rule in camera.kinds if rule.kind == frame.kind), None)
    if rule is None:
        known = ", ".join(dict.fromkeys(rule.kind for rule in camera.kinds)) or "none"
        raise ValueError(f"{camera.name} has no rule for {frame.kind} frames; it knows {known}")
    return {key: _plain(wants[0]) for key, wants in rule.when.items()}


def _plain(want: Any) -> Any:
    """Give a value that fits a wanted one: what stands before the ``*``."""
    return want.split("*")[0] if isinstance(want, str) else want


def _write_text(cards: dict[str, Any], rule: Text | None, value: str) -> None:
    if rule is None or not rule.keyword or not value:
        return
    theirs = (header for header, ours in rule.values.items() if ours == value and "*" not in header)
    value = next(theirs, value)
    first = rule.keyword[0]
    if isinstance(first, str):
        cards[first] = value
        return
    parts = value.split(rule.join)
    parts += [rule.drop[0] if rule.drop else ""] * (len(first) - len(parts))
    cards.update(zip(first, parts, strict=False))


def _write_number(cards: dict[str, Any], rule: Number | None, value: float) -> None:
    if rule is None or not rule.keyword or not isfinite(value):
        return
    if rule.times:
        binning = next((cards[key] for key in rule.times if key in cards), "1")
        value /= _float(str(binning).split()[0]) or 1.0
    written: float | str = value
    if rule.unit in ("hms", "dms"):
        written = _sexagesimal_text(value / 15.0 if rule.unit == "hms" else value, 4 if rule.unit == "hms" else 3)
    elif rule.unit == "west":
        written = -value
    elif rule.unit == "K":
        written = value + ZERO_CELSIUS
    elif rule.unit == "altitude":
        written = degrees(asin(1.0 / value))
    cards[rule.keyword[0]] = written


def _sexagesimal_text(value: float, decimals: int) -> str:
    units = round(abs(value) * 3600 * 10**decimals)
    seconds, fraction = divmod(units, 10**decimals)
    minutes, second = divmod(seconds, 60)
    whole, minute = divmod(minutes, 60)
    return f"{'-' if value < 0 else ''}{whole:02d}:{minute:02d}:{second:02d}.{fraction:0{decimals}d}"


def _write_moment(cards: dict[str, Any], rule: Moment | None, value: float) -> None:
    if rule is None or not isfinite(value):
        return
    value += rule.offset / 24.0
    if rule.format != "iso":
        cards[rule.keyword[0]] = value + (JD_OF_MJD_ZERO if rule.format == "jd" else 0.0)
        return
    text = mjd_to_iso(value)
    cards[rule.keyword[0]] = text
    if rule.time:
        cards[rule.time[0]] = text.partition("T")[2]


def _write_section(cards: dict[str, Any], rule: SectionRule | None, section: Section | None) -> None:
    if rule is not None and rule.keyword and section is not None:
        cards[rule.keyword[0]] = section.to_fits()
