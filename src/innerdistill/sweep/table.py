"""A table of a sweep, as its page, its texts and a terminal show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Words and numbers as they are shown.

    Attributes:
        title: what it shows.
        header: heads of the columns, the first one of texts.
        rows: cells, in the order of the header.
        note: how to read it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
