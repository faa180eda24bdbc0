"""Which splits hold pairs of texts, judged by their columns: `data.pairs` names those of splits that are scored.

Imports neither torch nor `datasets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from innerdistill.data.tasks import Task
from innerdistill.support.messages import join_names, shorten_value

SCORED_BY_PAIRS = ("validation", "selection", "test")


def choose_paired(task: Task, has_pairs: Mapping[str, bool], has_texts: Mapping[str, bool]) -> Mapping[str, bool]:
    """Decide which splits are pairs: those that are scored and have a column of `data.pairs`, or lack that of texts.

    Args:
        task: task that names the columns.
        has_pairs: whether a split has any column of `data.pairs`, by split.
        has_texts: whether a split has the text column, by split.

    Returns:
        Whether its examples are read from the columns of `data.pairs`, by split.

    Raises:
        ValueError: `data.pairs` is given, and no split is read from its columns.
    """
    if not task.pairs:
        return dict.fromkeys(has_pairs, False)
    paired = {
        split: split in SCORED_BY_PAIRS and (is_there or not has_texts[split]) for split, is_there in has_pairs.items()
    }
    if not any(paired.values()):
        names = join_names([shorten_value(name) for name in task.pairs])
        raise ValueError(
            f"data.pairs: no split that is scored has the columns {names}; name a file with them as data.validation, "
            "data.selection or data.test."
        )
    return paired


def choose_task(task: Task, *, is_paired: bool) -> Task:
    """Choose the task that names the columns of a split.

    Args:
        task: task of the data.
        is_paired: whether the split is read from the columns of `data.pairs`.

    Returns:
        The same, or with these columns as its texts.
    """
    return replace(task, text=task.pairs) if is_paired else task
