"""Labels and probabilities, scores or tags for the examples of a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.data.conll import TOKENS
from innerdistill.data.example_type import ExampleType
from innerdistill.data.formats import CONLL_SUFFIXES, JSON_SUFFIXES, dump_json
from innerdistill.data.in_memory import is_data_frame
from innerdistill.data.splits import list_text_columns
from innerdistill.data.tables import JSON_TEXT, read_file, read_json_tables, read_rows, read_tables
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.data.tokens import tokenise
from innerdistill.evaluation.predictions import predict_logits
from innerdistill.models.config_file import refuse_missing_folder
from innerdistill.models.heads import read_thresholds
from innerdistill.models.pretrained import default_device, load_tokenizer, longest_input
from innerdistill.models.sentence_encoder import read_prompt
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.problem_types import load_fine_tuned
from innerdistill.report.run_folder import find_model_folder, has_record, read_record
from innerdistill.run.embedding_file import SUFFIX as EMBEDDINGS
from innerdistill.run.embedding_file import open_embedding_file
from innerdistill.support.files import open_whole_file
from innerdistill.support.messages import get_first_line, shorten_value
from innerdistill.support.progress import quiet_libraries

logger = logging.getLogger(__name__)

FORMATS = (".csv", ".jsonl", ".parquet", EMBEDDINGS)
WORDS = {b"joined by": b" "}  # metadata of a column of words


@dataclass(frozen=True)
class Predictor:
    """A fine-tuned model with what it needs to predict.

    Attributes:
        model: the model, in eval mode.
        tokenizer: its tokenizer.
        problem_type: what it predicts.
        max_length: tokens of an example, at most; longer ones are truncated, as in training.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    problem_type: ProblemType
    max_length: int

    def predict(self, rows: pa.Table, task: Task) -> tuple[dict[str, Any], int]:
        """Predict the rows of a table.

        Args:
            rows: table from `read_file` or `read_rows`.
            task: task that names the columns.

        Returns:
            Columns of predictions by name (N,), and the number of truncated examples.
        """
        examples, names = self.problem_type.examples, self.problem_type.head.name_outputs(self.model.config)
        dataset, truncated = tokenise(
            rows,
            task,
            self.tokenizer,
            examples=examples,
            names=names,
            max_length=self.max_length,
            prompt=read_prompt(self.tokenizer),
        )
        logits = predict_logits(self.model, dataset, examples.make_collator(self.tokenizer))
        thresholds, find_activation = read_thresholds(self.model.config), self.problem_type.head.find_activation
        options: dict[str, Any] = {"texts": rows[list_text_columns(rows)[-1]].to_pylist()}
        if find_activation is not None:
            options["activate"] = find_activation(self.model.config)
        return self.problem_type.predictions.make_columns(logits, names, thresholds, **options), truncated


@quiet_libraries()
def load_predictor(folder: Path, *, max_length: int | None, texts: int) -> Predictor:
    """Load a fine-tuned model for predictions, onto the accelerator if there is one.

    Args:
        folder: folder of the model.
        max_length: tokens of an example, at most; None means as many as the model reads.
        texts: texts of an example, 1 or 2.

    Returns:
        The model with its tokenizer.

    Raises:
        ValueError: no model there, or none that is supported.
    """
    model, problem_type = load_fine_tuned(str(folder))
    tokenizer = load_tokenizer(str(folder), model, texts=problem_type.examples.count_together(texts))
    longest = longest_input(tokenizer, model, max_length)
    return Predictor(model.to(default_device()), tokenizer, problem_type, longest)


@quiet_libraries()
def predict_texts(
    predictor: Predictor, texts: Sequence[str] | Sequence[Sequence[str]], *, number: int
) -> list[dict[str, Any]]:
    """Predict texts in memory.

    Args:
        predictor: the model.
        texts: texts, or pairs of texts; for a tagger, texts or lists of words; for a ranker, a query with a document or
            a list of documents.
        number: texts of an example, 1 or 2.

    Returns:
        A dict for each, with the columns that `predict_file` adds.

    Raises:
        ValueError: one text or a table instead of a list, something that is not text, or pairs where the model reads
            single texts.
    """
    if isinstance(texts, str):
        raise ValueError("predict: expected a list of texts, got one text; put it into a list.")
    if isinstance(texts, Mapping | Dataset) or is_data_frame(texts):
        kind = type(texts).__name__
        raise ValueError(f"predict: expected a list of texts, got a {kind}; give a column, such as list(data['text']).")
    examples = [[example] if number == 1 else example for example in texts]
    example_type = predictor.problem_type.examples
    for row, example in enumerate(examples, start=1):
        if not _is_example(example, number=number, example_type=example_type):
            wanted = _describe_example(number, example_type)
            raise ValueError(f"predict: example {row} is {shorten_value(texts[row - 1])}, expected {wanted}.")
    if not examples:
        return []
    columns = {f"text{part + 1}": [example[part] for example in examples] for part in range(number)}
    task = Task(tuple(columns))
    rows = read_rows(columns, task, examples=example_type, where="predict", labelled=False, by_row=True)
    predictions, _ = predictor.predict(rows, task)
    lists = {name: pa.array(values).to_pylist() for name, values in predictions.items()}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _describe_example(number: int, example_type: ExampleType) -> str:
    if example_type.gather is not None:
        return "a query with a document or a list of documents"
    if example_type.reads_words:
        return "a text or a list of words"
    return "a text" if number == 1 else "a pair of texts"


def _is_example(parts: Any, *, number: int, example_type: ExampleType) -> bool:
    if not isinstance(parts, list | tuple) or len(parts) != number:
        return False
    may_be_list = example_type.reads_words or example_type.gather is not None
    if may_be_list and isinstance(parts[-1], list | tuple) and len(parts[-1]) > 0:
        parts = [*parts[:-1], *parts[-1]]
    return all(type(part) is str for part in parts)


def predict_file(
    model: str | Path, file: str | Path, *, text: Sequence[str] | None = None, skip_empty: bool = False
) -> pa.Table:
    """Predict every row of a file.

    Args:
        model: model folder, or run folder.
        file: CSV, TSV, JSON lines, Parquet or CoNLL file.
        text: name of the text column, or of two for pairs; of a tagger it may hold lists of words. None means those of
            training (from the run.json beside the model), or the words of a CoNLL file.
        skip_empty: leave the predictions of rows whose text is null, empty or only spaces empty. Without it, null is
            refused, and an empty text is predicted, as training reads it.

    Returns:
        The file's own columns, then those of the predictions. These are predicted_label, probability_<label> per class,
        predicted_labels and the same for label sets, predicted_score, predicted_tags and predicted_spans, or embedding;
        of pairs also embedding2 and similarity.

    Raises:
        ValueError: missing model, file or column.
    """
    tables = list(predict_blocks(model, file, text=text, skip_empty=skip_empty))
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"{file}: {get_first_line(error)}.") from None


def predict_blocks(
    model: str | Path,
    file: str | Path,
    *,
    text: Sequence[str] | None = None,
    skip_empty: bool = False,
    keep_json: bool = False,
) -> Iterator[pa.Table]:
    """Predict every row of a file that may be larger than memory. The whole file is checked first.

    Args:
        model: model folder, or run folder.
        file: CSV, TSV, JSON lines, Parquet or CoNLL file.
        text: name of the text column, or of two for pairs; None means those of training.
        skip_empty: leave the predictions of rows whose text is null, empty or only spaces empty. Without it, null is
            refused, and an empty text is predicted, as training reads it.
        keep_json: carry the values of a JSON lines file as JSON texts, which `write_tables` writes as they were.

    Yields:
        Tables as `predict_file` returns, of a few thousand rows each.

    Raises:
        ValueError: missing model, file or column.
    """
    refuse_missing_folder(str(model))
    folder = find_model_folder(model)
    record = read_record(folder.parent) if has_record(folder.parent) else None
    if text and len(text) > 2:
        raise ValueError(f"--text: expected one column, or two for pairs, got {len(text)}.")
    if text:
        task = Task(tuple(text))
    elif record is not None:
        task = resolve_task(record.recipe.data)
    elif Path(file).suffix.lower() in CONLL_SUFFIXES:
        task = Task((TOKENS,))
    else:
        raise ValueError(f"{folder}: there is no run.json beside the model, so name the text columns with --text.")
    # Truncated as in training, so that the same text gets the same prediction.
    longest = record.data.max_length if record else None
    predictor = load_predictor(folder, max_length=longest, texts=len(task.text))
    examples = predictor.problem_type.examples
    rows = read_file(file, task, examples=examples, split="prediction", labelled=False, allow_null=True, by_row=True)
    if not skip_empty:
        _refuse_null_texts(file, rows, task)
    start = truncated = blank = 0
    is_json = Path(file).suffix.lower() in JSON_SUFFIXES
    for table in (read_json_tables if is_json and keep_json else read_tables)(Path(file)):
        block = rows.slice(start, table.num_rows)
        is_blank = _mark_blank_rows(block, examples.show_text)
        skipped = pa.array(is_blank if skip_empty else [False] * len(is_blank), pa.bool_())
        predictions, truncated_in_block = predictor.predict(_fill_null_texts(block), task)
        if clashes := [name for name in table.column_names if name in predictions]:
            raise ValueError(
                f"{file}: column {shorten_value(clashes[0])} would be lost beside the predictions; rename it."
            )
        columns = dict(zip(table.column_names, table.columns, strict=True))
        for name, values in predictions.items():
            columns[name] = pc.if_else(skipped, None, pa.array(values))
        yield pa.table(list(columns.values()), schema=_extend_schema(_mark_words(table.schema, task), columns))
        start, truncated, blank = start + table.num_rows, truncated + truncated_in_block, blank + sum(is_blank)
    if blank and not skip_empty:
        logger.warning("%d of %d rows have an empty text; with --skip-empty they get no prediction", blank, start)
    if truncated:
        logger.warning(
            "%d of %d rows are longer than %d tokens and were truncated", truncated, start, predictor.max_length
        )


def write_tables(tables: Iterable[pa.Table], path: str | Path) -> int:
    """Write tables, one after the other, in the format that the file's ending names.

    Args:
        tables: tables with the same columns.
        path: CSV, JSON lines or Parquet file; .npy for embeddings alone.

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
        _refuse_bytes(schema)
        with path.open("w", encoding="utf-8") as file:
            yield lambda table: file.writelines(_dump_rows(table))
        return
    if suffix == EMBEDDINGS:
        with open_embedding_file(path, schema) as add:
            yield add
        return
    if suffix == ".parquet":
        with pa.parquet.ParquetWriter(path, schema) as writer:
            yield lambda table: writer.write_table(table.cast(schema))
        return
    with pa.csv.CSVWriter(path, _join_lists(schema.empty_table()).schema) as writer:
        yield lambda table: writer.write_table(_join_lists(table.cast(schema)))


def _join_lists(table: pa.Table) -> pa.Table:
    """Write lists as text: CSV has none.

    Lists of text are joined as `data.separator` takes them apart, words by spaces. Other lists become JSON.
    """
    for number, field in enumerate(table.schema):
        if field.type == pa.list_(pa.string()):
            sign = " " if (field.metadata or {}).items() >= WORDS.items() else ","
            table = table.set_column(number, field.name, pc.binary_join(table[field.name], sign))
        elif pa.types.is_nested(field.type):
            values = [None if value is None else dump_json(value) for value in table[field.name].to_pylist()]
            table = table.set_column(number, field.name, pa.array(values, pa.string()))
    return table


def _mark_words(schema: pa.Schema, task: Task) -> pa.Schema:
    """Say of lists of words that they are some: predicted spans are those of the words joined by spaces."""
    for number, field in enumerate(schema):
        if field.name in task.text and field.type == pa.list_(pa.string()):
            schema = schema.set(number, field.with_metadata({**(field.metadata or {}), **WORDS}))
    return schema


def _refuse_null_texts(file: str | Path, rows: pa.Table, task: Task) -> None:
    for column, name in zip(list_text_columns(rows), task.text, strict=True):
        if rows[column].null_count:
            row = pc.index(rows[column].is_null(), True).as_py() + 1
            raise ValueError(
                f"{file}: row {row} has no text in {shorten_value(name)}. With --skip-empty, its prediction stays "
                "empty."
            )


def _mark_blank_rows(block: pa.Table, show_text: Callable[[str], str]) -> list[bool]:
    """Which examples have a null, or nothing but spaces."""
    columns = [block[name].to_pylist() for name in list_text_columns(block)]
    return [None in texts or not "".join(map(show_text, texts)).strip() for texts in zip(*columns, strict=True)]


def _fill_null_texts(block: pa.Table) -> pa.Table:
    for name in list_text_columns(block):
        block = block.set_column(block.column_names.index(name), name, pc.fill_null(block[name], ""))
    return block


def _extend_schema(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Schema:
    """Add the columns that a schema lacks; its own ones keep their metadata."""
    for name in list(columns)[len(schema) :]:
        schema = schema.append(pa.field(name, columns[name].type))
    return schema


def _refuse_bytes(schema: pa.Schema) -> None:
    for field in schema:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            raise ValueError(
                f"column {shorten_value(field.name)} holds bytes, which JSON cannot; write a Parquet file instead."
            )


def _dump_rows(table: pa.Table) -> Iterator[str]:
    """Rows as JSON, one a line. A cell that is a JSON text is written as it is, and a key that was missing is not."""
    is_json = {
        field.name: field.metadata == pa.field("", pa.string(), metadata=JSON_TEXT).metadata for field in table.schema
    }
    for row in table.to_pylist():
        parts = []
        for name, value in row.items():
            if value is not None or not is_json[name]:
                parts.append(f"{dump_json(name)}: {value if is_json[name] else dump_json(value)}")
        yield "{" + ", ".join(parts) + "}\n"


def check_output(path: str | Path, *, file: str | Path | None = None) -> None:
    """Check the path of a file that is to be written, before anything is predicted.

    Args:
        path: path of the file.
        file: file that is read, which must be another one.

    Raises:
        ValueError: another ending, a folder that is not there, the name of a folder, or the file that is read.
    """
    if Path(path).suffix not in FORMATS:
        raise ValueError(f"{path}: unknown format {Path(path).suffix!r}; expected one of {', '.join(FORMATS)}.")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{path}: there is no folder {Path(path).parent}; create it first.")
    if Path(path).is_dir():
        raise ValueError(f"{path}: this is a folder; name a file.")
    if file is not None and Path(path).exists() and Path(file).exists() and Path(path).samefile(file):
        raise ValueError(f"--output: {path} is the file that is read, {file}, and would be lost; name another file.")
