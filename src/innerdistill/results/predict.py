"""Labels and probabilities for the rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from scipy.special import softmax

from innerdistill.config import Recipe
from innerdistill.data.batches import collator
from innerdistill.data.loading import tokenise
from innerdistill.data.reading import plain_columns, read_table
from innerdistill.data.tasks import Task, resolve_task
from innerdistill.evaluation.predicting import predict_logits
from innerdistill.models.loading import load_classifier, load_tokenizer, longest_input
from innerdistill.results.run_folder import read_run, whole_file

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


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
    classifier, tokenizer = load_classifier(str(folder)), load_tokenizer(str(folder))
    task = Task(tuple(text)) if text else _task_of(folder)
    table = read_table(Path(file), task, split="test")
    rows = plain_columns(table, task, where=str(file), labelled=False)
    longest = longest_input(tokenizer, classifier, None)
    dataset, _ = tokenise(rows, task, tokenizer, names=("", ""), max_length=longest)
    logits = predict_logits(classifier, dataset, collator(tokenizer))
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    if classifier.config.num_labels == 1:
        return pa.table({**columns, "predicted_score": logits[:, 0]})
    names = [classifier.config.id2label[index] for index in range(classifier.config.num_labels)]
    probabilities = softmax(logits, axis=1)
    columns["predicted_label"] = [names[index] for index in logits.argmax(1)]
    columns |= {f"probability_{name}": probabilities[:, index] for index, name in enumerate(names)}
    return pa.table(columns)


def write_table(table: pa.Table, path: str | Path) -> None:
    """Write a table in the format that the file's ending names.

    Args:
        table: any table.
        path: CSV, TSV, JSON lines or Parquet.

    Raises:
        ValueError: another ending, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: unknown format {path.suffix!r}; expected one of {', '.join(FORMATS)}.")
    try:
        with whole_file(path) as temporary:
            if path.suffix == ".parquet":
                pa.parquet.write_table(table, temporary)
            elif path.suffix == ".jsonl":
                table.to_pandas().to_json(temporary, orient="records", lines=True, force_ascii=False)
            else:
                delimiter = "\t" if path.suffix == ".tsv" else ","
                pa.csv.write_csv(table, temporary, pa.csv.WriteOptions(delimiter=delimiter))
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}).") from None


def _task_of(folder: Path) -> Task:
    if not (folder.parent / "run.json").is_file():
        raise ValueError(f"{folder}: there is no run.json beside the model, so name the text columns with --text.")
    return resolve_task(Recipe.model_validate(read_run(folder.parent)["recipe"]).data)
