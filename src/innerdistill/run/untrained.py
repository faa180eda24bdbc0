"""The student before training: where it has no new head, its copied layers are a model that training has to beat."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.evaluation.predictions import SPLITS, predict_splits
from innerdistill.run.job import Job


def predict_untrained(job: Job, student: PreTrainedModel) -> dict[str, NDArray[Any]] | None:
    """Compute the logits of a student before training, on the splits that are only reported on.

    Args:
        job: the job.
        student: the untrained student.

    Returns:
        Logits by split (N, C); None for a student with a new head or random layers, which predicts nothing yet.
    """
    if job.problem_type.learns_from_labels or job.recipe.student.source == "random":
        return None
    reported = {split: rows for split, rows in job.splits.items() if split in SPLITS and split != "selection"}
    return predict_splits(student, reported, job.collate)
