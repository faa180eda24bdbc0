"""Which file each split is read from, and a check of their headers. Imports neither torch nor `datasets`."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from innerdistill.data.formats import read_blocks
from innerdistill.data.given_columns import choose_given
from innerdistill.data.label_columns import (
    LABELLED,
    choose_labelled,
    has_any_column,
    list_file_columns,
    list_label_columns,
)
from innerdistill.data.pair_columns import choose_paired, choose_task
from innerdistill.data.search_files import SearchFiles, choose_search_labels, find_searches, refuse_other_labels
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.recipe.recipe import IN_MEMORY, DataRecipe
from innerdistill.support.messages import name_key


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
        Paths by split, without the splits that are objects; the files may be missing.

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
    return {split: folder / name for split, name in names.items() if name not in (None, IN_MEMORY)}


def list_searches(recipe: DataRecipe) -> dict[str, SearchFiles]:
    """List the splits of a recipe that are queries with documents.

    Args:
        recipe: the `data` section of a recipe.

    Returns:
        Their files by split; none where the recipe names no folder, or training data that is missing.

    Raises:
        ValueError: a folder that lacks a file.
    """
    folder, names = Path(recipe.path or ""), _get_names(recipe)
    if reads_dataset(recipe):
        return {}
    return find_searches({split: folder / name for split, name in names.items() if name not in (None, IN_MEMORY)})


def needs_groups(split: str, splits: Container[str]) -> bool:
    """Whether `data.group` is read for a split: for those that are scored, and for train if one is held out of it.

    Args:
        split: name of the split.
        splits: names of the splits that have a file, or a split of a `datasets` data set.

    Returns:
        True if its examples need their group.
    """
    if split == "train":
        return "validation" not in splits or "selection" not in splits
    return split != "unlabelled"


def list_columns(
    task: Task, labelled: bool | None, *, grouped: bool = False, given: bool = False
) -> tuple[Sequence[str], Sequence[str]]:
    """List the columns of a split's file.

    Args:
        task: task that names the columns.
        labelled: a value of LABELLED.
        grouped: whether examples need their group, if the task has groups; where labels may be missing, only those
            with a label do.
        given: whether examples need their outputs, if the task has columns for them.

    Returns:
        Columns that the file must have, and those that it may have; each once.
    """
    of_group = [task.group] if grouped and task.group else []
    of_label = [*([] if labelled is False else list_label_columns(task)), *of_group]
    of_outputs = task.given.columns if given and task.given is not None else ()
    needed = dict.fromkeys([*task.text, *(of_label if labelled is not None else []), *of_outputs])
    optional = [name for name in of_label if labelled is None and name not in needed]
    return list(needed), [*optional, *(("attention_mask", "token_type_ids") if task.is_tokenised else ())]


def check_headers(recipe: DataRecipe) -> Mapping[str, bool | None]:
    """Check that every file is there and has the columns that the recipe names. Only its beginning is read.

    Args:
        recipe: the `data` section of a recipe.

    Returns:
        By split as LABELLED, as far as files tell; of train False if the teacher labels it.

    Raises:
        ValueError: unknown task, missing file, unknown format, or a missing column.
    """
    task = resolve_task(recipe)
    if reads_dataset(recipe):
        return LABELLED
    paths = locate_splits(recipe, task)
    searches = find_searches(paths)
    if searches:
        refuse_other_labels(recipe)
        paths = {split: path for split, path in paths.items() if split not in searches}
    has_labels = _find_columns(paths, task, list_label_columns(task))
    labelled = choose_labelled(
        recipe,
        task,
        has_labels,
        list_columns=lambda: list_file_columns(paths["train"], header=task.get_header("train")),
    )
    labelled = choose_search_labels(labelled, searches)
    has_outputs = _find_columns(paths, task, () if task.given is None else task.given.columns)
    given = choose_given(task.given, has_outputs, labelled)
    has_pairs = _find_columns(paths, task, task.pairs)
    paired = choose_paired(task, has_pairs, _find_columns(paths, task, task.text if task.pairs else ()))
    for split, path in paths.items():
        grouped = needs_groups(split, paths)
        of_split = choose_task(task, is_paired=paired[split])
        columns, optional = list_columns(of_split, labelled[split], grouped=grouped, given=given[split])
        with name_key(f"data.{split}"):
            next(read_blocks(path, columns=columns, optional=optional, header=task.get_header(split)), None)
    return labelled


def _find_columns(paths: Mapping[str, Path], task: Task, names: Sequence[str]) -> dict[str, bool]:
    """Whether the file of a split has any of some columns, by split."""
    if not names:
        return dict.fromkeys(paths, False)
    is_there = {}
    for split, path in paths.items():
        with name_key(f"data.{split}"):
            is_there[split] = has_any_column(path, names, header=task.get_header(split))
    return is_there


def _get_names(recipe: DataRecipe) -> dict[str, str | None]:
    return {split: getattr(recipe, split) for split in LABELLED}
