"""CoNLL and CoNLL-U files: a line per word, a blank line between sentences. A row is a sentence, a cell a list.

CoNLL files have no header. Their columns are called `tokens`, `column_2`, `column_3`, ... and `tags`.
Source of CoNLL-U: https://universaldependencies.org/format.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from innerdistill.data.tag_schemes import is_tag
from innerdistill.data.text_files import BYTES_PER_CELL, choose_columns, group_in_blocks, read_lines
from innerdistill.support.messages import shorten_value

Line = tuple[int, list[str]]  # number of a line, and its cells; no cells where a sentence ends

TOKENS, TAGS = "tokens", "tags"
DOCUMENT = "-DOCSTART-"  # first cell of the line before a document
COMMENT = "# "
MOST_TAGS = 1_000  # tags that are remembered, at most
MOST_WORDS = 100_000  # words of a sentence at most: without blank lines, a file would be one sentence
# Columns of CoNLL-U by position; FORM and UPOS have the common names too.
CONLLU = {
    **{TOKENS: 1, TAGS: 3},
    **{"id": 0, "form": 1, "lemma": 2, "upos": 3, "xpos": 4, "feats": 5, "head": 6, "deprel": 7, "deps": 8, "misc": 9},
}
COMMON_NAMES = ["id", TOKENS, "lemma", TAGS, "xpos", "feats", "head", "deprel", "deps", "misc"]  # each column once
NOT_GIVEN = "_"  # in CoNLL-U, a part of speech that nobody has annotated
PARTS_OF_SPEECH = (3, 4)
SEPARATOR = re.compile(r"[ \t]")
WORD_ID, SKIPPED_ID = re.compile(r"\d+"), re.compile(r"\d+-\d+|\d+\.\d+")  # several words in one; a word left out


def read_conll(
    path: Path,
    text: TextIO,
    columns: Sequence[str] | None,
    optional: Sequence[str],
    header: Sequence[str] | None,
) -> Iterator[dict[str, list[Any]]]:
    """Read a CoNLL file. Its first line with a tab or spaces says which of the two separates all columns.

    `-DOCSTART-` lines end a sentence. Comments begin with `# ` and stand before the first word of a sentence.
    A line with as many columns as the others and a tag in the last is a word.

    Args:
        path: path of the file, for messages.
        text: the open file.
        columns: names of the columns to read, which may not have empty cells. None means all; only words and tags
            must then be there.
        optional: names of columns that are read if the file has them.
        header: names of its columns; None means the names that all CoNLL files have.

    Yields:
        Blocks of sentences: a list of text per sentence, by column.

    Raises:
        ValueError: a line with another number of columns or an empty cell, a missing column, a sentence of more than
            MOST_WORDS words; names file and line.
    """
    lines = _split_conll(path, text)
    number, first = next((line for line in lines if line[1]), (0, []))
    if not first:
        return
    if len(first) == 1 and header is None and columns and set(columns) > {TOKENS}:
        raise ValueError(
            f"{path}: line {number} has no tag; expected a word and its tag, with a tab or spaces between them; got "
            f"{shorten_value(first[0])}."
        )
    names = header or _name_columns(len(first))
    if len(names) != len(first):
        raise ValueError(
            f"{path}: line {number}: expected {len(names)} columns ({', '.join(names)}), got {len(first)}."
        )
    chosen = choose_columns(path, names, columns, optional)
    yield from _build_blocks(path, chain([(number, first)], lines), chosen, may_be_empty=columns is None)


def read_conllu(
    path: Path, text: TextIO, columns: Sequence[str] | None, optional: Sequence[str]
) -> Iterator[dict[str, list[Any]]]:
    """Read a CoNLL-U file. Comments, multiword tokens (1-2) and empty nodes (1.1) are skipped.

    Args:
        path: path of the file, for messages.
        text: the open file.
        columns: names of the columns to read: `tokens` (FORM), `tags` (UPOS), or a name of the format, such as `xpos`.
            None means all ten; only words and parts of speech must then be there.
        optional: names of columns that are read if the format has them.

    Yields:
        Blocks of sentences: a list of text per sentence, by column. None where no word has a part of speech.

    Raises:
        ValueError: a line without ten columns or a word number, an empty cell, a missing column, a sentence without
            words or with more than MOST_WORDS; names file and line.
    """
    names = list(CONLLU) if columns is not None else COMMON_NAMES
    chosen = {name: CONLLU[name] for name in choose_columns(path, names, columns, optional)}
    lines = _split_conllu(path, text)
    yield from _build_blocks(path, lines, chosen, may_miss=PARTS_OF_SPEECH, may_be_empty=columns is None)


def _name_columns(count: int) -> list[str]:
    if count == 1:
        return [TOKENS]
    return [TOKENS, *(f"column_{number}" for number in range(2, count)), TAGS]


def _split_conll(path: Path, text: TextIO) -> Iterator[Line]:
    is_tabbed, count, in_sentence = False, 0, False
    tags: set[str] = set()
    for number, ended in enumerate(read_lines(path, text), start=1):
        line = ended.rstrip("\r\n")
        if SEPARATOR.split(line.strip(" \t"), maxsplit=1)[0] in ("", DOCUMENT):
            in_sentence = False
            yield number, []
            continue
        is_tabbed = is_tabbed if count else "\t" in line
        cells = [cell.strip(" ") for cell in line.split("\t")] if is_tabbed else [*filter(None, line.split(" "))]
        if line.startswith(COMMENT) and not in_sentence:
            has_tag = cells[-1] in tags or is_tag(cells[-1])
            if not has_tag or len(cells) != (count or len(cells)):
                continue
        count = count or len(cells)
        if len(cells) != count:
            separator = "a tab" if is_tabbed else "spaces"
            raise ValueError(
                f"{path}: line {number}: expected {count} columns with {separator} between them, as in the first line, "
                f"got {len(cells)}."
            )
        in_sentence = True
        if len(tags) < MOST_TAGS:
            tags.add(cells[-1])
        yield number, cells


def _split_conllu(path: Path, text: TextIO) -> Iterator[Line]:
    has_lines = has_words = False
    for number, ended in enumerate(chain(read_lines(path, text), [""]), start=1):
        line = ended.rstrip("\r\n")
        if not line.strip(" \t"):
            if has_lines and not has_words:
                raise ValueError(f"{path}: line {number}: a sentence without words ends here.")
            has_lines = has_words = False
            yield number, []
            continue
        has_lines = True
        if line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) != 10:
            raise ValueError(
                f"{path}: line {number}: expected the 10 columns of CoNLL-U with a tab between them, got {len(cells)}."
            )
        if SKIPPED_ID.fullmatch(cells[0]):
            continue
        if not WORD_ID.fullmatch(cells[0]):
            raise ValueError(
                f"{path}: line {number}: expected the number of a word in the first column, got "
                f"{shorten_value(cells[0])}."
            )
        has_words = True
        yield number, cells


def _build_blocks(
    path: Path,
    lines: Iterable[Line],
    chosen: Mapping[str, int],
    *,
    may_miss: Sequence[int] = (),
    may_be_empty: bool = False,
) -> Iterator[dict[str, list[Any]]]:
    for block in group_in_blocks(_build_sentences(path, lines, chosen, may_miss, may_be_empty=may_be_empty)):
        yield dict(zip(chosen, map(list, zip(*block, strict=True)), strict=True))


def _build_sentences(
    path: Path, lines: Iterable[Line], chosen: Mapping[str, int], may_miss: Sequence[int], *, may_be_empty: bool
) -> Iterator[tuple[list[list[str] | None], int]]:
    """Sentences as columns of cells, with their lengths."""
    words: list[Line] = []
    for number, cells in chain(lines, [(0, [])]):
        if cells:
            words.append((number, [cells[position] for position in chosen.values()]))
        elif words:
            columns = []
            for position, (name, from_column) in enumerate(chosen.items()):
                of_words = [(number, cells[position]) for number, cells in words]
                is_free = may_be_empty and name not in (TOKENS, TAGS)
                options = {"may_miss": from_column in may_miss, "may_be_empty": is_free}
                columns.append(_build_column(path, name, of_words, **options))
            size = sum(len(cell) + BYTES_PER_CELL for _, cells in words for cell in cells)
            yield columns, size
            words = []
        if len(words) > MOST_WORDS:
            raise ValueError(
                f"{path}: line {number}: a sentence has more than {MOST_WORDS:,} words; expected a blank line after "
                "every sentence."
            )


def _build_column(
    path: Path, name: str, words: Sequence[tuple[int, str]], *, may_miss: bool, may_be_empty: bool
) -> list[str] | None:
    """One column of a sentence, from line numbers and cells. None if it may miss, and does so for every word."""
    cells = [cell for _, cell in words]
    missing = NOT_GIVEN if may_miss else ""
    if may_miss and set(cells) == {NOT_GIVEN}:
        return None
    if not may_be_empty and (missing in cells or "" in cells):
        number = next(number for number, cell in words if cell in (missing, ""))
        what = {TOKENS: "word", TAGS: "tag"}.get(name, f"value in column {shorten_value(name)}")
        raise ValueError(f"{path}: line {number} has no {what}.")
    return cells
