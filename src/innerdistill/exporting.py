"""A model -> ONNX files beside it, compared with the model, scored and timed.

model/onnx/model.onnx        the same arithmetic in 32 bits
model/onnx/model_int8.onnx   matrices and embeddings of 8 bits
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from innerdistill.config import Recipe
from innerdistill.data.batches import INPUT_NAMES, Collator, collator
from innerdistill.data.loading import load_task
from innerdistill.data.mapped import CACHE, numbers
from innerdistill.data.tokens import tokenise
from innerdistill.evaluation.bootstrap import bootstrap_scores
from innerdistill.evaluation.metrics import agreement, headline, task_scores
from innerdistill.evaluation.predicting import BATCH_SIZE, answers, predict_logits
from innerdistill.files import whole_folder, write_json
from innerdistill.models.loading import load_classifier, load_tokenizer, longest_input
from innerdistill.models.onnx_files import OnnxClassifier, size_of, write_float32, write_int8
from innerdistill.results.card import write_card
from innerdistill.results.opening import locked
from innerdistill.results.report import write_report
from innerdistill.results.run_folder import RUN, measured_by, read_run
from innerdistill.results.speed import latencies, made_inputs, model_call, size, typical_length

FOLDER = "onnx"
MODEL, FLOAT32, INT8 = "model", "float32", "int8"
FILES = {FLOAT32: "model.onnx", INT8: "model_int8.onnx"}
ROUNDING = 1e-3  # what another order of sums may do to a logit, in units of the largest one, or of 1
# Of a model without data: texts on which its files are compared, tokens of the longest and of the one that is timed.
MADE_ROWS, LONGEST_MADE, MADE_LENGTH = 32, 512, 32


def export(model: str | Path) -> dict[str, Any]:
    """Write the ONNX files of a finished run, or of any classifier of a supported family.

    The files of a run are scored on its validation split, and its run.json, model card and report are written anew.

    Args:
        model: folder of a run, or of a model.

    Returns:
        As `write_onnx`.

    Raises:
        ValueError: no model there, data that are missing or others, or a file that answers otherwise.
    """
    folder = Path(model)
    if not (folder / RUN).is_file():
        return write_onnx(folder, *_made_rows(folder), length=MADE_LENGTH)
    with locked(folder):
        record = read_run(folder)
        rows, collate = _validation(folder, record)
        found = write_onnx(folder / "model", rows, collate, measured=measured_by(record))
        others = [sentence for sentence in record["warnings"] if sentence not in onnx_warnings(record.get("onnx"))]
        record |= {"onnx": found, "warnings": others + onnx_warnings(found)}
        write_card(folder, record)
        write_json(folder / RUN, record)
        write_report(folder)
    return found


def write_onnx(
    folder: Path,
    rows: Dataset,
    collate: Collator,
    *,
    measured: Mapping[str, Any] | None = None,
    logits: NDArray[np.float32] | None = None,
    length: int | None = None,
) -> dict[str, Any]:
    """Write ONNX files into a model folder, both or neither.

    Args:
        folder: of the model; files of before are replaced.
        rows: tokenised, on which the files are compared with the model.
        collate: examples -> padded batch.
        measured: metric, names and positive, as `task_scores` takes them; None gives no scores.
        logits: of the model on the rows, if they are known. (N, C)
        length: tokens of the text that is timed; None takes what nine of ten rows stay within.

    Returns:
        rows, batch_size, length, threads and the version of onnxruntime; metric, with `measured`; and in `files`, by
        `model`, `float32` and `int8`: file, file_bytes, latency_ms and the largest_difference of a logit from the
        model's; with `measured` also scores, standard_error of the difference of the scores, and as_model, the share of
        equal predictions (of a regression Pearson's r).

    Raises:
        ValueError: the file in 32 bits answers otherwise than the model.
    """
    model = load_classifier(str(folder))
    names = [name for name in INPUT_NAMES if name in rows.column_names]
    length, threads = length or typical_length(rows), torch.get_num_threads()
    inputs = dict.fromkeys(names, torch.zeros(1, length, dtype=torch.int64)) | made_inputs(model, 1, length)
    found = {MODEL: predict_logits(model, rows, collate) if logits is None else logits}
    calls = {MODEL: model_call(model, batch_size=1, length=length)}
    files = {MODEL: {"file": "model.safetensors", "file_bytes": size(model)["file_bytes"]}}
    with whole_folder(folder / FOLDER) as temporary:
        write_float32(model, temporary / FILES[FLOAT32], inputs=names)
        write_int8(temporary / FILES[FLOAT32], temporary / FILES[INT8])
        for name, file in FILES.items():
            classifier = OnnxClassifier(temporary / file, threads=threads)
            # What 8 bits answer to a text depends on those beside it: each alone, as a service is asked.
            batch_size = 1 if name == INT8 else BATCH_SIZE
            found[name] = answers(classifier, rows, collate, outputs=model.config.num_labels, batch_size=batch_size)
            calls[name] = partial(classifier, inputs)
            files[name] = {"file": f"{FOLDER}/{file}", "file_bytes": size_of(temporary / file)}
        off = {name: float(np.abs(logits - found[MODEL]).max()) for name, logits in found.items()}
        if not off[FLOAT32] <= ROUNDING * max(1.0, float(np.abs(found[MODEL]).max())):
            raise ValueError(
                f"onnx: the file of {folder} answers otherwise than the model (a logit is off by {off[FLOAT32]:.2g}), "
                "so it was not kept; please report the model and the versions of torch and onnxruntime."
            )
    times, labels = latencies(calls), numbers(rows, "labels")
    return {
        "rows": len(rows),
        "batch_size": 1,
        "length": length,
        "threads": threads,
        "onnxruntime": version("onnxruntime"),
        **({} if measured is None else {"metric": measured["metric"]}),
        "files": {
            name: file
            | {"latency_ms": times[name], "largest_difference": off[name]}
            | ({} if measured is None else _scores(labels, found[MODEL], found[name], **measured))
            for name, file in files.items()
        },
    }


def onnx_warnings(found: Mapping[str, Any] | None) -> list[str]:
    """What has to be said of files that score less than their model.

    Args:
        found: from `write_onnx`; None if there are no files.

    Returns:
        Sentences.
    """
    sentences = []
    if found is not None and "metric" in found:
        metric, wanted = found["metric"], found["files"][MODEL]["scores"][found["metric"]]
        for row in (found["files"][name] for name in FILES):
            score, error = row["scores"][metric], row["standard_error"]
            if wanted - score > 2 * error:
                sentences.append(
                    f"{row['file']} scores {score:.3f} {metric}, the model {wanted:.3f}: a loss of more than twice its "
                    f"standard error over the validation rows ({error:.3f})."
                )
    return sentences


def _scores(
    labels: NDArray[Any], model: NDArray[Any], file: NDArray[Any], *, metric: str, names: Any, **others: Any
) -> dict[str, Any]:
    """Scores of a file's logits, beside the model's."""
    measured = {"metric": metric, "names": names, **others}
    draws = bootstrap_scores(labels, {"model": model, "file": file}, **measured)
    return {
        "scores": headline(task_scores(labels, file, **measured)),
        "standard_error": float((draws["file"] - draws["model"]).std(ddof=1)),
        "as_model": agreement(labels, model, file, names=names)["pearson" if names is None else "equal_predictions"],
    }


def _validation(folder: Path, record: Mapping[str, Any]) -> tuple[Dataset, Collator]:
    """The validation split of a finished run, as its student reads it."""
    data, recipe = record["data"], Recipe.model_validate(record["recipe"])
    found = load_task(recipe.data)
    if found.fingerprint() != data["fingerprint"]:
        raise ValueError(f"{folder}: its data are not those it was made with any more, so its files cannot be scored.")
    tokenizer = load_tokenizer(str(folder / "model"))
    names, longest = data["names"] and tuple(data["names"]), data["max_length"]
    rows, _ = tokenise(
        found.splits["validation"], found.task, tokenizer, names=names, max_length=longest, where="validation",
        folder=CACHE,
    )  # fmt: skip
    return rows, collator(tokenizer, pad_to=longest if recipe.pad_to_max_length else None)


def _made_rows(folder: Path) -> tuple[Dataset, Collator]:
    """Texts of every length that a model reads, of tokens drawn at random."""
    model, tokenizer = load_classifier(str(folder)), load_tokenizer(str(folder))
    generator = np.random.default_rng(0)
    lengths = np.linspace(3, min(longest_input(tokenizer, model, None), LONGEST_MADE), MADE_ROWS).astype(int)
    ids = [generator.integers(0, len(tokenizer), length).tolist() for length in lengths]
    columns: dict[str, Any] = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
    if "token_type_ids" in tokenizer.model_input_names:
        columns["token_type_ids"] = [[0] * len(row) for row in ids]
    return Dataset.from_dict(columns | {"labels": [0] * len(ids), "length": lengths}), collator(tokenizer)
