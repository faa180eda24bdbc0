"""Which splits have labels, judged by their columns. Where train has none, the teacher labels it.

Imports neither torch nor `datasets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from innerdistill.data.formats import JSON_SUFFIXES, read_blocks
from innerdistill.data.tasks import Task
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import shorten_value

# Whether the examples of a split need a label. None: labels may be missing. False: labels are not read.
LABELLED = {"train": True, "validation": True, "selection": True, "test": None, "unlabelled": False}


def has_column(path: Path, name: str, *, header: Sequence[str] | None = None) -> bool:
    """Tell whether a file has a column. JSON lines have it if any row has a value there.

    Args:
        path: path of the file.
        name: name of the column.
        header: column names of a CSV or TSV file without a header line.

    Returns:
        True if it is there, and for a file without rows, of which reading it says that.

    Raises:
        ValueError: missing or damaged file, unknown format.
    """
    blocks = read_blocks(path, columns=(), optional=[name], header=header)
    if path.suffix.lower() not in JSON_SUFFIXES:
        return name in next(blocks, {name: []})
    return any(any(value is not None for value in block[name]) for block in blocks)


def choose_labelled(recipe: DataRecipe, task: Task, has_labels: Mapping[str, bool]) -> Mapping[str, bool | None]:
    """Decide which splits need labels. If train has no label column, the teacher labels it, and no split needs labels.

    Args:
        recipe: the `data` section of a recipe.
        task: its task.
        has_labels: whether a split has the label column, by split.

    Returns:
        By split as LABELLED; of train False if the teacher labels it.

    Raises:
        ValueError: the recipe names the label column or a known task, and no split has that column.
    """
    if has_labels.get("train", True):
        return LABELLED
    missing = f"data.train: no column {shorten_value(task.label)}."
    if recipe.task is not None:
        raise ValueError(
            f"{missing} The task {recipe.task!r} has labels; for texts without labels, leave out data.task and name "
            "the text column with data.text."
        )
    if recipe.label is not None and not any(has_labels.values()):
        raise ValueError(
            f"{missing} If the column has another name, set data.label to it; if there are no labels, leave out "
            "data.label: the teacher then labels train."
        )
    scored = {split: None if has_labels.get(split) else False for split in ("validation", "selection", "test")}
    return {**LABELLED, **scored, "train": False}
