"""Load a recipe: read YAML, apply overrides, check, and say in one sentence what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from innerdistill.recipe.keys import keys
from innerdistill.recipe.recipe import Recipe
from innerdistill.recipe.renames import RENAMED_VALUES
from innerdistill.recipe.yaml import parse_yaml, read_yaml
from innerdistill.support.messages import shorten_value, suggest_name

# By the kind of pydantic's error.
EXPECTED = {
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type"), "a mapping of keys to values"),
    "string_type": "a text",
    "column by label": "a column for each label, or one column of lists",
    "finite_number": "a finite number",
}
# The usual ones of TrainingArguments, whose own list takes seconds to import.
TRAINING_KEYS = (
    *("learning_rate", "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
    *("weight_decay", "warmup_steps", "warmup_ratio", "lr_scheduler_type", "max_grad_norm", "optim", "logging_steps"),
    *("bf16", "fp16", "use_cpu", "torch_compile", "report_to", "label_smoothing_factor"),
)


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
    name, overrides = "recipe" if isinstance(source, Mapping) else str(source), list(overrides)
    try:
        return Recipe.model_validate(read_content(source, overrides=overrides))
    except ValidationError as error:
        where = find_override(error, overrides) or name
        raise ValueError(f"{where}: {describe_validation_error(error, Recipe)}") from None


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
            place = " A recipe file comes before all overrides." if override.endswith((".yaml", ".yml")) else ""
            raise ValueError(f"override {override!r}: expected key=value, for example schedule.name=pid.{place}")
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


def find_override(error: ValidationError, overrides: Iterable[str]) -> str:
    """Find the override that set what pydantic complains of first.

    Args:
        error: raised by the model's validation.
        overrides: strings `section.key=value`.

    Returns:
        The override as it stands before a sentence; empty if the value comes from the file.
    """
    parts = map(str, error.errors()[0]["loc"])
    path = ".".join(takewhile(lambda part: "[" not in part, parts))  # pydantic adds which of several forms it tried
    for override in reversed(list(overrides)):
        key = override.partition("=")[0]
        if f"{path}.".startswith(f"{key}.") or f"{key}.".startswith(f"{path}."):
            return f"override {shorten_value(override)}"
    return ""


def describe_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in words what pydantic complains of first.

    Args:
        error: raised by the model's validation.
        model: class that was validated.

    Returns:
        One sentence that names the key.
    """
    first = error.errors()[0]
    given = "null" if first["input"] is None else shorten_value(first["input"])
    path = [str(part) for part in first["loc"]] or ["a key"]  # a key that is not a text has no path
    if path[0] == "layer_map" or path[:2] == ["student", "layers"]:
        key = "layer_map" if path[0] == "layer_map" else "student.layers"
        number = " The number of layers is student.num_layers." if type(first["input"]) is int else ""
        return f"{key}: expected uniform, first, last or a list of layer numbers, got {given}.{number}"
    if path[:2] == ["data", "label"]:
        path = path[:2]  # pydantic adds which of the two forms it tried
        if first["type"] == "string_type":
            return f"data.label: expected a column, or a list of two or more columns of 0 and 1, got {given}."
    if path[:2] in (["data", "probabilities"], ["data", "logits"]):
        path = path[:2]
        if first["type"] in ("string_type", "dict_type"):
            first = {**first, "type": "column by label"}
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        if model is Recipe and (places := _find_places(path[-1])):
            return f"unknown key {shorten_value(key)}. Did you mean {' or '.join(places)}?"
        known, section = _get_section(model, path).model_fields, ".".join(path[:-1])
        kind = f"keys of {section}" if section else "keys"
        return f"unknown key {shorten_value(key)}. {suggest_name(path[-1], known, kind=kind)}"
    if first["type"] == "literal_error" and (new_name := RENAMED_VALUES.get(key, {}).get(str(first["input"]))):
        return f"{key}: {given} is called '{new_name}' now."
    return f"{key}: {_describe_expectation(first['type'], first['msg'])}, got {given}."


def _describe_expectation(kind: str, message: str) -> str:
    """What pydantic expected, in the words of a recipe."""
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}"
    message = message.removeprefix("Value error, ")
    wanted = message.removeprefix("Input should be ")
    if wanted != message:
        return f"expected {'a number ' if wanted.startswith(('greater', 'less')) else ''}{wanted}"
    return f"{message[0].lower()}{message[1:]}"


def _find_places(name: str) -> list[str]:
    """The keys of a recipe, in any section, that have this very name."""
    places = [key.name for key in keys() if key.name.rpartition(".")[2] == name]
    return [*places, f"trainer.{name}"] if name in TRAINING_KEYS else places


def _get_section(model: type[BaseModel], path: list[str]) -> type[BaseModel]:
    for part in path[:-1]:
        model = type(model.model_fields[part].get_default(call_default_factory=True))
    return model


def _copy_mappings(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy_mappings(value) if isinstance(value, Mapping) else value for key, value in content.items()}
