"""Rows that are Python objects instead of files: data sets, data frames, lists, and iterables larger than memory.

They are read once, in blocks, in the form that files are read in. So the same rows give the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, IterableDataset

from innerdistill.data.arrow import BLOCK
from innerdistill.data.formats import Block
from innerdistill.data.tasks import TOKEN_IDS
from innerdistill.support.messages import get_first_line, join_names, shorten_value, suggest_name

TEXT = "text"  # column of rows that are texts alone
WORD_COLUMNS = ("tokens", "words")  # looked for where `data.text` is not given; they hold lists
LABEL_COLUMNS = ("label", "labels")  # looked for where `data.label` is not given
TAG_COLUMNS = ("tags", "ner_tags")  # beside words


@dataclass(frozen=True)
class Rows:
    """Rows of an object, before they are read.

    Attributes:
        columns: names of its columns.
        text_columns: those that hold text, judged by their type or by the first row.
        read: (names of columns) -> blocks of rows by column, in order. It raises ValueError where an iterator is read
            a second time.
        class_names: class names by column, where the column holds class ids.
        first: columns of the first row or rows, as they are.
    """

    columns: Sequence[str]
    text_columns: Sequence[str]
    read: Callable[[list[str]], Iterable[Block]]
    class_names: Mapping[str, Sequence[str]]
    first: Mapping[str, Sequence[Any]]

    def read_blocks(self, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Block]:
        """Read some columns.

        Args:
            columns: columns that must be there.
            optional: columns that are read if they are there.

        Yields:
            Blocks of rows by column; class ids as class names, NaN as None.

        Raises:
            ValueError: a column is missing, or a row cannot be read.
        """
        for name in columns:
            if name not in self.columns:
                raise ValueError(f"no column {shorten_value(name)}. {suggest_name(name, self.columns, kind='columns')}")
        names = [*columns, *(name for name in optional if name in self.columns)]
        for block in self.read(names):
            for name in names:
                class_names = self.class_names.get(name)
                block[name] = [_read_value(value, class_names) for value in block[name]]
            yield block


def wrap_rows(given: Any) -> Rows:
    """Find out what columns an object has, without reading more than its first row.

    Args:
        given: rows; `datasets.Dataset` or `IterableDataset`; pandas or polars DataFrame; mapping of columns; list or
            other iterable of mappings, one per row, or of texts, whose column is `text`.

    Returns:
        Its rows. Those of an iterator can be read once.

    Raises:
        ValueError: an object of another kind, or rows that are not mappings.
    """
    if isinstance(given, Rows):
        return given
    if isinstance(given, Dataset):
        return _wrap_dataset(given)
    if is_data_frame(given):
        return _wrap_data_frame(given)
    if isinstance(given, Mapping):
        return _wrap_columns(given)
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        return _wrap_iterable(given)
    raise ValueError(
        f"expected a file, a Dataset, a DataFrame, or rows as a list or iterable of dicts; got {type(given).__name__}."
    )


def is_data_frame(given: Any) -> bool:
    """Tell whether an object is a DataFrame of pandas or polars. Imports neither.

    Args:
        given: any object.

    Returns:
        True for a DataFrame.
    """
    kind = type(given)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] in ("pandas", "polars")


def choose_text(rows: Rows, label: str | None) -> tuple[str, ...]:
    """Choose the text column of an object where nobody has named it: words, the only text, or token ids.

    Args:
        rows: rows of the object.
        label: name of its label column, which may hold text too.

    Returns:
        One name.

    Raises:
        ValueError: none or several columns hold text.
    """
    if (words := _find_words(rows)) is not None:
        return (words,)
    texts = [name for name in rows.text_columns if name != label]
    if not texts and TOKEN_IDS in rows.columns:
        return (TOKEN_IDS,)
    if len(texts) != 1:
        found = f"{join_names(texts)} hold text" if texts else "no column holds text"
        raise ValueError(
            f"data.text: name the text column, for example data={{'text': 'sentence'}}, or two for pairs; {found}. "
            f"Columns: {join_names(rows.columns)}."
        )
    return tuple(texts)


def choose_label(rows: Rows) -> str | None:
    """Choose the label column of an object where nobody has named it.

    Args:
        rows: rows of the object.

    Returns:
        `label` or `labels`, beside words also `tags` or `ner_tags`: the first that is there; None if none is.
    """
    names = LABEL_COLUMNS if _find_words(rows) is None else (*LABEL_COLUMNS, *TAG_COLUMNS)
    return next((name for name in names if name in rows.columns), None)


def _find_words(rows: Rows) -> str | None:
    """The column of words, if one of the usual names holds lists."""
    for name in WORD_COLUMNS:
        if isinstance(next(iter(rows.first.get(name, ())), None), list | tuple | np.ndarray):
            return name
    return None


def _wrap_dataset(dataset: Dataset) -> Rows:
    def read(names: list[str]) -> Iterator[Block]:
        for batch in dataset.select_columns(names).with_format("arrow").iter(BLOCK):
            yield batch.to_pydict()

    names = _find_class_names(dataset.features)
    texts = [
        name for name, kind in dataset.features.items() if getattr(kind, "dtype", None) in ("string", "large_string")
    ]
    return Rows(dataset.column_names, texts, read, names, dataset[:1])


def _find_class_names(features: Mapping[str, Any] | None) -> dict[str, Sequence[str]]:
    """Class names by column of `datasets`, which holds numbers: ids, and -1 for the hidden labels of test splits."""
    named = (features or {}).items()
    found = {name: getattr(feature, "feature", feature) for name, feature in named}  # a list has that for its elements
    return {name: feature.names for name, feature in found.items() if isinstance(feature, ClassLabel)}


def _wrap_data_frame(frame: Any) -> Rows:
    is_pandas = type(frame).__module__.startswith("pandas")

    def read(names: list[str]) -> Iterator[Block]:
        for start in range(0, len(frame), BLOCK):
            if is_pandas:
                part = frame.iloc[start : start + BLOCK]
                yield {name: part[name].tolist() for name in names}
            else:
                yield frame.slice(start, BLOCK).select(names).to_dict(as_series=False)

    columns = [str(name) for name in frame.columns]
    for name in {name for name in columns if columns.count(name) > 1}:
        raise ValueError(f"column {shorten_value(name)} appears {columns.count(name)} times.")
    first = next(iter(read(columns)), {}) if list(frame.columns) == columns else {}
    return Rows(columns, _find_texts(first), read, {}, first)


def _wrap_columns(columns: Mapping[str, Any]) -> Rows:
    lists = {str(name): list(values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
        raise ValueError(f"expected columns of equal length; {described}.")

    def read(names: list[str]) -> Iterator[Block]:
        for start in range(0, len(lists[names[0]]), BLOCK):
            yield {name: lists[name][start : start + BLOCK] for name in names}

    return Rows(list(lists), _find_texts(lists), read, {}, lists)


def _wrap_iterable(given: Iterable[Any]) -> Rows:
    features = given.features if isinstance(given, IterableDataset) else None
    first = list(islice(_check_rows(given), 1))
    is_iterator = isinstance(given, Iterator)  # which continues where it was left, and can be read once
    if not first:
        raise ValueError(f"no rows{'; an iterator that was read before has none left' if is_iterator else ''}.")
    was_read = False

    def read(names: list[str]) -> Iterator[Block]:
        nonlocal was_read
        if is_iterator and was_read:
            raise ValueError("these rows come from an iterator, which can be read once; give a list or a Dataset.")
        was_read = True
        rows = _check_rows(chain(first, given) if is_iterator else given)
        while part := list(islice(rows, BLOCK)):
            yield {name: [row.get(name) for row in part] for name in names}

    columns = {str(name): [value] for name, value in first[0].items()}
    return Rows(list(columns), _find_texts(columns), read, _find_class_names(features), columns)


def _check_rows(given: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """Rows of an iterable, each a mapping or a text. What the iterable raises is told with the number of the row."""
    number = 1
    try:
        rows = iter(given)
        for row in rows:
            if not isinstance(row, Mapping | str):
                raise _RowError(
                    f"row {number:,} is {shorten_value(row)}, expected a dict by column, such as {{'text': '...'}}."
                )
            yield {TEXT: row} if isinstance(row, str) else row
            number += 1
    except _RowError:
        raise
    except Exception as error:
        raise ValueError(f"row {number:,} cannot be read ({type(error).__name__}: {get_first_line(error)}).") from error


class _RowError(ValueError):
    """A row that is neither a mapping nor a text."""


def _find_texts(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Columns whose first value is text."""
    return [name for name, values in columns.items() if len(values) and isinstance(values[0], str)]


def _read_value(value: Any, class_names: Sequence[str] | None) -> Any:
    """A value as a file would have it: a class id as its name, a NumPy number as Python's, NaN and NA as None."""
    if isinstance(value, list | tuple | np.ndarray):
        return [_read_value(element, class_names) for element in value]
    if class_names is not None:
        return None if value in (None, -1) else class_names[value]
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    is_missing = type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)  # noqa: PLR0124
    return None if is_missing else value
