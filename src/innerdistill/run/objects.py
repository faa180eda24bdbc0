"""Python objects in place of what a recipe names: `distill(teacher=model, train=dataset)`.

arguments of the call -> flat keys of a recipe -> a Recipe, which says IN_MEMORY where an object stands, and the Objects
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from innerdistill.data.in_memory import choose_label, choose_text, is_data_frame, wrap_rows
from innerdistill.data.tasks import TASKS
from innerdistill.evaluation.label_set_metrics import SetScore
from innerdistill.evaluation.metrics import METRICS, Metric, Shape
from innerdistill.evaluation.tag_metrics import TagScore
from innerdistill.losses.loss import Loss
from innerdistill.models.pretrained import read_config_with_head
from innerdistill.models.sentence_encoder import is_sentence_transformer, take_apart
from innerdistill.problem_types.problem_types import PROBLEM_TYPES, find_problem_type_of_model
from innerdistill.recipe.loading import load_recipe, set_key
from innerdistill.recipe.recipe import IN_MEMORY, Recipe
from innerdistill.report.run_folder import find_model_folder
from innerdistill.run.arguments import SPLITS, RecipeSource, flatten_arguments
from innerdistill.run.preview import refuse_missing_object
from innerdistill.support.messages import name_key, shorten_value
from innerdistill.support.user_code import CheckedFunction, CheckedScore, describe_code
from innerdistill.training.schedules import SCHEDULES, Schedule
from innerdistill.training.user_callbacks import describe_callbacks

Place: TypeAlias = str | PreTrainedModel  # folder or name of a model, or the object itself
MODELS = ("teacher.path", "teacher.base", "teacher.internal", "student.source")


@dataclass(frozen=True)
class Objects:
    """Python objects that a run was given.

    Attributes:
        models: models by key of the recipe, such as `teacher.path`.
        data: rows by split, or a DatasetDict as `path`.
        tokenizer: tokenizer of the teacher; None means the one in its folder.
        losses: losses by name.
        metrics: metrics by name.
        schedules: schedules by name.
        callbacks: callbacks of transformers' Trainer.
    """

    models: Mapping[str, PreTrainedModel] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: PreTrainedTokenizerBase | None = None
    losses: Mapping[str, Loss] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    callbacks: Sequence[TrainerCallback] = ()

    @contextmanager
    def register(self) -> Iterator[None]:
        """Let recipes name the metrics and schedules, for as long as the run takes.

        Yields:
            Nothing.

        Raises:
            ValueError: a name that is taken.
        """
        with METRICS.extend(self.metrics), SCHEDULES.extend(self.schedules):
            yield

    def describe(self) -> dict[str, str]:
        """Describe what a recipe cannot name: functions and classes by qualified name and hash of their source."""
        described = {f"losses.{name}": describe_code(loss.function) for name, loss in self.losses.items()}
        described |= {f"metrics.{name}": describe_code(metric.score) for name, metric in self.metrics.items()}
        described |= {f"schedules.{name}": describe_code(each.function) for name, each in self.schedules.items()}
        for number, description in enumerate(describe_callbacks(self.callbacks), start=1):
            described[f"callbacks.{number}"] = description
        return described


def collect(recipe: RecipeSource | None, arguments: Mapping[str, Any]) -> tuple[Recipe, Objects]:
    """Collect what a call was given: a recipe with names, and objects where it has none.

    Keyword arguments override the keys of the recipe, one by one, as `key=value` does on the command line.

    Args:
        recipe: a Recipe, a mapping (sections, or dotted keys), the path of a YAML file, or None.
        arguments: keyword arguments, as `Arguments` has them.

    Returns:
        The checked recipe and the objects.

    Raises:
        ValueError: an unknown argument, the same thing given twice, or an object of the wrong kind.
    """
    if isinstance(recipe, Recipe) and not arguments:
        return recipe, Objects()
    keys = flatten_arguments(recipe, arguments)
    objects = _take_objects(keys)
    _choose_columns(keys, objects.data)
    keys["objects"] = objects.describe()
    content: dict[str, Any] = {}
    for key, value in keys.items():
        set_key(content, key, os.fspath(value) if isinstance(value, PathLike) else value)
    return load_recipe(content), objects


def check_objects(recipe: Recipe, objects: Objects) -> None:
    """Check that every object that a recipe speaks of is there: a run's recipe.yaml has none of them.

    Args:
        recipe: recipe of a run.
        objects: the objects.

    Raises:
        ValueError: one is missing; names its key.
    """
    given = {*objects.models, *(f"data.{name}" for name in objects.data), *objects.describe()}
    for key in recipe.list_objects():
        if key not in given:
            raise ValueError(refuse_missing_object(key))


def make_metrics(given: Mapping[str, Any], shape: Shape) -> dict[str, Metric]:
    """Make metrics of functions.

    Args:
        given: functions (labels, predictions) -> score, or metrics, by name.
        shape: what the functions score, `classes` or `scores`.

    Returns:
        Metrics by name.

    Raises:
        ValueError: neither a function nor a Metric.
    """
    metrics: dict[str, Metric] = {}
    for name, metric in given.items():
        if not isinstance(metric, Metric) and not callable(metric):
            raise ValueError(f"metrics: expected a function or a Metric as {name!r}, got {shorten_value(metric)}.")
        metrics[name] = metric if isinstance(metric, Metric) else _wrap_score(name, metric, shape)
    return metrics


def _take_objects(keys: dict[str, Any]) -> Objects:
    """Take the objects out of the keys; IN_MEMORY stays where one stood."""
    models: dict[str, PreTrainedModel] = {}
    own_tokenizer = None
    for key in MODELS:
        if is_sentence_transformer(keys.get(key)):
            own_tokenizer = own_tokenizer or keys[key].tokenizer
            with name_key(key):
                keys[key] = take_apart(keys[key])
        if isinstance(value := keys.get(key), PathLike):
            keys[key] = str(find_model_folder(Path(value)))  # a run stands for its model
        elif not isinstance(value, str | None):
            if not isinstance(value, PreTrainedModel):
                got = _describe_kind(value)
                raise ValueError(f"{key}: expected a model of transformers, a folder or a name; got {got}.")
            models[key], keys[key] = value, IN_MEMORY
    teacher = models.get("teacher.path")
    if teacher is not None and teacher is models.get("student.source"):
        raise ValueError(
            "student: this is the teacher itself; give the number of layers, for example student=3, to copy some of "
            "the teacher's layers."
        )
    tokenizer = keys.pop("tokenizer", None) or own_tokenizer
    if not isinstance(tokenizer, PreTrainedTokenizerBase | None):
        raise ValueError(f"tokenizer: expected a tokenizer of transformers, got {_describe_kind(tokenizer)}.")
    of_teacher = teacher or models.get("teacher.base")
    if of_teacher is not None and tokenizer is None:
        raise ValueError("tokenizer: the teacher is an object, so give its tokenizer too.")
    has_outputs = keys.get("data.probabilities") is not None or keys.get("data.logits") is not None
    if has_outputs and "student.source" in models and tokenizer is None:
        raise ValueError("tokenizer: the student is an object, so give its tokenizer too.")
    data = _take_data(keys)
    return Objects(
        models,
        data,
        tokenizer,
        _take_losses(keys),
        make_metrics(_take_mapping(keys, "metrics"), _find_shape(keys, teacher)),
        {name: _make_schedule(name, each) for name, each in _take_mapping(keys, "schedules").items()},
        _take_callbacks(keys),
    )


def _wrap_score(name: str, function: Callable[..., Any], shape: Shape) -> Metric:
    score = CheckedScore(f"metrics.{name}", function)
    if shape == "tags":
        return Metric(TagScore(score), shape, reads=("names",))
    return Metric(SetScore(score) if shape == "label sets" else score, shape)


def _describe_kind(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}; load an object with from_pretrained"
    return type(value).__name__


def _take_data(keys: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    path = keys.get("data.path")
    if isinstance(path, Dataset) or is_data_frame(path):
        raise ValueError("data: this is one split; give it as train=.")
    if isinstance(path, DatasetDict):
        data["path"], keys["data.path"] = path, IN_MEMORY
    for split in SPLITS:
        if "path" in data and split in data["path"] and not isinstance(keys.get(f"data.{split}"), str | None):
            raise ValueError(f"{split} is given twice, in data and as {split}=; leave one out.")
        if not isinstance(value := keys.get(f"data.{split}"), str | PathLike | None):
            if isinstance(value, DatasetDict):
                raise ValueError(f"{split}: this is a DatasetDict; give it as data=, or one of its splits here.")
            with name_key(f"data.{split}"):
                data[split], keys[f"data.{split}"] = wrap_rows(value), IN_MEMORY
    return data


def _choose_columns(keys: dict[str, Any], data: Mapping[str, Any]) -> None:
    """Name text and label columns of the training examples where nobody has, so that the recipe says what they are."""
    train = data.get("train")
    if train is None and "path" in data:
        train = data["path"].get(keys.get("data.train") or "train")
    if train is None or keys.get("data.task") in TASKS or keys.get("data.text"):
        return
    rows = wrap_rows(train)
    if not {"data.label", "data.pairs"} & keys.keys() and (label := choose_label(rows)) is not None:
        keys["data.label"] = label
    keys["data.text"] = choose_text(rows, keys.get("data.label"))


def _take_losses(keys: dict[str, Any]) -> dict[str, Loss]:
    losses: dict[str, Loss] = {}
    for key, value in list(keys.items()):
        name = key.removeprefix("losses.")
        if name == key:
            continue
        loss, weight = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
        if callable(loss) and not isinstance(loss, Loss):
            raise ValueError(f"{key}: wrap the function: (innerdistill.Loss(function, needs=...), weight).")
        if isinstance(loss, Loss):
            if weight is None:
                raise ValueError(f"{key}: give the loss with its weight, for example (loss, 1.0).")
            losses[name], keys[key] = replace(loss, function=CheckedFunction(f"losses.{name}", loss.function)), weight
    return losses


def _find_shape(keys: Mapping[str, Any], teacher: PreTrainedModel | None) -> Shape:
    """What functions of one's own score: what the primary metric scores."""
    if (named := PROBLEM_TYPES.get(str(keys.get("data.problem_type")))) is not None:
        return named.predictions.shape
    metric = keys.get("data.metric") or (TASKS[keys["data.task"]].metric if keys.get("data.task") in TASKS else None)
    if metric is not None and metric in METRICS and not METRICS[metric].others:
        return METRICS[metric].shape
    if keys.get("data.pairs"):
        return "embeddings"
    if teacher is None:
        return METRICS[metric].shape if metric is not None and metric in METRICS else "classes"
    return find_problem_type_of_model(read_config_with_head(teacher)).predictions.shape


def _take_mapping(keys: dict[str, Any], argument: str) -> Mapping[str, Any]:
    given = keys.pop(argument, None)
    if not isinstance(given, Mapping | None):
        kind = type(given).__name__
        raise ValueError(f"{argument}: expected a dict of names and functions, got {kind}.")
    return given or {}


def _take_callbacks(keys: dict[str, Any]) -> tuple[TrainerCallback, ...]:
    given = keys.pop("callbacks", None) or ()
    if not isinstance(given, list | tuple):
        raise ValueError(f"callbacks: expected a list, got {type(given).__name__}.")
    return tuple(given)


def _make_schedule(name: str, given: Any) -> Schedule:
    if not isinstance(given, Schedule) and not callable(given):
        raise ValueError(f"schedules: expected a function or a Schedule as {name!r}, got {shorten_value(given)}.")
    return given if isinstance(given, Schedule) else Schedule(given)
