"""Thresholds of multi-label classifiers: chosen on the selection split, and stored in the model's config."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.data.arrow import read_numbers
from innerdistill.evaluation.predictions import predict_logits
from innerdistill.models.heads import read_thresholds, store_thresholds
from innerdistill.run.job import Job
from innerdistill.run.teacher_cache import compute_teacher_logits

SPLIT = "selection"


def settle_teacher_thresholds(job: Job) -> None:
    """Choose the teacher's thresholds as the student's are chosen, so that the two are compared fairly.

    A teacher that brings thresholds of its own keeps them. One that is fine-tuned here has those of this recipe, since
    runs with other thresholds share its weights.

    Args:
        job: job with a fine-tuned teacher, whose config is changed in memory.
    """
    config = job.teacher.config
    if not job.problem_type.has_thresholds:
        return
    if job.recipe.teacher.base is None and read_thresholds(config) is not None:
        return
    store_thresholds(config, None)
    logits = compute_teacher_logits(job, [SPLIT])[SPLIT]
    store_thresholds(config, choose_thresholds(job, logits))


def settle_thresholds(job: Job, model: PreTrainedModel) -> None:
    """Choose the thresholds of a trained model, and store them in its config.

    Args:
        job: job of the run.
        model: trained student; in a fine-tuning, the teacher itself.
    """
    store_thresholds(model.config, None)
    if job.problem_type.has_thresholds:
        logits = predict_logits(model, job.splits[SPLIT], job.collate)
        store_thresholds(model.config, choose_thresholds(job, logits))


def choose_thresholds(job: Job, logits: NDArray[Any]) -> NDArray[np.float64] | None:
    """Choose thresholds by the labels of the selection split.

    Args:
        job: job of the run.
        logits: output of a model without thresholds on that split. (N, C)

    Returns:
        Probabilities (C,); None where there are no thresholds, or no labels to choose them by.
    """
    labels = read_numbers(job.splits[SPLIT], "labels")
    return job.problem_type.predictions.choose_thresholds(labels, logits, kind=job.recipe.data.thresholds)
