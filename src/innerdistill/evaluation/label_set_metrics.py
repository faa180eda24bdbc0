"""Metrics of multi-label classification, with exact pseudo-values. Shapes: N examples, C labels.

Labels are 1 or 0. Predictions are margins: the logit less that of the threshold, so a label is predicted above 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score

Array = NDArray[np.float64]


def find_sets(margins: Array) -> NDArray[np.int64]:
    """Find the labels that are predicted.

    Args:
        margins: logits less those of the thresholds. (N, C)

    Returns:
        1 for predicted labels, else 0. (N, C)
    """
    return (margins > 0).astype(np.int64)


@dataclass(frozen=True)
class SetScore:
    """A score function of the user's that reads label sets, not margins.

    Attributes:
        wraps: function (labels (N, C), predictions (N, C)) -> score, both of 1 and 0.
    """

    wraps: Callable[..., float]

    def __call__(self, labels: Array, margins: Array) -> float:
        """Score predictions."""
        return self.wraps(labels.astype(np.int64), find_sets(margins))


def score_micro_f1(labels: Array, margins: Array) -> float:
    """F1 over all pairs of example and label: 2 TP / (2 TP + FP + FN).

    Args:
        labels: 1 or 0. (N, C)
        margins: predictions. (N, C)

    Returns:
        From 0 to 1; 0 where nothing is right.

    >>> score_micro_f1(np.array([[1, 1], [0, 1]]), np.array([[2.0, -1.0], [3.0, 0.5]]))  # TP 2, FP 1, FN 1
    0.6666666666666666
    """
    return float(f1_score(labels, find_sets(margins), average="micro", zero_division=0))


def score_macro_f1(labels: Array, margins: Array) -> float:
    """F1 of every label, averaged over the labels that occur or are predicted.

    Args:
        labels: 1 or 0. (N, C)
        margins: predictions. (N, C)

    Returns:
        From 0 to 1; 0 where no label occurs or is predicted.
    """
    counts = _count(labels, margins).sum(0)
    return float(_average_f1(counts[None])[0])


def score_exact_match(labels: Array, margins: Array) -> float:
    """Share of examples all of whose labels are right.

    Args:
        labels: 1 or 0. (N, C)
        margins: predictions. (N, C)

    Returns:
        From 0 to 1.
    """
    return float((find_sets(margins) == labels).all(1).mean())


def score_average_precision(labels: Array, margins: Array) -> float:
    """Average precision of every label over all thresholds, averaged over the labels that apply to any example.

    Args:
        labels: 1 or 0. (N, C)
        margins: predictions. (N, C)

    Returns:
        From 0 to 1; 0 where no label applies.
    """
    occurs = labels.any(0)
    if not occurs.any():
        return 0.0
    return float(average_precision_score(labels[:, occurs], margins[:, occurs], average="macro"))


def compute_micro_f1_pseudo_values(labels: Array, margins: Array) -> Array:
    """Compute N * score - (N - 1) * (score without the example), for micro F1.

    Args:
        labels: 1 or 0. (N, C)
        margins: predictions. (N, C)

    Returns:
        One value per example. (N,)
    """
    counts = _count(labels, margins).sum(1)
    total = counts.sum(0)
    return _jackknife(_compute_f1(total[None])[0], _compute_f1(total - counts))


def compute_macro_f1_pseudo_values(labels: Array, margins: Array) -> Array:
    """Compute N * score - (N - 1) * (score without the example), for macro F1.

    Args:
        labels: 1 or 0. (N, C)
        margins: predictions. (N, C)

    Returns:
        One value per example. (N,)
    """
    counts = _count(labels, margins)
    total = counts.sum(0)
    return _jackknife(_average_f1(total[None])[0], _average_f1(total - counts))


def compute_exact_match_pseudo_values(labels: Array, margins: Array) -> Array:
    """Compute whether all labels of an example are right: the score is a mean of these.

    Args:
        labels: 1 or 0. (N, C)
        margins: predictions. (N, C)

    Returns:
        1 or 0. (N,)
    """
    return (find_sets(margins) == labels).all(1).astype(float)


def compute_average_precision_pseudo_values(labels: Array, margins: Array) -> Array:
    """Compute N * score - (N - 1) * (score without the example), for mean average precision.

    Args:
        labels: 1 or 0. (N, C)
        margins: predictions. (N, C)

    Returns:
        One value per example. (N,)
    """
    sums, without = np.zeros(len(labels)), np.zeros(len(labels))
    total = count = 0.0
    for label in range(labels.shape[1]):
        positive = labels[:, label] > 0
        if not positive.any():
            continue
        score, scores_without = _delete_one_of_ranking(positive, margins[:, label])
        total, count = total + score, count + 1
        stays = (positive.sum() - positive) > 0  # without its only positive example, a label does not count
        sums += np.where(stays, scores_without, 0)
        without += stays
    if not count:
        return np.zeros(len(labels))
    return _jackknife(total / count, np.divide(sums, without, out=np.zeros_like(sums), where=without > 0))


def _delete_one_of_ranking(positive: NDArray[np.bool_], margins: Array) -> tuple[float, Array]:
    """Average precision of one label, and that without each example (N,).

    sum_g p_g t_g / n_g / (number of positives), over the different margins g from the highest on. At g there are p_g
    positives. Down to g there are t_g positives among n_g examples. An example counts in all terms from its own on.
    """
    _, place = np.unique(-margins, return_inverse=True)
    at, hits_at = np.bincount(place).astype(float), np.bincount(place, weights=positive)
    seen, hits = at.cumsum(), hits_at.cumsum()
    terms = hits_at * hits / seen
    total = hits[-1]
    above = np.concatenate([[0.0], terms.cumsum()])[place]  # terms before its own

    def sum_after(numerator: Array) -> Array:
        """Sum the terms behind each margin, with one example fewer."""
        ahead = np.divide(hits_at * numerator, seen - 1, out=np.zeros_like(seen), where=seen > 1)
        return np.append(ahead[::-1].cumsum()[::-1][1:], 0.0)

    less = np.where(positive, 1.0, 0.0)
    left, rest = (hits_at[place] - less) * (hits[place] - less), seen[place] - 1
    own = np.divide(left, rest, out=np.zeros_like(left), where=rest > 0)
    after = np.where(positive, sum_after(hits - 1)[place], sum_after(hits)[place])
    positives = total - less
    sums = above + own + after
    return float(terms.sum() / total), np.divide(sums, positives, out=np.zeros_like(sums), where=positives > 0)


def _count(labels: Array, margins: Array) -> NDArray[np.int64]:
    """Count true positives, false positives and false negatives by example and label, (N, C, 3)."""
    sets, labels = find_sets(margins), labels.astype(np.int64)
    return np.stack([sets * labels, sets * (1 - labels), (1 - sets) * labels], axis=-1)


def _compute_f1(counts: Array) -> Array:
    """2 TP / (2 TP + FP + FN), 0 where all are 0: (..., 3) to (...)."""
    both = 2 * counts[..., 0]
    whole = (both + counts[..., 1] + counts[..., 2]).astype(float)
    return np.divide(both, whole, out=np.zeros_like(whole), where=whole > 0)


def _average_f1(counts: Array) -> Array:
    """Mean F1 over the labels that occur or are predicted: (D, C, 3) to (D,)."""
    occurs = (counts.sum(-1) > 0).sum(-1)
    sums = _compute_f1(counts).sum(-1)
    return np.divide(sums, occurs, out=np.zeros_like(sums), where=occurs > 0)


def _jackknife(score: float, scores_without: Array) -> Array:
    total = len(scores_without)
    return np.asarray(total * score - (total - 1) * scores_without)
