"""Metrics of tags of words, with exact pseudo-values by example. Shapes: N examples, W_i words of example i.

Labels and predictions are arrays of tag ids, one for each example. Where tags mark no entities, as parts of speech,
every word counts as an entity of its own. Precision, recall and F1 are then the share of right tags.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.ragged import join_ragged
from innerdistill.data.tag_schemes import TagSet, find_scheme, read_tag_set
from innerdistill.evaluation.entities import (
    EntityCounts,
    compute_ratio_pseudo_values,
    count_entities,
    score_entities,
)

Array = NDArray[Any]


def read_tags(names: Sequence[str]) -> TagSet:
    """Read what tags mean. Of tags that mark no entities, each is a type, and every word an entity.

    Args:
        names: tag names by id.

    Returns:
        Letters and types by id.
    """
    if find_scheme(names) is not None:
        return read_tag_set(names)
    return TagSet(np.full(len(names), "S"), np.arange(len(names)), tuple(names))


def count_tags(labels: Array, predictions: Array, names: Sequence[str]) -> EntityCounts:
    """Count the entities of every example.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.

    Returns:
        Counts by example and type.
    """
    gold, lengths = join_ragged(labels)
    predicted, _ = join_ragged(predictions)
    return count_entities(gold, predicted, lengths, read_tags(names))


def score_entity_precision(labels: Array, predictions: Array, *, names: Sequence[str]) -> float:
    """Share of the predicted entities that are right.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.

    Returns:
        From 0 to 1; 0 without predicted entities.
    """
    return score_entities(count_tags(labels, predictions, names))["precision"]


def score_entity_recall(labels: Array, predictions: Array, *, names: Sequence[str]) -> float:
    """Share of the gold entities that are found.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.

    Returns:
        From 0 to 1; 0 without gold entities.
    """
    return score_entities(count_tags(labels, predictions, names))["recall"]


def score_entity_f1(labels: Array, predictions: Array, *, names: Sequence[str]) -> float:
    """F1 over the entities of all examples: 2 right / (predicted + gold).

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.

    Returns:
        From 0 to 1; 0 without entities.
    """
    return score_entities(count_tags(labels, predictions, names))["f1"]


def score_tag_accuracy(labels: Array, predictions: Array) -> float:
    """Share of words with the right tag.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)

    Returns:
        From 0 to 1.
    """
    return float((join_ragged(labels)[0] == join_ragged(predictions)[0]).mean())


def compute_entity_precision_pseudo_values(labels: Array, predictions: Array, *, names: Sequence[str]) -> Array:
    """Compute N * score - (N - 1) * (score without the example), for precision.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.

    Returns:
        One value per example. (N,)
    """
    counts = count_tags(labels, predictions, names)
    return compute_ratio_pseudo_values(counts.right.sum(1), counts.predicted.sum(1))


def compute_entity_recall_pseudo_values(labels: Array, predictions: Array, *, names: Sequence[str]) -> Array:
    """Compute N * score - (N - 1) * (score without the example), for recall.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.

    Returns:
        One value per example. (N,)
    """
    counts = count_tags(labels, predictions, names)
    return compute_ratio_pseudo_values(counts.right.sum(1), counts.gold.sum(1))


def compute_entity_f1_pseudo_values(labels: Array, predictions: Array, *, names: Sequence[str]) -> Array:
    """Compute N * score - (N - 1) * (score without the example), for F1.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.

    Returns:
        One value per example. (N,)
    """
    counts = count_tags(labels, predictions, names)
    return compute_ratio_pseudo_values(2 * counts.right.sum(1), (counts.predicted + counts.gold).sum(1))


def compute_tag_accuracy_pseudo_values(labels: Array, predictions: Array) -> Array:
    """Compute N * score - (N - 1) * (score without the example), for the share of words with the right tag.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)

    Returns:
        One value per example. (N,)
    """
    right = [int((gold == predicted).sum()) for gold, predicted in zip(labels, predictions, strict=True)]
    return compute_ratio_pseudo_values(np.array(right), join_ragged(labels)[1])


@dataclass(frozen=True)
class TagScore:
    """A score function of the user's that reads the names of tags, as seqeval's functions do.

    Attributes:
        wraps: function (labels, predictions) -> score, both a list of tag names for each example.
    """

    wraps: Callable[..., float]

    def __call__(self, labels: Array, predictions: Array, *, names: Sequence[str]) -> float:
        """Score predictions."""
        named = ([[names[tag] for tag in example] for example in tags] for tags in (labels, predictions))
        return self.wraps(*named)
