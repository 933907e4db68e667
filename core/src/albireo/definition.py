"""The table that describes a camera: which header card holds which quantity, in a TOML file.

`CameraDefinition` is the schema of such a file. It only states facts; `albireo.declarative` reads headers by it.
A rule may be written short: a text is a keyword, a list of texts is a keyword with fall-backs, a number is a constant.

Where a keyword may stand, so may a fact that no card holds, in small letters: ``file`` (name of the file), ``folder``
(name of the folder it lies in), ``size`` (NAXIS1 x NAXIS2, as in ``2048x2048``), ``hdu`` (index of the HDU), ``part``
(name of the piece of the image, see ``[[parts]]``), ``detector``, ``kind`` and ``filter``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from albireo import expressions
from albireo.frames import CALIBRATION_KINDS, FRAME_FIELDS, KINDS, MASTER_KINDS, Section, iso_to_mjd

__all__ = [
    "AmplifierRule",
    "CameraDefinition",
    "Case",
    "Condition",
    "KindRule",
    "Moment",
    "Number",
    "Part",
    "Placeholder",
    "SectionRule",
    "Text",
    "load_definition",
]

# A longer keyword, or one with blanks or brackets, stands behind HIERARCH in a header.
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}|(?=.*[ .(])[A-Za-z0-9_.()/-]+( [A-Za-z0-9_.()/-]+)*")
FACTS = ("file", "folder", "size", "hdu", "part", "detector", "kind", "filter")
"""What stands where a keyword may stand, and is no card."""


def _keyword(text: Any) -> Any:
    if not isinstance(text, str) or not (_KEYWORD.fullmatch(text) or text in FACTS):
        raise ValueError(
            f"{text!r} is no FITS keyword (at most eight capitals, digits, '-' and '_') and none of the facts "
            f"{', '.join(FACTS)}"
        )
    return text


def _expression(text: Any) -> Any:
    if isinstance(text, str) and text:
        expressions.parse(text)
    return text


def _date(text: Any) -> Any:
    # TOML has dates of its own.
    text = text.isoformat() if hasattr(text, "isoformat") else text
    if isinstance(text, str) and text:
        iso_to_mjd(text)
    return text


def _regular(text: Any) -> Any:
    if isinstance(text, str) and text:
        try:
            groups = re.compile(text).groups
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from None
        if groups > 1:
            raise ValueError(f"{text!r} has {groups} groups; the one that is wanted goes into the only ( )")
    return text


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _keywords_and_joins(value: Any) -> Any:
    return tuple(
        tuple(_keyword(key) for key in item) if isinstance(item, list | tuple) else _keyword(item)
        for item in _tuple(value)
    )


Keyword = Annotated[str, BeforeValidator(_keyword)]
Keywords = Annotated[tuple[Keyword, ...], BeforeValidator(_tuple)]
Card = str | bool | int | float
Condition = dict[Keyword, Annotated[tuple[Card, ...], BeforeValidator(_tuple)]]
"""Keyword -> value, or list of values of which one must be there. Texts are compared without regard to case and
surrounding blanks, and may hold ``*``; numbers as numbers. All keywords must agree."""


Expression = Annotated[str, BeforeValidator(_expression)]
Date = Annotated[str, BeforeValidator(_date)]
Pattern = Annotated[str, BeforeValidator(_regular)]
Certainty = Literal["", "measured", "header", "documented", "code", "inferred", "unverified"]

_PATTERN = "Regular expression; what its ( ) holds counts, or all it matches. No match: no value."


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Occasion(_Rule):
    """When something holds; all that is given must agree."""

    when: Condition = Field({}, description="Header cards or facts that must be so.")
    test: Expression = Field("", description="An expression that must be true, such as 'EXPTIME < 0.1'.")
    since: Date = Field("", description="First date, UTC, by the start of the exposure.")
    until: Date = Field("", description="Date from which on it does not hold any more.")


class _Sourced(_Rule):
    source: str = Field("", description="Where a constant or default comes from; told in the notes.")
    certainty: Certainty = Field("", description="How sure it is; told in the notes.")


class Case(_Occasion, _Sourced):
    """A constant or default that holds on some occasions."""

    value: float | Expression | None = Field(None, description="Constant, or an expression.")
    default: float | Expression | None = Field(None, description="Assumed where the header has no value.")


class LinearityCase(_Occasion, _Sourced):
    """Coefficients of the response that hold on some occasions."""

    value: tuple[float, ...] = Field(
        description="c0, c1, ...: linear counts are x (c0 + c1 x + c2 x^2 + ...), x in adu above the bias."
    )


def _shorthand(constants: type | tuple[type, ...]) -> Any:
    """Accept a rule written as a keyword, a list of keywords or a bare constant."""

    def expand(value: Any) -> Any:
        if isinstance(value, constants) and not isinstance(value, bool):
            return {"value": value}
        return {"keyword": value} if isinstance(value, str | list | tuple) else value

    return BeforeValidator(expand)


class Number(_Rule):
    """How a number is found."""

    keyword: Keywords = Field((), description="Keyword, or several of which the first with a value counts.")
    value: float | Expression | None = Field(
        None,
        description="A constant, or an expression over cards such as '18.64 / SOFTGAIN'; it wins over the header's own "
        "value, and a difference is noted.",
    )
    default: float | Expression | None = Field(None, description="Assumed where the header has no value, and noted.")
    cases: tuple[Case, ...] = Field(
        (), description="Constants and defaults by date, detector or card; the first that holds comes before the above."
    )
    unit: Literal["", "hms", "dms", "west", "K", "altitude", "adu", "ms", "us", "min"] = Field(
        "",
        description="How the header writes it, if not in the unit of `Frame`: 'hms' and 'dms' are sexagesimal texts "
        "(hours, degrees), 'west' a longitude that counts west, 'K' a temperature in kelvin, 'altitude' an altitude in "
        "degrees in place of the airmass (plane-parallel atmosphere), 'adu' a read noise in adu, 'ms', 'us' and 'min' "
        "times.",
    )
    times: Keywords = Field((), description="Multiply by the first number of this card, such as the binning.")
    pattern: Pattern = Field("", description=_PATTERN)
    unknown: tuple[Card, ...] = Field((), description="Values that mean 'not known'; empty text always does.")
    source: str = Field("", description="Where a constant or default comes from; told in the notes.")
    certainty: Certainty = Field("", description="How sure a constant or default is; told in the notes.")


class Text(_Rule):
    """How a text is found; blanks around it are dropped, and a number becomes text."""

    keyword: Annotated[tuple[str | tuple[str, ...], ...], BeforeValidator(_keywords_and_joins)] = Field(
        (), description="Keyword, or several of which the first with a value counts; a list inside is joined."
    )
    join: str = Field("-", description="What stands between joined values.")
    drop: tuple[str, ...] = Field((), description="Values left out of a join, unless all are.")
    pattern: Pattern = Field("", description=_PATTERN)
    values: dict[str, str] = Field(
        {},
        description="Header value (may hold '*', the first that fits) to our name for it; an empty name means that the "
        "card says nothing.",
    )
    default: str = Field("", description="Used where the header has no value.")
    unknown: tuple[Card, ...] = Field((), description="Values that mean 'not known'; empty text always does.")


class Moment(_Rule):
    """How a date and time is found."""

    keyword: Annotated[tuple[str | tuple[str, ...], ...], BeforeValidator(_keywords_and_joins)] = Field(
        description="Keyword, or several of which the first with a value counts; a list inside is joined by blanks."
    )
    time: Keywords = Field((), description="Keyword of the time of day, for headers where the first has only the date.")
    pattern: Pattern = Field("", description=_PATTERN)
    format: str = Field(
        "iso",
        description="How it is written: 'iso' (which may end in an offset), 'mjd', 'jd', 'unix' (seconds since 1970), "
        "or the letters of strptime such as '%Y%m%dT%H%M%S'.",
    )
    offset: float | Expression = Field(
        0.0,
        description="Local time minus UTC for clocks that say nothing of it; a number or an expression over cards. A "
        "time that ends in an offset of its own goes by that.",
        json_schema_extra={"unit": "h"},
    )
    unknown: tuple[Card, ...] = Field((), description="Values that mean 'not known'; empty text always does.")

    @field_validator("format")
    @classmethod
    def _written(cls, form: str) -> str:
        if form not in ("iso", "mjd", "jd", "unix") and "%" not in form:
            raise ValueError(f"should be 'iso', 'mjd', 'jd', 'unix' or a form such as '%Y%m%dT%H%M%S', not {form!r}")
        return form

    @field_validator("offset")
    @classmethod
    def _clock(cls, offset: float | str) -> float | str:
        if not isinstance(offset, str) and not -14 <= offset <= 14:
            raise ValueError(f"should be from -14 to 14 h, not {offset:g}")
        return offset


def _moments(value: Any) -> Any:
    if isinstance(value, list | tuple) and value and all(isinstance(item, dict | Moment) for item in value):
        return value
    return ({"keyword": value} if isinstance(value, str | list | tuple) else value,)


def _section_rule(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("["):
        return {"value": value}
    return {"keyword": value} if isinstance(value, str | list | tuple) else value


def _fits_section(value: Any) -> Any:
    return Section.from_fits(value) if isinstance(value, str) else value


FitsSection = Annotated[Section, BeforeValidator(_fits_section)]


class SectionRule(_Rule):
    """How a rectangle of the raw image is found; sections are written as FITS does, ``[x1:x2,y1:y2]``."""

    keyword: Keywords = Field((), description="Keyword, or several of which the first with a value counts.")
    value: FitsSection | None = Field(None, description="The section of every frame.")
    sizes: dict[str, FitsSection] = Field(
        {}, description="Where the header has none: raw size 'NAXIS1 x NAXIS2' (such as '3128x3080') to section."
    )


def _linearity(value: Any) -> Any:
    if isinstance(value, list | tuple) and value and all(isinstance(item, int | float) for item in value):
        return ({"value": value},)
    return value


NumberRule = Annotated[Number, _shorthand((int, float))]
TextRule = Annotated[Text, _shorthand(())]
MomentRule = Annotated[tuple[Moment, ...], BeforeValidator(_moments)]
RegionRule = Annotated[SectionRule, BeforeValidator(_section_rule)]


class FrameRules(_Rule):
    """Quantities of `Frame`, each with the rule that finds it."""

    detector: TextRule | None = Field(None, description="Name of the chip, for cameras with several.")
    exposure: TextRule | None = Field(
        None, description="What frames of several detectors that opened together have in common, and no others."
    )
    filter: TextRule | None = Field(None, description="Name of the filter.")
    target: TextRule | None = Field(None, description="Name of what was looked at.")
    exptime: NumberRule | None = Field(None, description="Exposure time.", json_schema_extra={"unit": "s"})
    start: MomentRule | None = Field(
        None,
        description="Start of the exposure, UTC. A list of rules: the first whose cards hold a date counts.",
    )
    mid: MomentRule | None = Field(None, description="Middle of the exposure, UTC; else start plus half the exposure.")
    end: MomentRule | None = Field(
        None, description="End of the exposure, UTC, for headers without a start: it lies an exposure time before."
    )
    ra: NumberRule | None = Field(
        None, description="Right ascension of the pointing.", json_schema_extra={"unit": "deg"}
    )
    dec: NumberRule | None = Field(None, description="Declination of the pointing.", json_schema_extra={"unit": "deg"})
    airmass: NumberRule | None = Field(None, description="Airmass.")
    temperature: NumberRule | None = Field(
        None, description="Temperature of the detector.", json_schema_extra={"unit": "deg C"}
    )
    scale: NumberRule | None = Field(
        None, description="Pixel scale of the binned pixel.", json_schema_extra={"unit": "arcsec/pixel"}
    )
    gain: NumberRule | None = Field(None, description="Gain.", json_schema_extra={"unit": "electron/adu"})
    read_noise: NumberRule | None = Field(None, description="Read noise, rms.", json_schema_extra={"unit": "electron"})
    saturation: NumberRule | None = Field(
        None, description="Raw level from which a pixel is not linear.", json_schema_extra={"unit": "adu"}
    )
    linearity: Annotated[tuple[LinearityCase, ...], BeforeValidator(_linearity)] = Field(
        (),
        description="Response of the chip: c0, c1, ... of x (c0 + c1 x + ...) with x in adu above the bias, or a list "
        "of cases of which the first that holds counts.",
    )
    dark_current: NumberRule | None = Field(
        None,
        description="Dark current of a pixel as it was read out, for nights without dark frames.",
        json_schema_extra={"unit": "electron/s"},
    )
    trim: RegionRule | None = Field(None, description="The light-sensitive pixels; else the whole image.")
    overscan: RegionRule | None = Field(None, description="Pixels read without light.")


class SiteRules(_Rule):
    """Where the telescope stands."""

    longitude: NumberRule = Field(description="Longitude, east positive.", json_schema_extra={"unit": "deg"})
    latitude: NumberRule = Field(description="Latitude.", json_schema_extra={"unit": "deg"})
    height: NumberRule = Field(
        Number(default=0.0, source="not given; a kilometre moves barycentric times by microseconds"),
        description="Height above the sea.",
        json_schema_extra={"unit": "m"},
    )


class TelescopeRules(_Rule):
    """What gathers the light."""

    diameter: NumberRule = Field(
        description="Diameter of its aperture, which scintillation depends on.", json_schema_extra={"unit": "m"}
    )


class Part(_Occasion, _Sourced):
    """A piece of the image that is a frame of its own: the half under one filter, or what a crop leaves."""

    section: FitsSection = Field(description="Where it lies in the image, '[x1:x2,y1:y2]'. All of it counts as lit.")
    name: str = Field("", description="Its name, which rules can ask for as the fact 'part'.")


class Spared(_Occasion):
    """Masters that some detectors do without."""

    kinds: tuple[str, ...] = Field(description="Kinds of master that are not needed, such as 'bias'.")

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in CALIBRATION_KINDS:
                raise ValueError(f"{kind!r} is no kind of master; kinds are {', '.join(CALIBRATION_KINDS)}")
        return kinds


class Placeholder(_Occasion):
    """Values that stand in a header without being true."""

    of: tuple[str, ...] = Field(description="Which quantities of `Frame` are unknown then, such as 'ra' and 'dec'.")
    why: str = Field("", description="What the notes say; else the cards that gave it away.")

    @field_validator("of")
    @classmethod
    def _quantities(cls, of: tuple[str, ...]) -> tuple[str, ...]:
        for name in of:
            if name not in FRAME_FIELDS:
                raise ValueError(f"frames have no {name!r}{_nearest(name, FRAME_FIELDS)}")
        return of


class AmplifierRule(_Rule):
    """One readout channel; the image is put together from the lit pixels of all."""

    name: str = Field("", description="Its name.")
    when: Condition = Field({}, description="Header cards or facts that must be so for it to have been read.")
    hdu: int | Literal["each"] | None = Field(
        None,
        description="Index of the HDU with its pixels; 'each' for one in every HDU with an image; else the frame's.",
    )
    data: RegionRule | None = Field(None, description="Its light-sensitive pixels; else the whole image.")
    overscan: RegionRule | None = Field(None, description="Its pixels read without light.")
    place: RegionRule | None = Field(
        None,
        description="Where its pixels lie on the detector, as DETSEC has it: unbinned, reversed where the amplifier "
        "reads the other way. Else amplifiers keep their order, and overscans between them are moved to the end.",
    )
    gain: NumberRule | None = Field(
        None, description="Its gain, if not that of the frame.", json_schema_extra={"unit": "electron/adu"}
    )
    read_noise: NumberRule | None = Field(
        None, description="Its read noise, if not that of the frame.", json_schema_extra={"unit": "electron"}
    )


class KindRule(_Occasion):
    """One rule that says what a frame is; the first rule that fits counts."""

    kind: str = Field(description=f"One of {', '.join(KINDS)}.")
    variant: str = Field("", description="A finer kind not to be mixed with others, such as 'sky' and 'dome' flats.")
    file: str = Field(
        "", description="Pattern of the file name such as 'flat*', or of the whole path if it holds a '/': '*/DARK/*'."
    )

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of frame{_nearest(kind, KINDS)}; kinds are {', '.join(KINDS)}")
        return kind


class CameraDefinition(_Rule):
    """One camera: how its files are known, what each header card means, and what calibrations must match."""

    name: str = Field(min_length=1, description="Name of the camera, as `Frame.instrument` has it.")
    hdu: int | Literal["first", "each"] = Field(
        "first",
        description="Index of the HDU with the image; 'first' is the first with an image, packed or not; 'each': every "
        "image is a frame of its own. Cards that an extension lacks are looked for in the primary header.",
    )
    identity: Condition = Field(
        {}, description="Cards that only files of this camera have; all must agree. None: any file is its own."
    )
    kinds: tuple[KindRule, ...] = Field((), description="What a frame is, by the first rule that fits; else 'unknown'.")
    parts: tuple[Part, ...] = Field(
        (), description="Pieces of the image that are frames of their own; all that hold. None: the whole image."
    )
    amplifiers: tuple[AmplifierRule, ...] = Field(
        (), description="Readout channels, where there are several; all that hold."
    )
    simultaneous: bool = Field(
        False,
        description="Whether several detectors expose at once. Frames whose exposures overlap then belong together, "
        "unless `frame.exposure` says which do.",
    )
    frame: FrameRules = Field(FrameRules(), description="Quantity to keyword.")
    placeholders: tuple[Placeholder, ...] = Field((), description="Values that stand in headers without being true.")
    site: SiteRules | None = Field(None, description="Where the telescope stands.")
    telescope: TelescopeRules | None = Field(None, description="What gathers the light.")
    setup: dict[str, TextRule] = Field(
        {}, description="What calibrations must share with a frame: a name of yours to a card, such as the binning."
    )
    spared: tuple[Spared, ...] = Field(
        (), description="Masters that a frame does without: a correction that would take one leaves the frame as it is."
    )
    match: dict[str, tuple[str, ...]] = Field(
        {},
        description="Kind of master to the attributes of `Frame` it must share, where the usual ones will not do; one "
        "setting of the set-up is 'setup.binning'.",
    )
    example: dict[Keyword, Card] = Field(
        description="Cards of a typical science frame, NAXIS1 and NAXIS2 with them: what simulations and tests use."
    )
    example_hdus: tuple[dict[Keyword, Card], ...] = Field(
        (), description="Cards of each extension of the example, for cameras that keep an amplifier in each."
    )
    more_examples: tuple[dict[Keyword, Card], ...] = Field(
        (), description="What differs in the example of each further detector."
    )

    def all_examples(self) -> list[dict[str, Card]]:
        """Give the cards of the example of each detector."""
        return [self.example, *(self.example | more for more in self.more_examples)]

    @field_validator("hdu", mode="before")
    @classmethod
    def _index(cls, hdu: Any) -> Any:
        if hdu not in ("first", "each") and not (isinstance(hdu, int) and hdu >= 0):
            raise ValueError(f"should be 'first', 'each' or a number from 0, not {hdu!r}")
        return hdu

    @field_validator("match")
    @classmethod
    def _attributes(cls, match: dict[str, tuple[str, ...]], info: ValidationInfo) -> dict[str, tuple[str, ...]]:
        problems = [
            f"{kind!r} is no kind of master{_nearest(kind, MASTER_KINDS)}" for kind in match if kind not in MASTER_KINDS
        ]
        settings = [f"setup.{name}" for name in info.data.get("setup", {})]
        for name in (name for names in match.values() for name in names):
            if name not in (*FRAME_FIELDS, *settings):
                problems.append(f"frames have no {name!r}{_nearest(name, (*FRAME_FIELDS, *settings))}")
        if problems:
            raise ValueError("; ".join(problems))
        return match

    @field_validator("example")
    @classmethod
    def _example_has_a_size(cls, example: dict[str, Card]) -> dict[str, Card]:
        missing = [key for key in ("NAXIS1", "NAXIS2") if key not in example]
        if missing:
            raise ValueError(f"{' and '.join(missing)} missing; give the size of the raw image")
        return example


def load_definition(path: str | Path) -> CameraDefinition:
    """Read the definition of a camera.

    Parameters
    ----------
    path : path
        A TOML file.

    Raises
    ------
    ValueError
        With everything that is wrong with the file: the key, what is wrong, the nearest valid name.
    """
    file = Path(path)
    try:
        return _load(str(file), file.stat().st_mtime_ns)
    except OSError as error:
        if file.is_dir():
            raise ValueError(f"the camera definition {file} is a folder; name the TOML file in it") from None
        raise ValueError(f"the camera definition {file} cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=32)
def _load(path: str, changed: int) -> CameraDefinition:
    with open(path, "rb") as stream:
        try:
            table = tomli.load(stream)
        except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"the camera definition {path} is no TOML: {error}") from error
    try:
        return CameraDefinition.model_validate(table)
    except ValidationError as error:
        problems = [f"  {_where(detail['loc'])}{_what(detail)}" for detail in error.errors()]
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ValueError("\n".join([f"the camera definition {path} has {count}:", *problems])) from error


def _where(loc: tuple[int | str, ...]) -> str:
    # pydantic adds names of its own for the key of a mapping and the branch of a union
    parts = [part for part in loc if part != "[key]" and not re.search(r"[\[(]|^(str|bool|int|float)$", str(part))]
    return f"{'.'.join(str(part + 1) if isinstance(part, int) else part for part in parts)}: " if parts else ""


def _what(detail: Mapping[str, Any]) -> str:
    message = str(detail["msg"])
    if detail["type"] == "extra_forbidden":
        names = _names_at(detail["loc"])
        return f"there is no such key{_nearest(str(detail['loc'][-1]), names)}; keys here are {', '.join(names)}"
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "value_error":
        return message.removeprefix("Value error, ")
    given = "" if isinstance(detail.get("input"), Mapping) else f", not {detail.get('input')!r}"
    return f"{message[:1].lower()}{message[1:]}{given}"


def _names_at(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Give the keys that the table at this place may have."""
    model: type[BaseModel] = CameraDefinition
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        model = _model_in(field.annotation) or model if field is not None else model
    return tuple(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner)) is not None), None)


def _nearest(name: str, names: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
