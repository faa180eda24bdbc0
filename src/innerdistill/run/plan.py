"""What a run will do and how long it takes: one part per thing that costs time, with its work and its seconds.

The time per example is measured on this machine. The time of parts that do not depend on the data is typical for a CPU.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import drop_given
from innerdistill.evaluation.predictions import SPLITS
from innerdistill.models.capture import INPUT_NAMES, capture
from innerdistill.run.cost import StageCost, count_steps, estimate_stage_costs
from innerdistill.run.distances import ROWS, STAGE_ROWS
from innerdistill.run.finetune import find_cached_teacher
from innerdistill.run.job import Job
from innerdistill.run.teacher_cache import CachedParts, choose_cached_parts
from innerdistill.support.messages import format_count
from innerdistill.training.schedules import BASELINE
from innerdistill.training.stage import Stage

START, LATENCY, EXPORT, REPORT = 8.0, 3.0, 12.0, 3.0  # seconds: loading, timing two models, ONNX files, the report
UNCOUNTED, REPEATS = 1, 4  # steps that are measured
FINE_TUNING = "fine-tuning the teacher"


@dataclass(frozen=True)
class Part:
    """A part of a run.

    Attributes:
        name: what is done.
        work: how much of it, in words.
        seconds: expected time in seconds on this machine.
        stage: stage of the schedule, if it is one.
        shared: what runs have in common that share the part; None if every run does it by itself.
    """

    name: str
    work: str
    seconds: float
    stage: StageCost | None = None
    shared: str | None = None


@dataclass(frozen=True)
class Rates:
    """Times on this machine for examples of typical length, in seconds.

    Attributes:
        teacher: forward pass of the teacher, per example; without one that reads the same tokens, of the model that the
            student's layers are from.
        student: forward and backward pass of the student, per example.
        optimiser: optimiser step of the student.
    """

    teacher: float
    student: float
    optimiser: float


def plan_run(job: Job) -> list[Part]:
    """List the parts of a run, in their order.

    Args:
        job: an assembled job.

    Returns:
        The parts. What the cache already holds takes no time and is named as cached.
    """
    rates = measure_rates(job)
    of_teacher = rates if job.teacher_job is None else _measure_apart(job.teacher_job, rates)
    share = job.num_layers / job.architecture.num_layers
    student = rates.teacher * share  # forward pass of the student, per example
    scored = sum(len(job.splits[split]) for split in SPLITS if split in job.splits)
    parts = [Part("loading", _count(sum(map(len, job.splits.values()))), START)]
    if job.recipe.teacher.base is not None:
        parts.append(_plan_teacher(job.of_teacher, of_teacher, scored=scored))
    choice = choose_cached_parts(job, job.of_teacher.select_student_examples())
    parts += [_plan_cache(job, cached, of_teacher) for cached in choice]
    stages = estimate_stage_costs(job, cached=[part for cached in choice for part in cached.parts])
    for cost in stages:
        parts.append(Part(cost.stage.name, format_count(cost.steps, "step"), _time_stage(job, cost, rates), cost))
    epochs = sum(_count_epochs(job, cost.stage, cost.steps) for cost in stages)
    parts.append(_plan_selection(epochs, len(job.scored_per_epoch), student))
    both = student + (of_teacher.teacher if job.has_teacher else 0.0)
    seconds = scored * both + _time_distances(job, rates, stages=len(stages)) + LATENCY
    name = "scoring both models" if job.has_teacher else "scoring the student"
    parts.append(Part(name, _count(scored), seconds))
    if job.recipe.onnx:
        validation = len(job.splits["validation"])
        parts.append(Part("ONNX files", _count(validation), EXPORT + 3 * validation * student))
    if job.recipe.baseline:
        parts += _plan_baseline(job, rates, steps=sum(cost.steps for cost in stages), scored=scored)
    return [*parts, Part("report", "", REPORT)]


def measure_rates(job: Job) -> Rates:
    """Measure how long forward and backward passes and the optimiser take on this machine. Nothing is kept.

    Args:
        job: an assembled job.

    Returns:
        Median times.
    """
    student = job.build_fresh_student().train()
    inputs = _make_typical_batch(job)
    optimiser = torch.optim.AdamW(_select_dense_parameters(student), lr=0.0)
    times: list[tuple[float, ...]] = []
    for _ in range(UNCOUNTED + REPEATS):
        start = time.perf_counter()
        with torch.no_grad():
            _run(job.reference_model.eval(), inputs)
        teacher_end = time.perf_counter()
        torch.autograd.backward(_run(student, inputs))
        student_end = time.perf_counter()
        optimiser.step()
        student.zero_grad()
        times.append((teacher_end - start, student_end - teacher_end, time.perf_counter() - student_end))
    teacher, trained, optimised = (median(column) for column in zip(*times[UNCOUNTED:], strict=True))
    size = len(inputs["input_ids"])
    return Rates(teacher / size, trained / size, optimised)


def _measure_apart(job: Job, rates: Rates) -> Rates:
    """Rates of a teacher that reads its own tokens; a backward pass takes twice as long as a forward pass."""
    assert job.teacher is not None
    inputs, times = _make_typical_batch(job), []
    for _ in range(UNCOUNTED + REPEATS):
        start = time.perf_counter()
        with torch.no_grad():
            _run(job.teacher.eval(), inputs)
        times.append(time.perf_counter() - start)
    forward = median(times[UNCOUNTED:]) / len(inputs["input_ids"])
    return Rates(forward, 3 * forward, rates.optimiser)


def _make_typical_batch(job: Job) -> dict[str, torch.Tensor]:
    """Examples of about the mean length: their batch costs as much as the mean batch."""
    train = drop_given(job.select_student_examples())
    lengths = read_numbers(train, "length")
    nearest = np.argsort(np.abs(lengths - lengths.mean()))[: job.compute_batch_size(job.stages[-1])]
    batch = job.collate([train[int(index)] for index in nearest])
    return {name: batch[name].to(job.reference_model.device) for name in INPUT_NAMES if name in batch}


def _run(model: PreTrainedModel, inputs: dict[str, Any]) -> torch.Tensor:
    logits = capture(model, inputs, layers={}).logits
    assert logits is not None
    total = logits.sum()
    float(total.detach())  # waits until an accelerator has finished
    return total


def _select_dense_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    """All but the word embeddings, of which a step updates few rows."""
    words = model.get_input_embeddings().weight
    return [parameter for parameter in model.parameters() if parameter is not words]


def _time_stage(job: Job, cost: StageCost, rates: Rates) -> float:
    """Seconds of a stage: the layers that run, in every step."""
    size = job.compute_batch_size(cost.stage)
    teacher = rates.teacher * cost.teacher_layers / job.architecture.num_layers
    student = rates.student * cost.student_layers / job.num_layers
    return cost.steps * (size * (teacher + student) + rates.optimiser)


def _plan_teacher(job: Job, rates: Rates, *, scored: int) -> Part:
    """Fine-tuning of the teacher, with its scores on the selection split in every epoch and at the end."""
    folder, is_cached = find_cached_teacher(job)
    if is_cached:
        return Part(FINE_TUNING, "cached", 0.0, shared=str(folder))
    epochs = job.recipe.teacher.epochs
    stage = Stage(FINE_TUNING, {"gold_labels": 1.0}, pairs={}, epochs=epochs)
    steps = count_steps(job, stage, len(job.splits["train"]))
    layers = job.architecture.num_layers / job.num_layers
    step = layers * (job.compute_batch_size(stage) * rates.student + rates.optimiser)
    examples = epochs * len(job.scored_per_epoch) + scored
    seconds = steps * step + examples * rates.teacher + LATENCY
    return Part(FINE_TUNING, format_count(steps, "step"), seconds, shared=str(folder))


def _plan_cache(job: Job, cached: CachedParts, rates: Rates) -> Part:
    """Computing and caching the outputs of the teacher, or of the model that the internal losses learn from.

    Given outputs are only copied.
    """
    store = cached.store
    is_missing = not all(map(store.exists, cached.parts))
    examples = len(store.lengths) if is_missing else 0
    megabytes = sum(map(store.count_bytes, cached.parts)) / 1e6
    work = f"{_count(examples)}, {megabytes:.0f} MB" if is_missing else "cached"
    name = "teacher outputs" if cached.model is job.of_teacher.teacher else "internal teacher outputs"
    if cached.model is None:
        return Part("given outputs", work, 0.0, shared=str(store.folder))
    return Part(name, work, examples * rates.teacher, shared=str(store.folder))


def _plan_selection(epochs: float, examples: int, seconds: float, name: str = "selection, per epoch") -> Part:
    return Part(name, f"{epochs:g} × {_count(examples)}", epochs * examples * seconds)


def _plan_baseline(job: Job, rates: Rates, *, steps: int, scored: int) -> list[Part]:
    """The baseline: as many steps as the student, without the teacher, and its scores."""
    stage = Stage(BASELINE, {"gold_labels": 1.0}, pairs={}, steps=steps)
    student = rates.teacher * job.num_layers / job.architecture.num_layers
    seconds = steps * (job.compute_batch_size(stage) * rates.student + rates.optimiser)
    per_epoch = _count_epochs(job, stage, steps) * len(job.scored_per_epoch) * student
    distances = _time_distances(job, rates, stages=1)
    return [
        Part("baseline", format_count(steps, "step"), seconds + per_epoch),
        Part("scoring the baseline", _count(scored), scored * student + distances + LATENCY),
    ]


def _time_distances(job: Job, rates: Rates, *, stages: int) -> float:
    """Seconds of comparing layers before training, after every stage, and at the end."""
    if job.teacher is None:
        return 0.0
    both = rates.teacher * (1 + job.num_layers / job.architecture.num_layers)
    models = 1 if job.internal_teacher is None else 2
    examples = 2 * min(ROWS, len(job.splits["validation"])) + stages * min(STAGE_ROWS, len(job.splits["selection"]))
    return models * examples * both


def _count_epochs(job: Job, stage: Stage, steps: int) -> float:
    """How often a stage is scored on the selection split: after every epoch, and at its end."""
    per_epoch = -(-len(job.select_student_examples()) // job.compute_batch_size(stage))
    return float(-(-steps // per_epoch))


def _count(examples: int) -> str:
    return format_count(examples, "example")
