"""Labels that are sets: any number of several labels for each example. As text they are JSON lists, encoded 0 and 1.

A list holds the labels that apply, or, as a model reads them, 0 or 1 for every label. As text, these marks are truth
values: `["anger"]` and `[true, false]`.

Shapes: N examples, C labels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.class_labels import find_class_names, list_missing_labels, name_missing, warn_of_spellings
from innerdistill.data.labels import number_labels, read_label
from innerdistill.data.tasks import Task
from innerdistill.support.messages import shorten_value, suggest_name

MARKS = {"0": False, "false": False, "1": True, "true": True}


def read_label_set(value: Any, *, separator: str = ",") -> str | None:
    """Bring the labels of an example into one form: a JSON list of their names, sorted, or of marks.

    Args:
        value: list of labels; labels in one text; list of 0 or 1 for every label; or, of several label columns, their
            marks 0 and 1 by column.
        separator: what separates the labels of one text.

    Returns:
        The list as text, `[]` where no label applies; None where nothing is known.

    Raises:
        ValueError: no labels, or a mark that is neither 0 nor 1.

    >>> read_label_set("joy, anger"), read_label_set(["joy"]), read_label_set({"joy": 0, "anger": "1"})
    ('["anger", "joy"]', '["joy"]', '["anger"]')
    >>> read_label_set(""), read_label_set(None), read_label_set([1.0, 0.0])
    ('[]', None, '[true, false]')
    """
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, Mapping):
        labels = [name for name, mark in value.items() if _read_mark(name, mark)]
    elif isinstance(value, list | tuple) and _are_marks(value):
        return json.dumps([bool(mark) for mark in value])
    elif isinstance(value, list | tuple):
        read = [read_label(label) for label in value]
        if None in read:
            raise ValueError(f"holds a list with an empty label: {shorten_value(value)}.")
        labels = [label for label in read if label is not None]
    else:
        labels = [part for part in map(str.strip, (read_label(value) or "").split(separator)) if part]
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def _are_marks(values: Sequence[Any]) -> bool:
    """Whether a list has 0 or 1 for every label. Ids have no decimal point, and none is there twice."""
    if not values or not all(isinstance(value, int | float) for value in values):
        return False
    if {*values} <= {0, 1}:
        return len(values) > len({*values}) or not all(type(value) is int for value in values)
    if not all(float(value).is_integer() for value in values):
        raise ValueError(f"holds {shorten_value(values)}, expected the labels that apply, or 0 or 1 for every label.")
    return False


def _read_mark(name: str, mark: Any) -> bool:
    text = read_label(mark)
    if text is None or text.lower() not in MARKS:
        raise ValueError(f"holds {shorten_value(mark)} for {shorten_value(name)}, expected 0 or 1.")
    return MARKS[text.lower()]


def find_label_names(labels: Sequence[str | None], task: Task) -> tuple[str, ...]:
    """Label names in the order of their ids: from the task, from its columns, or sorted from the training labels.

    Args:
        labels: label sets that occur in the training split, as text.
        task: names them if it knows them.

    Returns:
        The names; digits are sorted as numbers.

    Raises:
        ValueError: fewer than two labels, or ids 0 and 1 for every example, which are marks.
    """
    if task.labels is None and task.label_columns:
        return task.label_columns
    known = [text for text in labels if text is not None]
    if len(known) == 1 and parse_label_set(known[0]) == ["0", "1"]:
        raise ValueError(
            "every training example has the labels 0 and 1. If they say whether a label applies, write them as 0.0 and "
            "1.0."
        )
    sizes = [len(json.loads(text)) for text in known if _holds_marks(text)]
    positions = map(str, range(max(sizes, default=0)))  # a label that never applies has a mark too
    return find_class_names([*positions, *(label for text in known for label in parse_label_set(text))], task)


def encode_label_sets(
    labels: pa.ChunkedArray, task: Task, *, names: Sequence[str], where: str, rows: pa.ChunkedArray
) -> NDArray[np.float32]:
    """Label sets of one split as zeros and ones. Numbers are positions in `data.labels`, as with classes.

    Args:
        labels: label sets as text, null where missing. (N,)
        task: the task.
        names: label names in the order of the model's ids, as the data writes them.
        where: source of the labels, for messages.
        rows: number of each row in its file, for messages. (N,)

    Returns:
        1 where a label applies, 0 where it does not; NaN where nothing is known. (N, C)

    Raises:
        ValueError: a label that is not known, with its row.
    """
    codes, values = number_labels(labels)
    _check_marks(values, codes, number=len(names), where=where, rows=rows)
    sets = [parse_label_set(text) for text in values]
    ids = {name: index for index, name in enumerate(names)}
    if task.labels is not None and all(label.isdecimal() for labels_of_set in sets for label in labels_of_set):
        ids = {**{str(position): ids[name] for position, name in enumerate(task.labels)}, **ids}
    marks = np.zeros((len(values), len(names)), dtype=np.float32)
    for code, (text, of_set) in enumerate(zip(values, sets, strict=True)):
        if text is None:
            marks[code] = np.nan
        for label in of_set:
            if label not in ids:
                row = rows[int(np.argmax(codes == code))]
                hint = suggest_name(label, names, kind="labels")
                raise ValueError(f"{where}: row {row}: unknown label {shorten_value(label)}. {hint}")
            marks[code, ids[label]] = 1
    return marks[codes]


def _check_marks(
    values: Sequence[str | None], codes: NDArray[np.int64], *, number: int, where: str, rows: pa.ChunkedArray
) -> None:
    """Lists of 0 and 1 have one for every label, and stand in all rows or in none."""
    first: dict[bool, int] = {}  # position among the different sets, by whether it has marks
    for code, text in enumerate(values):
        if text is not None and text != "[]":
            first.setdefault(_holds_marks(text), code)
            if _holds_marks(text) and len(json.loads(text)) != number:
                row, marks = rows[int(np.argmax(codes == code))], len(json.loads(text))
                raise ValueError(
                    f"{where}: row {row}: a list of {marks} marks (0 or 1), but there are {number} labels."
                )
    if len(first) > 1:
        marked, listed = (rows[int(np.argmax(codes == first[kind]))] for kind in (True, False))
        raise ValueError(
            f"{where}: row {marked} has 0 or 1 for every label, but row {listed} lists labels; write the marks as 0.0 "
            "and 1.0, or the labels by name."
        )


def has_label_set(labels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which examples have labels, be it that none applies.

    Args:
        labels: zeros and ones, NaN where nothing is known. (N, C)

    Returns:
        True for those that do. (N,)
    """
    return ~np.isnan(labels[:, 0])


def group_label_sets(labels: pa.ChunkedArray) -> NDArray[np.int64]:
    """Groups for stratified splits: the rarest label of an example's set. So rare labels are shared out evenly.

    Groups of whole sets would be too small: 28 labels have thousands of combinations, most of which occur once.

    Args:
        labels: label sets as text, none missing. (N,)

    Returns:
        Number of the group; examples to which no label applies are one too. (N,)
    """
    codes, values = number_labels(labels)
    sets = [parse_label_set(text) for text in values]
    counts: Counter[str] = Counter()
    for of_set, count in zip(sets, np.bincount(codes, minlength=len(sets)).tolist(), strict=True):
        counts.update(dict.fromkeys(of_set, count))
    rarest = [min(of_set, key=lambda label: (counts[label], label), default="") for of_set in sets]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(rarest))}
    return np.array([numbers[label] for label in rarest], dtype=np.int64)[codes]


def warn_of_missing_labels(train: NDArray[Any], validation: NDArray[Any], names: Sequence[str]) -> list[str]:
    """Find labels that apply to no example of a split: they cannot be learned from labels, or not be scored.

    Args:
        train: zeros and ones of the training split. (N, C)
        validation: zeros and ones of the validation split. (N, C)
        names: label names by id.

    Returns:
        A sentence for each split that lacks labels, with the next step.
    """
    warnings = []
    for split, labels in (("train", train), ("validation", validation)):
        missing = list_missing_labels(np.nansum(labels, axis=0) > 0, names)
        if missing and has_label_set(labels).any():
            subject, it = name_missing(missing)
            effect = f"labels teach nothing about {it}" if split == "train" else f"the scores say nothing about {it}"
            warnings.append(f"{subject} in {split}, so {effect}. Give {split} examples of {it}.")
    return warnings


def warn_of_label_spellings(labels: pa.ChunkedArray) -> list[str]:
    """Find labels that differ only by upper and lower case or by spaces.

    Args:
        labels: label sets as text, null where missing. (N,)

    Returns:
        At most one sentence, with the number of examples of each label.
    """
    codes, values = number_labels(labels)
    sets = [parse_label_set(text) for text in values]
    each = [label for code in codes.tolist() for label in sets[code]]
    return warn_of_spellings(pa.chunked_array([each], pa.string()))


def parse_label_set(text: str | None) -> list[str]:
    """Parse a label set that stands as text.

    Args:
        text: from `read_label_set`.

    Returns:
        The labels that apply: names, or, of marks, positions. None where nothing is known.

    >>> parse_label_set('["anger", "joy"]'), parse_label_set("[false, true]")
    (['anger', 'joy'], ['1'])
    """
    values = [] if text is None else json.loads(text)
    if text is not None and _holds_marks(text):
        return [str(position) for position, applies in enumerate(values) if applies]
    return list(values)


def _holds_marks(text: str) -> bool:
    """Whether a label set as text has truth values for labels, and not their names."""
    return text.startswith(("[t", "[f"))
