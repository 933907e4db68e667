"""The tables of a recipe that belong to the core: what it is, where the data are, which stars, what to write."""

from __future__ import annotations

import re
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from albireo.frames import MASTER_KINDS
from albireo.headers import sexagesimal

__all__ = [
    "CatalogueOptions",
    "DataOptions",
    "LibraryOptions",
    "OutputOptions",
    "Place",
    "RecipeOptions",
    "Table",
    "Target",
]


Patterns = Annotated[
    list[str],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Table(BaseModel):
    """What all tables of the core have in common: they are frozen, and know all their keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RecipeOptions(Table):
    """What the recipe is and what it requires."""

    title: str = Field("", description="Title of the report.")
    requires: list[str] = Field([], description="Distributions this recipe needs, such as 'albireo-lmi>=0.1'.")
    allow_missing: list[str] = Field(
        [], description="Kinds of master a science frame may go without: bias, dark, flat. Such frames are named."
    )

    @field_validator("allow_missing")
    @classmethod
    def _kinds(cls, kinds: list[str]) -> list[str]:
        for kind in kinds:
            if kind not in MASTER_KINDS:
                raise ValueError(f"{kind!r} is no kind of master; kinds are {', '.join(MASTER_KINDS)}")
        return kinds


class DataOptions(Table):
    """Where the raw frames are."""

    path: str = Field(".", description="Folder or file; a relative path is taken from the recipe's folder.")
    pattern: Patterns = Field(
        ["**/*.fit*", "**/*.FIT*", "**/*.fts*", "**/*.fz"], description="Which files, as patterns below the folder."
    )
    exclude: Patterns = Field([], description="Files to leave out, as patterns below the folder.")


class LibraryOptions(Table):
    """Where masters of other nights are found, and those of this one entered."""

    path: str = Field(description="Folder of the library; a relative path is taken from the recipe's folder.")
    add: bool = Field(True, description="Enter the masters of this run.")
    prefer: Literal["night", "nearest"] = Field(
        "night",
        description=(
            "'night' takes masters of the library only where the night has none that matches; 'nearest' takes "
            "whichever is nearest in time."
        ),
    )
    penalty: float = Field(
        1.0,
        ge=0,
        description="With 'nearest': a master of another night counts as this much farther away.",
        json_schema_extra={"unit": "day"},
    )
    max_age: float | dict[str, float] = Field(
        60.0,
        description=(
            "Masters farther than this from a frame in time are not used: one number, or a number for each kind of "
            "master that has a limit."
        ),
        json_schema_extra={"unit": "day"},
    )

    @field_validator("max_age")
    @classmethod
    def _ages(cls, ages: float | dict[str, float]) -> float | dict[str, float]:
        for kind, days in ages.items() if isinstance(ages, dict) else {"": ages}.items():
            if kind and kind not in MASTER_KINDS:
                raise ValueError(f"{kind!r} is no kind of master; kinds are {', '.join(MASTER_KINDS)}")
            if not days > 0:
                raise ValueError(f"an age of {days:g} days lets no master be used")
        return ages

    def oldest(self, kind: str) -> float:
        """Give the largest age in days of a master of a kind."""
        return self.max_age.get(kind, inf) if isinstance(self.max_age, dict) else self.max_age


class CatalogueOptions(Table):
    """Which stars of the reference frames are measured in every frame."""

    reference: str = Field(
        "best",
        min_length=1,
        description=(
            "Frame that the others are aligned with: 'best' looks at some from all over the night and takes the one "
            "with most and sharpest stars; 'middle' takes the one in the middle of the night; else the name of a frame."
        ),
    )
    candidates: int = Field(
        5,
        ge=1,
        description="How many frames of each field to look at for the best reference.",
    )
    source: Literal["reference", "stack"] = Field(
        "reference",
        description=(
            "Where stars are found: on the reference frame of each field, or on a stack of all its frames, which the "
            "first [[stacks]] of the recipe makes; every frame is read twice then."
        ),
    )
    file: str = Field(
        "",
        description=(
            "A list of the stars to measure, instead of those that are found: ECSV, CSV or FITS with columns ra and "
            "dec, or x and y; a relative path is taken from the recipe's folder."
        ),
    )
    max_sources: int = Field(
        200, ge=1, description="Measure at most this many stars that a detector sees, the brightest first."
    )
    min_snr: float = Field(10.0, ge=0, description="Leave out stars below this signal-to-noise ratio on the reference.")
    match_radius: float = Field(
        3.0,
        gt=0,
        description=(
            "A target this near to a star of the reference is that star; so is a star of another detector this near to "
            "where the map between the two puts it."
        ),
        json_schema_extra={"unit": "pixel"},
    )
    common: bool = Field(
        True,
        description="Give detectors that look at the same sky one list of stars, in which a star has one identity.",
    )

    @field_validator("file")
    @classmethod
    def _is_there(cls, file: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        if file and folder is not None and not (folder / Path(file).expanduser()).is_file():
            raise ValueError(f"there is no file {folder / Path(file).expanduser()}")
        return file


class OutputOptions(Table):
    """What is written besides tables."""

    reduced: bool = Field(False, description="Write every calibrated science frame.")


class Place(Table):
    """A position: on the sky, or in a named frame."""

    ra: float | None = Field(
        None,
        ge=0,
        lt=360,
        description="Right ascension, ICRS: degrees, or text in hours.",
        json_schema_extra={"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 360}, {"type": "string"}]},
    )
    dec: float | None = Field(
        None,
        ge=-90,
        le=90,
        description="Declination, ICRS: degrees, or text in degrees.",
        json_schema_extra={"anyOf": [{"type": "number", "minimum": -90, "maximum": 90}, {"type": "string"}]},
    )
    x: float | None = Field(
        None, allow_inf_nan=False, description="Column, zero-based.", json_schema_extra={"unit": "pixel"}
    )
    y: float | None = Field(
        None, allow_inf_nan=False, description="Row, zero-based.", json_schema_extra={"unit": "pixel"}
    )
    frame: str = Field("", description="The frame that x and y are in, by file name; the first frame if left out.")

    @field_validator("ra", mode="before")
    @classmethod
    def _right_ascension(cls, value: Any) -> Any:
        return parse_angle(value, 15.0) if isinstance(value, str) else value

    @field_validator("dec", mode="before")
    @classmethod
    def _declination(cls, value: Any) -> Any:
        return parse_angle(value, 1.0) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> Place:
        if (self.ra is None) != (self.dec is None):
            raise ValueError("ra and dec go together")
        if (self.x is None) != (self.y is None):
            raise ValueError("x and y go together")
        if self.ra is None and self.x is None:
            raise ValueError("give ra and dec, or x and y (pixels of a frame), or both")
        return self


class Target(Place):
    """Something to measure."""

    name: str = Field(min_length=1, description="Name for tables, files and plots.")
    comparisons: list[Place] = Field([], description="Comparison stars, by position; chosen automatically if left out.")


def parse_angle(text: str, per_unit: float) -> float:
    """Read an angle as degrees.

    Parameters
    ----------
    text : str
        Sexagesimal with colons, blanks or unit letters (``02:04:10.3``, ``+46d41m16s``), or decimal degrees.
    per_unit : float
        Degrees in one unit of a sexagesimal text: 15 for hours, 1 for degrees.

    Raises
    ------
    ValueError
        If it is neither.
    """
    try:
        return float(text)
    except ValueError:
        value = sexagesimal(re.sub(r"[hdm\u00b0'\u2032]", ":", text.strip()).rstrip('s"\u2033: '))
    if value is None:
        raise ValueError(f"{text!r} is neither a number of degrees nor of the form 02:04:10.3")
    return value * per_unit
