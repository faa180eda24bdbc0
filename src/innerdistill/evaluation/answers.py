"""What runs answer to the same examples, as statistics need it. Shapes: R runs, N examples, C outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.pseudo_values import compute_pseudo_values

Array = NDArray[Any]


@dataclass(frozen=True)
class Answers:
    """Answers of one or several runs to the examples that have a label.

    Attributes:
        predictions: predictions of every run. (R, N)
        pseudo_values: pseudo-values of the primary metric, whose mean is a run's score. (R, N)
    """

    predictions: Array
    pseudo_values: NDArray[np.float64]

    @property
    def collapsed(self) -> NDArray[np.bool_]:
        """By run, whether it gives all examples the same answer, as an array (R,)."""
        return np.asarray(np.ptp(self.predictions, axis=1) == 0)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores in the primary metric by run, as an array (R,)."""
        return np.asarray(self.pseudo_values.mean(1))


def collect_answers(labels: Array, logits: Array, *, scoring: Scoring) -> Answers:
    """Collect the answers of one run.

    Args:
        labels: class ids or scores; examples without a label do not take part. (N,)
        logits: output of the run's model. (N, C)
        scoring: metric, names and what the outputs mean.

    Returns:
        The answers, with R = 1.
    """
    known = scoring.predictions.has_label(labels)
    predictions = scoring.predictions.predict(logits[known])
    values = compute_pseudo_values(labels[known], predictions, scoring=scoring)
    return Answers(predictions[None], values[None])


def join_answers(runs: Sequence[Answers]) -> Answers:
    """Join the answers of several runs to the same examples.

    Args:
        runs: at least one.

    Returns:
        All of them, in their order.

    Raises:
        ValueError: runs with other numbers of examples.
    """
    counts = sorted({run.predictions.shape[1] for run in runs})
    if len(counts) > 1:
        raise ValueError(f"runs were scored on {counts[0]:,} and on {counts[-1]:,} examples, so cannot be compared.")
    return Answers(
        np.concatenate([run.predictions for run in runs]), np.concatenate([run.pseudo_values for run in runs])
    )


def count_rarest(labels: Array, *, scoring: Scoring) -> int | None:
    """Count the examples of the rarest class that occurs.

    Args:
        labels: class ids or scores. (N,)
        scoring: metric, names and what the outputs mean.

    Returns:
        Number of its examples; None where labels are no classes.
    """
    if scoring.primary.shape != "classes":
        return None
    known = labels[scoring.predictions.has_label(labels)]
    return int(np.unique(known, return_counts=True)[1].min())
