"""Arguments of `distill`, `finetune` and `evaluate`: what they are, and which keys of a recipe they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

from datasets import DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from innerdistill.evaluation.metrics import Metric
from innerdistill.losses.loss import Loss
from innerdistill.recipe.loading import TRAINING_KEYS, read_content
from innerdistill.recipe.recipe import Recipe
from innerdistill.support.messages import shorten_value, suggest_name
from innerdistill.training.schedules import Schedule, SchedulePlan
from innerdistill.training.stage import Stage

SPLITS = ("train", "validation", "selection", "test", "unlabelled")
SECTIONS = ("data", "teacher", "teacher.trainer", "student", "schedule", "losses", "trainer", "internal_trainer")
# What a section means that is given as one value.
SHORT_FOR = {"data": "data.path", "teacher": "teacher.path", "student": "student.source", "schedule": "schedule.name"}

# Names that other libraries have for the same.
OTHER_NAMES = {
    "train_dataset": "train",
    "train_data": "train",
    "eval_dataset": "validation",
    "eval_data": "validation",
    "val": "validation",
    "dev": "validation",
    "unlabeled": "unlabelled",
    "model": "teacher",
    "args": "trainer",
    "output_dir": "output",
}

RecipeSource = Recipe | Mapping[str, Any] | str | Path
Rows = Any  # datasets.Dataset or IterableDataset, DataFrame, list or iterable of dicts, mapping of columns, file


class Arguments(TypedDict, total=False):
    """Keyword arguments of `distill`, `finetune` and `evaluate`: sections and keys of a recipe, and Python objects.

    Attributes:
        data: section of the recipe; or a DatasetDict, whose splits have their usual names.
        train: training examples: `datasets.Dataset` or `IterableDataset`, pandas or polars DataFrame, list or other
            iterable of dicts, mapping of columns, or file.
        validation: examples that are only reported on; without them, a tenth of train is held out.
        selection: examples that checkpoints and settings are chosen on; without them, a tenth of train is held out.
        test: further examples that are reported on.
        unlabelled: texts without labels; the teacher labels them.
        teacher: fine-tuned model, its folder or its name, or the `Run` of `finetune`; or section of the recipe.
        student: number of layers; or a model, folder or name whose layers the student copies; or section of the recipe.
        tokenizer: tokenizer of the teacher; needed where the teacher is an object. Of the student, where the teacher's
            outputs are columns.
        layer_map: teacher layer of each student layer.
        losses: by name a weight, or a `Loss` with its weight: `{"mine": (Loss(...), 1.0)}`.
        metrics: by name a function (labels, predictions) -> score, of which higher is better, as scikit-learn has them;
            or a `Metric`. All are computed; `data.metric` names the primary one.
        schedules: by name a function (SchedulePlan) -> list of stages, or a `Schedule`; `schedule` names one of them.
        callbacks: callbacks of transformers' Trainer, for every stage.
        temperature: temperature of the soft labels.
        schedule: name of the schedule, or section of the recipe.
        trainer: keys of TrainingArguments.
        internal_trainer: keys that override `trainer` in internal stages.
        group_by_length: whether batches hold examples of similar lengths.
        pad_to_max_length: whether every batch is padded to `data.max_length`.
        checkpoint: `last` or `best`, the final weights.
        checkpoint_minutes: minutes between two checkpoints.
        onnx: whether to export ONNX files too.
        baseline: whether to train the same student without distillation too.
        seed: random seed of student, order and dropout.
        output: folder of the run.
        overwrite: whether to overwrite the run in `output`.
    """

    data: Mapping[str, Any] | str | Path
    train: Rows
    validation: Rows
    selection: Rows
    test: Rows
    unlabelled: Rows
    teacher: Mapping[str, Any] | PreTrainedModel | str | PathLike[str]
    student: Mapping[str, Any] | PreTrainedModel | str | PathLike[str] | int
    tokenizer: PreTrainedTokenizerBase
    layer_map: str | Sequence[int] | Mapping[int, int]
    losses: Mapping[str, float | Loss | tuple[Loss, float]]
    metrics: Mapping[str, Callable[..., float] | Metric]
    schedules: Mapping[str, Callable[[SchedulePlan], list[Stage]] | Schedule]
    callbacks: Sequence[TrainerCallback]
    temperature: float
    schedule: Mapping[str, Any] | str
    trainer: Mapping[str, Any]
    internal_trainer: Mapping[str, Any]
    group_by_length: bool
    pad_to_max_length: bool
    checkpoint: str
    checkpoint_minutes: float
    onnx: bool
    baseline: bool
    seed: int
    output: str | PathLike[str]
    overwrite: bool


def flatten_arguments(recipe: RecipeSource | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Put the keys of a recipe and the arguments of a call together.

    Arguments override the keys of the recipe, one by one, as `key=value` does on the command line.

    Args:
        recipe: a Recipe, a mapping (sections, or dotted keys), the path of a YAML file, or None.
        arguments: keyword arguments, as `Arguments` has them.

    Returns:
        Values and objects by dotted key.

    Raises:
        ValueError: an unknown argument, or the same thing given twice.
    """
    if not isinstance(recipe, Recipe | Mapping | str | PathLike | None) or _is_run(recipe):
        raise ValueError(
            f"recipe: expected a recipe, got {type(recipe).__name__}; give objects by their names: teacher=, train= "
            "or model=."
        )
    for name in arguments.keys() - Arguments.__annotations__.keys():
        raise ValueError(f"unknown argument {shorten_value(name)}. {_suggest_argument(name)}")
    keys = {} if recipe is None else _flatten(_read(recipe))
    for key, value in _flatten(arguments, are_arguments=True).items():
        keys.pop(key, None)  # the keys of the call come in their own order
        keys[key] = value
    return keys


def _is_run(given: Any) -> bool:
    """Whether an object stands for a folder without being a path, as a `Run` does."""
    return isinstance(given, PathLike) and not isinstance(given, Path)


def _suggest_argument(name: str) -> str:
    """What may be meant by an argument that does not exist."""
    if name in OTHER_NAMES:
        return f"Did you mean {OTHER_NAMES[name]!r}?"
    if name in TRAINING_KEYS:
        return f"It is a key of the trainer: trainer={{{name!r}: ...}}."
    return suggest_name(name, Arguments.__annotations__, kind="arguments")


def _read(recipe: RecipeSource) -> Mapping[str, Any]:
    if isinstance(recipe, Recipe):
        return recipe.model_dump()
    return recipe if isinstance(recipe, Mapping) else read_content(recipe)


def _flatten(content: Mapping[str, Any], *, are_arguments: bool = False) -> dict[str, Any]:
    """Values by dotted key. Sections are nested or dotted; an argument may also be short for a key."""
    keys: dict[str, Any] = {}

    def add(key: str, value: Any) -> None:
        if key in SECTIONS and isinstance(value, Mapping) and not isinstance(value, DatasetDict):
            for name, part in value.items():
                add(f"{key}.{name}", part)
            return
        key = _expand(key, value) if are_arguments else key
        if key in keys:
            raise ValueError(f"{key} is given twice; leave one out.")
        keys[key] = value

    for key, value in content.items():
        add(str(key), value)
    return keys


def _expand(argument: str, value: Any) -> str:
    """The key that an argument is short for: `train` for `data.train`, `student=6` for `student.num_layers`."""
    if argument in SPLITS:
        return f"data.{argument}"
    if argument == "student" and (type(value) in (int, float) or (isinstance(value, str) and value.isdecimal())):
        if type(value) is not int:
            raise ValueError(f"student: expected a whole number of layers, a model or a folder; got {value!r}.")
        return "student.num_layers"
    return SHORT_FOR.get(argument, argument)
