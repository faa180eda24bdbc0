"""Distances of a student's layers from its teacher's, for the record: before training, after every stage, at the end.

They are measured from the fine-tuned teacher in every run, so that all methods are compared with the same model. Where
the internal losses learn from another model, they are measured from that one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from innerdistill.data.arrow import select_evenly
from innerdistill.evaluation.layer_distances import ClsSpread, measure_layer_distances
from innerdistill.run.job import Job

ROWS = 1_000  # of validation, spread evenly over it: enough for a mean per layer
STAGE_ROWS = 200  # of selection after a stage, which may be short


@dataclass(frozen=True)
class FirstDistances:
    """What is measured before training, by `teacher` and, if there is another one, `internal_teacher`.

    Attributes:
        layers: distances of the untrained student, as `measure_layer_distances`.
        spreads: mean cosine distance between the [CLS] of two examples, by layer, as `ClsSpread.compute`.
    """

    layers: Mapping[str, Mapping[str, Any]]
    spreads: Mapping[str, Mapping[str, float] | None]


def measure_first_distances(job: Job, student: PreTrainedModel) -> FirstDistances:
    """Measure an untrained student, and how much the [CLS] of its teachers differs between the same examples.

    Args:
        job: the job.
        student: prepared student.

    Returns:
        Distances and spreads.
    """
    spreads = {name: ClsSpread(job.architecture.num_layers) for name in _list_teachers(job)}
    layers = measure_distances(job, student, spreads=spreads)
    return FirstDistances(layers, {name: spread.compute() for name, spread in spreads.items()})


def measure_distances(
    job: Job, student: PreTrainedModel, *, spreads: Mapping[str, ClsSpread] | None = None
) -> dict[str, dict[str, Any]]:
    """Measure how far a student is from what it learns from, layer by layer, on examples of validation.

    Neither the student nor any random generator is changed.

    Args:
        job: the job.
        student: prepared student.
        spreads: gather the [CLS] of each teacher in the same pass, if they are given.

    Returns:
        By `teacher` and, if there is another one, `internal_teacher`: as `measure_layer_distances`. Nothing where the
        teacher's outputs are given.
    """
    return _measure(job, student, select_evenly(job.splits["validation"], ROWS), spreads or {})


def measure_stage(job: Job, student: PreTrainedModel) -> dict[str, dict[str, Any]]:
    """Measure a student after a stage, on a few examples of selection: validation is for the finished student.

    Args:
        job: the job.
        student: prepared student.

    Returns:
        As `measure_distances`.
    """
    return _measure(job, student, select_evenly(job.splits["selection"], STAGE_ROWS), {})


def _measure(
    job: Job, student: PreTrainedModel, examples: Dataset, spreads: Mapping[str, ClsSpread]
) -> dict[str, dict[str, Any]]:
    return {
        name: measure_layer_distances(
            teacher,
            student,
            examples,
            job.collate,
            pairs=job.pairs,
            of_tokens=job.problem_type.head.reads == "all tokens",
            spread=spreads.get(name),
        )
        for name, teacher in _list_teachers(job).items()
    }


def _list_teachers(job: Job) -> dict[str, PreTrainedModel]:
    teachers = {} if job.teacher is None else {"teacher": job.teacher}
    if job.internal_teacher is not None:
        teachers["internal_teacher"] = job.internal_teacher
    return teachers
