"""Labels that are classes: names in the order of their ids, matched to a model's outputs, encoded as ids.

Shapes: N examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.labels import UNLABELLED, number_labels, sort_names
from innerdistill.data.tasks import Task
from innerdistill.support.messages import join_names, shorten_value, suggest_name

MANY_NUMBERS = 20  # classes; so many whose names are all numbers are rarely classes


def find_class_names(labels: Iterable[str | None], task: Task) -> tuple[str, ...]:
    """Class names in the order of their ids, from the task or, sorted, from the training labels.

    Args:
        labels: labels that occur in the training split.
        task: names them if it knows them.

    Returns:
        The names; digits are sorted as numbers.

    Raises:
        ValueError: fewer than two classes.
    """
    if task.labels is not None:
        return task.labels
    names = {label for label in labels if label is not None}
    if len(names) < 2:
        found = f"1 class ({join_names(list(names))})" if names else "no class"
        raise ValueError(f"the training labels hold {found}; at least 2 are needed.")
    return sort_names(names)


def match_class_names(names: Sequence[str], outputs: Sequence[str], *, declared: bool) -> tuple[str, ...]:
    """The data's class names in the order of a model's outputs.

    Names that agree (also but for upper and lower case) are matched by name, whatever their order. A model that only
    has the stock names LABEL_0, LABEL_1, ... is matched by position, if the data's labels are numbers or their order
    has been declared. Numbers are taken as ids if 0 is among them, or their order has been declared.

    Args:
        names: the data's class names.
        outputs: names of the model's outputs by id.
        declared: whether the order of `names` was stated (by a task or by data.labels) rather than found.

    Returns:
        One name per output, written as the data writes them where they agree.

    Raises:
        ValueError: a label that the model does not know, or an order that nobody has stated.
    """
    by_case = {name.casefold(): name for name in names}
    if len(by_case) == len(names) and set(by_case) <= {name.casefold() for name in outputs}:
        return tuple(by_case.get(name.casefold(), name) for name in outputs)
    if len(names) > len(outputs):
        alike = join_names([shorten_value(name) for name in _find_spellings(names)])
        hint = (
            f" These differ only by case or spaces: {alike}; write them alike if they mean the same." if alike else ""
        )
        raise ValueError(f"the data has {len(names)} labels ({join_names(names)}), the teacher {len(outputs)}.{hint}")
    numbers = all(name.isdecimal() and int(name) < len(outputs) for name in names) and ("0" in names or declared)
    if numbers and not any(name.isdecimal() for name in outputs):
        return tuple(str(index) for index in range(len(outputs)))
    stock = are_stock_names(outputs)
    if stock and declared and len(names) == len(outputs):
        return tuple(names)
    if stock:
        raise ValueError(
            f"the teacher names its {len(outputs)} labels only {join_names(outputs)}, the data {join_names(names)}: "
            f"name all {len(outputs)} with data.labels, in the order of the teacher's ids."
        )
    unknown = sorted(name for name in names if name.casefold() not in {label.casefold() for label in outputs})
    raise ValueError(
        f"label {shorten_value((unknown or names)[0])} is not one of the teacher's labels ({join_names(outputs)}); "
        "use the teacher's names in the data."
    )


def are_stock_names(outputs: Sequence[str]) -> bool:
    """Tell whether outputs only have the names that transformers gives: LABEL_0, LABEL_1 and so on.

    Args:
        outputs: names of a model's outputs by id.

    Returns:
        True if none has a name of its own.

    >>> are_stock_names(["LABEL_0", "LABEL_1"]), are_stock_names(["neg", "pos"])
    (True, False)
    """
    return all(name == f"LABEL_{index}" for index, name in enumerate(outputs))


def encode_classes(
    labels: pa.ChunkedArray, task: Task, *, names: Sequence[str], where: str, rows: pa.ChunkedArray
) -> NDArray[np.int64]:
    """Labels of one split as class ids.

    Where a task's labels have names but a file holds numbers only, a number is the position in the task's own list:
    GLUE's files hold 0 and 1. Everything else is looked up in `names`.

    Args:
        labels: labels as text, null where missing. (N,)
        task: the task.
        names: class names in the order of the model's ids, as the data writes them.
        where: source of the labels, for messages.
        rows: number of each row in its file, for messages. (N,)

    Returns:
        Class ids; UNLABELLED where there is no label. (N,)

    Raises:
        ValueError: a label that is not known, with its row.
    """
    codes, values = number_labels(labels)
    ids = {name: index for index, name in enumerate(names)}
    by_position = {}
    if task.labels is not None and all(label is None or label.isdecimal() for label in values):
        by_position = {str(position): name for position, name in enumerate(task.labels)}
    id_of = np.full(len(values), UNLABELLED, dtype=np.int64)
    for code, label in enumerate(values):
        name = label if label in ids else by_position.get(str(label), label)
        if name is not None and name not in ids:
            row = rows[int(np.argmax(codes == code))]
            hint = suggest_name(name, names, kind="labels")
            raise ValueError(f"{where}: row {row}: unknown label {shorten_value(label)}. {hint}")
        if name is not None:
            id_of[code] = ids[name]
    return id_of[codes]


def has_class(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which examples have a label.

    Args:
        ids: class ids. (N,)

    Returns:
        True for those that have one. (N,)
    """
    return ids != UNLABELLED


def group_classes(labels: pa.ChunkedArray) -> NDArray[np.int64]:
    """Groups for stratified splits: one for each class.

    Args:
        labels: labels as text, none missing. (N,)

    Returns:
        Number of the group. (N,)
    """
    return number_labels(labels)[0]


def refuse_numbers(names: Sequence[str], task: Task, *, metric: str) -> None:
    """Refuse class names that are numbers and probably scores: with decimals, or many.

    For data of which nobody has said what the labels are: neither a metric, nor data.labels, nor a teacher.

    Args:
        names: class names by id.
        task: task of the data.
        metric: a metric of scores, which data.metric could name.

    Raises:
        ValueError: the names are probably scores.
    """
    numbers = [_read_number(name) for name in names]
    if not all(math.isfinite(number) for number in numbers):
        return
    with_decimals = [name for name, number in zip(names, numbers, strict=True) if not number.is_integer()]
    if with_decimals or len(names) > MANY_NUMBERS:
        found = f"numbers with decimals, such as {with_decimals[0]}" if with_decimals else f"{len(names)} numbers"
        raise ValueError(
            f"data.label: {task.label!r} holds {found}. If they are scores, set data.metric={metric}; if they are "
            "classes, set data.metric=macro_f1."
        )


def _read_number(name: str) -> float:
    try:
        return float(name)
    except ValueError:
        return math.nan


def warn_of_missing_classes(train: NDArray[np.int64], validation: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """Find classes without an example: they cannot be learned from labels, or not be scored.

    Args:
        train: class ids of the training split. (N,)
        validation: class ids of the validation split. (N,)
        names: class names by id.

    Returns:
        A sentence for each split that lacks classes, with the next step.
    """
    warnings = []
    missing = list_missing_labels(_find_occurring(train, names), names)
    if missing:
        subject, it = name_missing(missing)
        warnings.append(f"{subject} in train, so labels teach nothing about {it}. Give training examples of {it}.")
    missing = list_missing_labels(_find_occurring(validation, names), names)
    if missing and has_class(validation).any():
        (subject, it), scores = name_missing(missing), "its score is" if len(missing) == 1 else "their scores are"
        warnings.append(
            f"{subject} in validation, so {scores} unknown: macro F1 is over {len(names) - len(missing)} of "
            f"{len(names)} classes. A model that predicts {it} gets an F1 of 0 for {it}. Give a validation file that "
            f"has {it} (data.validation), or more examples of {it}."
        )
    return warnings


def _find_occurring(ids: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each class occurs (C,). One after the other, since a sorted copy of many ids is large."""
    return np.array([(ids == index).any() for index in range(len(names))])


def list_missing_labels(occurs: NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    """List the labels that do not occur.

    Args:
        occurs: True for those that do, by id. (C,)
        names: label names by id.

    Returns:
        Names.
    """
    return [name for name, is_there in zip(names, occurs.tolist(), strict=True) if not is_there]


def name_missing(names: Sequence[str]) -> tuple[str, str]:
    """Begin a sentence on labels without an example.

    Args:
        names: their names.

    Returns:
        The beginning, and the pronoun for the labels.
    """
    quoted = join_names([shorten_value(name) for name in names])
    return (f"The class {quoted} has no example", "it") if len(names) == 1 else (f"No example of {quoted} is", "them")


def warn_of_spellings(labels: pa.ChunkedArray, *, noun: str = "examples") -> list[str]:
    """Find labels that differ only by upper and lower case or by spaces. They are different classes, rarely on purpose.

    Args:
        labels: labels as text, null where missing. (N,)
        noun: what has these labels, in the plural.

    Returns:
        At most one sentence, with the number of examples of each label.
    """
    counts = {item["values"]: item["counts"] for item in labels.value_counts().to_pylist() if item["values"]}
    alike = _find_spellings(counts)
    if not alike:
        return []
    total = sum(counts.values())
    found = join_names([f"{shorten_value(name)} ({counts[name]:,} of {total:,} {noun})" for name in alike])
    return [
        f"Some labels differ only by upper and lower case or by spaces, and are different classes: {found}. If they "
        "mean the same, write them alike in the data."
    ]


def _find_spellings(names: Iterable[str]) -> list[str]:
    """Names that are equal but for case and spaces, each beside the others."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault("".join(name.casefold().split()), []).append(name)
    return list(chain.from_iterable(group for group in groups.values() if len(group) > 1))
