"""Load a recipe: read YAML, apply overrides, check, and say in one sentence what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from innerdistill.recipe.recipe import Recipe
from innerdistill.recipe.renames import RENAMED_VALUES
from innerdistill.recipe.yaml import parse_yaml, read_yaml
from innerdistill.support.messages import shorten_value, suggest_name


def load_recipe(source: str | Path | Mapping[str, Any], *, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        source: path of a YAML file, or the same content as a mapping.
        overrides: strings `section.key=value`. The value is read as YAML: `[2, 4]` is a list, `null` is no value.

    Returns:
        The checked recipe.

    Raises:
        ValueError: the file cannot be read, an override is malformed, a key is unknown or a value is out of range.
    """
    name = "recipe" if isinstance(source, Mapping) else str(source)
    try:
        return Recipe.model_validate(read_content(source, overrides=overrides))
    except ValidationError as error:
        raise ValueError(f"{name}: {describe_validation_error(error, Recipe)}") from None


def read_content(source: str | Path | Mapping[str, Any], *, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read a YAML file and apply overrides, without checking keys and values.

    Args:
        source: path of a YAML file, or the same content as a mapping.
        overrides: strings `section.key=value`.

    Returns:
        The content of the file with the overrides in it.

    Raises:
        ValueError: the file cannot be read, or an override is malformed.
    """
    content = _copy_mappings(source) if isinstance(source, Mapping) else read_yaml(Path(source))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ValueError(f"override {override!r}: expected key=value, for example schedule.name=pid.")
        set_key(content, key, parse_yaml(value, where=f"override {override!r}"))
    return content


def set_key(content: dict[str, Any], key: str, value: Any) -> None:
    """Set one key of a recipe, with the sections it needs.

    Args:
        content: keys and values of the recipe; changed in place.
        key: name with its sections, such as `schedule.name`.
        value: new value.
    """
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(content.get(parent), dict):
            content[parent] = {}
        content = content[parent]
    content[last] = _copy_mappings(value) if isinstance(value, Mapping) else value


def describe_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in words what pydantic complains of first.

    Args:
        error: raised by the model's validation.
        model: class that was validated.

    Returns:
        One sentence that names the key.
    """
    first = error.errors()[0]
    given = shorten_value(first["input"])
    path = [str(part) for part in first["loc"]] or ["a key"]  # a key that is not a text has no path
    if path[0] == "layer_map" or path[:2] == ["student", "layers"]:
        key = "layer_map" if path[0] == "layer_map" else "student.layers"
        return f"{key}: expected uniform, first, last or a list of layer numbers, got {given}."
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        known, section = _get_section(model, path).model_fields, ".".join(path[:-1])
        kind = f"keys of {section}" if section else "keys"
        return f"unknown key {shorten_value(key)}. {suggest_name(path[-1], known, kind=kind)}"
    if first["type"] == "literal_error" and (new_name := RENAMED_VALUES.get(key, {}).get(first["input"])):
        return f"{key}: {given} is called '{new_name}' now."
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}, got {given}."


def _get_section(model: type[BaseModel], path: list[str]) -> type[BaseModel]:
    for part in path[:-1]:
        model = type(model.model_fields[part].get_default(call_default_factory=True))
    return model


def _copy_mappings(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy_mappings(value) if isinstance(value, Mapping) else value for key, value in content.items()}
