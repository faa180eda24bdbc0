"""What all readers of data files share: opening, lines of text files, columns by name, rows in blocks."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from innerdistill.data.arrow import BLOCK, BLOCK_BYTES
from innerdistill.support.messages import get_first_line, shorten_value, suggest_name

T = TypeVar("T")

LONGEST = 1 << 26  # characters of a line, and of a cell, at most
BYTES_PER_CELL = 50  # memory that Python needs besides the characters


@contextmanager
def explain_reading_errors(path: Path) -> Iterator[None]:
    """Explain in a sentence why a file cannot be read.

    Args:
        path: path of the file.

    Raises:
        ValueError: what runs inside fails to read it.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or get_first_line(error)}).") from None


def read_text_file(path: Path, read: Callable[[TextIO], Iterator[T]]) -> Iterator[T]:
    """Open a text file and read it with a function.

    Args:
        path: path of the file.
        read: function that gets the open file. Its bytes that are not UTF-8 are lone surrogates.

    Yields:
        What the function yields.

    Raises:
        ValueError: the file cannot be read, or is UTF-16.
    """
    with explain_reading_errors(path):
        with path.open("rb") as file:
            beginning = file.read(1 << 16)
        if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError(f"{path}: this is UTF-16; save it as UTF-8.")
        # Lines end as the first one does. Unless that is a carriage return, one of those alone ends no line.
        ends = re.search(rb"\r\n?|\n", beginning)
        newline = "" if ends and ends[0] == b"\r" else "\n"
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as text:
            yield from read(text)


def find_broken_text(values: Iterable[Any]) -> int | None:
    """Find text that UTF-8 cannot encode.

    Args:
        values: values of a column, of any type; lists may hold text too.

    Returns:
        Position of the first value with a lone surrogate; None if there is none.
    """
    for position, value in enumerate(values):
        if isinstance(value, list) and find_broken_text(value) is not None:
            return position
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            return position
    return None


def choose_columns(
    path: Path, names: Sequence[str], columns: Sequence[str] | None, optional: Sequence[str]
) -> dict[str, int]:
    """Find the columns that are read.

    Args:
        path: path of the file, for messages.
        names: names of all its columns.
        columns: names of the columns to read; None means all.
        optional: names of columns that are read if the file has them.

    Returns:
        Position of each column that is read, by name.

    Raises:
        ValueError: a column that is missing or there twice, or whose name is not UTF-8.
    """
    wanted = list(names) if columns is None else [*columns, *(name for name in optional if name in names)]
    for name in wanted:
        if name not in names:
            hint = suggest_name(name, names, kind="columns")
            raise ValueError(f"{path}: no column {shorten_value(name)}. {hint}")
        if find_broken_text([name]) is not None:
            raise ValueError(
                f"{path}: the name of column {shorten_value(name)} is not UTF-8 text; save the file as UTF-8."
            )
        if names.count(name) > 1:
            raise ValueError(f"{path}: column {shorten_value(name)} appears {names.count(name)} times.")
    return {name: names.index(name) for name in wanted}


def read_lines(path: Path, text: TextIO) -> Iterator[str]:
    """Read a text file line by line.

    Args:
        path: path of the file, for messages.
        text: the open file.

    Yields:
        Lines with their ends.

    Raises:
        ValueError: a line of LONGEST characters or more.
    """
    number = 0
    while line := text.readline(LONGEST):
        number += 1
        if len(line) == LONGEST:
            raise ValueError(f"{path}: line {number}: longer than {LONGEST:,} characters; is this a text file?")
        yield line


def group_in_blocks(rows: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
    """Group rows in blocks of BLOCK rows, or of as many as hold BLOCK_BYTES of text.

    Args:
        rows: rows with their lengths in bytes.

    Yields:
        Blocks of rows in their order.
    """
    block: list[T] = []
    length = 0
    for row, characters in rows:
        block.append(row)
        length += characters
        if len(block) == BLOCK or length > BLOCK_BYTES:
            yield block
            block, length = [], 0
    if block:
        yield block
