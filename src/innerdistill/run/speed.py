"""Size and latency of models that are compared: of model folders, and of everything that the page of a run shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from innerdistill.evaluation.latency import (
    describe_machine,
    make_inputs,
    make_model_call,
    measure_latencies,
    measure_size,
)
from innerdistill.models.capture import INPUT_NAMES
from innerdistill.models.fingerprint import weights_fingerprint
from innerdistill.models.onnx_files import FILES, TORCH, OnnxClassifier
from innerdistill.models.pretrained import default_device
from innerdistill.problem_types.problem_types import load_fine_tuned
from innerdistill.report.card import write_card
from innerdistill.report.record import RunRecord
from innerdistill.report.run_folder import (
    BASELINE_FOLDER,
    MODEL,
    find_model_folder,
    has_record,
    read_record,
    write_record,
)
from innerdistill.report.speed_record import Latency, ModelSpeed, OnnxRecord, Speed
from innerdistill.support.extras import list_missing_packages

BATCH_SIZE = 1  # texts per call, as a service is asked


def load_models(folders: Sequence[str]) -> dict[str, PreTrainedModel]:
    """Load the models whose speed is to be measured.

    Args:
        folders: model folders or names; of a run folder, teacher and student are loaded, or the student alone if the
            teacher's outputs were given.

    Returns:
        Models by name, on the device that a run would choose.

    Raises:
        ValueError: no model there.
    """
    models = {}
    for folder in folders:
        if not has_record(folder):
            models[folder] = load_fine_tuned(folder)[0]
            continue
        teacher = read_record(folder).teacher
        if teacher is not None and teacher.path is not None:
            models[f"teacher of {Path(folder).name}"] = load_fine_tuned(teacher.path)[0]
        models[str(Path(folder) / MODEL)] = load_fine_tuned(str(find_model_folder(folder)))[0]
    for model in models.values():
        model.to(default_device())
    return models


def time_together(folder: Path) -> None:
    """Time teacher, student, baseline and ONNX files of a run in turns, in one measurement, and record the latencies.

    Nothing changes where that has been done. Nor does it on another machine than the run's, or without its teacher:
    times of different measurements cannot be compared. Without the packages of the extra
    `onnx`, files keep their latencies.

    Args:
        folder: folder of a run whose models and files are all written.
    """
    record, device = read_record(folder), default_device()
    has_new_baseline = record.speed.baseline is None and (folder / BASELINE_FOLDER / MODEL).is_dir()
    # onnxruntime runs on the CPU: its files are compared with models there.
    onnx = record.onnx if device.type == "cpu" and not list_missing_packages("onnx") else None
    has_new_files = onnx is not None and not record.times_onnx_with_models
    if not (has_new_baseline or has_new_files) or record.machine != describe_machine(device):
        return
    models = _load_models_of_run(record, folder)
    if models is None:
        return
    calls, length = {}, record.speed.student.length
    for name, model in models.items():
        calls[name] = make_model_call(model.to(device), batch_size=BATCH_SIZE, length=length)
    if onnx is not None:
        paths = {name: folder / MODEL / onnx.files[name].file for name in FILES}
        files = {name: OnnxClassifier(path, threads=onnx.threads) for name, path in paths.items()}
        calls |= make_onnx_calls(files, models["student"], length=length)
    times = {name: Latency(**percentiles) for name, percentiles in measure_latencies(calls).items()}
    changes: dict[str, Any] = {"speed": _build_speed(models, times, length=length)}
    if onnx is not None:
        changes["onnx"] = _replace_latencies(onnx, times | {TORCH: times["student"]}, length=length)
    record = record.model_copy(update=changes)
    write_card(folder, record)
    write_record(folder, record)


def make_onnx_calls(
    classifiers: Mapping[str, OnnxClassifier], model: PreTrainedModel, *, length: int
) -> dict[str, Callable[[], object]]:
    """Make functions that run ONNX files on one random text, for timing.

    Args:
        classifiers: ONNX files by name.
        model: the model that they were exported from.
        length: tokens of the text.

    Returns:
        By name a function that returns when the output is computed.
    """
    nothing = torch.zeros(BATCH_SIZE, length, dtype=torch.int64)
    inputs = dict.fromkeys(INPUT_NAMES, nothing) | make_inputs(model, BATCH_SIZE, length)
    return {name: partial(classifier, inputs) for name, classifier in classifiers.items()}


def _load_models_of_run(record: RunRecord, folder: Path) -> dict[str, PreTrainedModel] | None:
    """Teacher, student and baseline of a run, those that it has; None if its teacher is gone."""
    models: dict[str, PreTrainedModel] = {}
    if record.teacher is not None and record.teacher.path is not None:
        try:
            models["teacher"] = load_fine_tuned(record.teacher.path)[0]
        except ValueError:
            return None
        if weights_fingerprint(models["teacher"]) != record.teacher.fingerprint:
            return None
    for name, run in (("student", folder), ("baseline", folder / BASELINE_FOLDER)):
        if (run / MODEL).is_dir():
            models[name] = load_fine_tuned(str(run / MODEL))[0]
    return models


def _build_speed(models: Mapping[str, PreTrainedModel], times: Mapping[str, Latency], *, length: int) -> Speed:
    speed = {}
    for name, model in models.items():
        size = measure_size(model)
        speed[name] = ModelSpeed(**size, batch_size=BATCH_SIZE, length=length, latency_ms=times[name])
    return Speed(student=speed["student"], teacher=speed.get("teacher"), baseline=speed.get("baseline"))


def _replace_latencies(onnx: OnnxRecord, times: Mapping[str, Latency], *, length: int) -> OnnxRecord:
    files = {name: file.model_copy(update={"latency_ms": times[name]}) for name, file in onnx.files.items()}
    return onnx.model_copy(update={"files": files, "length": length})
