"""Labels as the files have them -> class ids or scores as the model has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from innerdistill.data.tasks import Task
from innerdistill.support.messages import join_names, shorten_value, suggest_name

LARGEST_SCORE = 1e6  # its square must still be a number that float32 can add up
UNLABELLED = -100  # class id of a row without a label (a score is NaN there): gold losses skip it


def numbered(labels: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str | None]]:
    """Labels as numbers.

    Args:
        labels: labels as strings, null where missing.

    Returns:
        The position of each in the list of all that occur (num_rows,), and that list.
    """
    found = pc.unique(labels)
    return pc.index_in(labels, found).to_numpy().astype(np.int64), found.to_pylist()


def label_names(labels: Iterable[str | None], task: Task) -> tuple[str, ...]:
    """Class names in the order of their ids, from the task or, sorted, from the training labels.

    Args:
        labels: labels that occur in the training rows.
        task: names them if it knows them.

    Returns:
        The names; digits are sorted as numbers.

    Raises:
        ValueError: fewer than two classes.
    """
    if task.labels is not None:
        return task.labels
    found = {label for label in labels if label is not None}
    if len(found) < 2:
        raise ValueError(
            f"the training labels hold {len(found)} class ({join_names(sorted(found))}); at least 2 are needed."
        )
    return tuple(
        sorted(found, key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0, label))
    )


def match_labels(names: Sequence[str], id2label: Mapping[int, str], *, declared: bool) -> tuple[str, ...]:
    """The data's label names in the order of the model's ids.

    Names that agree (also but for upper and lower case) are matched by name, whatever their order. A model that only
    has the stock names LABEL_0, LABEL_1, ... is matched by position, if the data's labels are numbers or their order
    has been declared. Numbers are taken as ids if 0 is among them, or their order has been declared.

    Args:
        names: the data's label names.
        id2label: the model's names by id.
        declared: whether the order of `names` was stated (by a task or by data.labels) rather than found.

    Returns:
        One name per class id of the model, written as the data writes them where they agree.

    Raises:
        ValueError: a label that the model does not know, or an order that nobody has stated.
    """
    known = [id2label[index] for index in range(len(id2label))]
    by_case = {name.casefold(): name for name in names}
    if len(by_case) == len(names) and set(by_case) <= {name.casefold() for name in known}:
        return tuple(by_case.get(name.casefold(), name) for name in known)
    if len(names) > len(known):
        raise ValueError(f"the data has {len(names)} labels ({join_names(names)}), the teacher {len(known)}.")
    numbers = all(name.isdecimal() and int(name) < len(known) for name in names) and ("0" in names or declared)
    if numbers and not any(name.isdecimal() for name in known):
        return tuple(str(index) for index in range(len(known)))
    stock = all(name == f"LABEL_{index}" for index, name in enumerate(known))
    if stock and declared and len(names) == len(known):
        return tuple(names)
    if stock:
        raise ValueError(
            f"the teacher names its {len(known)} labels only {join_names(known)}, the data {join_names(names)}: "
            f"name all {len(known)} with data.labels, in the order of the teacher's ids."
        )
    unknown = sorted(name for name in names if name.casefold() not in {label.casefold() for label in known})
    raise ValueError(
        f"label {shorten_value((unknown or names)[0])} is not one of the teacher's labels ({join_names(known)})."
    )


def class_ids(
    labels: pa.ChunkedArray, task: Task, names: Sequence[str], *, where: str, rows: pa.ChunkedArray
) -> NDArray[np.int64]:
    """Labels of one split as class ids.

    Where a task's labels have names but a file holds nothing but numbers, a number is the position in the task's own
    list (GLUE's files hold 0 and 1); everything else is looked up in `names`.

    Args:
        labels: labels as strings, null where missing.
        task: the task.
        names: label names in the order of the model's ids, as the data writes them.
        where: source of the labels, for messages.
        rows: number of each row in its file, for messages.

    Returns:
        Class ids; UNLABELLED where there is no label. (num_rows,)

    Raises:
        ValueError: a label that is not known, with its row.
    """
    codes, found = numbered(labels)
    ids = {name: index for index, name in enumerate(names)}
    by_position = {}
    if task.labels is not None and all(label is None or label.isdecimal() for label in found):
        by_position = {str(position): name for position, name in enumerate(task.labels)}
    id_of = np.full(len(found), UNLABELLED, dtype=np.int64)
    for code, label in enumerate(found):
        name = label if label in ids else by_position.get(str(label), label)
        if name is not None and name not in ids:
            row = rows[int(np.argmax(codes == code))]
            raise ValueError(f"{where}: row {row}: unknown label {shorten_value(label)}: {suggest_name(name, names)}")
        if name is not None:
            id_of[code] = ids[name]
    return id_of[codes]


def scores(labels: pa.ChunkedArray, *, where: str, rows: pa.ChunkedArray) -> NDArray[np.float64]:
    """Labels of one split as real numbers, for regression.

    Args:
        labels: labels as strings, null where missing.
        where: source of the labels, for messages.
        rows: number of each row in its file, for messages.

    Returns:
        Scores; NaN where there is no label. (num_rows,)

    Raises:
        ValueError: text, NaN, an infinity or a number beyond a million where a score should be, with its row.
    """
    codes, found = numbered(labels)
    score_of = np.full(len(found), math.nan)
    for code, label in enumerate(found):
        if label is None:
            continue
        try:
            score = float(label)
        except ValueError:
            score = math.nan
        if not abs(score) <= LARGEST_SCORE:
            row = rows[int(np.argmax(codes == code))]
            raise ValueError(
                f"{where}: row {row}: expected a number between -1e6 and 1e6 as score, got {shorten_value(label)}."
            )
        score_of[code] = score
    return score_of[codes]
