"""Which splits have labels, judged by their columns. Where train has none, the teacher labels it.

Imports neither torch nor `datasets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from innerdistill.data.formats import JSON_SUFFIXES, read_blocks
from innerdistill.data.tasks import Task
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import join_names, shorten_value, suggest_name

# Whether the examples of a split need a label. None: labels may be missing. False: labels are not read.
LABELLED = {"train": True, "validation": True, "selection": True, "test": None, "unlabelled": False}


def list_label_columns(task: Task) -> tuple[str, ...]:
    """List the columns that hold the labels of a task.

    Args:
        task: the task.

    Returns:
        One name, or several of columns of 0 and 1.
    """
    return task.label_columns or (task.label,)


def name_label_columns(task: Task) -> str:
    """Name the columns that hold the labels of a task, in quotes.

    Args:
        task: the task.

    Returns:
        Such as `'label'`.
    """
    return join_names([shorten_value(name) for name in list_label_columns(task)])


def has_any_column(path: Path, names: Sequence[str], *, header: Sequence[str] | None = None) -> bool:
    """Tell whether a file has one of some columns. JSON lines have it if any row has a value there.

    Args:
        path: path of the file.
        names: names of the columns.
        header: column names of a CSV or TSV file without a header line.

    Returns:
        True if it is there, and for a file without rows, of which reading it says that.

    Raises:
        ValueError: missing or damaged file, unknown format.
    """
    blocks = read_blocks(path, columns=(), optional=names, header=header)
    if path.suffix.lower() not in JSON_SUFFIXES:
        first = next(blocks, None)
        return first is None or any(name in first for name in names)
    return any(any(value is not None for value in values) for block in blocks for values in block.values())


def list_file_columns(path: Path, *, header: Sequence[str] | None = None) -> Sequence[str]:
    """List the columns of a file.

    Args:
        path: path of the file.
        header: column names of a CSV or TSV file without a header line.

    Returns:
        Their names; of JSON lines those of the first rows.

    Raises:
        ValueError: missing or damaged file, unknown format.
    """
    return list(next(read_blocks(path, header=header), {}))


def choose_labelled(
    recipe: DataRecipe, task: Task, has_labels: Mapping[str, bool], *, list_columns: Callable[[], Sequence[str]]
) -> Mapping[str, bool | None]:
    """Decide which splits need labels. If train has no label column, the teacher labels it, and no split needs labels.

    Nor does train have labels if it is texts, and the pairs of other splits are scored.

    Args:
        recipe: the `data` section of a recipe.
        task: its task.
        has_labels: whether a split has the label column, by split.
        list_columns: lists the columns of train, for a suggestion.

    Returns:
        By split as LABELLED; of train False if the teacher labels it.

    Raises:
        ValueError: the recipe names the label column or a known task, and no split has that column.
    """
    labels_pairs_alone = bool(task.pairs) and len(task.text) == 1
    if has_labels.get("train", True) and not labels_pairs_alone:
        return LABELLED
    missing = f"data.train: no column {name_label_columns(task)}."
    if recipe.task is not None:
        raise ValueError(
            f"{missing} The task {recipe.task!r} has labels; for texts without labels, leave out data.task and name "
            "the text column with data.text."
        )
    if recipe.label is not None and not any(has_labels.values()):
        hint = suggest_name(list_label_columns(task)[0], list_columns(), kind="columns")
        raise ValueError(
            f"{missing} {hint} If there are no labels, leave out data.label: the teacher then labels train."
        )
    scored = {split: None if has_labels.get(split) else False for split in ("validation", "selection", "test")}
    return {**LABELLED, **scored, "train": False}
