"""Pseudo-values: one number per example, which average to the score. From them follow standard errors of any metric.

The pseudo-value of an example is N * score - (N - 1) * (score without this example), centred so that the mean is the
score. For accuracy it is 1 where the prediction is right, else 0. Shapes: N examples, C classes.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.ragged import is_ragged
from innerdistill.evaluation.metrics import Metric
from innerdistill.evaluation.prediction_type import Scoring

Array = NDArray[Any]

CELLS_AT_ONCE = 256  # confusion matrices in memory


def compute_pseudo_values(labels: Array, predictions: Array, *, scoring: Scoring) -> Array:
    """Compute the pseudo-values of the primary metric.

    Args:
        labels: class ids or scores, none missing. (N,)
        predictions: from `scoring.predictions.predict`. (N,)
        scoring: metric, names and what the outputs mean.

    Returns:
        Pseudo-values, whose mean is the score. (N,)
    """
    metric = scoring.primary
    if metric.of_counts is not None:
        return _delete_one_of_each_cell(labels, predictions, metric, scoring)
    score = _score(labels, predictions, metric, scoring)
    if len(labels) == 1:
        return np.array([score])
    if metric.pseudo_values is not None:
        values = metric.pseudo_values(labels, predictions, **scoring.facts(metric))
    else:
        values = _delete_one_of_each_pair(labels, predictions, metric, scoring, score=score)
    return np.asarray(values - values.mean() + score)


def estimate_standard_error(pseudo_values: Array) -> float:
    """Estimate the standard error over examples of a mean of pseudo-values: sd / sqrt(N), with ddof 1.

    Args:
        pseudo_values: pseudo-values of a score, or of a difference of two, by example or group of examples. (N,)

    Returns:
        In the units of the metric; 0 for one example, where nothing is known.

    >>> estimate_standard_error(np.array([1.0, 1.0, 0.0, 0.0]))
    0.28867513459481287
    """
    if len(pseudo_values) < 2:
        return 0.0
    return float(pseudo_values.std(ddof=1) / np.sqrt(len(pseudo_values)))


def _delete_one_of_each_cell(labels: Array, predictions: Array, metric: Metric, scoring: Scoring) -> Array:
    """Pseudo-values of classes from counts: examples with the same label and the same prediction have the same one."""
    assert scoring.names
    assert metric.of_counts is not None
    classes, total, facts = len(scoring.names), len(labels), scoring.facts(metric)
    codes = labels * classes + predictions
    counts = np.bincount(codes, minlength=classes**2)
    (score,) = metric.of_counts(counts.reshape(1, classes, classes), **facts)
    if total == 1:
        return np.array([score])
    cells, cell_of = np.unique(codes, return_inverse=True)
    parts = []
    for begin in range(0, len(cells), CELLS_AT_ONCE):
        some = cells[begin : begin + CELLS_AT_ONCE]
        matrices = np.repeat(counts[None], len(some), axis=0)
        matrices[np.arange(len(some)), some] -= 1
        parts.append(metric.of_counts(matrices.reshape(-1, classes, classes), **facts))
    values = (score + (total - 1) * (score - np.concatenate(parts)))[cell_of]
    return np.asarray(values - values.mean() + score)


def _delete_one_of_each_pair(
    labels: Array, predictions: Array, metric: Metric, scoring: Scoring, *, score: float
) -> Array:
    """Pseudo-values of any metric: examples with the same label and the same prediction have the same one."""
    if is_ragged(labels):
        pairs = np.array([f"{gold.tolist()}{given.tolist()}" for gold, given in zip(labels, predictions, strict=True)])
    else:
        pairs = np.hstack([labels.reshape(len(labels), -1), predictions.reshape(len(labels), -1)])
    _, first, pair_of = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    without = [_score(np.delete(labels, i, axis=0), np.delete(predictions, i, axis=0), metric, scoring) for i in first]
    return np.asarray((score + (len(labels) - 1) * (score - np.array(without)))[pair_of.reshape(-1)])


def _score(labels: Array, predictions: Array, metric: Metric, scoring: Scoring) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of examples that hold one class only: their score is defined
        return scoring.score(metric, labels, predictions)
