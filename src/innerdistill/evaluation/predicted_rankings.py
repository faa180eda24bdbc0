"""Outputs that are scores of the documents of queries: predictions, agreement and distances.

Shapes: N queries, K_i documents of query i. Labels, predictions and logits are ragged: one array for each query, of
relevances or scores (K_i,) or of logits (K_i, 1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import rankdata

from innerdistill.data.ragged import make_ragged
from innerdistill.data.rankings import is_list
from innerdistill.evaluation.predicted_scores import show_score
from innerdistill.evaluation.ranking_metrics import correlate_ranks, measure_queries

Array = NDArray[Any]

NO_ORDER = -1  # number of the answer in which all documents have the same score
SHOWN = 10  # documents of an order that people see


def predict_rankings(logits: Array) -> Array:
    """The score of every document, which is the only output.

    Args:
        logits: output of a model. (N,)

    Returns:
        Scores. (N,)
    """
    return make_ragged(of_query[:, 0] for of_query in logits)


def decide_relevances(logits: Array) -> Array:
    """What a teacher's scores mean as relevances: how many documents of the query have a lower score.

    Args:
        logits: output of a model. (N,)

    Returns:
        0 or more; all 0 where all documents have the same score. (N,)
    """
    return make_ragged(rankdata(scores, method="min") - 1 for scores in predict_rankings(logits))


def identify_rankings(predictions: Array) -> Array:
    """Number each answer, equal answers alike: the order of the documents. No order is one answer for all queries.

    Args:
        predictions: scores. (N,)

    Returns:
        One number per query. (N,)
    """
    numbers = []
    for scores in predictions:
        ranks = rankdata(scores, method="dense").astype(np.int64)
        if (ranks == 1).all():
            numbers.append(NO_ORDER)
            continue
        digest = hashlib.blake2b(ranks.tobytes(), digest_size=8).digest()
        numbers.append(int.from_bytes(digest[:7], "big"))
    return np.array(numbers, dtype=np.int64)


def make_constant_rankings(labels: Array, *_: Any) -> Iterator[Array]:
    """Predictions of one score for all documents, which count as a random order does on average.

    The order of the file is no constant answer: files often begin with the relevant document.

    Args:
        labels: relevances. (N,)

    Yields:
        Scores. (N,)
    """
    yield make_ragged(np.zeros(len(of_query)) for of_query in labels)


def describe_rankings(_: Array, logits: Array, *__: Any) -> dict[str, Any]:
    """Further scores of a ranker.

    Args:
        logits: output of the model. (N,)

    Returns:
        `collapsed`, whether all documents of each query have the same score.
    """
    return {"collapsed": bool((identify_rankings(predict_rankings(logits)) == NO_ORDER).all())}


def measure_ranking_agreement(teacher_logits: Array, student_logits: Array) -> dict[str, Array]:
    """Measure how far the rankings of a student agree with its teacher's, by query.

    Args:
        teacher_logits: output of the teacher. (N,)
        student_logits: output of the student. (N,)

    Returns:
        By name numbers whose mean is the agreement, NaN for queries with one document (N,). `rank_correlation` is the
        correlation of the ranks of a query's documents. `same_first` is 1 where both put the same document first. If no
        query has two documents, all agree.
    """
    sides = [predict_rankings(logits) for logits in (teacher_logits, student_logits)]
    is_ranked = np.array([len(scores) > 1 for scores in sides[0]], dtype=np.bool_)
    is_ranked |= not is_ranked.any()
    correlations = measure_queries(*sides, measure=correlate_ranks)
    same_first = measure_queries(*sides, measure=lambda theirs, ours: float(theirs.argmax() == ours.argmax()))
    return {
        "rank_correlation": np.where(is_ranked, correlations, np.nan),
        "same_first": np.where(is_ranked, same_first, np.nan),
    }


def compare_rankings(_: Array, teacher_logits: Array, student_logits: Array) -> dict[str, float]:
    """Measure the agreement of the student with its teacher, mistakes included.

    Args:
        teacher_logits: output of the teacher. (N,)
        student_logits: output of the student. (N,)

    Returns:
        The means of `measure_ranking_agreement` by name.
    """
    values = measure_ranking_agreement(teacher_logits, student_logits)
    return {name: float(np.nanmean(of_queries)) for name, of_queries in values.items()}


def measure_ranking_distances(teacher_logits: Array, student_logits: Array) -> tuple[NDArray[np.bool_], Array]:
    """How far apart the answers to each query are: 1 less the correlation of the ranks.

    Args:
        teacher_logits: output of the teacher. (N,)
        student_logits: output of the student. (N,)

    Returns:
        True where another document is first (N,), and the distance, from 0 to 2 (N,).
    """
    values = measure_ranking_agreement(teacher_logits, student_logits)
    return values["same_first"] == 0, np.nan_to_num(1 - values["rank_correlation"])


def show_relevances(relevances: Array, *_: Any) -> str:
    """The label of a query for people.

    Args:
        relevances: relevances of its documents. (K,)

    Returns:
        Such as `1: 2, 2: 0`, the numbers of the documents with their relevances; of many those above 0.

    >>> show_relevances(np.array([2.0, 0.0]))
    '1: 2.0, 2: 0.0'
    """
    numbered = list(enumerate(relevances, start=1))
    if len(numbered) > SHOWN:
        numbered = [each for each in numbered if each[1] > 0][:SHOWN]
    return ", ".join(f"{number}: {show_score(relevance)}" for number, relevance in numbered)


def show_ranking(logits: Array, *_: Any) -> dict[str, Any]:
    """What a model answers to one query.

    Args:
        logits: output for its documents. (K, 1)

    Returns:
        `answer`, the numbers of the documents in their order, of at most ten.
    """
    order = np.argsort(-logits[:, 0], kind="stable") + 1
    rest = ", ..." if len(order) > SHOWN else ""
    return {"answer": ", ".join(map(str, order[:SHOWN].tolist())) + rest}


def make_ranking_columns(
    logits: Array,
    *_: Any,
    texts: Sequence[str] = (),
    activate: Callable[[Array], Array] = np.asarray,
) -> dict[str, Any]:
    """The columns that `predict` adds to a file.

    Args:
        logits: output of the model. (N,)
        texts: documents of each row as a table has them. (N,)
        activate: activation of the score.

    Returns:
        `predicted_score`: a number for each row of one document, else a list. (N,)
    """
    scores = [activate(of_row.astype(np.float32)) for of_row in predict_rankings(logits)]
    if any(map(is_list, texts)):
        return {"predicted_score": pa.array([of_row.tolist() for of_row in scores], pa.list_(pa.float32()))}
    return {"predicted_score": pa.array([float(of_row[0]) for of_row in scores], pa.float32())}
