"""Entities of predicted tags against those of gold tags: counted per sentence, scored as seqeval does.

An entity is right if its type, its first and its last word are right. Shapes: W words, N sentences, T types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.tag_schemes import Entities, TagSet, locate_entities

Array = NDArray[Any]


@dataclass(frozen=True)
class EntityCounts:
    """Numbers of entities by sentence and type: all that scores and their errors need.

    Attributes:
        right: predicted entities that are gold ones: true positives. (N, T)
        predicted: predicted entities. (N, T)
        gold: gold entities. (N, T)
        type_names: names of the types. (T,)
    """

    right: Array
    predicted: Array
    gold: Array
    type_names: tuple[str, ...]


def count_entities(gold: Array, predicted: Array, lengths: Array, tag_set: TagSet) -> EntityCounts:
    """Count gold entities, predicted ones and those that are both.

    Args:
        gold: gold tag ids of the words of all sentences, one sentence after the other. (W,)
        predicted: predicted tag ids of the same words. (W,)
        lengths: number of words of each sentence; their sum is W. (N,)
        tag_set: what the ids mean.

    Returns:
        Counts by sentence and type.
    """
    gold_entities, predicted_entities = (locate_entities(tags, lengths, tag_set) for tags in (gold, predicted))
    # Two entities are the same if they start at the same word, end at the same word and have the same type.
    end_by_word, type_by_word = np.full((2, len(gold)), -1)
    end_by_word[gold_entities.firsts] = gold_entities.ends
    type_by_word[gold_entities.firsts] = gold_entities.types
    firsts = predicted_entities.firsts
    is_right = (end_by_word[firsts] == predicted_entities.ends) & (type_by_word[firsts] == predicted_entities.types)
    shape = (len(lengths), len(tag_set.type_names))
    return EntityCounts(
        right=_count(predicted_entities, is_right, shape),
        predicted=_count(predicted_entities, np.ones_like(is_right), shape),
        gold=_count(gold_entities, np.ones(len(gold_entities.firsts), dtype=np.bool_), shape),
        type_names=tag_set.type_names,
    )


def score_entities(counts: EntityCounts) -> dict[str, float]:
    """Precision, recall and F1 over the entities of all types: seqeval's micro average.

    P = right / predicted, R = right / gold, F1 = 2 right / (predicted + gold); 0 where nothing is counted.

    Args:
        counts: counts of some sentences.

    Returns:
        `precision`, `recall` and `f1`, from 0 to 1.

    >>> score_entities(EntityCounts(np.array([[1, 0]]), np.array([[2, 0]]), np.array([[1, 1]]), ("person", "place")))
    {'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
    """
    return _score(counts.right.sum(), counts.predicted.sum(), counts.gold.sum())


def score_entity_types(counts: EntityCounts) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each type.

    Args:
        counts: counts of some sentences.

    Returns:
        By type `precision`, `recall` and `f1` from 0 to 1, and the numbers of `predicted` and `gold` entities.
    """
    scores = {}
    totals = zip(counts.right.sum(0), counts.predicted.sum(0), counts.gold.sum(0), strict=True)
    for name, (right, predicted, gold) in zip(counts.type_names, totals, strict=True):
        scores[name] = {**_score(right, predicted, gold), "predicted": int(predicted), "gold": int(gold)}
    return scores


def compute_ratio_pseudo_values(numerators: Array, denominators: Array) -> Array:
    """Pseudo-values of a ratio of sums over examples, such as F1 = 2 right / (predicted + gold).

    N R - (N - 1) R without the example, which is exact: (sum - its numerator) / (sum - its denominator).

    Args:
        numerators: what the examples add above the line. (N,)
        denominators: what they add below it. (N,)

    Returns:
        Pseudo-values, centred so that their mean is the ratio. (N,)

    >>> compute_ratio_pseudo_values(np.array([2, 0]), np.array([2, 2])).round(2)  # alone, they score 1 and 0
    array([1., 0.])
    """
    total, ratio = len(numerators), float(_divide(numerators.sum(), denominators.sum()))
    if total == 1:
        return np.array([ratio])
    without = _divide(numerators.sum() - numerators, denominators.sum() - denominators)
    values = ratio + (total - 1) * (ratio - without)
    return np.asarray(values - values.mean() + ratio)


def _count(entities: Entities, chosen: NDArray[np.bool_], shape: tuple[int, int]) -> Array:
    codes = (entities.sentences * shape[1] + entities.types)[chosen]
    return np.bincount(codes, minlength=shape[0] * shape[1]).reshape(shape)


def _score(right: Any, predicted: Any, gold: Any) -> dict[str, float]:
    return {
        "precision": float(_divide(right, predicted)),
        "recall": float(_divide(right, gold)),
        "f1": float(_divide(2 * right, predicted + gold)),
    }


def _divide(numerator: Any, denominator: Any) -> Array:
    """The quotient; 0 where nothing is counted."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
