"""The cost of a job before it starts: optimiser steps and relative time of every stage."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from innerdistill.losses.loss import collect_needs
from innerdistill.run.job import Job
from innerdistill.training.stage import Stage
from innerdistill.training.target_store import Part
from innerdistill.training.targets import list_missing_outputs


@dataclass(frozen=True)
class StageCost:
    """Length and cost of one stage.

    Attributes:
        stage: stage of the schedule.
        steps: number of optimiser steps.
        student_layers: number of layers of the student that run.
        teacher_layers: number of layers of the teacher that run, with those of the model that the internal losses
            learn from if it is another one.
        relative: cost of a step, relative to a full step: teacher forward, and student forward and backward.
    """

    stage: Stage
    steps: int
    student_layers: int
    teacher_layers: int
    relative: float


def estimate_stage_costs(job: Job, *, cached: Collection[Part] = ()) -> list[StageCost]:
    """Estimate the length and the cost of every stage of a job.

    The cost of a layer is 1 for its forward pass and 2 for its backward pass. The highest layer that runs counts a
    quarter: only its first token is used, so it computes little more than queries, keys and values. Embeddings, head
    and losses are not counted.

    Args:
        job: an assembled job.
        cached: parts of the teacher outputs that are read from disk.

    Returns:
        One entry per stage.
    """
    costs = []
    examples = len(job.select_student_examples())
    for stage in job.stages:
        needs = collect_needs(stage.losses, stage.pairs, job.losses)
        student = job.num_layers if needs.student_logits else max(needs.student_layers)
        layers, logits = list_missing_outputs(needs, cached)
        for_logits, for_layers = job.architecture.num_layers if logits else 0, max(layers, default=0)
        passes = [max(for_logits, for_layers)] if job.internal_teacher is None else [for_logits, for_layers]
        relative = _count_passes(student, passes) / _count_passes(job.num_layers, [job.architecture.num_layers])
        costs.append(StageCost(stage, count_steps(job, stage, examples), student, sum(passes), relative))
    return costs


def count_steps(job: Job, stage: Stage, examples: int) -> int:
    """Count the optimiser steps of a stage.

    Args:
        job: an assembled job.
        stage: the stage.
        examples: number of training examples.

    Returns:
        Number of steps, unless a threshold ends the stage earlier.
    """
    steps_per_epoch = math.ceil(examples / job.compute_batch_size(stage))
    return stage.steps or math.ceil(steps_per_epoch * (stage.epochs or 0))


def _count_passes(student: int, teachers: Sequence[int]) -> float:
    """Passes through a layer: three for the student, and one for each teacher, by the number of layers that run."""
    return 3 * (student - 0.75) + sum(max(0, teacher - 0.75) for teacher in teachers)
