"""Values of a recipe that had another name once. A user's recipe is refused with the new name, a record is translated.

Records are what the package wrote itself: recipe.yaml and run.json of a run, sweep.yaml of a sweep's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED_VALUES = {"teacher.targets": {"keep": "cache"}}  # today's name by earlier name, by key


def translate_old_values(content: Mapping[str, Any], *, section: str = "") -> dict[str, Any]:
    """Translate the recipe or sweep of a record that an earlier version may have written.

    Args:
        content: keys and values, nested or with the section in the key (`teacher.targets`), as in a sweep's methods.
        section: name of the section that the content stands in, with a dot at its end.

    Returns:
        The same content with today's values.
    """
    translated: dict[str, Any] = {}
    for name, value in content.items():
        key = f"{section}{name}"
        if isinstance(value, Mapping):
            translated[name] = translate_old_values(value, section=f"{key}.")
        elif isinstance(value, list):  # values in a sweep's grid
            translated[name] = [_translate(key, choice) for choice in value]
        else:
            translated[name] = _translate(key, value)
    return translated


def _translate(key: str, value: Any) -> Any:
    for renamed_key, new_names in RENAMED_VALUES.items():
        if f".{key}".endswith(f".{renamed_key}") and isinstance(value, str):
            return new_names.get(value, value)
    return value
