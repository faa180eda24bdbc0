"""Files and data sets of `datasets`, read into one plain Arrow table: row, text1, [text2], label. It is on disk.

`row` is the 1-based number of the row in its source, so that a message or a prediction can name it. Labels are text
here, null where there is none: a CSV file has no other type, and class names are text anyway.
With `data.group` there is a column `group` too: what the examples that belong together have in common, as text.
With `data.probabilities` or `data.logits` there is a column `given_logits`, in the order of the labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

from innerdistill.data.arrow import write_to_disk
from innerdistill.data.example_type import ExampleType
from innerdistill.data.formats import Block, read_blocks, read_json_blocks, read_parquet_tables
from innerdistill.data.given_rows import OutputRules, make_given_field, read_given_rows
from innerdistill.data.in_memory import wrap_rows
from innerdistill.data.plain_rows import take_labels
from innerdistill.data.split_files import list_columns
from innerdistill.data.tasks import Task
from innerdistill.data.text_files import find_broken_text
from innerdistill.support.messages import get_first_line, name_key, shorten_value, suggest_name

JSON_TEXT = {"content": "JSON"}  # metadata of a field whose cells are JSON texts


def read_file(
    path: str | Path,
    task: Task,
    *,
    examples: ExampleType,
    split: str,
    labelled: bool | None = True,
    grouped: bool = False,
    given: bool = False,
    allow_null: bool = False,
    by_row: bool = False,
) -> pa.Table:
    """Read one file of any format.

    Args:
        path: path of the file; its ending says the format.
        task: task that names the columns.
        examples: how texts and labels are read.
        split: train, validation, test or unlabelled, for the column names of files without a header line.
        labelled: True: every row needs a label. None: labels may be missing. False: labels are not read.
        grouped: whether rows with a label need their group, if the task has groups; else groups are not read.
        given: whether rows need the outputs of another model, if the task has columns for them; else none are read.
        allow_null: whether a text may be null; it is null in the table then.
        by_row: whether every row stays a row, even if several are one example.

    Returns:
        Table of row (int64), text1 (string), text2 (string, for pairs) and label (string, null where missing). If they
        are read, also group (string, null where missing) and given_logits (lists of float32).

    Raises:
        ValueError: missing or damaged file, missing column, text, label, group or output; names the file and the row.
    """
    columns, optional = list_columns(task, labelled, grouped=grouped, given=given)
    blocks = read_blocks(Path(path), columns=columns, optional=optional, header=task.get_header(split))
    return _build_plain_table(
        blocks,
        task,
        examples,
        where=str(path),
        labelled=labelled,
        grouped=grouped,
        given=given,
        allow_null=allow_null,
        by_row=by_row,
    )


def read_tables(path: Path) -> Iterator[pa.Table]:
    """Read all columns of a file as they are, a few thousand rows at a time. The whole file is checked first.

    Args:
        path: path of the file.

    Yields:
        Tables of the same columns: of the types of a Parquet file, text of CSV and TSV, and of JSON lines the types
        that hold all values.

    Raises:
        ValueError: missing or damaged file, text that is not UTF-8, a column of JSON lines without a common type.
    """
    if path.suffix.lower() == ".parquet":
        deque(read_parquet_tables(path), maxlen=0)
        yield from read_parquet_tables(path)
        return
    schema, row = pa.schema([]), 1
    for block in read_blocks(path):
        for name, values in block.items():
            _check_text(values, str(path), name, row)
            with _explain_mixed_types(path, name):
                of_block = pa.schema([(name, pa.infer_type(values))])
                schema = pa.unify_schemas([schema, of_block], promote_options="permissive")
        row += len(next(iter(block.values()), ()))
    for block in read_blocks(path):
        count = len(next(iter(block.values()), ()))
        columns = []
        for field in schema:
            with _explain_mixed_types(path, field.name):
                columns.append(pa.array(block.get(field.name, [None] * count), field.type))
        yield pa.table(columns, schema=schema)


def read_json_tables(path: Path) -> Iterator[pa.Table]:
    """Read all columns of a JSON lines file without giving them types. The whole file is checked first.

    Args:
        path: path of the file.

    Yields:
        Tables of a few thousand rows. A cell is the JSON text of its value, null where a row lacks the key. The
        metadata of each field say so: JSON_TEXT.

    Raises:
        ValueError: missing or damaged file, text that is not UTF-8.
    """
    names: dict[str, None] = {}
    row = 1
    for block in read_json_blocks(path):
        for name, values in block.items():
            _check_text(values, str(path), name, row)
        names |= dict.fromkeys(block)
        row += len(next(iter(block.values()), ()))
    schema = pa.schema([pa.field(name, pa.string(), metadata=JSON_TEXT) for name in names])
    for block in read_json_blocks(path):
        count = len(next(iter(block.values()), ()))
        yield pa.table([pa.array(block.get(name, [None] * count), pa.string()) for name in names], schema=schema)


def read_dataset(name: str, subset: str | None) -> DatasetDict:
    """Open a data set saved by `datasets`, or load one by name.

    Args:
        name: folder written by `save_to_disk`, or a name that `load_dataset` knows.
        subset: name of the configuration, for data sets that have several.

    Returns:
        The splits by name.

    Raises:
        ValueError: it cannot be found or holds no named splits.
    """
    try:
        dataset = load_from_disk(name) if Path(name).is_dir() else load_dataset(name, subset)
    except Exception as error:  # noqa: BLE001 - `datasets` raises many kinds; the user needs one sentence
        raise ValueError(
            f"data.path: {shorten_value(name)} is neither a task folder nor a `datasets` set ({get_first_line(error)})."
        ) from None
    if isinstance(dataset, Dataset):
        dataset = DatasetDict({"train": dataset})
    if not isinstance(dataset, DatasetDict):
        raise ValueError(f"data.path: {shorten_value(name)} has no named splits.")
    return dataset


def read_split(
    splits: DatasetDict,
    split: str,
    task: Task,
    *,
    examples: ExampleType,
    labelled: bool | None = True,
    grouped: bool = False,
    given: bool = False,
) -> pa.Table:
    """Read one split of a data set of `datasets`.

    Args:
        splits: splits of the data set by name.
        split: name of the split.
        task: task that names the columns.
        examples: how texts and labels are read.
        labelled: True: every row needs a label. None: labels may be missing. False: labels are not read.
        grouped: whether rows with a label need their group, if the task has groups; else groups are not read.
        given: whether rows need the outputs of another model, if the task has columns for them; else none are read.

    Returns:
        As `read_file`.

    Raises:
        ValueError: missing split or column, missing text, label or group.
    """
    if split not in splits:
        hint = suggest_name(split, splits, kind="splits")
        raise ValueError(f"data: the data set has no split {shorten_value(split)}. {hint}")
    where = f"split {split!r}"
    options: dict[str, Any] = {"labelled": labelled, "grouped": grouped, "given": given}
    return read_rows(splits[split], task, examples=examples, where=where, **options)


def read_rows(
    source: Any,
    task: Task,
    *,
    examples: ExampleType,
    where: str,
    labelled: bool | None = True,
    grouped: bool = False,
    given: bool = False,
    by_row: bool = False,
) -> pa.Table:
    """Read one split from a Python object.

    Args:
        source: data set, DataFrame or rows, as `wrap_rows` takes them.
        task: task that names the columns.
        examples: how texts and labels are read.
        where: name of the split, for messages.
        labelled: True: every row needs a label. None: labels may be missing. False: labels are not read.
        grouped: whether rows with a label need their group, if the task has groups; else groups are not read.
        given: whether rows need the outputs of another model, if the task has columns for them; else none are read.
        by_row: whether every row stays a row, even if several are one example.

    Returns:
        As `read_file`.

    Raises:
        ValueError: an object of another kind, missing column, missing text, label or group.
    """
    columns, optional = list_columns(task, labelled, grouped=grouped, given=given)

    def read_blocks() -> Iterator[Block]:
        with name_key(where):
            yield from wrap_rows(source).read_blocks(columns, optional)

    options: dict[str, Any] = {"labelled": labelled, "grouped": grouped, "given": given, "by_row": by_row}
    return _build_plain_table(read_blocks(), task, examples, where=where, **options)


def _build_plain_table(
    blocks: Iterable[Block],
    task: Task,
    examples: ExampleType,
    *,
    where: str,
    labelled: bool | None,
    grouped: bool,
    given: bool,
    allow_null: bool = False,
    by_row: bool = False,
) -> pa.Table:
    """Bring the columns that a task names into the package's own form, checked."""
    texts = [f"text{number}" for number in range(1, len(task.text) + 1)]
    group = task.group if grouped else None
    plain = [*texts, "label", *(["group"] if group else [])]
    of_outputs = task.given if given else None
    fields = [pa.field(name, pa.string()) for name in plain] + ([make_given_field(of_outputs)] if of_outputs else [])
    schema = pa.schema([pa.field("row", pa.int64()), *fields])
    list_rows: dict[bool, int] = {}

    def build_batches() -> Iterator[pa.RecordBatch]:
        first = 1
        for block in blocks:
            count = len(block[task.text[0]])
            if labelled is not False:
                _refuse_mixed_labels(take_labels(block, task, count), where, task.label, first, list_rows)
            read_texts, labels = examples.read_rows(
                block, task, where=where, first=first, labelled=labelled, allow_null=allow_null
            )
            columns = [pa.array(range(first, first + count), pa.int64())]
            for name, values in zip((*task.text, task.label), (*read_texts, labels), strict=True):
                columns.append(_build_strings(values, where, name, first))
            if group:
                of_labels = columns[-1] if labelled is not False else None
                columns.append(_read_groups(block.get(group, [None] * count), of_labels, where, group, first))
            if of_outputs is not None:
                assert isinstance(examples.given_outputs, OutputRules)
                columns.append(read_given_rows(block, of_outputs, examples.given_outputs, where=where, first=first))
            yield pa.record_batch(columns, schema)
            first += count

    table = write_to_disk(build_batches(), schema)
    if table.num_rows == 0:
        raise ValueError(f"{where}: no rows.")
    return table if by_row or examples.gather is None else examples.gather(table, task, where=where)


def _refuse_mixed_labels(values: list[Any], where: str, name: str, first: int, list_rows: dict[bool, int]) -> None:
    """Refuse a column of lists in some rows and text in others: what separates the labels of a text is then unclear.

    `list_rows` holds the first row with a list (True) and the first one without (False) of the blocks so far.
    """
    for row, value in enumerate(values, start=first):
        if value is not None and value != "":
            list_rows.setdefault(isinstance(value, list | tuple), row)
    if len(list_rows) > 1:
        raise ValueError(
            f"{where}: {shorten_value(name)} is a list in row {list_rows[True]} and none in row {list_rows[False]}; "
            "write it as a list in every row."
        )


def _read_groups(values: list[Any], labels: pa.Array | None, where: str, name: str, first: int) -> pa.Array:
    """What the examples of a group have in common, as text; a number that is missing in a Parquet file is NaN.

    Rows with a label need their group. Where there are no labels at all, every row does.
    """
    groups = []
    is_scored = [True] * len(values) if labels is None else labels.is_valid().to_pylist()
    for row, (value, needed) in enumerate(zip(values, is_scored, strict=True), start=first):
        is_missing = value is None or str(value).strip() in ("", "nan")
        if is_missing and needed:
            has = "has" if labels is None else "has a label, but"
            raise ValueError(f"{where}: row {row} {has} no {shorten_value(name)}, the column that data.group names.")
        groups.append(None if is_missing else str(value))
    return _build_strings(groups, where, name, first)


def _build_strings(values: Sequence[str | None], where: str, name: str, first: int) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        _check_text(values, where, name, first)
        raise


def _check_text(values: Sequence[Any], where: str, name: str, first: int) -> None:
    if (position := find_broken_text(values)) is not None:
        raise ValueError(
            f"{where}: row {first + position}: {shorten_value(name)} is not UTF-8 text "
            f"({shorten_value(values[position])}); save the file as UTF-8."
        )


@contextmanager
def _explain_mixed_types(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError) as error:
        raise ValueError(
            f"{path}: the values of column {shorten_value(name)} have no common type "
            f"({get_first_line(error)}); write them as text."
        ) from None
