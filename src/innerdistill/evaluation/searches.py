"""Documents that are searched by the cosine of their embeddings with a query's, and metrics of what is found.

Only a block of similarities is in memory at a time. Documents with equal similarities have no order, as in
`ranking_metrics`: a query counts what it has on average over all their orders. Similarities are equal if they are so
when rounded to six decimals. A query without a relevant document counts 0, as in BEIR.

Shapes: N texts, first the documents and then Q queries; R relevant documents of a query; D dimensions.

- `labels`: of a query, position and relevance of the judged documents in turn; of a document nothing. (N,)
- `relevances`: of a query, the relevance of each relevant document and the number of documents searched, (R, 2). (Q,)
- `places`: of a query and each of its relevant documents, how many documents are more similar to it, and how many are
  as similar, itself among them, (R, 2). (Q,)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.ragged import make_ragged
from innerdistill.data.searches import LEFT_OUT
from innerdistill.evaluation.ranking_metrics import TOP
from innerdistill.evaluation.similarities import normalise

Array = NDArray[Any]

DECIMALS = 6  # of similarities; what follows is rounding
QUERIES, DOCUMENTS = 128, 16_384  # similarities in memory
# Sums of the discounts 1 / log2(rank + 1) of the first 0, 1, 2, ... documents.
SUMS = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(TOP) + 2))])


def count_documents(labels: Array) -> int:
    """Count the documents, which stand before the queries.

    Args:
        labels: labels of all texts. (N,)

    Returns:
        Number of documents, N - Q.
    """
    return sum(len(label) == 0 for label in labels)


def list_relevances(labels: Array) -> Array:
    """List the relevances of each query.

    Args:
        labels: labels of all texts. (N,)

    Returns:
        Relevances. (Q,)
    """
    documents = count_documents(labels)
    relevances = []
    for label in labels[documents:]:
        _, of_relevant, hidden = _split_label(label)
        searched = np.full(len(of_relevant), documents - len(hidden))
        relevances.append(np.stack([of_relevant, searched], axis=1))
    return make_ragged(relevances)


def find_places(labels: Array, embeddings: Array) -> Array:
    """Search the documents for every query, and find the places of its relevant ones.

    Args:
        labels: labels of all texts. (N,)
        embeddings: embeddings of all texts. (N, 1, D)

    Returns:
        Places; infinity for a relevant document that is not searched. (Q,)
    """
    places = []
    documents = embeddings[: count_documents(labels), 0]
    for start in range(len(documents), len(labels), QUERIES):
        of_queries = labels[start : start + QUERIES]
        directions = normalise(embeddings[start : start + QUERIES, 0])
        own, counts = [], []
        for label, direction in zip(of_queries, directions, strict=True):
            relevant, _, hidden = _split_label(label)
            own.append(np.round(normalise(documents[relevant]) @ direction, DECIMALS))
            counts.append(np.zeros((len(relevant), 2)))
            counts[-1][np.isin(relevant, hidden), 0] = np.inf
        for _, similarities in _iterate_similarities(of_queries, directions, documents):
            for found, count, of_query in zip(own, counts, similarities, strict=True):
                count[:, 0] += (of_query > found[:, None]).sum(1)
                count[:, 1] += (of_query == found[:, None]).sum(1)
        places += [np.maximum(count, [0, 1]) for count in counts]  # each is as similar as itself
    return make_ragged(places)


def find_first_documents(labels: Array, embeddings: Array, count: int) -> NDArray[np.int64]:
    """Find the documents that are most similar to each query.

    Args:
        labels: labels of all texts. (N,)
        embeddings: embeddings of all texts. (N, 1, D)
        count: documents of a query, K; fewer if there are not so many.

    Returns:
        Their positions, the most similar first. (Q, K)
    """
    documents = embeddings[: count_documents(labels), 0]
    parts = [np.zeros((0, min(count, len(documents))), dtype=np.int64)]
    for start in range(len(documents), len(labels), QUERIES):
        of_queries = labels[start : start + QUERIES]
        directions = normalise(embeddings[start : start + QUERIES, 0])
        positions: Array = np.zeros((len(directions), 0), dtype=np.int64)
        best: Array = np.zeros((len(directions), 0))
        for first, similarities in _iterate_similarities(of_queries, directions, documents):
            numbers = np.broadcast_to(np.arange(first, first + similarities.shape[1]), similarities.shape)
            positions, best = (np.hstack(pair) for pair in ((positions, numbers), (best, similarities)))
            order = np.argsort(-best, axis=1, kind="stable")[:, :count]
            positions, best = (np.take_along_axis(values, order, axis=1) for values in (positions, best))
        parts.append(positions)
    return np.concatenate(parts)


def measure_search_gain(relevances: Array, places: Array) -> float:
    """Normalised discounted cumulative gain of the first ten documents of a query, as trec_eval and BEIR compute it.

    The gain of a document is its relevance, its discount at rank r 1 / log2(r + 1). The sum is divided by that of the
    best order. Sources: Järvelin and Kekäläinen 2002; equal similarities: McSherry and Najork 2008.

    Args:
        relevances: relevances of a query. (R, 2)
        places: places of its relevant documents. (R, 2)

    Returns:
        From 0 to 1.

    >>> round(measure_search_gain(np.array([[1, 9]]), np.array([[1, 1]])), 4)  # the only one is second: 1 / log2(3)
    0.6309
    """
    if len(relevances) == 0:
        return 0.0
    before, tied = places.T
    ends = [np.minimum(places, TOP).astype(int) for places in (before, before + tied)]
    gains = relevances[:, 0]
    best = (np.sort(gains)[::-1][:TOP] * np.diff(SUMS)[: len(gains)]).sum()
    return float((gains * (SUMS[ends[1]] - SUMS[ends[0]]) / tied).sum() / best)


def measure_search_rank(_: Array, places: Array) -> float:
    """1 / rank of the first relevant document of a query, 0 if it is not among the first ten.

    Args:
        places: places of its relevant documents. (R, 2)

    Returns:
        From 0 to 1.

    >>> measure_search_rank(np.array([[1, 9]]), np.array([[0, 2]]))  # as similar as another one: the mean of 1 and 1/2
    0.75
    """
    if len(places) == 0 or np.isinf(places[:, 0]).all():
        return 0.0
    before, size = places[places[:, 0].argmin()]
    relevant = (places[:, 0] == before).sum()
    total, share = 0.0, relevant / size  # probability that a relevant one is at this place, and none before it
    for place in range(int(min(size - relevant + 1, max(0, TOP - before)))):
        total += share / (before + place + 1)
        share *= (size - place - relevant) / max(1, size - place - 1)
    return float(total)


def measure_recall(_: Array, places: Array, *, count: int) -> float:
    """Share of the relevant documents of a query that are among the first ones.

    Args:
        places: places of its relevant documents. (R, 2)
        count: number of documents that count.

    Returns:
        From 0 to 1.

    >>> measure_recall(np.array([[1, 9], [1, 9]]), np.array([[0, 1], [10, 1]]), count=10)
    0.5
    """
    if len(places) == 0:
        return 0.0
    before, tied = places.T
    return float((np.clip(count - before, 0, tied) / tied).mean())


def _split_label(label: Array) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
    """Positions and relevances of a query's relevant documents, and positions of those that it does not search."""
    positions, relevances = label.reshape(-1, 2).T
    is_relevant, is_hidden = relevances > 0, relevances == LEFT_OUT
    positions = positions.astype(np.int64)
    return positions[is_relevant], relevances[is_relevant], positions[is_hidden]


def _iterate_similarities(
    labels: Array, directions: Array, documents: Array
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Position of the first document of a block, and the similarities of some queries with all of it."""
    for start in range(0, len(documents), DOCUMENTS):
        block = documents[start : start + DOCUMENTS]
        similarities = np.round(directions @ normalise(block).T, DECIMALS)
        for number, label in enumerate(labels):
            hidden = _split_label(label)[2] - start
            similarities[number, hidden[(hidden >= 0) & (hidden < len(block))]] = -np.inf
        yield start, similarities
