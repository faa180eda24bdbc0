"""Pseudo-values: one number per example, which average to the score. From them follow standard errors of any metric.

The pseudo-value of an example is N * score - (N - 1) * (score without this example), centred so that the mean is the
score. For accuracy it is 1 where the prediction is right, else 0. Shapes: N examples, C classes.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    score = _score(labels, predictions, metric, scoring)
    if len(labels) == 1:
        return np.array([score])
    if metric.pseudo_values is not None:
        values = metric.pseudo_values(labels, predictions)
    elif metric.shape == "classes":
        values = _delete_one_of_each_cell(labels, predictions, metric, scoring, score=score)
    else:
        without = [_score(np.delete(labels, i), np.delete(predictions, i), metric, scoring) for i in range(len(labels))]
        values = score + (len(labels) - 1) * (score - np.array(without))
    return np.asarray(values - values.mean() + score)


def estimate_standard_error(pseudo_values: Array) -> float:
    """Estimate the standard error over examples of a mean of pseudo-values: sd / sqrt(N), with ddof 1.

    Args:
        pseudo_values: pseudo-values of a score, or of a difference of two. (N,)

    Returns:
        In the units of the metric; 0 for one example, where nothing is known.

    >>> estimate_standard_error(np.array([1.0, 1.0, 0.0, 0.0]))
    0.28867513459481287
    """
    if len(pseudo_values) < 2:
        return 0.0
    return float(pseudo_values.std(ddof=1) / np.sqrt(len(pseudo_values)))


def _delete_one_of_each_cell(
    labels: Array, predictions: Array, metric: Metric, scoring: Scoring, *, score: float
) -> Array:
    """Pseudo-values of classes: examples with the same label and the same prediction have the same one."""
    assert scoring.names
    classes, total = len(scoring.names), len(labels)
    cells, first, cell_of = np.unique(labels * classes + predictions, return_index=True, return_inverse=True)
    if metric.of_counts is None:
        without = np.array([_score(np.delete(labels, i), np.delete(predictions, i), metric, scoring) for i in first])
    else:
        counts = np.bincount(labels * classes + predictions, minlength=classes**2)
        parts = []
        for begin in range(0, len(cells), CELLS_AT_ONCE):
            some = cells[begin : begin + CELLS_AT_ONCE]
            matrices = np.repeat(counts[None], len(some), axis=0)
            matrices[np.arange(len(some)), some] -= 1
            parts.append(metric.of_counts(matrices.reshape(-1, classes, classes), **scoring.facts(metric)))
        without = np.concatenate(parts)
    return np.asarray((score + (total - 1) * (score - without))[cell_of])


def _score(labels: Array, predictions: Array, metric: Metric, scoring: Scoring) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of examples that hold one class only: their score is defined
        return scoring.score(metric, labels, predictions)
