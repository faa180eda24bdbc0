"""Scores of a model's outputs, computed from labels and logits. predictions.parquet is enough to compute them again.

Shapes: N examples, C outputs. Examples without a label do not take part.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from innerdistill.evaluation.labelled_examples import LabelledExamples
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.support.user_code import UserCodeError

Array = NDArray[Any]


def score_outputs(
    labels: Array, logits: Array, *, scoring: Scoring, predictions: Array | None = None
) -> dict[str, Any]:
    """Compute all scores of one model on one split.

    Args:
        labels: class ids or scores; without labels the teacher's predictions. (N,)
        logits: output of the model. (N, C)
        scoring: metric, names and what the outputs mean.
        predictions: from `scoring.predict_labelled`, where they are known already.

    Returns:
        Every metric that fits. `metric` names the primary one, `rows` is the number of labelled examples. `constant`
        is what the constant answer that is best on train scores here, `best_constant` what the best one here scores.
        Then the further scores of the problem type; without labels only `collapsed`.

    Raises:
        ValueError: no example has a label, or a metric of an installed package returns no finite number.
    """
    predictions_are, examples = scoring.predictions, LabelledExamples(labels)
    known = predictions_are.has_label(labels)
    if not known.any():
        raise ValueError("no row has a label, so there is nothing to score.")
    predictions = scoring.predict_labelled(examples, logits) if predictions is None else predictions
    labels, logits = scoring.select_labelled(examples).labels, logits[known]
    scores: dict[str, Any] = {"metric": scoring.metric, "rows": len(labels)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of samples that hold one class only: their score is defined
        for name, metric in scoring.metrics.items():
            scores[name] = scoring.score(metric, labels, predictions)
            if not math.isfinite(scores[name]):
                raise UserCodeError(f"metrics.{name} returned {scores[name]}, expected a finite number.")
    errors = [name for name, metric in scoring.metrics.items() if not metric.higher_is_better]
    if set(errors) - {"mse"}:  # the user's own: who reads the record later does not know them
        scores["lower_is_better"] = errors
    constants = scoring.score_constants(labels)
    scores["best_constant"] = max(constants)
    scores["constant"] = scores["best_constant"] if scoring.constant is None else constants[scoring.constant]
    further = predictions_are.describe(labels, logits, scoring.names)
    if scoring.is_against_teacher:  # what else there is to say needs labels
        further = {name: value for name, value in further.items() if name == "collapsed"}
    return scores | further


def select_numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Select the plain numbers among a model's scores, without counts and tables.

    Args:
        scores: from `score_outputs`.

    Returns:
        Metrics by name.
    """
    return {name: value for name, value in scores.items() if type(value) is float and "constant" not in name}
