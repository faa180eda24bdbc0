"""Scores of a model's outputs, computed from labels and logits. predictions.parquet is enough to compute them again.

Shapes: N examples, C classes (1 for a regression). Examples without a label do not take part.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from scipy.stats import pearsonr
from sklearn.metrics import precision_recall_fscore_support

from innerdistill.data.labels import UNLABELLED
from innerdistill.evaluation.metrics import correlate, find_metric, metrics_of

Array = NDArray[Any]


def task_scores(
    labels: Array, logits: Array, *, metric: str, names: Sequence[str] | None, positive: int = 1
) -> dict[str, Any]:
    """All scores of one model on one split.

    Args:
        labels: class ids or scores. (N,)
        logits: output of the model. (N, C)
        metric: the primary metric.
        names: class names by id; None for a regression.
        positive: of two classes the one that f1 is of.

    Returns:
        Every metric of the kind of task, between -1 and 1 (mse: 0 or more); `metric` names the primary one and
        `constant` is what the best constant answer would score in it: under accuracy the most frequent class. For
        classes also calibration_error, per_class and collapsed.

    Raises:
        ValueError: no row has a label.
    """
    known = has_label(labels, names)
    if not known.any():
        raise ValueError("no row has a label, so there is nothing to score.")
    labels, logits = labels[known], logits[known]
    predictions, facts = predictions_of(logits, names), {"names": names, "positive": positive}
    primary = find_metric(metric)
    known_metrics = {**metrics_of(primary.shape), metric: primary}
    found: dict[str, Any] = {"metric": metric, "rows": len(labels)}
    answers = (np.full_like(predictions, answer) for answer in range(len(names or ())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of samples that hold one class only: their score is defined
        for name, entry in known_metrics.items():
            found[name] = float(entry.score(labels, predictions, **entry.facts(**facts)))
        # A constant has no correlation.
        constants = [float(primary.score(labels, answer, **primary.facts(**facts))) for answer in answers]
        found["constant"] = max(constants, default=0.0)
    if names is None:
        return found
    found["calibration_error"] = calibration_error(labels, logits)
    found["collapsed"] = bool(len(np.unique(predictions)) == 1)
    precision, recall, _, support = precision_recall_fscore_support(
        labels, predictions, labels=range(len(names)), zero_division=0
    )
    found["per_class"] = {
        name: {"precision": float(precision[i]), "recall": float(recall[i]), "rows": int(support[i])}
        for i, name in enumerate(names)
    }
    return found


def has_label(labels: Array, names: Sequence[str] | None) -> Array:
    """Which rows have a label.

    Args:
        labels: class ids or scores. (N,)
        names: class names by id; None for a regression.

    Returns:
        Boolean array. (N,)
    """
    return ~np.isnan(labels) if names is None else labels != UNLABELLED


def best_naming(labels: Array, logits: Array) -> tuple[list[int], float, float]:
    """Which class each output of a model would have to mean for its answers to fit the labels best.

    Args:
        labels: class ids. (N,)
        logits: (N, C)

    Returns:
        Class by output; accuracy as the outputs are named, and as they would be. Rows without a label do not count.

    >>> best_naming(np.array([0, 1, 1]), np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]))
    ([1, 0], 0.0, 1.0)
    """
    known, classes = labels != UNLABELLED, logits.shape[1]
    codes = logits[known].argmax(1) * classes + labels[known]
    counts = np.bincount(codes, minlength=classes**2).reshape(classes, classes)
    outputs, named = linear_sum_assignment(counts, maximize=True)
    total = max(1, counts.sum())
    return named.tolist(), float(np.trace(counts) / total), float(counts[outputs, named].sum() / total)


def calibration_error(labels: Array, logits: Array, *, bins: int = 15) -> float:
    """Expected calibration error: sum over bins of confidence of share * |accuracy - mean confidence|.

    Args:
        labels: class ids. (N,)
        logits: (N, C)
        bins: of equal width between 0 and 1.

    Returns:
        Between 0 and 1. Source: Guo et al. 2017.

    >>> calibration_error(np.array([0, 1]), np.log([[0.8, 0.2], [0.8, 0.2]]))  # right once in two, says 0.8
    0.3
    """
    probabilities = softmax(logits, axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (bin_of == b).mean() * abs(right[bin_of == b].mean() - confidence[bin_of == b].mean())
        for b in np.unique(bin_of)
    ]
    return round(float(sum(gaps)), 12)


def headline(scores: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers among a model's scores, without counts and tables.

    Args:
        scores: from `task_scores`.

    Returns:
        Metrics by name.
    """
    return {name: value for name, value in scores.items() if type(value) is float and name != "constant"}


def beats_constant(scores: Mapping[str, Any]) -> bool:
    """Whether a model does more than give one answer: it beats the best constant answer by two standard errors.

    Args:
        scores: with `standard_error`, which is 0 for a model that does give one answer.

    Returns:
        True if it does.

    >>> beats_constant({"metric": "mcc", "mcc": 0.0, "constant": 0.0, "standard_error": 0.0})
    False
    """
    return bool(scores[scores["metric"]] - scores["constant"] > 2 * scores["standard_error"])


def agreement(
    labels: Array, teacher_logits: Array, student_logits: Array, *, names: Sequence[str] | None
) -> dict[str, Any]:
    """How far the student repeats its teacher, mistakes included.

    Args:
        labels: class ids or scores. (N,)
        teacher_logits: (N, C)
        student_logits: (N, C)
        names: class names by id; None for a regression.

    Returns:
        For classes `equal_predictions` (share of all rows) and the counts of labelled rows by
        teacher right or wrong and student right or wrong. For a regression Pearson's r and the mean squared difference.
    """
    if names is None:
        return {
            "pearson": correlate(pearsonr, teacher_logits[:, 0], student_logits[:, 0]),
            "mse": float(np.square(teacher_logits - student_logits).mean()),
        }
    teacher, student = teacher_logits.argmax(1), student_logits.argmax(1)
    known = labels != UNLABELLED
    counts = {
        f"teacher_{'right' if t else 'wrong'}_student_{'right' if s else 'wrong'}": int(
            (((teacher == labels) == t) & ((student == labels) == s) & known).sum()
        )
        for t in (True, False)
        for s in (True, False)
    }
    return {"equal_predictions": float((teacher == student).mean()), **counts}


def predictions_of(logits: Array, names: Sequence[str] | None) -> Array:
    """What a model answers.

    Args:
        logits: (N, C)
        names: class names by id; None for a regression.

    Returns:
        Class ids or scores. (N,)
    """
    return logits[:, 0] if names is None else logits.argmax(1)
