"""The folder of a run, and how files get into it whole; `opening` says when.

recipe.yaml          what was asked for
model/               the result: config, model.safetensors, tokenizer, README.md (model card); onnx/ if asked for
run.json             what happened and what came out
predictions.parquet  row, split, label, logits of teacher and student
examples.json        attention of teacher and student on examples, and where they disagree most
report.html          for people
tensorboard/         one log per stage
checkpoints/         of an unfinished run: from which it goes on
baseline/            the run of the plainly fine-tuned student, if one was asked for
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.problem_types import PROBLEM_TYPES, name_problem_type
from innerdistill.report.record import RunRecord, parse_record
from innerdistill.support.files import open_whole_file, open_whole_folder, read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RUN, PREDICTIONS = "run.json", "predictions.parquet"
RECORD = {"recipe", "data", "teacher", "student", "stages", "scores", "versions"}  # what every record has


def read_run(folder: str | Path) -> dict[str, Any]:
    """Read run.json as plain data; `read_record` has it with types.

    Args:
        folder: of a finished run.

    Returns:
        Its content.

    Raises:
        ValueError: missing or damaged.
    """
    path = Path(folder) / RUN
    try:
        found: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        raise ValueError(f"{folder}: no finished run there (run.json is missing).") from None
    scores = found.get("scores") if isinstance(found, dict) and found.keys() >= RECORD else None
    if not isinstance(scores, dict) or "validation" not in scores:
        raise ValueError(f"{path}: this is not the record of a run, or not all of it.")
    return found


def read_record(folder: str | Path) -> RunRecord:
    """Read run.json.

    Args:
        folder: folder of a finished run.

    Returns:
        Its content.

    Raises:
        ValueError: missing, damaged, not the record of a run, or written by a later version.
    """
    path = Path(folder) / RUN
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise ValueError(f"{folder}: no finished run there (run.json is missing).") from None
    return parse_record(content, where=str(path))


def write_record(folder: Path, record: RunRecord) -> None:
    """Write run.json.

    Args:
        folder: folder of the run.
        record: what happened and what came out.
    """
    write_json(folder / RUN, record.model_dump(mode="json"))


def model_folder(folder: str | Path) -> Path:
    """Where the model is, given the folder of a run or of a model.

    Args:
        folder: of either.

    Returns:
        The folder of the model; that of a run is there.

    Raises:
        ValueError: the run has none.
    """
    folder = Path(folder)
    if not (folder / RUN).is_file():
        return folder
    if not (folder / "model").is_dir():
        raise ValueError(f"{folder}: the run has no model; it was removed, or not kept (keep_models of its sweep).")
    return folder / "model"


def get_problem_type(run: Mapping[str, Any]) -> ProblemType:
    """Get the problem type of a run.

    Args:
        run: from `read_run`.

    Returns:
        The problem type. Records of earlier versions do not name it; their regressions have no class names.
    """
    return PROBLEM_TYPES[name_problem_type(run["data"])]


def get_scoring(run: Mapping[str, Any]) -> Scoring:
    """Get what a run's scores depend on beside labels and logits, to compute them again.

    Args:
        run: from `read_run`.

    Returns:
        An argument of `score_outputs`.
    """
    data = run["data"]
    return get_problem_type(run).make_scoring(data["metric"], data["names"], positive=data.get("positive", 1))


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save a model folder whole: weights as safetensors, configuration, tokenizer.

    Args:
        folder: final name; what an unfinished run left there is replaced.
        model: classifier.
        tokenizer: belongs to it.
    """
    with open_whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def write_predictions(path: Path, splits: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """Write predictions.parquet.

    Args:
        path: final name.
        splits: by split the columns row, label and, per model, its logits (N, C).
    """
    tables = []
    for split, columns in splits.items():
        flat: dict[str, Any] = {"split": [split] * len(columns["row"])}
        for name, values in columns.items():
            flat |= (
                {name: values} if values.ndim == 1 else {f"{name}_{c}": values[:, c] for c in range(values.shape[1])}
            )
        tables.append(pa.table(flat))
    with open_whole_file(path) as temporary:
        pa.parquet.write_table(pa.concat_tables(tables, promote_options="default"), temporary)


def read_predictions(path: Path, split: str) -> dict[str, NDArray[Any]]:
    """Read one split of predictions.parquet.

    Args:
        path: the file.
        split: name of the split.

    Returns:
        row, label (N,) and the logits of `teacher` and `student`, those that are there (N, C).

    Raises:
        ValueError: missing, damaged or another file.
    """
    try:
        table = pa.parquet.read_table(path, filters=[("split", "=", split)])
        found = {name: table[name].to_numpy() for name in ("row", "label")}
    except (OSError, KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ValueError(f"{path}: missing, damaged or not the predictions of a run.") from None
    for model in ("teacher", "student"):
        names = [name for name in table.column_names if name.startswith(f"{model}_")]
        if names:
            found[model] = np.stack([table[name].to_numpy() for name in names], axis=1)
    return found
