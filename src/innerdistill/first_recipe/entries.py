"""A recipe as text: its keys in order, each under comments that explain it."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from innerdistill.recipe.advice import show_rate
from innerdistill.recipe.yaml import write_yaml

MAX_COLUMNS = 80


@dataclass(frozen=True)
class Entry:
    """A key of a recipe.

    Attributes:
        key: name with its section, such as `data.text`.
        value: its value.
        comments: sentences above it.
        is_off: whether it is only shown, as a comment.
    """

    key: str
    value: Any
    comments: tuple[str, ...] = ()
    is_off: bool = False

    @property
    def section(self) -> str:
        """Section of the recipe; the name itself for a key without one."""
        return self.key.partition(".")[0]


def write_entries(head: Sequence[str], entries: Iterable[Entry]) -> str:
    r"""Write a recipe with comments.

    Args:
        head: lines of the comment at the top.
        entries: keys in their order; those of a section stand together.

    Returns:
        YAML.

    >>> print(write_entries(["Mine."], [Entry("data.text", ["a", "b"], ("Pairs.",)), Entry("seed", 3, is_off=True)]))
    # Mine.
    <BLANKLINE>
    data:
      # Pairs.
      text: [a, b]
    <BLANKLINE>
    # seed: 3
    <BLANKLINE>
    """
    parts = ["\n".join(f"# {line}".rstrip() for line in head)]
    for section, group in itertools.groupby(entries, key=lambda entry: entry.section):
        lines: list[str] = []
        for entry in group:
            is_inside = entry.key != section
            if is_inside and not lines:
                lines.append(f"{section}:")
            elif is_inside:
                lines.append("")
            lines += _write_entry(entry, indent="  " if is_inside else "")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _write_entry(entry: Entry, *, indent: str) -> list[str]:
    mark = f"{indent}# "
    comments = [
        line
        for sentence in entry.comments
        for line in textwrap.wrap(
            sentence,
            MAX_COLUMNS,
            initial_indent=mark,
            subsequent_indent=mark,
            break_on_hyphens=False,
            break_long_words=False,
        )
    ]
    name = entry.key.rpartition(".")[2]
    if isinstance(entry.value, float):
        text = f"{name}: {show_rate(entry.value)}"
    elif isinstance(entry.value, list):
        text = write_yaml({name: entry.value}, one_line=True).strip().removeprefix("{").removesuffix("}")
    else:
        text = write_yaml({name: entry.value}).strip()
    return [*comments, f"{mark if entry.is_off else indent}{text}"]
