"""read_sample: the first rows of a data file, of any size, and what its columns hold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from innerdistill.data.arrow import BLOCK_BYTES
from innerdistill.data.formats import SUFFIXES, Block, read_blocks
from innerdistill.data.label_sets import parse_label_set, read_label_set
from innerdistill.data.labels import read_label
from innerdistill.data.text_files import find_broken_text
from innerdistill.support.messages import format_count, join_names, shorten_value

MOST_ROWS = 10_000  # rows that a recipe is judged by
SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "vertical bars"}  # of files that are called .csv


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a sample, and what it may be good for.

    Attributes:
        name: its name.
        values: its values as the file has them.
    """

    name: str
    values: Sequence[Any]

    @cached_property
    def holds_lists(self) -> bool:
        """Whether the values are lists, as label sets, words and tags are."""
        return any(isinstance(value, list) for value in self.values)

    @cached_property
    def holds_words(self) -> bool:
        """Whether the values are lists of text, none of them empty."""
        given = [value for value in self.values if value is not None]
        return bool(given) and all(isinstance(value, list) and value and _holds_text(value) for value in given)

    @cached_property
    def holds_spans(self) -> bool:
        """Whether the values are lists of objects, as spans are."""
        given = [value for value in self.values if value is not None]
        return all(isinstance(value, list) for value in given) and any(
            isinstance(part, dict) for part in chain.from_iterable(given)
        )

    def share_aligned(self, other: Column) -> float:
        """Share of the rows in which two columns hold lists of equal length.

        Args:
            other: the other column.

        Returns:
            From 0 to 1; rows where one of them is missing do not count.
        """
        pairs = zip(self.values, other.values, strict=True)
        pairs_of_lists = [(a, b) for a, b in pairs if isinstance(a, list) and isinstance(b, list)]
        return sum(len(a) == len(b) for a, b in pairs_of_lists) / max(1, len(pairs_of_lists))

    def join_words(self) -> Column:
        """Join lists of words.

        Returns:
            A column of texts; None where a value is missing.
        """
        return Column(self.name, [" ".join(value) if isinstance(value, list) else value for value in self.values])

    @cached_property
    def labels(self) -> list[str | None]:
        """The values as labels, None where there is none; an empty list if they are neither names nor numbers.

        Lists are JSON texts.
        """
        read = read_label_set if self.holds_lists else read_label
        try:
            return [read(value) for value in self.values]
        except ValueError:
            return []

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each label occurs, the most frequent one first. Every label of a list counts."""
        given = [label for label in self.labels if label is not None]
        if self.holds_lists:
            given = list(chain.from_iterable(map(parse_label_set, given)))
        return Counter(dict(Counter(given).most_common()))

    def split_texts(self) -> Column:
        """Take texts of several labels apart.

        Returns:
            A column of lists.
        """
        lists = [None if label is None else parse_label_set(label) for label in map(read_label_set, self.values)]
        return Column(self.name, lists)

    @cached_property
    def texts(self) -> list[str]:
        """The values that are text and not empty; an empty list if any other value is no text."""
        given = [value for value in self.values if value is not None]
        return [text for text in given if text] if all(isinstance(value, str) for value in given) else []

    @cached_property
    def is_numeric(self) -> bool:
        """Whether every label is a number."""
        return bool(self.counts) and all(math.isfinite(_read_number(label)) for label in self.counts)

    @cached_property
    def has_decimals(self) -> bool:
        """Whether every label is a number, and at least one has decimals."""
        return self.is_numeric and not all(_read_number(label).is_integer() for label in self.counts)

    @cached_property
    def is_prose(self) -> bool:
        """Whether most values are texts of several words, or in a script that writes no spaces between them."""
        prose = sum(_is_prose(text) for text in self.texts)
        return prose * 2 >= len(self.texts) > 0

    @cached_property
    def mean_length(self) -> float:
        """Mean number of characters of the texts."""
        return sum(map(len, self.texts)) / max(1, len(self.texts))

    @cached_property
    def repeats(self) -> bool:
        """Whether a label occurs twice on average, as names of classes do and ids do not."""
        return len(self.counts) * 2 <= self.counts.total()


@dataclass(frozen=True)
class Sample:
    """The first rows of a data file.

    Attributes:
        path: path of the file.
        columns: its columns by name.
        num_rows: number of rows that were read.
        is_whole: whether the file has no more rows.
    """

    path: str
    columns: Mapping[str, Column]
    num_rows: int
    is_whole: bool

    def describe_rows(self) -> str:
        """Describe which rows the columns hold.

        Returns:
            Such as `2,400 rows` or `the first 10,000 rows`.
        """
        rows = format_count(self.num_rows, "row")
        return rows if self.is_whole else f"the first {rows}"

    def name_columns(self) -> str:
        """Names of the columns, as they stand in a sentence."""
        return join_names(list(self.columns))


def read_sample(path: str) -> Sample:
    """Read the first rows of a CSV, TSV, JSON lines, Parquet, CoNLL or CoNLL-U file.

    Args:
        path: path of the file.

    Returns:
        At most MOST_ROWS rows, and fewer of very long texts.

    Raises:
        ValueError: missing or damaged file, a folder, an unknown format, no rows, only one column.
    """
    if Path(path).is_dir():
        raise ValueError(f"{path}: this is a folder; expected a file ({', '.join(SUFFIXES)}).")
    columns: dict[str, list[Any]] = {}
    num_rows = characters = 0
    blocks = read_blocks(Path(path))
    for block in blocks:
        _add_block(columns, block, num_rows)
        num_rows += len(next(iter(block.values()), ()))
        characters += _count_characters(block)
        if num_rows >= MOST_ROWS or characters > BLOCK_BYTES:
            break
    is_whole = num_rows <= MOST_ROWS and next(blocks, None) is None
    if num_rows == 0:
        raise ValueError(f"{path}: no rows.")
    num_rows = min(num_rows, MOST_ROWS)
    _check_text(path, columns)
    _refuse_other_separator(path, list(columns))
    shown = {name: Column(name, values[:num_rows]) for name, values in columns.items()}
    return Sample(path, shown, num_rows, is_whole)


def _add_block(columns: dict[str, list[Any]], block: Block, num_rows: int) -> None:
    """Add the rows of a block. In JSON lines, a later row may have a key that no row had before."""
    added = len(next(iter(block.values()), ()))
    for name in [*columns, *(name for name in block if name not in columns)]:
        columns.setdefault(name, [None] * num_rows).extend(block.get(name, [None] * added))


def _count_characters(block: Block) -> int:
    return sum(_count_text(value) for value in chain.from_iterable(block.values()))


def _count_text(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_count_text, value))
    return len(value) if isinstance(value, str) else 0


def _holds_text(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_text(path: str, columns: Mapping[str, list[Any]]) -> None:
    for name, values in columns.items():
        position = find_broken_text(values)
        if position is not None:
            raise ValueError(
                f"{path}: row {position + 1}: {shorten_value(name)} is not UTF-8 text "
                f"({shorten_value(values[position])}); save the file as UTF-8."
            )


def _refuse_other_separator(path: str, names: Sequence[str]) -> None:
    if len(names) > 1:
        return
    separator = next((words for sign, words in SEPARATORS.items() if sign in names[0]), None)
    if separator is not None and Path(path).suffix.lower() == ".csv":
        raise ValueError(
            f"{path}: its only column is {shorten_value(names[0])}; are the columns separated by {separator}? Save it "
            "with commas, or with tabs as .tsv."
        )


def _read_number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return math.nan


def _is_prose(text: str) -> bool:
    has_letters = any(character.isalpha() for character in text)
    return has_letters and (len(text.split()) > 1 or not text.isascii())
