"""Rows whose texts and labels stand in columns of their own: each cell is read without the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from innerdistill.data.tasks import Task
from innerdistill.data.token_rows import pack_tokens
from innerdistill.support.messages import shorten_value


def read_plain_rows(
    block: Mapping[str, list[Any]],
    task: Task,
    *,
    read_label: Callable[..., str | None],
    where: str,
    first: int,
    labelled: bool | None,
    allow_null: bool = False,
) -> tuple[list[list[str | None]], list[str | None]]:
    """Read the texts and labels of some rows.

    Args:
        block: columns of some rows.
        task: task that names the columns.
        read_label: (value of the label column, separator=) -> label as text, None where there is none. Raises
            ValueError that says what was expected.
        where: source of the rows, for messages.
        first: number of the first row.
        labelled: True: every row needs a label. None: labels may be missing. False: labels are not read.
        allow_null: whether a text may be null; it is None then.

    Returns:
        Texts of each text column, and labels. (N,)

    Raises:
        ValueError: a text or a label that is missing or of another kind; names the row.
    """
    count = len(block[task.text[0]])
    if task.is_tokenised:
        texts: list[list[str | None]] = [[*pack_tokens(block, where=where, first=first)]]
    else:
        texts = [_read_texts(block[name], where, name, first, allow_null=allow_null) for name in task.text]
    given = [None] * count if labelled is False else take_labels(block, task, count)
    labels: list[str | None] = []
    for row, value in enumerate(given, start=first):
        try:
            labels.append(read_label(value, separator=task.separator))
        except ValueError as error:
            raise ValueError(f"{where}: row {row}: {shorten_value(task.label)} {error}") from None
        if labelled and labels[-1] is None:
            raise ValueError(
                f"{where}: row {row} has no {shorten_value(task.label)}; give rows without a label as "
                "data.unlabelled, or leave them out."
            )
    return texts, labels


def take_labels(block: Mapping[str, list[Any]], task: Task, count: int) -> list[Any]:
    """Take the values of the label column; of several columns, a dict by column for each row that has any value.

    Args:
        block: columns of some rows.
        task: task that names the columns.
        count: number of rows.

    Returns:
        A value for each row; None where there is none.
    """
    if not task.label_columns:
        return block.get(task.label, [None] * count)
    marks = zip(*(block.get(name, [None] * count) for name in task.label_columns), strict=True)
    rows = [dict(zip(task.label_columns, row, strict=True)) for row in marks]
    return [row if any(mark is not None for mark in row.values()) else None for row in rows]


def _read_texts(values: list[Any], where: str, name: str, first: int, *, allow_null: bool) -> list[str | None]:
    texts: list[str | None] = []
    for row, value in enumerate(values, start=first):
        if value is None and not allow_null:
            raise ValueError(f"{where}: row {row} has no text in {shorten_value(name)}.")
        if value is not None and not isinstance(value, str):
            found = f"{shorten_value(name)} holds {shorten_value(value)}, expected text."
            raise ValueError(f"{where}: row {row}: {found}")
        texts.append(value)
    return texts
