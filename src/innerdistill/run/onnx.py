"""A model -> ONNX files beside it, compared with the model, scored and timed.

model/onnx/model.onnx             float32, the same arithmetic as the model
model/onnx/model_quantized.onnx   int8 weights and embeddings

transformers.js looks for these two names: `dtype: "fp32"` and `dtype: "q8"`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import Collator
from innerdistill.data.ragged import is_ragged, join_ragged
from innerdistill.data.windows import PIECES, read_of_examples
from innerdistill.evaluation.differences import compare_logits
from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.latency import (
    compute_typical_length,
    describe_machine,
    make_model_call,
    measure_latencies,
    measure_size,
)
from innerdistill.evaluation.metrics import METRICS
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.predictions import BATCH_SIZE, compute_logits, predict_logits
from innerdistill.evaluation.scoring import score_outputs, select_numbers
from innerdistill.models.capture import INPUT_NAMES
from innerdistill.models.onnx_files import (
    FILES,
    FLOAT32,
    INT8,
    TORCH,
    OnnxClassifier,
    size_of,
    write_float32,
    write_int8,
)
from innerdistill.models.pretrained import load_classifier, load_tokenizer, longest_input
from innerdistill.problem_types.problem_types import find_problem_type_of_model, list_file_numbers, load_fine_tuned
from innerdistill.report.card import write_card
from innerdistill.report.output_folder import lock_folder
from innerdistill.report.page import write_report
from innerdistill.report.run_folder import (
    MODEL,
    ONNX,
    PREDICTIONS,
    find_model_folder,
    has_record,
    read_predictions,
    read_record,
    write_record,
)
from innerdistill.report.speed_record import Latency, OnnxFile, OnnxRecord
from innerdistill.run.job import Job
from innerdistill.run.preview import refuse_missing_object
from innerdistill.run.speed import make_onnx_calls, time_together
from innerdistill.run.validation_split import load_validation
from innerdistill.support.extras import require_extra
from innerdistill.support.files import open_whole_folder
from innerdistill.support.messages import describe_memory_problem, get_first_line
from innerdistill.support.processes import is_first_process
from innerdistill.support.progress import quiet_libraries

logger = logging.getLogger(__name__)

ROUNDING = 1e-3  # what another order of sums may change a logit by, in units of the largest one, or of 1
# For a model without data: texts on which its files are compared, tokens of the longest and of the one that is timed.
RANDOM_ROWS, LONGEST_RANDOM, RANDOM_LENGTH = 32, 512, 32


@dataclass(frozen=True)
class Contestant:
    """The model or one of its ONNX files, measured.

    Attributes:
        file: path inside the model folder.
        file_bytes: size of the file.
        logits: outputs on the examples. (N, C)
        latency: time for one text.
    """

    file: str
    file_bytes: int
    logits: NDArray[np.float32]
    latency: Latency


@quiet_libraries()
def export(model: str | PathLike[str], *, data: Mapping[str, Any] | None = None) -> OnnxRecord:
    """Write the ONNX files of a finished run, or of any classifier of a supported family.

    The files of a run are scored on its validation split; its run.json, model card and report are updated.

    Args:
        model: folder of a run, or of a model.
        data: rows by split, of a run that was given Python objects.

    Returns:
        Sizes, latencies and, for a run, scores of the files beside those of the model.

    Raises:
        ValueError: no model there, packages or data missing, changed data, a file that cannot be written or whose
            logits differ.
    """
    require_extra("onnx", key="export")
    folder = Path(model)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected the folder of a run or of a model.")
    if has_record(folder.parent) and folder.name == MODEL:
        folder = folder.parent
    if not has_record(folder):
        model, _ = load_fine_tuned(str(folder))
        return write_onnx(model, folder, *_draw_random_rows(model), length=RANDOM_LENGTH)
    _check_objects(folder, data or {})
    model, _ = load_fine_tuned(str(find_model_folder(folder)))  # a run may have none
    with lock_folder(folder):
        add_onnx(model, folder, *load_validation(model, folder, data or {}))
        time_together(folder)
        write_report(folder)
    record = read_record(folder).onnx
    assert record is not None
    return record


def add_onnx(model: PreTrainedModel, folder: Path, rows: Dataset, collate: Collator) -> OnnxRecord:
    """Write the ONNX files of a finished run, and put their scores into its record and model card.

    Args:
        model: student of the run, loaded from its folder.
        folder: folder of the run.
        rows: its validation split, tokenised.
        collate: examples -> batch that is no longer than it has to be.

    Returns:
        As `write_onnx`.

    Raises:
        ValueError: as `write_onnx`.
    """
    record = read_record(folder)
    scoring, columns = record.data.scoring, {"label": read_of_examples(rows, "labels")}
    if scoring.is_against_teacher:
        columns["teacher"] = read_predictions(folder / PREDICTIONS, "validation")["teacher"]
    labels = LabelledExamples.from_columns(columns, scoring=scoring).labels
    onnx = write_onnx(model, folder / MODEL, rows, collate, labels=labels, scoring=scoring)
    old_warnings = list_onnx_warnings(record.onnx)
    warnings = [sentence for sentence in record.warnings if sentence not in old_warnings]
    record = record.model_copy(update={"onnx": onnx, "warnings": warnings + list_onnx_warnings(onnx)})
    write_card(folder, record)
    write_record(folder, record)
    return onnx


def export_run(job: Job, folder: Path) -> None:
    """Write the ONNX files of a run, if its recipe asks for them and they are missing.

    Args:
        job: job of the run.
        folder: folder of the run.

    Raises:
        ValueError: as `write_onnx`; the trained model is not lost.
    """
    if job.recipe.onnx and is_first_process() and read_record(folder).onnx is None:
        try:
            student = load_classifier(str(folder / MODEL), job.problem_type.head)
            collate = job.problem_type.examples.make_collator(job.tokenizer)
            add_onnx(student, folder, job.splits["validation"], collate)
        except ValueError as error:
            raise ValueError(
                f"{error} The run in {folder} is finished; with onnx=false the same command writes its report."
            ) from error


def write_onnx(
    model: PreTrainedModel,
    folder: Path,
    rows: Dataset,
    collate: Collator,
    *,
    labels: NDArray[Any] | None = None,
    scoring: Scoring | None = None,
    length: int | None = None,
) -> OnnxRecord:
    """Write ONNX files into a model folder, both or neither.

    Args:
        model: fine-tuned model, loaded from its folder.
        folder: folder of the model; files of an earlier export are replaced.
        rows: tokenised examples, on which the files are compared with the model.
        collate: examples -> padded batch.
        labels: what the files are scored against; None takes the labels of the examples. (N,)
        scoring: metric, names and what the outputs mean; None computes no scores.
        length: tokens of the text that is timed; None takes a length that nine of ten examples stay within.

    Returns:
        The model and its two files by `model`, `float32` and `int8`.

    Raises:
        ValueError: a file cannot be written, or the logits of the float32 file differ from the model's.
    """
    import onnxruntime  # noqa: PLC0415 - an extra brings it

    parameters = inspect.signature(model.base_model.forward).parameters  # a tokenizer may write more
    names = [name for name in INPUT_NAMES if name in rows.column_names and name in parameters]
    length, threads = length or compute_typical_length(rows), torch.get_num_threads()
    length = min(length, int(read_numbers(rows, "length").max()))
    examples = LabelledExamples.from_dataset(rows)
    if labels is not None:
        examples = replace(examples, labels=labels)
    logger.info("Export to ONNX, and compare the files with the model on %s examples.", f"{len(examples.labels):,}")
    with open_whole_folder(folder / ONNX) as temporary:
        outputs = find_problem_type_of_model(model.config).wording.onnx_outputs
        classifiers = _write_files(model, temporary, inputs=names, outputs=outputs, threads=threads)
        logits = _compute_logits(model, classifiers, rows, collate)
        _check_float32(folder, logits)
        sizes = {name: size_of(temporary / file) for name, file in FILES.items()}
    sizes[TORCH] = measure_size(model)["file_bytes"]
    calls = {TORCH: make_model_call(model, batch_size=1, length=length)}
    calls |= make_onnx_calls(classifiers, model, length=length)
    times = {name: Latency(**percentiles) for name, percentiles in measure_latencies(calls).items()}
    paths = {TORCH: "model.safetensors"} | {name: f"{ONNX}/{file}" for name, file in FILES.items()}
    contestants = {name: Contestant(path, sizes[name], logits[name], times[name]) for name, path in paths.items()}
    return OnnxRecord(
        rows=len(examples.labels),
        batch_size=1,
        length=length,
        threads=threads,
        machine=describe_machine(torch.device("cpu")),
        onnxruntime=onnxruntime.__version__,
        metric=None if scoring is None else scoring.metric,
        files={name: _describe_file(name, contestants, examples, scoring=scoring) for name in contestants},
    )


def list_onnx_warnings(record: OnnxRecord | None) -> list[str]:
    """List warnings about ONNX files that score less than their model.

    Args:
        record: sizes, latencies and scores of the files; None without files.

    Returns:
        Sentences.
    """
    if record is None or record.metric is None:
        return []
    sentences, metric = [], record.metric
    reference = record.files[TORCH].scores
    for file in (record.files[name] for name in FILES):
        assert reference is not None
        assert file.scores is not None
        assert file.standard_error is not None
        score, error = file.scores[metric], file.standard_error
        if reference[metric] - score > 2 * error:
            sentences.append(
                f"{file.file} scores {score:.3f} {metric}, the model {reference[metric]:.3f}: a loss of more than "
                f"twice its standard error over the validation rows ({error:.3f})."
            )
    return sentences


def _write_files(
    model: PreTrainedModel, folder: Path, *, inputs: Sequence[str], outputs: Sequence[str], threads: int
) -> dict[str, OnnxClassifier]:
    """Both files, written into a folder and loaded."""
    paths = {name: folder / file for name, file in FILES.items()}
    try:
        write_float32(model, paths[FLOAT32], inputs=inputs, outputs=outputs)
        write_int8(paths[FLOAT32], paths[INT8])
        return {name: OnnxClassifier(path, threads=threads) for name, path in paths.items()}
    except Exception as error:
        if isinstance(error, OSError) or describe_memory_problem(error):
            raise
        # Torch and onnxruntime have many kinds of their own.
        raise ValueError(
            f"onnx: no file of {model.name_or_path} could be written ({type(error).__name__}: {get_first_line(error)})."
        ) from error


def _compute_logits(
    model: PreTrainedModel, classifiers: Mapping[str, OnnxClassifier], rows: Dataset, collate: Collator
) -> dict[str, NDArray[np.float32]]:
    logits = {TORCH: predict_logits(model, rows, collate)}
    for name, classifier in classifiers.items():
        # The int8 logits of a text depend on the texts beside it: each text alone, as a service is asked.
        batch_size = 1 if name == INT8 else BATCH_SIZE
        logits[name] = compute_logits(classifier, rows, collate, config=model.config, batch_size=batch_size)
    return logits


def _check_float32(folder: Path, logits: Mapping[str, NDArray[np.float32]]) -> None:
    difference = _compute_largest_difference(logits[FLOAT32], logits[TORCH])
    if not difference <= ROUNDING * max(1.0, _find_largest(logits[TORCH])):  # NaN is refused too
        raise ValueError(
            f"onnx: the logits of the file of {folder} differ from the model's by {difference:.2g}, so the file was "
            "deleted; please report the model and the versions of torch and onnxruntime."
        )


def _describe_file(
    name: str, contestants: Mapping[str, Contestant], examples: LabelledExamples, *, scoring: Scoring | None
) -> OnnxFile:
    """The model or a file of it, with scores if the data is known, and compared with the model if it is a file."""
    contestant, model = contestants[name], contestants[TORCH]
    facts: dict[str, Any] = {}
    if scoring is not None:
        facts["scores"] = select_numbers(score_outputs(examples.labels, contestant.logits, scoring=scoring))
    if name != TORCH:
        facts["largest_difference"] = _compute_largest_difference(contestant.logits, model.logits)
    if name != TORCH and scoring is not None:
        agreement = scoring.predictions.compare(examples.labels, model.logits, contestant.logits)
        facts |= {name: agreement[name] for name in (scoring.predictions.agreement, *list_file_numbers(agreement))}
        difference = compare_logits(examples, model.logits, contestant.logits, scoring=scoring)
        facts["standard_error"] = difference.standard_error
    return OnnxFile(file=contestant.file, file_bytes=contestant.file_bytes, latency_ms=contestant.latency, **facts)


def _compute_largest_difference(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return _find_largest(first - second)


def _find_largest(values: NDArray[Any]) -> float:
    """The largest absolute value, also of arrays of different lengths."""
    joined = join_ragged(values)[0] if is_ragged(values) else values
    return float(np.abs(joined).max())


def _check_objects(folder: Path, data: Mapping[str, Any]) -> None:
    """Refuse a run whose data or metrics were Python objects that are not there, before anything is written."""
    for key in read_record(folder).recipe.list_objects():
        part, _, name = key.partition(".")
        if (part == "data" and name not in data) or (part == "metrics" and name not in METRICS):
            raise ValueError(refuse_missing_object(key, function="Run.export"))


def _draw_random_rows(model: PreTrainedModel) -> tuple[Dataset, Collator]:
    """Random tokens, from 3 to as many as a model reads."""
    tokenizer = load_tokenizer(model.name_or_path, model, texts=1)
    generator = np.random.default_rng(0)
    longest = min(longest_input(tokenizer, model, None), LONGEST_RANDOM)
    lengths = np.linspace(3, longest, RANDOM_ROWS).astype(int).tolist()
    ids = [generator.integers(0, model.config.vocab_size, length).tolist() for length in lengths]
    columns: dict[str, Any] = {"input_ids": ids, "attention_mask": [[1] * length for length in lengths]}
    if "token_type_ids" in tokenizer.model_input_names:
        columns["token_type_ids"] = [[0] * length for length in lengths]
    columns |= {"labels": [0] * len(ids), "length": lengths, "row": list(range(len(ids)))}
    problem_type = find_problem_type_of_model(model.config)
    if problem_type.examples.gather is not None:  # each is a document without a relevance
        columns["labels"] = [[] for _ in ids]
    if problem_type.head.outputs == "per token":  # each stands for a word
        columns |= {"labels": [[0] * length for length in lengths], PIECES: [list(range(length)) for length in lengths]}
    return Dataset.from_dict(columns), problem_type.examples.make_collator(tokenizer)
