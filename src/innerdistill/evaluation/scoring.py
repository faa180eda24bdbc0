"""Scores of a model's outputs, computed from labels and logits. predictions.parquet is enough to compute them again.

Shapes: N examples, C outputs. Examples without a label do not take part.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from innerdistill.evaluation.prediction_type import Scoring

Array = NDArray[Any]


def score_outputs(labels: Array, logits: Array, *, scoring: Scoring) -> dict[str, Any]:
    """Compute all scores of one model on one split.

    Args:
        labels: class ids or scores. (N,)
        logits: output of the model. (N, C)
        scoring: metric, names and what the outputs mean.

    Returns:
        Every metric that fits. `metric` names the primary one, `rows` is the number of labelled examples, and
        `constant` is what the best constant answer would score: under accuracy the most frequent class. Then the
        further scores of the problem type.

    Raises:
        ValueError: no example has a label.
    """
    predictions_are = scoring.predictions
    known = predictions_are.has_label(labels)
    if not known.any():
        raise ValueError("no row has a label, so there is nothing to score.")
    labels, logits = labels[known], logits[known]
    predictions, primary = predictions_are.predict(logits), scoring.primary
    scores: dict[str, Any] = {"metric": scoring.metric, "rows": len(labels)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of samples that hold one class only: their score is defined
        for name, metric in scoring.metrics.items():
            scores[name] = scoring.score(metric, labels, predictions)
        constants = predictions_are.constant_predictions(labels, scoring.names)
        scores["constant"] = max(scoring.score(primary, labels, constant) for constant in constants)
    return scores | predictions_are.describe(labels, logits, scoring.names)


def select_numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Select the plain numbers among a model's scores, without counts and tables.

    Args:
        scores: from `score_outputs`.

    Returns:
        Metrics by name.
    """
    return {name: value for name, value in scores.items() if type(value) is float and name != "constant"}


def beats_constant(scores: Mapping[str, Any]) -> bool:
    """Tell whether a model beats the best constant answer by two standard errors.

    Args:
        scores: scores with their `standard_error`, which is 0 for a model that always gives the same answer.

    Returns:
        True if it does.

    >>> beats_constant({"metric": "mcc", "mcc": 0.0, "constant": 0.0, "standard_error": 0.0})
    False
    """
    return bool(scores[scores["metric"]] - scores["constant"] > 2 * scores["standard_error"])
