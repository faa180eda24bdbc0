"""Files and `datasets` sets -> one plain Arrow table: row, text1, [text2], label.

`row` is the 1-based number of the data row in its source, so that a message or a prediction can name it. Labels are
strings here (or null where there is none): a CSV knows no other type, and class names are strings anyway.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from datasets import ClassLabel, Dataset, DatasetDict, load_dataset, load_from_disk

from innerdistill.config import nearest
from innerdistill.data.tasks import Task

BLOCK = 1 << 26  # bytes read at once, and so the longest row
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


def read_file(path: str | Path, task: Task, *, split: str, labelled: bool | None = True) -> pa.Table:
    """Read one CSV, TSV, JSON lines or Parquet file.

    TSV is read with quoting off (GLUE's texts hold bare double quotes), CSV with standard quoting.

    Args:
        path: the file; its ending says the format.
        task: names the columns.
        split: train, validation, test or unlabelled; used for the columns of files without a header line.
        labelled: True: every row needs a label. None: labels are used where there are any. False: not read.

    Returns:
        Table of row (int64), text1 (string), text2 (string, for pairs), label (string, null where missing).

    Raises:
        ValueError: missing or damaged file, missing column, missing text or label; names the file and the row.
    """
    table = read_table(Path(path), task, split=split)
    return plain_columns(table, task, where=str(path), labelled=labelled)


def read_table(path: Path, task: Task, *, split: str) -> pa.Table:
    """Read a file with all its columns.

    Args:
        path: CSV, TSV, JSON lines or Parquet.
        task: its text and label columns are read as text; names the columns of files without a header line.
        split: used for that.

    Returns:
        The file's own columns.

    Raises:
        ValueError: missing or damaged file, unknown format.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file (the {split} split).")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: unknown format {path.suffix!r}; expected one of {', '.join(SUFFIXES)}.")
    try:
        return _parse(path, task, split)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise ValueError(f"{path}: {str(error).strip().splitlines()[0].rstrip('.')}.") from None


def read_dataset(name: str, subset: str | None) -> DatasetDict:
    """Open a data set saved by `datasets`, or load one by name.

    Args:
        name: folder written by `save_to_disk`, or a name that `load_dataset` knows.
        subset: configuration name, for data sets that have several.

    Returns:
        The splits by name.

    Raises:
        ValueError: it cannot be found or holds no named splits.
    """
    try:
        found = load_from_disk(name) if Path(name).is_dir() else load_dataset(name, subset)
    except Exception as error:  # noqa: BLE001 - `datasets` raises many kinds; the user needs one sentence
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ValueError(f"data.path: {name!r} is neither a task folder nor a `datasets` set ({reason}).") from None
    if isinstance(found, Dataset):
        found = DatasetDict({"train": found})
    if not isinstance(found, DatasetDict):
        raise ValueError(f"data.path: {name!r} has no named splits.")
    return found


def read_split(splits: DatasetDict, split: str, task: Task, *, labelled: bool | None = True) -> pa.Table:
    """One split of a `datasets` set as a plain table.

    Args:
        splits: the data set.
        split: name of the split.
        task: names the columns.
        labelled: as in `read_file`.

    Returns:
        As `read_file`.

    Raises:
        ValueError: missing split or column, missing text or label.
    """
    if split not in splits:
        raise ValueError(f"data: the data set has no split {split!r}: {nearest(split, splits)}")
    dataset = splits[split]
    wanted = (*task.text, *([task.label] if labelled else []))
    for name in wanted:
        if name not in dataset.column_names:
            raise ValueError(f"split {split!r}: no column {name!r}: {nearest(name, dataset.column_names)}")
    columns: dict[str, Any] = {name: dataset[name] for name in dataset.column_names if name in (*task.text, task.label)}
    feature = dataset.features.get(task.label)
    if isinstance(feature, ClassLabel):
        # -1 is how `datasets` marks the hidden labels of test splits.
        columns[task.label] = [None if value in (None, -1) else feature.int2str(value) for value in columns[task.label]]
    table = pa.table({name: pa.array(list(values)) for name, values in columns.items()})
    return plain_columns(table, task, where=f"split {split!r}", labelled=labelled)


def plain_columns(table: pa.Table, task: Task, *, where: str, labelled: bool | None) -> pa.Table:
    """Bring the columns that a task names into the package's own form, checked.

    Args:
        table: with the columns of the task, and others.
        task: names the columns.
        where: source of the table, for messages.
        labelled: as in `read_file`.

    Returns:
        As `read_file`.

    Raises:
        ValueError: missing column, missing text or label; names the source and the row.
    """
    names = table.column_names
    wanted = [*task.text, *([task.label] if labelled else [])]
    for name in wanted:
        if name not in names:
            raise ValueError(f"{where}: no column {name!r}: {nearest(name, names)}")
        if names.count(name) > 1:
            raise ValueError(f"{where}: column {name!r} appears {names.count(name)} times.")
    if table.num_rows == 0:
        raise ValueError(f"{where}: no rows.")
    plain = {"row": pa.array(range(1, table.num_rows + 1), pa.int64())}
    for number, name in enumerate(task.text, start=1):
        plain[f"text{number}"] = _texts(table[name], where=where, name=name)
    labels: list[str | None] = [None] * table.num_rows
    if labelled is not False and task.label in names:
        kind = table[task.label].type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            raise ValueError(f"{where}: column {task.label!r} holds {kind}, expected names or numbers.")
        labels = [_label(value) for value in table[task.label].to_pylist()]
    if labelled and None in labels:
        raise ValueError(
            f"{where}: row {labels.index(None) + 1} has no {task.label!r}; rows without a label belong into "
            "the file named by data.unlabelled."
        )
    plain["label"] = pa.array(labels, pa.string())
    return pa.table(plain)


def _parse(path: Path, task: Task, split: str) -> pa.Table:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return pa.parquet.read_table(path)
    if suffix in (".jsonl", ".ndjson", ".json"):
        options = pa.json.ReadOptions(block_size=BLOCK)
        return pa.json.read_json(path, options, pa.json.ParseOptions(newlines_in_values=False))
    tabs = suffix == ".tsv"
    # One thread: only then does Arrow's message name the row.
    options = pa.csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=dict(task.names).get(split))
    layout = pa.csv.ParseOptions(
        delimiter="\t" if tabs else ",", quote_char=False if tabs else '"', newlines_in_values=not tabs
    )
    with pa.csv.open_csv(path, options, layout) as reader:
        names = reader.schema.names
    layout.ignore_empty_lines = len(names) > 1  # in a single column an empty line is an empty text
    # Everything as it is written: 007 stays 007, and NA is a word.
    types = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return pa.csv.read_csv(path, options, layout, types)


def _texts(column: pa.ChunkedArray, *, where: str, name: str) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise ValueError(f"{where}: column {name!r} holds {column.type}, expected text.")
    if column.null_count:
        raise ValueError(f"{where}: row {column.is_null().to_pylist().index(True) + 1} has no text in {name!r}.")
    return column.cast(pa.string())


def _label(value: Any) -> str | None:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)
