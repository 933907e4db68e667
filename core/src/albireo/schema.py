"""Recipes described for machines and for people: a JSON Schema, and the options of a stage as rows of text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from albireo.recipe import CatalogueOptions, DataOptions, LibraryOptions, OutputOptions, RecipeOptions, Target
from albireo.registry import Registry
from albireo.roles import ROLES

__all__ = ["OptionRow", "option_rows", "recipe_schema"]

CORE_TABLES: dict[str, type[BaseModel]] = {
    "recipe": RecipeOptions,
    "data": DataOptions,
    "catalogue": CatalogueOptions,
    "output": OutputOptions,
    "library": LibraryOptions,
}

LIMITS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option of a stage, in words."""

    name: str
    kind: str
    default: str
    unit: str
    description: str


def option_rows(model: type[BaseModel]) -> list[OptionRow]:
    """Describe every option of a stage or a table of the core."""
    schema = model.model_json_schema()
    rows = []
    for name, entry in schema.get("properties", {}).items():
        required = name in schema.get("required", [])
        rows.append(
            OptionRow(
                name,
                _kind(entry, schema.get("$defs", {})),
                "(required)" if required else _default(entry.get("default")),
                str(entry.get("unit", "")),
                str(entry.get("description", "")),
            )
        )
    return rows


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe, with every installed stage."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name, model in CORE_TABLES.items():
        properties[name] = _lifted(model.model_json_schema(), definitions)
    properties["targets"] = {"type": "array", "items": _lifted(Target.model_json_schema(), definitions)}
    for role in ROLES.values():
        choices = []
        for entry in registry.entries(role.name):
            schema = _lifted(entry.cls.model_json_schema(), definitions)
            schema["properties"] = {
                "use": {"const": entry.name, "description": entry.cls.summary()},
                **schema.get("properties", {}),
            }
            schema["required"] = ["use", *schema.get("required", [])]
            schema["title"] = entry.name
            choices.append(schema)
        one: dict[str, Any] = {"oneOf": choices or [{"not": {}}], "description": role.base.summary()}
        properties[role.table] = {"type": "array", "items": one} if role.several else one
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Albireo recipe",
        "type": "object",
        "properties": properties,
        "required": [role.table for role in ROLES.values() if role.required],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _lifted(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    definitions.update(schema.pop("$defs", {}))
    return schema


def _kind(entry: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in entry:
        name = entry["$ref"].rsplit("/", 1)[-1]
        return _kind(definitions.get(name, {}), definitions) or name
    if "enum" in entry:
        return " | ".join(json.dumps(value) for value in entry["enum"])
    if "const" in entry:
        return json.dumps(entry["const"])
    if "anyOf" in entry:
        kinds = [_kind(part, definitions) for part in entry["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if entry.get("type") == "array":
        if "prefixItems" in entry:
            return "[" + ", ".join(_kind(part, definitions) for part in entry["prefixItems"]) + "]"
        return f"list of {_kind(entry.get('items', {}), definitions) or 'values'}"
    names = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "object": "table"}
    limits = [f"{sign} {entry[key]:g}" for key, sign in LIMITS.items() if key in entry]
    return " ".join([names.get(str(entry.get("type", "")), ""), ", ".join(limits)]).strip()


def _default(value: Any) -> str:
    return "(none)" if value is None else json.dumps(value)
