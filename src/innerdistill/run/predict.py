"""Labels and probabilities for the examples of a file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from innerdistill.data.tables import read_file, read_tables
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.data.tokens import tokenise
from innerdistill.evaluation.predictions import predict_logits
from innerdistill.models.pretrained import default_device, load_tokenizer, longest_input
from innerdistill.problem_types.problem_types import load_fine_tuned
from innerdistill.report.run_folder import find_model_folder, has_record, read_record
from innerdistill.support.files import open_whole_file
from innerdistill.support.messages import get_first_line, shorten_value

logger = logging.getLogger(__name__)

FORMATS = (".csv", ".jsonl", ".parquet")


def predict_file(model: str | Path, file: str | Path, *, text: Sequence[str] | None = None) -> pa.Table:
    """Predict every row of a file.

    Args:
        model: model folder, or run folder.
        file: CSV, TSV, JSON lines or Parquet file.
        text: name of the text column, or of two for pairs; None means those of training (from the run.json beside the
            model).

    Returns:
        The file's own columns, then predicted_label and probability_<label> per class; or predicted_score.

    Raises:
        ValueError: missing model, file or column.
    """
    tables = list(predict_blocks(model, file, text=text))
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"{file}: {get_first_line(error)}.") from None


def predict_blocks(model: str | Path, file: str | Path, *, text: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Predict every row of a file that may be larger than memory. The whole file is checked first.

    Args:
        model: model folder, or run folder.
        file: CSV, TSV, JSON lines or Parquet file.
        text: name of the text column, or of two for pairs; None means those of training.

    Yields:
        Tables as `predict_file` returns, of a few thousand rows each.

    Raises:
        ValueError: missing model, file or column.
    """
    folder = find_model_folder(model)
    record = read_record(folder.parent) if has_record(folder.parent) else None
    if text and len(text) > 2:
        raise ValueError(f"--text: expected one column, or two for pairs, got {len(text)}.")
    if text:
        task = Task(tuple(text))
    elif record is not None:
        task = resolve_task(record.recipe.data)
    else:
        raise ValueError(f"{folder}: there is no run.json beside the model, so name the text columns with --text.")
    classifier, problem_type = load_fine_tuned(str(folder))
    examples, names = problem_type.examples, problem_type.head.name_outputs(classifier.config)
    rows = read_file(file, task, examples=examples, split="prediction", labelled=False)
    classifier, tokenizer = (
        classifier.to(default_device()),
        load_tokenizer(str(folder), classifier, texts=len(task.text)),
    )
    # Truncated as in training, so that the same text gets the same prediction.
    longest = longest_input(tokenizer, classifier, record.data.max_length if record else None)
    start = truncated = 0
    for table in read_tables(Path(file)):
        block = rows.slice(start, table.num_rows)
        dataset, truncated_in_block = tokenise(
            block, task, tokenizer, examples=examples, names=names, max_length=longest
        )
        logits = predict_logits(classifier, dataset, examples.make_collator(tokenizer))
        predictions = problem_type.predictions.make_columns(logits, names)
        if clashes := [name for name in table.column_names if name in predictions]:
            raise ValueError(
                f"{file}: column {shorten_value(clashes[0])} would be lost beside the predictions; rename it."
            )
        yield pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **predictions})
        start, truncated = start + table.num_rows, truncated + truncated_in_block
    if truncated:
        logger.warning("%d of %d rows are longer than %d tokens and were truncated", truncated, start, longest)


def write_tables(tables: Iterable[pa.Table], path: str | Path) -> int:
    """Write tables, one after the other, in the format that the file's ending names.

    Args:
        tables: tables with the same columns.
        path: CSV, JSON lines or Parquet file.

    Returns:
        Number of rows.

    Raises:
        ValueError: another ending, a column that the format cannot hold, or a place that cannot be written.
    """
    path = Path(path)
    check_output(path)
    rows = 0
    try:
        with open_whole_file(path) as temporary, ExitStack() as stack:
            write: Callable[[pa.Table], Any] | None = None
            for table in tables:
                write = write or stack.enter_context(_open_writer(temporary, path.suffix, table.schema))
                write(table)
                rows += table.num_rows
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}).") from None
    except pa.ArrowException as error:
        raise ValueError(f"{path}: {get_first_line(error)}; write JSON lines instead.") from None
    return rows


@contextmanager
def _open_writer(path: Path, suffix: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], Any]]:
    """Open a file; yields a function that adds a table to it."""
    if suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            yield lambda table: file.writelines(
                json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in table.to_pylist()
            )
        return
    with (pa.parquet.ParquetWriter if suffix == ".parquet" else pa.csv.CSVWriter)(path, schema) as writer:
        yield lambda table: writer.write_table(table.cast(schema))


def check_output(path: str | Path) -> None:
    """Check the path of a file that is to be written, before anything is predicted.

    Args:
        path: path of the file.

    Raises:
        ValueError: another ending, a folder that is not there, or the name of a folder.
    """
    if Path(path).suffix not in FORMATS:
        raise ValueError(f"{path}: unknown format {Path(path).suffix!r}; expected one of {', '.join(FORMATS)}.")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{path}: there is no folder {Path(path).parent}; create it first.")
    if Path(path).is_dir():
        raise ValueError(f"{path}: this is a folder; name a file.")
