"""Examples that models are scored on: what they are scored against, and which of them belong together.

Scored against are labels or, without labels, the teacher's predictions. Examples that belong together count as one.

Shapes: N examples, G groups; where no examples belong together, G is N.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.windows import read_of_examples

if TYPE_CHECKING:
    from datasets import Dataset

    from innerdistill.evaluation.prediction_type import Scoring

Array = NDArray[Any]


@dataclass(frozen=True)
class LabelledExamples:
    """The examples of a split.

    Attributes:
        labels: class ids or scores (N,); of multi-label classification 1 or 0 by label (N, C). Of examples that are
            scored against the teacher, its predictions.
        groups: number of the group of each example (N,); None if each example stands for itself.
    """

    labels: Array
    groups: Array | None = None

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array], *, scoring: Scoring) -> LabelledExamples:
        """Take the examples from predictions. This decides what models are scored against.

        Args:
            columns: label and, with groups, group by name (N,); without labels also logits of `teacher` (N, C).
            scoring: says whether the teacher's predictions stand in the place of labels.

        Returns:
            The examples.
        """
        labels = columns["label"]
        if scoring.is_against_teacher:
            labels = scoring.predictions.decide(columns["teacher"])
        return cls(labels, columns.get("group"))

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> LabelledExamples:
        """Take the examples from a tokenised split.

        Args:
            dataset: columns labels and, with groups, group.

        Returns:
            The examples.
        """
        groups = read_of_examples(dataset, "group") if "group" in dataset.column_names else None
        return cls(read_of_examples(dataset, "labels"), groups)

    def select(self, chosen: NDArray[np.bool_]) -> LabelledExamples:
        """Select some of the examples.

        Args:
            chosen: True for these. (N,)

        Returns:
            The selected examples.
        """
        return LabelledExamples(self.labels[chosen], None if self.groups is None else self.groups[chosen])


def sum_groups(values: NDArray[np.float64], groups: Array | None) -> NDArray[np.float64]:
    """Make one value of those of each group, without a change of the mean.

    With m the mean of N values and G groups, a group counts as m + (G / N) sum (d - m). With groups of one size this is
    its mean.

    Args:
        values: pseudo-values, or differences of them, by example. (..., N)
        groups: number of the group of each example (N,); None if each example stands for itself.

    Returns:
        Values by group. (..., G)

    >>> sum_groups(np.array([0.0, 1.0, 5.0, 6.0]), np.array([0, 0, 1, 1]))
    array([0.5, 5.5])
    """
    if groups is None:
        return values
    numbers, group_of = np.unique(groups, return_inverse=True)
    means = values.mean(-1, keepdims=True)
    rows = (values - means).reshape(-1, len(groups))
    sums = np.stack([np.bincount(group_of, weights=row) for row in rows])
    return np.asarray(means + len(numbers) / len(groups) * sums.reshape(*values.shape[:-1], len(numbers)))


def mark_groups(marks: NDArray[np.bool_], groups: Array | None) -> NDArray[np.bool_]:
    """Mark the groups of which any example is marked.

    Args:
        marks: True for some examples. (N,)
        groups: number of the group of each example (N,); None if each example stands for itself.

    Returns:
        True for their groups, in the order of `sum_groups`. (G,)
    """
    if groups is None:
        return marks
    _, group_of = np.unique(groups, return_inverse=True)
    return np.asarray(np.bincount(group_of, weights=marks) > 0)
