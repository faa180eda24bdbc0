"""Data files of every format, read in blocks of rows, so that a file may be larger than memory.

A block holds plain Python values by column. Text is read as it is written: 007 stays 007, and NA is a word. Bytes that
are not UTF-8 become lone surrogates, which no text may hold. `find_broken_text` finds them, where the row is known.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet

from innerdistill.data.arrow import regroup
from innerdistill.data.conll import read_conll, read_conllu
from innerdistill.data.text_files import (
    BYTES_PER_CELL,
    LONGEST,
    choose_columns,
    explain_reading_errors,
    group_in_blocks,
    read_lines,
    read_text_file,
)
from innerdistill.support.messages import get_first_line, shorten_value, suggest_name

Block = dict[str, list[Any]]

CONLL = (".conll", ".bio", ".iob")
CONLL_SUFFIXES = (*CONLL, ".conllu")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
SUFFIXES = (".csv", ".tsv", *JSON_SUFFIXES, ".parquet", *CONLL_SUFFIXES)
FEW = 256  # rows of a Parquet file at a time: repeated values may take a thousand times the space in memory
# Messages of the csv module, and what they mean.
CSV_ERRORS = {
    "unexpected end of data": "a quote is opened and never closed",
    "larger than field limit": f"a cell holds more than {LONGEST:,} characters; is a quote never closed?",
    "new-line character seen": "a carriage return inside a cell, which only the quoted cells of a CSV file may hold",
    "expected after": "text follows a closing quote; inside quotes, a quote is written twice",
}


def read_blocks(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    header: Sequence[str] | None = None,
) -> Iterator[Block]:
    """Read a file a few thousand rows at a time.

    Args:
        path: CSV (standard quoting), TSV (quoting off: GLUE's texts hold bare quotes), JSON lines, Parquet, CoNLL or
            CoNLL-U, by its ending.
        columns: names of the columns to read; None means all.
        optional: names of columns that are read if the file has them.
        header: column names of a CSV, TSV or CoNLL file without a header line.

    Yields:
        Lists of equal length by column.

    Raises:
        ValueError: missing or damaged file, unknown format, a column that is missing or there twice; names file and
            row.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown format {shorten_value(path.suffix)}; expected one of {', '.join(SUFFIXES)}.")
    with explain_reading_errors(path):
        if not path.is_file():
            raise ValueError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}.")
        if suffix == ".parquet":
            yield from _read_parquet(path, columns, optional)
        elif suffix in (".csv", ".tsv"):
            yield from read_text_file(path, lambda text: _read_delimited(path, text, columns, optional, header))
        elif suffix in CONLL:
            yield from read_text_file(path, lambda text: read_conll(path, text, columns, optional, header))
        elif suffix == ".conllu":
            yield from read_text_file(path, lambda text: read_conllu(path, text, columns, optional))
        else:
            yield from read_text_file(path, lambda text: _read_json_lines(path, text, columns, optional))


def read_json_blocks(path: Path) -> Iterator[Block]:
    """Read all columns of a JSON lines file a few thousand rows at a time.

    Args:
        path: path of the file.

    Yields:
        Lists of equal length by column: the JSON text of each value, None where a row lacks the key.

    Raises:
        ValueError: missing or damaged file; names file and row.
    """
    for block in read_text_file(path, lambda text: group_in_blocks(_parse_objects(path, text))):
        names = choose_columns(path, list(dict.fromkeys(name for row in block for name in row)), None, ())
        yield {name: [dump_json(row[name]) if name in row else None for row in block] for name in names}


def dump_json(value: Any) -> str:
    """Write a value as JSON, which knows no NaN and no infinity: they become null.

    Args:
        value: value of a JSON file, or of a table.

    Returns:
        Valid JSON on one line.

    >>> dump_json({"a": [1, 1.0, float("nan")]})
    '{"a": [1, 1.0, null]}'
    """
    try:
        return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_replace_nan(value), ensure_ascii=False, default=str)


def _replace_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _replace_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_replace_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_parquet_tables(path: Path) -> Iterator[pa.Table]:
    """Read all columns of a Parquet file in their own types.

    Args:
        path: path of the file.

    Yields:
        Tables of a few thousand rows.

    Raises:
        ValueError: missing or damaged file, a column that is there twice.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    with _explain_parquet_errors(path):
        file = pa.parquet.ParquetFile(path, memory_map=True)
        choose_columns(path, file.schema_arrow.names, None, ())
        yield from regroup(file.iter_batches(FEW))


def _read_delimited(
    path: Path,
    text: TextIO,
    columns: Sequence[str] | None,
    optional: Sequence[str],
    header: Sequence[str] | None,
) -> Iterator[Block]:
    """Blocks of a CSV or TSV file. An empty line is no row; in a file of one column it is an empty text."""
    csv.field_size_limit(LONGEST)
    layout: dict[str, Any] = {"delimiter": ",", "strict": True}
    if path.suffix.lower() == ".tsv":
        layout = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    reader = csv.reader(read_lines(path, text), **layout)
    names = list(header or next(filter(None, _read_cells(path, reader)), ()))
    chosen = choose_columns(path, names, columns, optional)

    def read_rows() -> Iterator[tuple[list[str], int]]:
        number = 0
        for cells in _read_cells(path, reader):
            if not cells and len(names) > 1:
                continue
            number += 1
            if len(cells or [""]) != len(names):
                raise ValueError(
                    f"{path}: row {number} (line {reader.line_num}): expected {len(names)} cells, got {len(cells)}."
                )
            values = [cells[position] for position in chosen.values()] if cells else [""] * len(chosen)
            yield values, sum(map(len, values)) + BYTES_PER_CELL * len(values)

    for block in group_in_blocks(read_rows()):
        yield dict(zip(chosen, map(list, zip(*block, strict=True)), strict=True))


def _read_cells(path: Path, reader: Any) -> Iterator[list[str]]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            reason = next((words for part, words in CSV_ERRORS.items() if part in str(error)), get_first_line(error))
            raise ValueError(f"{path}: line {line}: {reason}.") from None
        if cells is None:
            return
        yield cells


def _read_json_lines(
    path: Path, text: TextIO, columns: Sequence[str] | None, optional: Sequence[str]
) -> Iterator[Block]:
    wanted: list[str] = []
    for block in group_in_blocks(_parse_objects(path, text)):
        there = dict.fromkeys(name for row in block for name in row)
        for name in () if wanted else columns or ():
            if name not in there:
                raise ValueError(
                    f"{path}: row 1 has no {shorten_value(name)}. {suggest_name(name, there, kind='keys')}"
                )
        wanted = list(choose_columns(path, list(there), None, ())) if columns is None else [*columns, *optional]
        yield {name: [row.get(name) for row in block] for name in wanted}


def _parse_objects(path: Path, text: TextIO) -> Iterator[tuple[dict[str, Any], int]]:
    number = 0
    for line, content in enumerate(read_lines(path, text), start=1):
        if not content.strip():
            continue
        number += 1
        where = f"{path}: row {number} (line {line})"
        try:
            row = json.loads(content, object_pairs_hook=_build_object)
        except RecursionError:
            raise ValueError(f"{where}: too deeply nested.") from None
        except ValueError as error:
            if number == 1 and content.lstrip().startswith("["):
                raise ValueError(f"{path}: expected one JSON object per line, not a list of them.") from None
            raise ValueError(f"{where}: no JSON object ({getattr(error, 'msg', get_first_line(error))}).") from None
        if not isinstance(row, dict):
            raise ValueError(f"{where}: expected one JSON object per line, got {shorten_value(row)}.")
        yield row, len(content)


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{shorten_value(next(name for name in names if names.count(name) > 1))} is there twice")
    return content


def _read_parquet(path: Path, columns: Sequence[str] | None, optional: Sequence[str]) -> Iterator[Block]:
    with _explain_parquet_errors(path):
        file = pa.parquet.ParquetFile(path, memory_map=True)
        chosen = choose_columns(path, file.schema_arrow.names, columns, optional)
        for batch in file.iter_batches(FEW, columns=list(chosen)):
            yield {name: _list_values(batch.column(name)) for name in chosen}


@contextmanager
def _explain_parquet_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"{path}: damaged, or no Parquet file ({get_first_line(error)}).") from None


def _list_values(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
            raise
        raw = column.cast(pa.large_binary()).to_pylist()
        return [value if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
    return list(column.to_pylist())
