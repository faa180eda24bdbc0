"""The difference of two models' scores on the same examples, with its standard error over examples.

Shapes: N examples, C outputs. Examples that belong together count as one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.labelled_examples import LabelledExamples, mark_groups, sum_groups
from innerdistill.evaluation.metrics import SHARES_OF_RIGHT
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.pseudo_values import compute_pseudo_values, estimate_standard_error

Array = NDArray[Any]

FEW_DIFFERENT = 10  # with fewer examples answered differently, the normal approximation is too narrow for accuracy
STANDARD_ERRORS = 2  # a difference of more is called clear


@dataclass(frozen=True)
class PairedDifference:
    """A difference of two scores on the same examples.

    Attributes:
        difference: first score less the second one, in the units of the metric.
        standard_error: standard error over examples, in the units of the metric; seeds are not covered.
        different: number of examples that the two answer differently.
    """

    difference: float
    standard_error: float
    different: int

    @property
    def is_clearly_positive(self) -> bool:
        """Whether the first score is higher by more than two standard errors."""
        return self.difference > STANDARD_ERRORS * self.standard_error

    @property
    def is_clearly_negative(self) -> bool:
        """Whether the first score is lower by more than two standard errors."""
        return -self.difference > STANDARD_ERRORS * self.standard_error

    def as_dict(self) -> dict[str, float]:
        """The fields by name, for run.json."""
        return asdict(self)


def compare_on_examples(
    examples: LabelledExamples, first: Array, second: Array, *, scoring: Scoring
) -> PairedDifference:
    """Compare the primary scores of two models on the same examples.

    With d the difference of the pseudo-values of an example, the variance of the difference is var(d) / N. For accuracy
    with fewer than 10 examples answered differently, 2 / N^2 is added to it. With groups, d is that of a group, and N
    the number of groups.

    Args:
        examples: examples of a split, all with a label. (N,)
        first: predictions of the first model, from `scoring.predictions.predict`.
        second: predictions of the second model.
        scoring: metric, names and what the outputs mean.

    Returns:
        The difference with its standard error.
    """
    differences = compute_pseudo_values(examples.labels, first, scoring=scoring)
    differences = differences - compute_pseudo_values(examples.labels, second, scoring=scoring)
    identify = scoring.predictions.identify
    by_group, differs = sum_groups(differences, examples.groups), identify(first) != identify(second)
    error = estimate_standard_error(by_group)
    if scoring.metric in SHARES_OF_RIGHT and mark_groups(differs, examples.groups).sum() < FEW_DIFFERENT:
        error = float(np.sqrt(error**2 + 2 / len(by_group) ** 2))
    return PairedDifference(float(differences.mean()), error, int(differs.sum()))


def compare_logits(examples: LabelledExamples, first: Array, second: Array, *, scoring: Scoring) -> PairedDifference:
    """Compare the primary scores of two models on the examples that have a label.

    Args:
        examples: examples of a split; those without a label do not take part. (N,)
        first: output of the first model. (N, C)
        second: output of the second model. (N, C)
        scoring: metric, names and what the outputs mean.

    Returns:
        The difference with its standard error.
    """
    predictions = (scoring.predict_labelled(examples, logits) for logits in (first, second))
    return compare_on_examples(scoring.select_labelled(examples), *predictions, scoring=scoring)


def compare_with_constant(examples: LabelledExamples, logits: Array, *, scoring: Scoring) -> PairedDifference:
    """Compare the primary score of a model with that of the constant answer.

    Args:
        examples: examples of a split; those without a label do not take part. (N,)
        logits: output of the model. (N, C)
        scoring: metric, names, what the outputs mean, and the constant answer.

    Returns:
        The model's score less the constant answer's, with its standard error.
    """
    labelled, predictions = scoring.select_labelled(examples), scoring.predict_labelled(examples, logits)
    return compare_on_examples(labelled, predictions, scoring.answer_constant(labelled.labels), scoring=scoring)
