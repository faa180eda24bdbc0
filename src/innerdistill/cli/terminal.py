"""What is written to the terminal or to a pipe: sentences, tables, and the messages of the package while it works.

In a terminal, sentences are wrapped at words. In a pipe or a file nothing is wrapped, padded or cut, so that it can be
searched.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

# What is printed may come from files: no markup, no emoji.
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)
WIDEST = 10_000  # columns of a table that is not printed to a terminal


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
        console.print(table)
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
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


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
