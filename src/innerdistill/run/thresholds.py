"""Thresholds of multi-label classifiers: chosen on the selection split, and stored in the model's config."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from innerdistill.data.windows import read_of_examples
from innerdistill.evaluation.predictions import predict_logits
from innerdistill.models.heads import read_thresholds, store_thresholds
from innerdistill.run.job import Job
from innerdistill.run.teacher_cache import compute_teacher_logits

SPLIT = "selection"


def settle_teacher_thresholds(job: Job) -> None:
    """Choose the teacher's thresholds as the student's are chosen, so that the two are compared fairly.

    A teacher that brings thresholds of its own keeps them. One that is fine-tuned here has those of this recipe, since
    runs with other thresholds share its weights. Those of given outputs are chosen too, where selection has any.

    Args:
        job: job with a fine-tuned teacher, whose config is changed in memory, or with given outputs.
    """
    if not job.problem_type.has_thresholds:
        return
    if job.given_outputs is not None:
        job.given_outputs.thresholds = None
        if SPLIT not in job.data.against_teacher and job.data.has_outputs(SPLIT):
            logits = compute_teacher_logits(job, [SPLIT])[SPLIT]
            job.given_outputs.thresholds = _choose_thresholds(job, logits)
        return
    assert job.teacher is not None
    config = job.teacher.config
    config.problem_type = job.problem_type.name  # older configurations leave it open
    if job.recipe.teacher.base is None and read_thresholds(config) is not None:
        return
    store_thresholds(config, None)
    if SPLIT in job.data.against_teacher:  # nothing to choose them by
        return
    logits = compute_teacher_logits(job, [SPLIT])[SPLIT]
    store_thresholds(config, _choose_thresholds(job, logits))


def settle_thresholds(job: Job, model: PreTrainedModel) -> None:
    """Choose the thresholds of a trained model by the selection split, and store them in its config.

    Without labels they are chosen so that the model agrees with the teacher.

    Args:
        job: job of the run.
        model: trained student; in a fine-tuning, the teacher itself.
    """
    if job.problem_type.has_thresholds:
        store_thresholds(model.config, None)
        logits = predict_logits(model, job.splits[SPLIT], job.collate)
        store_thresholds(model.config, _choose_thresholds(job, logits))


def _choose_thresholds(job: Job, logits: NDArray[Any]) -> NDArray[np.float64] | None:
    """Thresholds of a model with these outputs on the selection split (N, C), by label (C,)."""
    predictions = job.problem_type.predictions
    if SPLIT in job.data.against_teacher:
        labels = predictions.decide(compute_teacher_logits(job, [SPLIT])[SPLIT])
    else:
        labels = read_of_examples(job.splits[SPLIT], "labels")
    return predictions.choose_thresholds(labels, logits, kind=job.recipe.data.thresholds)
