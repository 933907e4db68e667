"""Recipes described for editors and for people."""

import json
import types
from typing import Any, Literal

import pytest
import tomli
from pydantic import BaseModel, Field

from albireo import Photometer, Recipe, Registry, builtin, hookimpl
from albireo.recipe import DataOptions, Target
from albireo.schema import option_rows, recipe_schema
from albireo.testing import PlainCamera


class Ring(BaseModel):
    """A ring of sky."""

    inner: float = Field(8.0, gt=0, description="Inner radius.")
    outer: float = Field(12.0, gt=0, description="Outer radius.")


class Aperture(Photometer, name="aperture"):
    """Sum in circles.

    And more about it.
    """

    radius: float | list[float] = Field(3.0, description="Radius.", json_schema_extra={"unit": "pixel"})
    rings: list[Ring] = Field([], description="Rings of sky.")
    ring: Ring = Field(Ring(), description="The ring of sky.")
    method: Literal["exact", "centre"] = Field("exact", description="How edges count.")
    only: Literal["one"] = Field("one", description="No choice.")
    size: tuple[int, int] = Field((1, 2), description="Rows and columns.")
    weights: dict[str, float] = Field({}, description="Weights.")
    count: int = Field(3, ge=1, le=9, description="Number.")
    fraction: float = Field(0.5, gt=0, lt=1, description="Fraction.")
    maybe: float | None = Field(None, description="May be left out.")
    wanted: str = Field(description="Must be given.")
    yes: bool = Field(True, description="Switch.")

    def measure(self, image, sources, sky, psf):
        raise NotImplementedError


@pytest.fixture(scope="module")
def registry():
    module: Any = types.ModuleType("small")
    module.instruments = hookimpl(lambda: [PlainCamera])
    module.photometers = hookimpl(lambda: [Aperture])
    made = Registry()
    made.add(builtin)
    made.add(module)
    assert not made.broken
    return made


def test_options_are_told_in_words():
    rows = {row.name: (row.kind, row.default, row.unit) for row in option_rows(Aperture)}
    ring = '{"inner": 8.0, "outer": 12.0}'
    assert rows == {
        "radius": ("number or list of number", "3.0", "pixel"),
        "rings": ("list of table", "[]", ""),
        "ring": ("table", ring, ""),
        "method": ('"exact" | "centre"', '"exact"', ""),
        "only": ('"one"', '"one"', ""),
        "size": ("[integer, integer]", "[1, 2]", ""),
        "weights": ("table", "{}", ""),
        "count": ("integer >= 1, <= 9", "3", ""),
        "fraction": ("number > 0, < 1", "0.5", ""),
        "maybe": ("number", "(none)", ""),
        "wanted": ("text", "(required)", ""),
        "yes": ("true or false", "true", ""),
    }
    assert option_rows(Aperture)[0].description == "Radius."
    assert {row.name: row.kind for row in option_rows(DataOptions)}["pattern"] == "text or list of text"
    assert {row.name: row.kind for row in option_rows(Target)}["ra"] == "number >= 0, < 360 or text"


RECIPE = """
[recipe]
title = "x"
[data]
pattern = "*.fits"
[instrument]
use = "plain-camera"
rows = 100
[[targets]]
name = "WASP-12 b"
ra = "06:30:32.8"
dec = 29.67
comparisons = [{ x = 1, y = 2.5 }]
[[photometry]]
use = "aperture"
radius = [3, 4]
rings = [{ inner = 3, outer = 4 }]
wanted = "yes"
[executor]
use = "serial"
"""


def references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"]} if "$ref" in schema else set()
        return own.union(*map(references, schema.values()))
    return set().union(*map(references, schema)) if isinstance(schema, list) else set()


def test_the_schema_is_complete(registry):
    schema = json.loads(json.dumps(recipe_schema(registry)))
    assert set(tomli.loads(RECIPE)) <= set(schema["properties"])
    assert schema["required"] == ["instrument"]
    assert schema["additionalProperties"] is False
    assert {ref.removeprefix("#/$defs/") for ref in references(schema)} <= set(schema["$defs"])
    (aperture,) = schema["properties"]["photometry"]["items"]["oneOf"]
    assert aperture["properties"]["use"] == {"const": "aperture", "description": "Sum in circles."}
    assert aperture["required"] == ["use", "wanted"]
    assert aperture["additionalProperties"] is False
    assert aperture["properties"]["radius"]["unit"] == "pixel"
    executors = [choice["title"] for choice in schema["properties"]["executor"]["oneOf"]]
    assert executors == ["processes", "serial"]
    # A list without a choice would be no schema at all.
    assert all(one["oneOf"] for one in (schema["properties"]["finding"], schema["properties"]["curves"]["items"]))


def test_the_schema_accepts_good_recipes_and_finds_mistakes(registry):
    jsonschema = pytest.importorskip("jsonschema")
    schema = recipe_schema(registry)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(tomli.loads(RECIPE))
    validator.validate(tomli.loads('[instrument]\nuse = "plain-camera"'))
    for old, new in (
        ('use = "plain-camera"', 'use = "plane-camera"'),
        ("rows = 100", "rows = 'many'"),
        ("rows = 100", "row = 100"),
        ("inner = 3", "inner = -3"),
        ('wanted = "yes"', ""),
        ("[recipe]", "[recipes]"),
        ("[executor]", "[finding]"),
        ("dec = 29.67", "dec = 290"),
        ("comparisons = [{", "comparisons = [{ z = 1,"),
    ):
        assert old in RECIPE
        assert not validator.is_valid(tomli.loads(RECIPE.replace(old, new))), new


def test_the_schema_and_the_reader_agree_on_resolved_recipes(registry):
    """What an editor marks as wrong must not be what a run writes into its folder."""
    jsonschema = pytest.importorskip("jsonschema")
    text = RECIPE.replace('[[photometry]]\nuse = "aperture"', "").split("radius")[0] + '[executor]\nuse = "serial"\n'
    resolved = Recipe.parse(text, registry=registry).to_toml()
    jsonschema.Draft202012Validator(recipe_schema(registry)).validate(tomli.loads(resolved))
