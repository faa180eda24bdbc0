"""Warnings: what a reader of a run's scores has to know first, each with a cause that was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.arrow import numbers
from innerdistill.data.task_data import OVERLAP
from innerdistill.evaluation.scoring import beats_constant, best_naming
from innerdistill.run.job import Job
from innerdistill.training.stage import StageRecord

UNKNOWN = 0.1  # share of unknown tokens that a tokenizer of the right language does not reach
FEWEST_TO_NAME = 30  # examples; with fewer some label order fits by chance
SWAPPED = 0.2  # accuracy that another label order of the teacher has to win


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
    if job.names is not None and "teacher" in scores:
        columns = predictions["validation"]
        sentences += _drop_none(warn_of_label_order(columns["label"], columns["teacher"], job.names))
    for model, of_model in scores.items():
        if of_model.get("collapsed"):
            sentences.append(f"The {model} predicts one class for every row (collapsed).")
        if model == "teacher":
            sentences += _drop_none(warn_of_chance(of_model, metric=job.metric))
    sentences += _warn_of_missing_labels(job)
    if overlap := job.data.notes[OVERLAP]:
        sentences.append(
            f"{overlap} rows of validation are also in train, word for word; data.drop_overlap=true leaves them out."
        )
    for split, rows in job.truncated.items():
        if rows:
            sentences.append(f"{rows} rows of {split} were longer than {job.max_length} tokens and truncated.")
    return sentences + warn_of_unknown_tokens(job.unknown)


def warn_of_chance(scores: Mapping[str, Any], *, metric: str) -> str | None:
    """What has to be said of a teacher that is no better than chance.

    Args:
        scores: of the teacher, with their standard error.
        metric: the primary metric.

    Returns:
        A sentence, or None if it is better by two standard errors.
    """
    if beats_constant(scores):
        return None
    return (
        f"The teacher ({scores[metric]:.3f} {metric}) beats the best constant answer ({scores['constant']:.3f}) by "
        f"less than two standard errors ({scores['standard_error']:.3f}): nothing can be concluded from a student of "
        "it."
    )


def warn_of_label_order(labels: NDArray[Any], logits: NDArray[Any], names: tuple[str, ...]) -> str | None:
    """What has to be said of a teacher whose outputs seem to mean other classes than they are named after.

    Args:
        labels: class ids. (N,)
        logits: of the teacher. (N, C)
        names: class names by id.

    Returns:
        A sentence; None if no other naming fits better by 0.2 accuracy, or there are too few rows to tell.
    """
    if len(labels) < FEWEST_TO_NAME:
        return None
    naming, as_named, at_best = best_naming(labels, logits)
    if at_best - as_named < SWAPPED:
        return None
    moved = [f"{names[i]!r} means {names[j]!r}" for i, j in enumerate(naming) if i != j]
    pairs = ", ".join(moved[:3]) + (f" and {len(moved) - 3} more are renamed" if len(moved) > 3 else "")
    return (
        f"The teacher's outputs seem to be exchanged: its accuracy is {as_named:.3f}, and would be {at_best:.3f} if "
        f"{pairs}. Check the order of the labels (id2label of its config.json, data.labels)."
    )


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


def _warn_of_missing_labels(job: Job) -> list[str]:
    if job.names is None:
        return []
    present = np.unique(numbers(job.splits["train"], "labels"))
    return [f"No training row has the label {name!r}." for index, name in enumerate(job.names) if index not in present]


def _drop_none(sentence: str | None) -> list[str]:
    return [] if sentence is None else [sentence]
