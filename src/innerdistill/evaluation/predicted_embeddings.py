"""Outputs that are embeddings of texts: what they mean, and how those of two models are compared.

Predictions are the embeddings themselves, (N, W, D): N examples of W texts, 2 for pairs; D dimensions. Labels are the
scores of pairs (N,). Without labels the teacher's embeddings stand in their place. Where queries are searched, labels
and predictions are those of `searches.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.ragged import is_ragged, make_ragged
from innerdistill.data.score_labels import has_score
from innerdistill.evaluation.neighbours import measure_shared_neighbours
from innerdistill.evaluation.predicted_scores import show_score
from innerdistill.evaluation.similarities import (
    FLAT,
    compare_pairs,
    compute_cosines,
    compute_similarity_pseudo_values,
    normalise,
)

Array = NDArray[Any]

DIGITS = 6  # decimals of numbers that tell answers apart; what follows is rounding


def predict_embeddings(logits: Array) -> Array:
    """The embeddings, which are the outputs of a sentence encoder.

    Args:
        logits: output of a model. (N, W, D)

    Returns:
        The same.
    """
    return logits


def identify_embeddings(predictions: Array) -> Array:
    """Number each answer, equal answers alike: the length of its embeddings along a fixed direction.

    Args:
        predictions: embeddings (N, W, D); or places of documents (N,), which are hashed.

    Returns:
        Numbers, the same for all examples where all texts have the same embedding but for rounding. (N,)
    """
    if is_ragged(predictions):
        return np.array([_hash_places(places) for places in predictions], dtype=np.int64)
    directions = normalise(predictions)
    fixed = np.random.default_rng(0).standard_normal(directions.shape[-1])
    if _is_flat(directions):
        return np.full(len(directions), np.round(directions[0, 0] @ fixed, DIGITS) if len(directions) else 0.0)
    numbers = directions @ fixed  # (N, W)
    return np.asarray(np.round(numbers @ np.arange(1, numbers.shape[1] + 1), DIGITS))


def has_pair_score(labels: Array) -> NDArray[np.bool_]:
    """Which examples have a label: pairs with a score, queries, or all where the teacher's embeddings are the labels.

    Args:
        labels: scores (N,), or embeddings (N, W, D); of queries and documents arrays (N,).

    Returns:
        True for those that have one. (N,)
    """
    if is_ragged(labels):
        return np.array([len(label) > 0 for label in labels], dtype=np.bool_)
    return has_score(labels) if labels.ndim == 1 else np.ones(len(labels), dtype=bool)


def make_constant_embeddings(labels: Array, *_: Any) -> Iterator[Array]:
    """Predictions of one embedding for all texts, which makes all of them equally similar.

    Args:
        labels: scores (N,), or embeddings (N, W, D); of queries relevances (N,).

    Yields:
        Embeddings of one dimension (N, W, 1); of queries places among documents that are all as similar (N,).
    """
    if is_ragged(labels):
        yield make_ragged(relevances * [0, 1] for relevances in labels)
        return
    yield np.ones((len(labels), 2 if labels.ndim == 1 else labels.shape[1], 1))


def describe_embeddings(_: Array, logits: Array, *__: Any) -> dict[str, Any]:
    """Further scores of a sentence encoder.

    Args:
        logits: embeddings. (N, W, D)

    Returns:
        `collapsed`, whether all texts have the same embedding.
    """
    return {"collapsed": _is_flat(normalise(logits))}


def measure_agreement(teacher_logits: Array, student_logits: Array) -> dict[str, Array]:
    """Measure how far the embeddings of a student agree with its teacher's, by example.

    Args:
        teacher_logits: embeddings of the teacher. (N, W, D)
        student_logits: embeddings of the student. (N, W, D)

    Returns:
        By name numbers whose mean is the agreement (N,). `similarity_correlation` has pseudo-values of the correlation
        of the similarities, of the texts of a pair or of every text with every other one. `shared_neighbours` is the
        share of the ten nearest neighbours that both find, NaN for examples that are not compared. `mean_cosine` is the
        cosine of both embeddings of a text.
    """
    return {
        "similarity_correlation": compute_similarity_pseudo_values(teacher_logits, student_logits),
        "shared_neighbours": measure_shared_neighbours(teacher_logits, student_logits),
        "mean_cosine": compute_cosines(teacher_logits, student_logits).mean(1),
    }


def compare_embeddings(_: Array, teacher_logits: Array, student_logits: Array) -> dict[str, float]:
    """Measure the agreement of the student with its teacher.

    Args:
        teacher_logits: embeddings of the teacher. (N, W, D)
        student_logits: embeddings of the student. (N, W, D)

    Returns:
        The means of `measure_agreement` by name.
    """
    values = measure_agreement(teacher_logits, student_logits)
    return {name: float(np.nanmean(of_examples)) for name, of_examples in values.items()}


def measure_embedding_distances(teacher_logits: Array, student_logits: Array) -> tuple[NDArray[np.bool_], Array]:
    """How far apart the answers to each example are: the cosine distance of the embeddings.

    Args:
        teacher_logits: embeddings of the teacher. (N, W, D)
        student_logits: embeddings of the student. (N, W, D)

    Returns:
        True where they differ by more than rounding (N,), and the distance, from 0 to 2 (N,).
    """
    distances = 1 - compute_cosines(teacher_logits, student_logits).mean(1)
    return distances > FLAT, distances


def show_pair_score(label: Any, *_: Any) -> Any:
    """A label for people.

    Args:
        label: score of a pair; or the embeddings of an example, which no person reads.

    Returns:
        The score; of embeddings how many numbers they are.
    """
    return show_score(label) if np.ndim(label) == 0 else f"an embedding of {np.shape(label)[-1]} numbers"


def show_similarity(logits: Array, *_: Any) -> dict[str, Any]:
    """What a model answers to one example.

    Args:
        logits: embeddings of its texts. (W, D)

    Returns:
        `answer`: the similarity of a pair with three digits; of a single text how many numbers its embedding has.
    """
    if len(logits) == 1:
        return {"answer": show_pair_score(logits)}
    return {"answer": round(float(compare_pairs(logits[None])[0]), 3)}


def make_embedding_columns(logits: Array, *_: Any, **__: Any) -> dict[str, Any]:
    """The columns that `predict` adds to a file.

    Args:
        logits: embeddings. (N, W, D)

    Returns:
        `embedding`, lists of float32; of pairs also `embedding2`, and `similarity`, their cosine. (N,)
    """
    columns: dict[str, Any] = {}
    for number in range(logits.shape[1]):
        values = pa.array(logits[:, number].astype(np.float32).ravel())
        offsets = pa.array(np.arange(len(logits) + 1, dtype=np.int32) * logits.shape[2])
        columns["embedding" if number == 0 else f"embedding{number + 1}"] = pa.ListArray.from_arrays(offsets, values)
    if logits.shape[1] > 1:
        columns["similarity"] = compute_cosines(logits[:, 0], logits[:, 1])
    return columns


def _hash_places(places: Array) -> int:
    return int.from_bytes(hashlib.blake2b(places.tobytes(), digest_size=7).digest(), "big")


def _is_flat(directions: Array) -> bool:
    """Whether all texts have the same normalised embedding (N, W, D) but for rounding."""
    return bool(len(directions) == 0 or np.abs(directions - directions[0, 0]).max() < FLAT)
