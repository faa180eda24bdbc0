"""Labels and probabilities for the rows of a file."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from scipy.special import softmax

from innerdistill.config import Recipe
from innerdistill.data.batches import collator
from innerdistill.data.reading import plain_columns, read_table
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.data.tokens import tokenise
from innerdistill.evaluation.predicting import predict_logits
from innerdistill.files import whole_file
from innerdistill.models.loading import default_device, load_classifier, load_tokenizer, longest_input
from innerdistill.results.run_folder import read_run

logger = logging.getLogger(__name__)

FORMATS = (".csv", ".jsonl", ".parquet")


def predict_file(model: str | Path, file: str | Path, *, text: Sequence[str] | None = None) -> pa.Table:
    """Predict every row of a file.

    Args:
        model: model folder, or the folder of a run.
        file: CSV, TSV, JSON lines or Parquet.
        text: text column, or two for pairs; None means those the model was trained on (needs its run.json beside it).

    Returns:
        The file's own columns, then predicted_label and probability_<label> per class; or predicted_score.

    Raises:
        ValueError: missing model, file or column.
    """
    folder = Path(model) / "model" if (Path(model) / "run.json").is_file() else Path(model)
    record = read_run(folder.parent) if (folder.parent / "run.json").is_file() else None
    if record is None and not text:
        raise ValueError(f"{folder}: there is no run.json beside the model, so name the text columns with --text.")
    if text and len(text) > 2:
        raise ValueError(f"--text: expected one column, or two for pairs, got {len(text)}.")
    task = Task(tuple(text)) if text else resolve_task(Recipe.model_validate((record or {})["recipe"]).data)
    table = read_table(Path(file), task, split="prediction")
    rows = plain_columns(table, task, where=str(file), labelled=False)
    classifier, tokenizer = load_classifier(str(folder)).to(default_device()), load_tokenizer(str(folder))
    # As long as in training, so that the same text gets the same answer.
    longest = longest_input(tokenizer, classifier, record["data"]["max_length"] if record else None)
    dataset, truncated = tokenise(rows, task, tokenizer, names=("", ""), max_length=longest)
    if truncated:
        logger.warning("%d of %d rows are longer than %d tokens and were truncated", truncated, len(dataset), longest)
    logits = predict_logits(classifier, dataset, collator(tokenizer))
    names = [classifier.config.id2label[index] for index in range(classifier.config.num_labels)]
    if len(names) == 1:
        added: dict[str, Any] = {"predicted_score": logits[:, 0]}
    else:
        probabilities = softmax(logits, axis=1)
        added = {"predicted_label": [names[index] for index in logits.argmax(1)]}
        added |= {f"probability_{name}": probabilities[:, index] for index, name in enumerate(names)}
    if taken := [name for name in table.column_names if name in added or table.column_names.count(name) > 1]:
        raise ValueError(f"{file}: column {taken[0]!r} would be lost beside the predictions; rename it.")
    return pa.table({**{name: table[name] for name in table.column_names}, **added})


def write_table(table: pa.Table, path: str | Path) -> None:
    """Write a table in the format that the file's ending names.

    Args:
        table: any table.
        path: CSV, JSON lines or Parquet.

    Raises:
        ValueError: another ending, a column that the format cannot hold, or a place that cannot be written.
    """
    path = Path(path)
    check_format(path)
    try:
        with whole_file(path) as temporary:
            if path.suffix == ".parquet":
                pa.parquet.write_table(table, temporary)
            elif path.suffix == ".jsonl":
                lines = (json.dumps(row, ensure_ascii=False, default=str) for row in table.to_pylist())
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            else:
                pa.csv.write_csv(table, temporary)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}).") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}; write Parquet instead.") from None


def check_format(path: str | Path) -> None:
    """Check the ending of a file that is to be written.

    Args:
        path: the file.

    Raises:
        ValueError: another ending.
    """
    if Path(path).suffix not in FORMATS:
        raise ValueError(f"{path}: unknown format {Path(path).suffix!r}; expected one of {', '.join(FORMATS)}.")
