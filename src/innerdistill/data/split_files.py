"""Which file each split is read from, and a check of their headers. Imports neither torch nor `datasets`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from innerdistill.data.formats import read_blocks
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.recipe.recipe import DataRecipe
from innerdistill.support.messages import name_key

# Whether the examples of a split need a label. None: labels may be missing. False: labels are not read.
LABELLED = {"train": True, "validation": True, "selection": True, "test": None, "unlabelled": False}


def reads_dataset(recipe: DataRecipe) -> bool:
    """Whether `data.path` is a data set of `datasets`, not a folder of files.

    Args:
        recipe: the `data` section of a recipe.

    Returns:
        True for a data set of `datasets`.
    """
    own_files = any(name and Path(name).suffix for name in _get_names(recipe).values())
    return recipe.task is None and recipe.path is not None and not own_files


def locate_splits(recipe: DataRecipe, task: Task) -> dict[str, Path]:
    """Find the file of every split that a recipe names.

    Args:
        recipe: the `data` section of a recipe that reads files.
        task: its task.

    Returns:
        Paths by split; the files may be missing.

    Raises:
        ValueError: `data.path` is not a folder, or no training file is named.
    """
    folder = Path(recipe.path or "")
    if not folder.is_dir():
        raise ValueError(f"data.path: {folder} is not a folder.")
    names = _get_names(recipe)
    if recipe.task is not None and recipe.path is not None:
        layout = {split: name for split, name in task.files if (folder / name).is_file()}
        names = {split: name or layout.get(split) for split, name in names.items()}
        names["train"] = names["train"] or dict(task.files)["train"]
    if names["train"] is None:
        raise ValueError("data.train: name the training file (or give data.path, the folder of a task's files).")
    return {split: folder / name for split, name in names.items() if name is not None}


def list_columns(task: Task, labelled: bool | None) -> tuple[Sequence[str], Sequence[str]]:
    """List the columns of a split's file.

    Args:
        task: task that names the columns.
        labelled: a value of LABELLED.

    Returns:
        Columns that the file must have, and those that it may have.
    """
    return [*task.text, *([task.label] if labelled else [])], [task.label] if labelled is None else []


def check_headers(recipe: DataRecipe) -> None:
    """Check that every file is there and has the columns that the recipe names. Only its beginning is read.

    Args:
        recipe: the `data` section of a recipe.

    Raises:
        ValueError: unknown task, missing file, unknown format, or a missing column.
    """
    task = resolve_task(recipe)
    if reads_dataset(recipe):
        return
    for split, path in locate_splits(recipe, task).items():
        columns, optional = list_columns(task, LABELLED[split])
        with name_key(f"data.{split}"):
            next(read_blocks(path, columns=columns, optional=optional, header=task.get_header(split)), None)


def _get_names(recipe: DataRecipe) -> dict[str, str | None]:
    return {split: getattr(recipe, split) for split in LABELLED}
