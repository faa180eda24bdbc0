"""Outputs that are scores, one real number for each example: predictions, agreement and distances.

Shapes: N examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr

from innerdistill.evaluation.correlations import correlate

Array = NDArray[Any]


def predict_scores(logits: Array) -> Array:
    """The score, which is the only output.

    Args:
        logits: output of a model. (N, 1)

    Returns:
        Scores. (N,)
    """
    return logits[:, 0]


def make_constant_scores(labels: Array, *_: Any) -> Iterator[Array]:
    """Predictions of one score for all examples: the mean and the median of the labels.

    Args:
        labels: scores, none missing. (N,)

    Yields:
        Scores. (N,)
    """
    for score in (labels.mean(), np.median(labels)):
        yield np.full_like(labels, score)


def mark_no_classes(*_: Any) -> dict[str, NDArray[np.bool_]]:
    """Scores have no classes.

    Returns:
        Nothing.
    """
    return {}


def describe_scores(*_: Any) -> dict[str, Any]:
    """Scores have no further numbers beside their metrics.

    Returns:
        Nothing.
    """
    return {}


def compare_scores(_: Array, teacher_logits: Array, student_logits: Array) -> dict[str, float]:
    """Measure the agreement of the student with its teacher, mistakes included.

    Args:
        teacher_logits: output of the teacher. (N, 1)
        student_logits: output of the student. (N, 1)

    Returns:
        `pearson`, the correlation of the predicted scores, and `mse`, their mean squared difference.
    """
    return {
        "pearson": correlate(pearsonr, teacher_logits[:, 0], student_logits[:, 0]),
        "mse": float(np.square(teacher_logits - student_logits).mean()),
    }


def show_correlation(correlation: float) -> str:
    """A correlation of predicted scores for people.

    Args:
        correlation: from -1 to 1.

    Returns:
        The coefficient with four digits.

    >>> show_correlation(0.99941)
    'r = 0.9994'
    """
    return f"r = {correlation:.4f}"


def measure_score_distances(teacher_logits: Array, student_logits: Array) -> tuple[NDArray[np.bool_], Array]:
    """How far apart the answers to each example are: the difference of the scores.

    Args:
        teacher_logits: output of the teacher. (N, 1)
        student_logits: output of the student. (N, 1)

    Returns:
        True where the scores differ (N,), and the absolute difference (N,).
    """
    differences = np.abs(teacher_logits - student_logits)[:, 0]
    return differences > 0, differences


def show_score(label: float, *_: Any) -> float:
    """A label for people.

    Args:
        label: score.

    Returns:
        The shortest number that is the same label: labels are float32, whose digits a float64 would invent.

    >>> show_score(np.float32(3.8))
    3.8
    """
    return float(str(np.float32(label)))


def show_score_answer(logits: Array, *_: Any) -> dict[str, Any]:
    """What a model answers to one example.

    Args:
        logits: output for the example. (1,)

    Returns:
        `answer`, the score with three digits.
    """
    return {"answer": round(float(logits[0]), 3)}


def find_no_swapped_labels(*_: Any) -> None:
    """Scores have no label order.

    Returns:
        None.
    """


def make_score_columns(logits: Array, *_: Any, **__: Any) -> dict[str, Any]:
    """The columns that `predict` adds to a file.

    Args:
        logits: output of the model. (N, 1)

    Returns:
        `predicted_score`. (N,)
    """
    return {"predicted_score": predict_scores(logits)}
