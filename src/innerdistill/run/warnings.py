"""Warnings: problems that a reader of a run's scores should know first, each with a cause that was checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from innerdistill.data.arrow import read_numbers
from innerdistill.data.task_data import OVERLAP
from innerdistill.evaluation.compare import compare
from innerdistill.evaluation.scoring import beats_constant
from innerdistill.run.job import Job
from innerdistill.run.teacher_cache import compute_teacher_logits
from innerdistill.training.stage import StageRecord

UNKNOWN_SHARE = 0.1  # share of unknown tokens that a tokenizer of the right language does not reach

logger = logging.getLogger(__name__)


def warn_of_teacher(job: Job) -> None:
    """Log a warning if the teacher is no better than chance, or its label order seems to be swapped.

    The selection split is used, since the validation split is only for the report.

    Args:
        job: job with a fine-tuned teacher.
    """
    logits = {"teacher": compute_teacher_logits(job, ["selection"])}
    results, predictions = compare(job.splits, logits, scoring=job.scoring)
    warnings = list_chance_warnings(results["scores"]["selection"]["teacher"], metric=job.metric)
    columns = predictions["selection"]
    warnings += job.problem_type.predictions.warn_of_teacher(columns["label"], columns["teacher"], job.names)
    for warning in warnings:
        logger.warning("On the selection split: %s", warning)


def collect_warnings(
    job: Job,
    compared: Mapping[str, Any],
    *,
    predictions: Mapping[str, Mapping[str, Any]],
    stages: Sequence[StageRecord],
) -> list[str]:
    """Collect the warnings of a finished run.

    Args:
        job: job of the run.
        compared: scores by split and model, from `compare`.
        predictions: labels and logits by split, from `compare`.
        stages: records of the stages.

    Returns:
        Sentences.
    """
    warnings = list(filter(None, (stage.find_warning() for stage in stages)))
    scores = compared["scores"].get("validation", {})
    if "teacher" in scores:
        columns = predictions["validation"]
        warnings += job.problem_type.predictions.warn_of_teacher(columns["label"], columns["teacher"], job.names)
    for model, scores_of_model in scores.items():
        if scores_of_model.get("collapsed"):
            warnings.append(f"The {model} makes the same prediction for every example (collapsed).")
        if model == "teacher":
            warnings += list_chance_warnings(scores_of_model, metric=job.metric)
    warnings += job.problem_type.examples.warn_of_missing(read_numbers(job.splits["train"], "labels"), job.names)
    overlap = job.data.notes[OVERLAP]
    if overlap:
        warnings.append(
            f"{overlap} examples of validation are also in train, word for word; data.drop_overlap=true leaves them "
            "out."
        )
    for split, count in job.truncated.items():
        if count:
            warnings.append(f"{count} examples of {split} were longer than {job.max_length} tokens and were truncated.")
    return warnings + list_unknown_token_warnings(job.unknown)


def list_chance_warnings(scores: Mapping[str, Any], *, metric: str) -> list[str]:
    """Check whether a teacher is better than chance.

    Args:
        scores: scores of the teacher, with their standard error.
        metric: name of the primary metric.

    Returns:
        One sentence; none if the teacher beats the best constant prediction by two standard errors.
    """
    if beats_constant(scores):
        return []
    return [
        f"The teacher ({scores[metric]:.3f} {metric}) beats the best constant prediction ({scores['constant']:.3f}) by "
        f"less than two standard errors ({scores['standard_error']:.3f}): nothing can be concluded about its student."
    ]


def list_unknown_token_warnings(unknown: Mapping[str, float]) -> list[str]:
    """Check whether the tokenizer knows the words of every split.

    Args:
        unknown: share of unknown tokens by split.

    Returns:
        One sentence for every split with many unknown tokens.
    """
    warnings = []
    for split, share in unknown.items():
        if share > UNKNOWN_SHARE:
            warnings.append(
                f"{share:.0%} of the tokens of {split} are unknown to the teacher's tokenizer: does it belong to this "
                "model, and to this language?"
            )
    return warnings
