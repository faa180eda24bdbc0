"""Metrics of tags of words, with exact pseudo-values by example. Shapes: N examples, W_i words of example i.

Labels and predictions are arrays of tag ids, one for each example. Where tags mark no entities, as parts of speech,
every word counts as an entity of its own. Precision, recall and F1 are then the share of right tags.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
EntityScore = Literal["precision", "recall", "f1"]


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


def score_entities_of_tags(labels: Array, predictions: Array, *, names: Sequence[str], kind: EntityScore) -> float:
    """Precision, recall or F1 over the entities of all examples.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.
        kind: which of the three.

    Returns:
        From 0 to 1; 0 where nothing is counted.
    """
    return score_entities(count_tags(labels, predictions, names))[kind]


def score_tag_accuracy(labels: Array, predictions: Array) -> float:
    """Share of words with the right tag.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)

    Returns:
        From 0 to 1.
    """
    return float((join_ragged(labels)[0] == join_ragged(predictions)[0]).mean())


def compute_entity_pseudo_values(
    labels: Array, predictions: Array, *, names: Sequence[str], kind: EntityScore
) -> Array:
    """Compute N * score - (N - 1) * (score without the example), for precision, recall or F1.

    Args:
        labels: gold tag ids. (N,)
        predictions: predicted tag ids. (N,)
        names: tag names by id.
        kind: which of the three.

    Returns:
        One value per example. (N,)
    """
    counts = count_tags(labels, predictions, names)
    right, predicted, gold = (of_types.sum(1) for of_types in (counts.right, counts.predicted, counts.gold))
    ratios = {"precision": (right, predicted), "recall": (right, gold), "f1": (2 * right, predicted + gold)}
    return compute_ratio_pseudo_values(*ratios[kind])


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
