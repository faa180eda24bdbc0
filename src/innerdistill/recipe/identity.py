"""What a result depends on: the keys of a recipe that change a teacher, a student or its scores.

A new key changes the student unless it stands in WITHOUT_EFFECT. If it also changes the fine-tuning of a teacher, it
stands in FINE_TUNING: comparisons, the teacher's folder and its recipe read that list.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from innerdistill.recipe.recipe import Recipe, TeacherRecipe
from innerdistill.recipe.renames import translate_old_values
from innerdistill.recipe.reporting import REPORTING_KEYS, drop_reporting

WITHOUT_EFFECT = {
    "output",
    "overwrite",
    "checkpoint_minutes",
    "teacher.folder",
    "teacher.allow_weak",
    "data.note",
    "onnx",
    "baseline",
    *(f"trainer.{key}" for key in REPORTING_KEYS),
}
TEACHER_FINE_TUNING = ("epochs", "seed")  # keys of `teacher`
FINE_TUNING = ("group_by_length", "pad_to_max_length", "checkpoint")  # keys that students and fine-tuning share
TEACHER_NAME = re.compile(r".+-[0-9a-f]{12}")  # a teacher's folder in the cache: its task and its key
TARGETS = "targets"  # folder of cached teacher outputs, beside the teachers


def list_differences(content: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """List the keys in which another run's recipe differs, apart from those without effect.

    Args:
        content: recipe of the other run, from its run.json or recipe.yaml.
        recipe: recipe that is wanted now.

    Returns:
        Dotted keys, each with the other run's value and the one that is wanted.
    """
    with suppress(ValueError):  # a key that is younger than the run had its default
        content = Recipe.model_validate(translate_old_values(content)).model_dump(mode="json")
    wanted, other = dict(_flatten(recipe.model_dump(mode="json"))), dict(_flatten(content))
    differences = []
    for key in dict.fromkeys((*wanted, *other)):
        if key not in WITHOUT_EFFECT and wanted.get(key) != other.get(key):
            differences.append(f"{key} ({other.get(key)!r}, now {wanted.get(key)!r})")
    return differences


def select_shared_keys(recipe: Recipe) -> dict[str, Any]:
    """Select what the scored data and the teacher of a run depend on: runs that are compared have these in common.

    Unlabelled texts are the student's alone.

    Args:
        recipe: recipe of the run.

    Returns:
        Values by dotted key.
    """
    keys = {f"data.{key}": value for key, value in recipe.data.model_dump(exclude={"note", "unlabelled"}).items()}
    keys |= {f"teacher.{key}": getattr(recipe.teacher, key) for key in ("path", "base")}
    if recipe.teacher.pooling is not None:
        keys["teacher.pooling"] = recipe.teacher.pooling
    if recipe.teacher.base is not None:
        keys |= {f"teacher.{key}": getattr(recipe.teacher, key) for key in TEACHER_FINE_TUNING}
        keys |= {key: getattr(recipe, key) for key in FINE_TUNING}
        keys |= {f"trainer.{key}": value for key, value in merge_teacher_trainer(recipe).items()}
    return keys


def merge_teacher_trainer(recipe: Recipe) -> dict[str, Any]:
    """Merge the options of the teacher's fine-tuning: the students' where it has none of its own, without trackers.

    Args:
        recipe: recipe of the run.

    Returns:
        Keys of TrainingArguments.
    """
    return {**drop_reporting(recipe.trainer), **recipe.teacher.trainer}


def compute_teacher_key(recipe: Recipe, *, base: str, data: str, max_length: int, processes: int) -> str:
    """Compute the name under which a fine-tuned teacher is cached.

    Args:
        recipe: recipe of the run.
        base: fingerprint of the base model's weights.
        data: fingerprint of the data.
        max_length: most tokens of an example.
        processes: number of processes, each with a batch of its own.

    Returns:
        12 hexadecimal digits.
    """
    own = (
        *(getattr(recipe.teacher, key) for key in TEACHER_FINE_TUNING),
        sorted(merge_teacher_trainer(recipe).items()),
    )
    options = (*(getattr(recipe, key) for key in FINE_TUNING), max_length)
    content: tuple[Any, ...] = (base, data, own, options)
    if processes > 1:
        content += (processes,)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


def fine_tunes_alike(recipe: Recipe, other: Recipe) -> bool:
    """Whether two recipes fine-tune a teacher with the same options. Data and base models are not compared.

    Args:
        recipe: recipe of a run, or of a cached teacher.
        other: the other one.

    Returns:
        True if seed, epochs and all options of training are equal.
    """
    return _select_fine_tuning(recipe) == _select_fine_tuning(other)


def _select_fine_tuning(recipe: Recipe) -> dict[str, Any]:
    """The options of a teacher's fine-tuning as JSON has them, since one of two recipes comes from a file."""
    content = recipe.model_dump(mode="json")
    options = {key: content["teacher"][key] for key in TEACHER_FINE_TUNING}
    options |= {key: content[key] for key in FINE_TUNING}
    return {**options, "trainer": {**content["trainer"], **content["teacher"]["trainer"]}}


def derive_teacher_recipe(recipe: Recipe, *, output: str) -> Recipe:
    """Derive the recipe of the teacher's fine-tuning; students of other seeds and methods share it.

    Args:
        recipe: recipe of a run with `teacher.base`.
        output: folder of the teacher.

    Returns:
        A recipe for `finetune`.
    """
    own = {key: getattr(recipe.teacher, key) for key in ("base", *TEACHER_FINE_TUNING)}
    shared = {key: getattr(recipe, key) for key in ("data", "checkpoint_minutes", *FINE_TUNING)}
    teacher = TeacherRecipe(**own, trainer=merge_teacher_trainer(recipe))
    return Recipe(**shared, teacher=teacher, output=output, overwrite=True)


def _flatten(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        elif value not in ({}, None):
            yield f"{prefix}{key}", value
