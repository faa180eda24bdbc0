"""What a job will cost: steps and time of every stage, without training anything."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import INPUT_NAMES
from innerdistill.losses.loss import collect_needs
from innerdistill.models.capture import capture
from innerdistill.run.job import Job
from innerdistill.training.stage import Stage
from innerdistill.training.target_store import Part
from innerdistill.training.targets import list_missing_outputs


@dataclass(frozen=True)
class StageCost:
    """Length and cost of one stage.

    Attributes:
        stage: as planned.
        steps: optimiser steps.
        student_layers: layers of the student that run.
        teacher_layers: layers of the teacher that run.
        relative: cost of a step, where 1 is the teacher forward and the student forward and backward, for the logits.
    """

    stage: Stage
    steps: int
    student_layers: int
    teacher_layers: int
    relative: float


def estimate_stage_costs(job: Job, *, cached: Collection[Part] = ()) -> list[StageCost]:
    """Length and cost of every stage of a job.

    Cost counts passes through one layer, forward 1 and backward 2; the highest layer that runs, of which only the first
    token is wanted, counts a quarter: queries, keys and values. Embeddings, head and losses are left out.

    Args:
        job: an assembled job.
        cached: teacher outputs that are read from disk.

    Returns:
        One entry per stage.
    """
    costs = []
    rows = len(job.select_student_rows())
    for stage in job.stages:
        needs = collect_needs(stage.losses, stage.pairs, job.losses)
        student = job.num_layers if needs.student_logits else max(needs.student_layers)
        layers, logits = list_missing_outputs(needs, cached)
        teacher = job.architecture.num_layers if logits else max(layers, default=0)
        relative = _count_passes(student, teacher) / _count_passes(job.num_layers, job.architecture.num_layers)
        per_epoch = -(-rows // job.compute_batch_size(stage))
        steps = stage.steps or int(np.ceil(per_epoch * (stage.epochs or 0)))
        costs.append(StageCost(stage, steps, student, teacher, relative))
    return costs


def measure_full_step(job: Job, *, repeats: int = 3) -> float:
    """Measured time of one whole step on this machine, without the optimiser: teacher forward, student both ways.

    Args:
        job: an assembled job.
        repeats: timed steps after one that is not counted.

    Returns:
        Seconds, the median, for a batch of typical length.
    """
    student = job.build_fresh_student().train()
    train = job.select_student_rows()
    lengths = read_numbers(train, "length")
    # A batch of examples around the mean length costs what the mean batch costs.
    nearest = np.argsort(np.abs(lengths - lengths.mean()))[: job.compute_batch_size(job.stages[-1])]
    batch = job.collate([train[int(index)] for index in nearest])
    inputs = {name: batch[name].to(student.device) for name in INPUT_NAMES if name in batch}
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with torch.no_grad():
            capture(job.teacher, inputs, layers={})
        logits = capture(student, inputs, layers={}).logits
        assert logits is not None
        torch.autograd.backward(logits.sum())
        float(logits.detach().sum())  # an accelerator has to have finished
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def _count_passes(student: int, teacher: int) -> float:
    return 3 * (student - 0.75) + max(0, teacher - 0.75)
