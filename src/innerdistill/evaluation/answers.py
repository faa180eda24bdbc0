"""What runs answer to the same examples, as statistics need it.

Shapes: R runs, N examples, G groups of them that count as one, C outputs. Where none belong together, G is N.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.labelled_examples import LabelledExamples, mark_groups, sum_groups
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.evaluation.pseudo_values import compute_pseudo_values

Array = NDArray[Any]


@dataclass(frozen=True)
class Answers:
    """Answers of one or several runs to the examples that have a label.

    Attributes:
        predictions: predictions of every run, one number for each answer, equal for equal ones. (R, N)
        pseudo_values: pseudo-values of the primary metric by group, whose mean is a run's score. (R, G)
        groups: number of the group of each example (N,); None if each example stands for itself.
    """

    predictions: Array
    pseudo_values: NDArray[np.float64]
    groups: Array | None = None

    @property
    def collapsed(self) -> NDArray[np.bool_]:
        """By run, whether it gives all examples the same answer, as an array (R,)."""
        return np.asarray(np.ptp(self.predictions, axis=1) == 0)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores in the primary metric by run, as an array (R,)."""
        return np.asarray(self.pseudo_values.mean(1))


def collect_answers(examples: LabelledExamples, logits: Array, *, scoring: Scoring) -> Answers:
    """Collect the answers of one run.

    Args:
        examples: examples of a split; those without a label do not take part. (N,)
        logits: output of the run's model. (N, C)
        scoring: metric, names and what the outputs mean.

    Returns:
        The answers, with R = 1.
    """
    predictions, examples = scoring.predict_labelled(examples, logits), scoring.select_labelled(examples)
    values = compute_pseudo_values(examples.labels, predictions, scoring=scoring)
    answers = scoring.predictions.identify(predictions)
    return Answers(answers[None], sum_groups(values, examples.groups)[None], examples.groups)


def join_answers(runs: Sequence[Answers]) -> Answers:
    """Join the answers of several runs to the same examples.

    Args:
        runs: at least one.

    Returns:
        All of them, in their order.

    Raises:
        ValueError: runs with other numbers of examples, or with other groups of them.
    """
    counts = sorted({run.predictions.shape[1] for run in runs})
    if len(counts) > 1:
        raise ValueError(f"runs were scored on {counts[0]:,} and on {counts[-1]:,} examples, so cannot be compared.")
    groups = find_shared_groups(runs)
    predictions, values = [run.predictions for run in runs], [run.pseudo_values for run in runs]
    return Answers(np.concatenate(predictions), np.concatenate(values), groups)


def find_shared_groups(runs: Iterable[Answers]) -> Array | None:
    """Find the groups of examples that all of some runs have.

    Args:
        runs: at least one, of the same number of examples.

    Returns:
        Number of the group of each example (N,); None if each example stands for itself.

    Raises:
        ValueError: runs with other groups.
    """
    first, *others = (run.groups for run in runs)
    for groups in others:
        are_same = groups is first if groups is None or first is None else np.array_equal(groups, first)
        if not are_same:
            raise ValueError("runs were scored with other values in the column of data.group, so cannot be compared.")
    return first


def count_rarest(examples: LabelledExamples, *, scoring: Scoring) -> int | None:
    """Count the examples of the rarest class that occurs; those of a group count as one.

    Args:
        examples: examples of a split. (N,)
        scoring: metric, names and what the outputs mean.

    Returns:
        Number of its examples, or of the groups that hold any; None where labels are no classes.
    """
    known = examples.select(scoring.predictions.has_label(examples.labels))
    classes = scoring.predictions.mark_classes(known.labels, scoring.names)
    counts = [int(mark_groups(marks, known.groups).sum()) for marks in classes.values()]
    return min(filter(None, counts), default=None)
