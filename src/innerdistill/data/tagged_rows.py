"""Rows whose words are a list and whose tags are another, from JSON lines, Parquet, CoNLL files or Python objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innerdistill.data.labels import read_label
from innerdistill.data.text_files import find_broken_text
from innerdistill.support.messages import format_count, shorten_value

TaggedRow = tuple[list[str], list[str] | None]  # words and their tags


def read_tagged_rows(
    block: Mapping[str, list[Any]],
    *,
    tokens: str,
    tags: str,
    where: str,
    first: int,
    labelled: bool | None = True,
) -> list[TaggedRow]:
    """Check the words and tags of some rows.

    Args:
        block: columns of some rows, as the readers give them: class ids are names already.
        tokens: name of the column of words.
        tags: name of the column of tags; it may be missing unless every row needs tags.
        where: source of the rows, for messages.
        first: number of the first row.
        labelled: True: every row needs tags. None: tags may be missing. False: tags are not read.

    Returns:
        Words and tags of each row, of equal length; tags that are numbers are text. None where a row has no tags.

    Raises:
        ValueError: a cell that is no list, no words, a word that is no text, a tag that is missing or no name.
            Lists of different lengths, and text that is not UTF-8. The message names the row.

    >>> read_tagged_rows({"words": [["In", "Rome"]], "ner": [[0, 5]]}, tokens="words", tags="ner", where="a", first=1)
    [(['In', 'Rome'], ['0', '5'])]
    """
    count = len(block[tokens])
    given = block.get(tags, [None] * count) if labelled is not False else [None] * count
    rows = []
    for row, (words, of_words) in enumerate(zip(block[tokens], given, strict=True), start=first):
        try:
            rows.append(_read_row(words, of_words, tokens=tokens, tags=tags))
        except ValueError as error:
            raise ValueError(f"{where}: row {row}: {error}") from None
        if labelled and rows[-1][1] is None:
            raise ValueError(
                f"{where}: row {row} has no {shorten_value(tags)}; give rows without tags as data.unlabelled, or "
                "leave them out."
            )
    return rows


def _read_row(given_words: Any, given_tags: Any, *, tokens: str, tags: str) -> TaggedRow:
    words = _read_list(given_words, tokens, "words")
    if not words:
        raise ValueError(f"{shorten_value(tokens)} holds no words.")
    for number, word in enumerate(words, start=1):
        if not isinstance(word, str):
            raise ValueError(f"word {number} of {shorten_value(tokens)} is {shorten_value(word)}, expected text.")
    _check_text(words, tokens)
    if given_tags is None:
        return words, None
    labels = []
    for number, tag in enumerate(_read_list(given_tags, tags, "tags"), start=1):
        try:
            label = read_label(tag)
        except ValueError as error:
            raise ValueError(f"tag {number} of {shorten_value(tags)} {error}") from None
        if label is None:
            raise ValueError(f"tag {number} of {shorten_value(tags)} is missing.")
        labels.append(label)
    if len(labels) != len(words):
        raise ValueError(
            f"{shorten_value(tokens)} and {shorten_value(tags)} differ in length: {format_count(len(words), 'word')}, "
            f"{format_count(len(labels), 'tag')}."
        )
    _check_text(labels, tags)
    return words, labels


def _read_list(value: Any, name: str, kind: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{shorten_value(name)} holds {shorten_value(value)}, expected a list of {kind}.")
    return list(value)


def _check_text(values: list[str], name: str) -> None:
    if (position := find_broken_text(values)) is not None:
        raise ValueError(
            f"{shorten_value(name)} is not UTF-8 text ({shorten_value(values[position])}); save the file as UTF-8."
        )
