"""find_sources: where the splits of a task are read from, and which of them have labels. Only headers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from innerdistill.data.given_columns import choose_given
from innerdistill.data.in_memory import wrap_rows
from innerdistill.data.label_columns import (
    LABELLED,
    choose_labelled,
    has_any_column,
    list_file_columns,
    list_label_columns,
)
from innerdistill.data.split_files import has_given_columns, locate_splits, reads_dataset
from innerdistill.data.tables import read_dataset
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import name_key


@dataclass(frozen=True)
class Sources:
    """Where the splits of a task are read from.

    Attributes:
        places: by split the path of a file, the name of a split of `dataset`, or rows in memory.
        dataset: data set of `datasets`; None if there is none.
        labelled: by split, as LABELLED has it.
        given: by split, whether its rows need the outputs of another model.
    """

    places: Mapping[str, Any]
    dataset: DatasetDict | None
    labelled: Mapping[str, bool | None]
    given: Mapping[str, bool]

    @property
    def has_labels(self) -> bool:
        """Whether train has labels; otherwise the teacher labels it."""
        return self.labelled["train"] is not False


def find_sources(recipe: DataRecipe, objects: Mapping[str, Any] | None = None) -> Sources:
    """Find where the splits of a task are, and decide from their columns whether the teacher labels train.

    Args:
        recipe: the `data` section of a recipe.
        objects: Python objects by key of the section, where the recipe says IN_MEMORY: rows of a split, or a
            DatasetDict as `path`.

    Returns:
        The sources.

    Raises:
        ValueError: a missing file or data set, or a label column that the recipe names and no split has.
    """
    task, objects = resolve_task(recipe), objects or {}
    places: dict[str, Any] = {}
    dataset = None
    if reads_dataset(recipe):
        dataset = objects["path"] if "path" in objects else read_dataset(str(recipe.path), recipe.subset)
        for split in LABELLED:
            standard = split if split in (*dataset, "train") and split != "selection" else None
            if (name := getattr(recipe, split) or standard) is not None:
                places[split] = name
    else:
        places |= locate_splits(recipe, task)
    places |= {split: rows for split, rows in objects.items() if split in LABELLED}
    has_labels = {split: _has_labels(place, dataset, task, split=split) for split, place in places.items()}
    labelled = choose_labelled(
        recipe, task, has_labels, list_columns=lambda: _list_columns(places["train"], dataset, task)
    )
    has_outputs = {split: _has_outputs(place, dataset, task, split=split) for split, place in places.items()}
    return Sources(places, dataset, labelled, choose_given(task.given, has_outputs, labelled))


def _has_labels(place: Any, dataset: DatasetDict | None, task: Task, *, split: str) -> bool:
    """Whether a split has the label column. One that cannot be read has, so that reading it says what is wrong."""
    with name_key(f"data.{split}"):
        if isinstance(place, Path):
            return has_any_column(place, list_label_columns(task), header=task.get_header(split))
        if dataset is not None and isinstance(place, str) and place not in dataset:
            return True
        return any(name in _list_columns(place, dataset, task) for name in list_label_columns(task))


def _has_outputs(place: Any, dataset: DatasetDict | None, task: Task, *, split: str) -> bool:
    """Whether a split has any column with outputs of another model."""
    if task.given is None:
        return False
    with name_key(f"data.{split}"):
        if isinstance(place, Path):
            return has_given_columns(place, task, split=split)
        if dataset is not None and isinstance(place, str) and place not in dataset:
            return True
        return any(name in _list_columns(place, dataset, task) for name in task.given.columns)


def _list_columns(place: Any, dataset: DatasetDict | None, task: Task) -> Sequence[str]:
    if isinstance(place, Path):
        return list_file_columns(place, header=task.get_header("train"))
    if dataset is not None and isinstance(place, str):
        return dataset[place].column_names
    return wrap_rows(place).columns
