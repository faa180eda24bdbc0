"""find_sources: where the splits of a task are read from, and which of them have labels. Only headers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from innerdistill.data.pair_columns import choose_paired
from innerdistill.data.search_files import SearchFiles, choose_search_labels, find_searches, refuse_other_labels
from innerdistill.data.split_files import locate_splits, reads_dataset
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
        paired: by split, whether its examples are read from the columns of `data.pairs`.
        searches: files of the splits that are queries with documents.
    """

    places: Mapping[str, Any]
    dataset: DatasetDict | None
    labelled: Mapping[str, bool | None]
    given: Mapping[str, bool]
    paired: Mapping[str, bool]
    searches: Mapping[str, SearchFiles] = field(default_factory=dict)

    @property
    def has_labels(self) -> bool:
        """Whether train has labels; otherwise the teacher labels it."""
        return self.labelled["train"] is not False

    def drop_labels_of_texts(self, task: Task) -> Sources:
        """Read no labels of single texts, where labels belong to pairs.

        Args:
            task: task that names the columns.

        Returns:
            The same sources; only splits of pairs have labels.
        """
        if len(task.text) > 1 or self.searches:
            return self
        labelled: dict[str, bool | None] = {}
        for split, value in self.labelled.items():
            labelled[split] = None if self.paired.get(split) and value is not False else False
        return replace(self, labelled=labelled)


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
    searches = find_searches({} if dataset is not None else places)
    if searches:
        refuse_other_labels(recipe)
    places |= {split: rows for split, rows in objects.items() if split in LABELLED}
    with_columns = {split: place for split, place in places.items() if split not in searches}

    def find_columns(names: Sequence[str]) -> dict[str, bool]:
        if not names:
            return dict.fromkeys(with_columns, False)
        return {split: _has_columns(place, dataset, task, names, split=split) for split, place in with_columns.items()}

    has_labels = find_columns(list_label_columns(task))
    labelled = choose_labelled(
        recipe, task, has_labels, list_columns=lambda: _list_columns(places["train"], dataset, task)
    )
    has_outputs = find_columns(() if task.given is None else task.given.columns)
    given = choose_given(task.given, has_outputs, labelled)
    has_pairs, has_texts = find_columns(task.pairs), find_columns(task.text if task.pairs else ())
    paired = choose_paired(task, has_pairs, has_texts)
    return Sources(places, dataset, choose_search_labels(labelled, searches), given, paired, searches)


def _has_columns(place: Any, dataset: DatasetDict | None, task: Task, names: Sequence[str], *, split: str) -> bool:
    """Whether a split has any of some columns. One that cannot be read has, so that reading it says what is wrong."""
    with name_key(f"data.{split}"):
        if isinstance(place, Path):
            return has_any_column(place, names, header=task.get_header(split))
        if dataset is not None and isinstance(place, str) and place not in dataset:
            return True
        return any(name in _list_columns(place, dataset, task) for name in names)


def _list_columns(place: Any, dataset: DatasetDict | None, task: Task) -> Sequence[str]:
    if isinstance(place, Path):
        return list_file_columns(place, header=task.get_header("train"))
    if dataset is not None and isinstance(place, str):
        return dataset[place].column_names
    return wrap_rows(place).columns
