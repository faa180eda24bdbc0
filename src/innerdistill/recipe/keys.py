"""Every key of a recipe and of a sweep with type, default and meaning, as the models that check them say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from innerdistill.recipe.recipe import Recipe, Section
from innerdistill.recipe.yaml import write_yaml

TYPES = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        name: dotted, as on the command line.
        values: what it takes, in words.
        default: as YAML; empty where nothing is the default, `(needed)` where there has to be a value.
        meaning: what it is for.
    """

    name: str
    values: str
    default: str
    meaning: str


def keys(section: type[Section] = Recipe) -> list[Key]:
    """The keys of a model and of the sections in it.

    Args:
        section: Recipe, or another.

    Returns:
        In the order of the code.
    """
    schema = section.model_json_schema()
    return list(_keys(schema, schema.get("$defs", {}), parent=""))


def _keys(schema: dict[str, Any], sections: dict[str, Any], *, parent: str) -> Iterator[Key]:
    for name, found in schema["properties"].items():
        if "$ref" in found:
            yield from _keys(sections[found["$ref"].rpartition("/")[2]], sections, parent=f"{parent}{name}.")
        else:
            default = "(needed)" if name in schema.get("required", ()) else _default(found.get("default"))
            yield Key(parent + name, _values(found), default, found["description"])


def _values(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        *others, last = (_values(choice) for choice in schema["anyOf"] if choice.get("type") != "null")
        return f"{', '.join(others)} or {last}" if others else last
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_values(schema['items'])}s" if "type" in schema.get("items", {}) else "list"
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in BOUNDS.items() if schema.get(bound, 2**31) < 2**31]
    return " ".join([TYPES[schema["type"]], *bounds])


def _default(value: Any) -> str:
    if value in (None, [], {}, {"": {}}):
        return ""
    return write_yaml(value, one_line=True).removesuffix("\n").removesuffix("\n...")
