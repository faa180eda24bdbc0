"""Metrics of rankings of documents, with exact pseudo-values by query. Shapes: N queries, K_i documents of query i.

Labels are relevances, 0 or more, and predictions scores. Both are one array for each query. Every metric is a mean over
queries. Documents with equal scores have no order: a query counts what it has on average over all their orders. So the
order of a file plays no part, and equal scores for all documents count as much as a random order does on average.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb
from scipy.stats import rankdata

Array = NDArray[Any]
TOP = 10  # documents that count


def measure_ndcg(relevances: Array, scores: Array) -> float:
    """Normalised discounted cumulative gain of the first ten documents of a query.

    The gain of a document is 2^relevance - 1, its discount at rank r 1 / log2(r + 1). The sum is divided by that of the
    best order. Sources: Järvelin and Kekäläinen 2002; Burges et al. 2005; equal scores: McSherry and Najork 2008.

    Args:
        relevances: at least one above 0. (K,)
        scores: scores of a model. (K,)

    Returns:
        From 0 to 1.

    >>> round(measure_ndcg(np.array([0.0, 1.0]), np.array([2.0, 1.0])), 4)  # the relevant one is second: 1 / log2(3)
    0.6309
    """
    gains = np.exp2(relevances) - 1
    discounts = np.where(np.arange(len(gains)) < TOP, 1 / np.log2(np.arange(len(gains)) + 2), 0)
    _, tie_of, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    sums = np.bincount(tie_of, weights=gains)  # of documents with the same score, from the highest score on
    ends = np.cumsum(sizes)
    means = np.diff(np.concatenate([[0], np.cumsum(discounts)[ends - 1]])) / sizes
    return float((sums * means).sum() / (np.sort(gains)[::-1] * discounts).sum())


def measure_reciprocal_rank(relevances: Array, scores: Array) -> float:
    """1 / rank of the first relevant document of a query, 0 if it is not among the first ten.

    Args:
        relevances: at least one above 0. (K,)
        scores: scores of a model. (K,)

    Returns:
        From 0 to 1.

    >>> measure_reciprocal_rank(np.array([0.0, 1.0]), np.array([2.0, 1.0]))
    0.5
    >>> measure_reciprocal_rank(np.array([0.0, 1.0]), np.array([1.0, 1.0]))  # the mean of 1 and 1/2
    0.75
    """
    best = scores[relevances > 0].max()
    before = int((scores > best).sum())
    is_tied = scores == best
    size, relevant = int(is_tied.sum()), int((is_tied & (relevances > 0)).sum())
    places = np.arange(
        size - relevant + 1
    )  # places of the first relevant document, in all orders of those with its score
    shares = comb(size - places - 1, relevant - 1) / comb(size, relevant)
    ranks = before + places + 1
    return float((shares / ranks)[ranks <= TOP].sum())


def correlate_ranks(first: Array, second: Array) -> float:
    """Correlation of the ranks of the documents of a query (Spearman).

    Args:
        first: scores of a model, or ranks. (K,)
        second: those of another one. (K,)

    Returns:
        From -1 to 1. Where one has no order at all, 1 if neither has any, else 0.

    >>> correlate_ranks(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    ranks, others = (rankdata(scores) - (len(scores) + 1) / 2 for scores in (first, second))
    scale = np.sqrt((ranks @ ranks) * (others @ others))
    if scale == 0:
        return float(ranks @ ranks == others @ others)
    return float(np.clip(ranks @ others / scale, -1, 1))


def measure_queries(labels: Array, predictions: Array, *, measure: Callable[[Array, Array], float]) -> Array:
    """Measure every query. These are the pseudo-values of the mean.

    Args:
        labels: relevances, or what else there is of each document. (N,)
        predictions: scores. (N,)
        measure: (labels of a query (K,), scores (K,)) -> number.

    Returns:
        Numbers. (N,)
    """
    return np.array([measure(of_query, scores) for of_query, scores in zip(labels, predictions, strict=True)])


def score_queries(labels: Array, predictions: Array, *, measure: Callable[[Array, Array], float]) -> float:
    """Average a measure over queries.

    Args:
        labels: relevances, or what else there is of each document. (N,)
        predictions: scores. (N,)
        measure: (labels of a query (K,), scores (K,)) -> number.

    Returns:
        The mean.
    """
    return float(measure_queries(labels, predictions, measure=measure).mean())
