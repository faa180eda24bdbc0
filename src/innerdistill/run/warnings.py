"""Warnings: what a reader of a run's scores has to know first, each with a cause that was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from innerdistill.data.arrow import read_numbers
from innerdistill.data.task_data import OVERLAP
from innerdistill.evaluation.scoring import beats_constant
from innerdistill.run.job import Job
from innerdistill.training.stage import StageRecord

UNKNOWN = 0.1  # share of unknown tokens that a tokenizer of the right language does not reach


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
        compared: scores by split and model, as `compare` gives them.
        predictions: labels and logits by split, as `compare` gives them.
        stages: records of the stages.

    Returns:
        Sentences.
    """
    sentences = [warning for stage in stages if (warning := stage.find_warning()) is not None]
    scores = compared["scores"].get("validation", {})
    if "teacher" in scores:
        columns = predictions["validation"]
        sentences += job.problem_type.predictions.warn_of_teacher(columns["label"], columns["teacher"], job.names)
    for model, of_model in scores.items():
        if of_model.get("collapsed"):
            sentences.append(f"The {model} gives the same answer to every example (collapsed).")
        if model == "teacher":
            sentences += warn_of_chance(of_model, metric=job.metric)
    sentences += job.problem_type.examples.warn_of_missing(read_numbers(job.splits["train"], "labels"), job.names)
    if overlap := job.data.notes[OVERLAP]:
        sentences.append(
            f"{overlap} rows of validation are also in train, word for word; data.drop_overlap=true leaves them out."
        )
    for split, rows in job.truncated.items():
        if rows:
            sentences.append(f"{rows} rows of {split} were longer than {job.max_length} tokens and truncated.")
    return sentences + warn_of_unknown_tokens(job.unknown)


def warn_of_chance(scores: Mapping[str, Any], *, metric: str) -> list[str]:
    """Find a teacher that is no better than chance.

    Args:
        scores: scores of the teacher, with their standard error.
        metric: name of the primary metric.

    Returns:
        One sentence; none if it is better by two standard errors.
    """
    if beats_constant(scores):
        return []
    return [
        f"The teacher ({scores[metric]:.3f} {metric}) beats the best constant answer ({scores['constant']:.3f}) by "
        f"less than two standard errors ({scores['standard_error']:.3f}): nothing can be concluded from a student of "
        "it."
    ]


def warn_of_unknown_tokens(unknown: Mapping[str, float]) -> list[str]:
    """What has to be said of a tokenizer that does not know the words of a split.

    Args:
        unknown: share of unknown tokens by split.

    Returns:
        Sentences.
    """
    return [
        f"{share:.0%} of the tokens of {split} are unknown to the teacher's tokenizer: does it belong to this model, "
        "and to this language?"
        for split, share in unknown.items()
        if share > UNKNOWN
    ]
