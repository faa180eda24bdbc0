"""What is written to the terminal or to a pipe: sentences, tables, and the messages of the package while it works.

In a terminal, sentences and cells are wrapped at words, and a table that is too wide becomes several below one another.
In a pipe or a file nothing is wrapped, padded or cut, so that it can be searched.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

# What is printed may come from files: no markup, no emoji.
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)
WIDEST = 10_000  # characters in a line of a table that is not printed to a terminal
MOST_COLUMNS = 6  # columns per table in a terminal
GAP = 2  # characters between columns
WHOLE = 20  # characters up to which a cell is not wrapped: a number with its unit, its deviation or its range


class MessageHandler(logging.Handler):
    """Prints the messages of the package, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message; warnings stand out.

        Args:
            record: the message.
        """
        print_text(record.getMessage(), to=errors, style="yellow" if record.levelno >= logging.WARNING else None)


def print_text(text: str, *, to: Console = console, style: str | None = None) -> None:
    """Print a sentence.

    Args:
        text: the sentence.
        to: console of the output or of the errors.
        style: colour, in a terminal.
    """
    to.print(text, style=style, highlight=False, soft_wrap=not to.is_terminal)


def print_table(table: Table) -> None:
    """Print a table to the output.

    Args:
        table: table from `create_table`.
    """
    if console.is_terminal:
        for part in split_table(table, console.width):
            console.print(part)
        return
    wide = Console(file=io.StringIO(), width=WIDEST, markup=False, emoji=False)
    wide.print(table)
    assert isinstance(wide.file, io.StringIO)
    for line in wide.file.getvalue().splitlines():
        print_text(line.rstrip())


def create_table(first: str, *others: str) -> Table:
    """Create an empty table.

    Args:
        first: heading of the first column, which holds texts.
        *others: headings of the other columns, which hold numbers.

    Returns:
        The table.
    """
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table


def split_table(table: Table, width: int) -> list[Table]:
    """Split a table that is too wide into several that have its first column. Nothing in them is cut.

    Args:
        table: table from `create_table`.
        width: width of the terminal in characters.

    Returns:
        Tables whose columns have their widths.
    """
    narrowest = list(map(_measure_narrowest, table.columns))
    if len(narrowest) > 1:  # what is longer is folded, so that each of the others has its place beside it
        narrowest[0] = max(1, min(narrowest[0], width - GAP - max(narrowest[1:])))
    parts = [[0]]
    for index in range(1, len(narrowest)):
        needed = sum(narrowest[each] + GAP for each in [*parts[-1], index]) - GAP
        if len(parts[-1]) > 1 and (needed > width or len(parts[-1]) == MOST_COLUMNS):
            parts.append([0])
        parts[-1].append(index)
    return [_build_part([(table.columns[index], narrowest[index]) for index in part], width) for part in parts]


def _build_part(columns: Sequence[tuple[Column, int]], width: int) -> Table:
    """A table of some columns. What is left of the width goes to the first, then to those that need least of it."""
    widths = [narrow for _, narrow in columns]
    left = width - sum(widths) - GAP * (len(columns) - 1)
    wanted = [max(map(cell_len, _list_texts(column))) - narrow for column, narrow in columns]
    for index in sorted(range(len(columns)), key=lambda index: (index > 0, wanted[index])):
        more = max(0, min(left, wanted[index]))
        widths[index], left = widths[index] + more, left - more
    part = create_table(*(str(column.header) for column, _ in columns))
    for column, characters in zip(part.columns, widths, strict=True):
        column.width = min(characters, width)
    for row in zip(*(column.cells for column, _ in columns), strict=True):
        part.add_row(*row)
    return part


def _measure_narrowest(column: Column) -> int:
    """Characters of the longest word, and of the longest cell that is not wrapped."""
    words = [word for text in _list_texts(column) for word in text.split()]
    whole = [text for text in map(str, column.cells) if column.justify == "right" and cell_len(text) <= WHOLE]
    return max(map(cell_len, [*words, *whole]), default=0)


def _list_texts(column: Column) -> list[str]:
    return [str(column.header), *map(str, column.cells)]


@contextmanager
def hide_control_keys() -> Iterator[None]:
    """Keep the terminal from writing `^C` into a progress bar; without a terminal, nothing changes."""
    try:
        import termios  # noqa: PLC0415 - Windows has none

        number = sys.stdin.fileno()
        if os.tcgetpgrp(number) != os.getpgrp():  # a process in the background must leave the terminal alone
            raise OSError
        before = termios.tcgetattr(number)
    except (ImportError, OSError, ValueError):
        before = None
    if before is None:
        yield
        return
    hidden = before.copy()
    hidden[3] &= ~termios.ECHOCTL  # the local modes
    termios.tcsetattr(number, termios.TCSANOW, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSANOW, before)
