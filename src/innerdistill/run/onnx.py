"""A model -> ONNX files beside it, compared with the model, scored and timed.

model/onnx/model.onnx        the same arithmetic in 32 bits
model/onnx/model_int8.onnx   matrices and embeddings of 8 bits
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.data.arrow import CACHE, numbers
from innerdistill.data.batches import INPUT_NAMES, Collator
from innerdistill.data.task_data import load_task
from innerdistill.data.tokens import tokenise
from innerdistill.evaluation.intervals import error_of_difference
from innerdistill.evaluation.latency import latencies, machine, made_inputs, model_call, size, typical_length
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.predictions import BATCH_SIZE, logits_of, predict_logits
from innerdistill.evaluation.scoring import headline, score_outputs
from innerdistill.models.onnx_files import OnnxClassifier, size_of, write_float32, write_int8
from innerdistill.models.pretrained import load_tokenizer, longest_input
from innerdistill.problem_types.problem_types import load_fine_tuned
from innerdistill.recipe.recipe import Recipe
from innerdistill.report.card import write_card
from innerdistill.report.output_folder import locked
from innerdistill.report.page import write_report
from innerdistill.report.run_folder import RUN, get_problem_type, get_scoring, model_folder, read_run
from innerdistill.run.job import Job
from innerdistill.support.files import open_whole_folder, write_json
from innerdistill.support.messages import describe_memory_problem, get_first_line
from innerdistill.support.processes import is_first_process

logger = logging.getLogger(__name__)

FOLDER = "onnx"
MODEL, FLOAT32, INT8 = "model", "float32", "int8"
FILES = {FLOAT32: "model.onnx", INT8: "model_int8.onnx"}
ROUNDING = 1e-3  # what another order of sums may do to a logit, in units of the largest one, or of 1
# Of a model without data: texts on which its files are compared, tokens of the longest and of the one that is timed.
RANDOM_ROWS, LONGEST_RANDOM, RANDOM_LENGTH = 32, 512, 32


def export(model: str | Path) -> dict[str, Any]:
    """Write the ONNX files of a finished run, or of any classifier of a supported family.

    The files of a run are scored on its validation split, and its run.json, model card and report are written anew.

    Args:
        model: folder of a run, or of a model.

    Returns:
        As `write_onnx`.

    Raises:
        ValueError: no model there, data that are missing or others, or a file that cannot be made or answers otherwise.
    """
    folder = Path(model)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected the folder of a run or of a model.")
    if (folder.parent / RUN).is_file() and folder.name == "model":
        folder = folder.parent
    if not (folder / RUN).is_file():
        return write_onnx(folder, *_random_rows(folder), length=RANDOM_LENGTH)
    model_folder(folder)  # a run may have none
    with locked(folder):
        found = add_onnx(folder, *_validation(folder))
        write_report(folder)
    return found


def add_onnx(folder: Path, rows: Dataset, collate: Collator) -> dict[str, Any]:
    """Write the ONNX files of a finished run, and what they are worth into its record and model card.

    Args:
        folder: of the run.
        rows: its validation split, tokenised.
        collate: examples -> batch that is no longer than it has to be.

    Returns:
        As `write_onnx`.

    Raises:
        ValueError: as `write_onnx`.
    """
    record = read_run(folder)
    found = write_onnx(folder / "model", rows, collate, scoring=get_scoring(record))
    others = [sentence for sentence in record["warnings"] if sentence not in onnx_warnings(record.get("onnx"))]
    record |= {"onnx": found, "warnings": others + onnx_warnings(found)}
    write_card(folder, record)
    write_json(folder / RUN, record)
    return found


def export_run(job: Job, folder: Path) -> None:
    """Write the ONNX files of a finished run, if its recipe asks for them and they are missing.

    Args:
        job: job of the run.
        folder: folder of the run.

    Raises:
        ValueError: as `write_onnx`; the run is finished without them.
    """
    if job.recipe.onnx and is_first_process() and "onnx" not in read_run(folder):
        try:
            add_onnx(folder, job.splits["validation"], job.problem_type.examples.make_collator(job.tokenizer))
        except ValueError as error:
            raise ValueError(
                f"{error} The run in {folder} is finished; with onnx=false the same command writes its report."
            ) from error


def write_onnx(
    folder: Path,
    rows: Dataset,
    collate: Collator,
    *,
    scoring: Scoring | None = None,
    length: int | None = None,
) -> dict[str, Any]:
    """Write ONNX files into a model folder, both or neither.

    Args:
        folder: of the model; files of before are replaced.
        rows: tokenised, on which the files are compared with the model.
        collate: examples -> padded batch.
        scoring: what scores depend on; None gives no scores.
        length: tokens of the text that is timed; None takes what nine of ten rows stay within.

    Returns:
        rows, batch_size, length, threads, machine and the version of onnxruntime; metric, with `scoring`; and in
        `files`, by `model`, `float32` and `int8`: file, file_bytes and latency_ms, of the two files also the
        largest_difference of a logit from the model's. With `scoring` also scores, and of the two files the
        standard_error of the difference and the agreement with the model.

    Raises:
        ValueError: a file cannot be made, or the one in 32 bits answers otherwise than the model.
    """
    model, problem_type = load_fine_tuned(str(folder))
    read = inspect.signature(model.forward).parameters  # a tokenizer may make more than its model reads
    names = [name for name in INPUT_NAMES if name in rows.column_names and name in read]
    length, threads = length or typical_length(rows), torch.get_num_threads()
    length = min(length, int(numbers(rows, "length").max()))
    logger.info("writing ONNX files into %s and comparing their answers to %d rows", folder / FOLDER, len(rows))
    with open_whole_folder(folder / FOLDER) as temporary:
        outputs = problem_type.wording.onnx_outputs
        classifiers = _classifiers(model, temporary, names=names, outputs=outputs, threads=threads)
        logits = {MODEL: predict_logits(model, rows, collate)}
        for name, classifier in classifiers.items():
            # What 8 bits answer to a text depends on those beside it: each alone, as a service is asked.
            batch_size = 1 if name == INT8 else BATCH_SIZE
            number = model.config.num_labels
            logits[name] = logits_of(classifier, rows, collate, outputs=number, batch_size=batch_size)
        off = {name: float(np.abs(logits[name] - logits[MODEL]).max()) for name in FILES}
        if not off[FLOAT32] <= ROUNDING * max(1.0, float(np.abs(logits[MODEL]).max())):
            raise ValueError(
                f"onnx: the file of {folder} answers otherwise than the model (a logit is off by {off[FLOAT32]:.2g}), "
                "so it was not kept; please report the model and the versions of torch and onnxruntime."
            )
        sizes = {name: size_of(temporary / file) for name, file in FILES.items()}
    inputs = dict.fromkeys(names, torch.zeros(1, length, dtype=torch.int64)) | made_inputs(model, 1, length)
    calls = {MODEL: model_call(model, batch_size=1, length=length)}
    times = latencies(calls | {name: partial(classifier, inputs) for name, classifier in classifiers.items()})
    files: dict[str, dict[str, Any]] = {MODEL: {"file": "model.safetensors", "file_bytes": size(model)["file_bytes"]}}
    for name, file in FILES.items():
        files[name] = {"file": f"{FOLDER}/{file}", "file_bytes": sizes[name], "largest_difference": off[name]}
    scores = {} if scoring is None else _scores(numbers(rows, "labels"), logits, scoring)
    return {
        "rows": len(rows),
        "batch_size": 1,
        "length": length,
        "threads": threads,
        "machine": machine(torch.device("cpu")),
        "onnxruntime": version("onnxruntime"),
        **({} if scoring is None else {"metric": scoring.metric}),
        "files": {name: {**file, "latency_ms": times[name], **scores.get(name, {})} for name, file in files.items()},
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


def _classifiers(
    model: PreTrainedModel, folder: Path, *, names: list[str], outputs: Sequence[str], threads: int
) -> dict[str, OnnxClassifier]:
    """Both files, written into a folder and loaded."""
    paths = {name: folder / file for name, file in FILES.items()}
    try:
        write_float32(model, paths[FLOAT32], inputs=names, outputs=outputs)
        write_int8(paths[FLOAT32], paths[INT8])
        return {name: OnnxClassifier(path, threads=threads) for name, path in paths.items()}
    except Exception as error:
        if isinstance(error, OSError) or describe_memory_problem(error):
            raise
        # Torch and onnxruntime have many kinds of their own.
        raise ValueError(
            f"onnx: no file of {model.name_or_path} could be made ({type(error).__name__}: {get_first_line(error)})."
        ) from error


def _scores(
    labels: NDArray[Any], logits: Mapping[str, NDArray[np.float32]], scoring: Scoring
) -> dict[str, dict[str, Any]]:
    """Scores of the model and its files, and of the files how they differ from the model."""
    scores: dict[str, dict[str, Any]] = {}
    for name, of_file in logits.items():
        scores[name] = {"scores": headline(score_outputs(labels, of_file, scoring=scoring))}
    outputs = scoring.predictions
    for name in FILES:
        agreement = outputs.compare(labels, logits[MODEL], logits[name])
        error = error_of_difference(labels, logits[MODEL], logits[name], scoring=scoring)
        scores[name] |= {"standard_error": error, outputs.agreement: agreement[outputs.agreement]}
    return scores


def _validation(folder: Path) -> tuple[Dataset, Collator]:
    """The validation split of a finished run, as its student reads it."""
    record = read_run(folder)
    data, recipe = record["data"], Recipe.model_validate(record["recipe"])
    examples = get_problem_type(record).examples
    found = load_task(recipe.data, examples)
    if found.fingerprint() != data["fingerprint"]:
        raise ValueError(f"{folder}: its data are not those it was made with any more, so its files cannot be scored.")
    tokenizer = load_tokenizer(str(folder / "model"))
    names, longest = data["names"] and tuple(data["names"]), data["max_length"]
    rows, _ = tokenise(
        found.splits["validation"], found.task, tokenizer, examples=examples, names=names, max_length=longest,
        where="validation", folder=CACHE,
    )  # fmt: skip
    return rows, examples.make_collator(tokenizer)


def _random_rows(folder: Path) -> tuple[Dataset, Collator]:
    """Random tokens, from 3 to as many as a model reads."""
    (model, problem_type), tokenizer = load_fine_tuned(str(folder)), load_tokenizer(str(folder))
    generator = np.random.default_rng(0)
    lengths = np.linspace(3, min(longest_input(tokenizer, model, None), LONGEST_RANDOM), RANDOM_ROWS).astype(int)
    ids = [generator.integers(0, model.config.vocab_size, length).tolist() for length in lengths]
    columns: dict[str, Any] = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
    if "token_type_ids" in tokenizer.model_input_names:
        columns["token_type_ids"] = [[0] * len(row) for row in ids]
    return Dataset.from_dict(
        columns | {"labels": [0] * len(ids), "length": lengths}
    ), problem_type.examples.make_collator(tokenizer)
