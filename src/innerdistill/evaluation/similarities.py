"""Similarities of texts by the cosine of their embeddings, and how far those of two models agree.

Shapes: N examples, each of W texts, 1 or 2; D dimensions of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.correlations import compute_pearson_pseudo_values, correlate

Array = NDArray[Any]

FLAT = 1e-6  # similarities that differ by less are equal but for rounding
BLOCK = 4_096  # texts whose embeddings are read at a time


def normalise(embeddings: Array) -> NDArray[np.float64]:
    """Divide embeddings by their length.

    Args:
        embeddings: (..., D)

    Returns:
        Vectors of length 1; an embedding of zeros stays as it is. (..., D)

    >>> normalise(np.array([3.0, 4.0])).tolist()
    [0.6, 0.8]
    """
    values = embeddings.astype(np.float64)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0, lengths, 1))


def compute_cosines(first: Array, second: Array) -> NDArray[np.float64]:
    """Compute the cosine of embeddings with others.

    Args:
        first: (..., D)
        second: as many. (..., D)

    Returns:
        From -1 to 1. (...)

    >>> float(compute_cosines(np.array([1.0, 0.0]), np.array([3.0, 4.0])))
    0.6
    """
    return np.asarray((normalise(first) * normalise(second)).sum(-1))


def compare_pairs(embeddings: Array) -> NDArray[np.float64]:
    """Compute the similarity of the two texts of each pair.

    Args:
        embeddings: of pairs. (N, 2, D)

    Returns:
        Cosines, all the same where they only differ by rounding. (N,)
    """
    similarities = compute_cosines(embeddings[:, 0], embeddings[:, 1])
    if len(similarities) and np.ptp(similarities) < FLAT:
        return np.full_like(similarities, similarities.mean())
    return similarities


def score_pairs(labels: Array, embeddings: Array, *, function: Callable[..., Any]) -> float:
    """Correlate the similarity of the texts of each pair with its score.

    Args:
        labels: scores. (N,)
        embeddings: of pairs. (N, 2, D)
        function: `pearsonr` or `spearmanr` of SciPy.

    Returns:
        From -1 to 1; 0 where either side is constant.
    """
    return correlate(function, labels, compare_pairs(embeddings))


def compute_pair_pseudo_values(labels: Array, embeddings: Array, *, function: Callable[[Array, Array], Array]) -> Array:
    """Compute the pseudo-values of `score_pairs`.

    Args:
        labels: scores. (N,)
        embeddings: of pairs. (N, 2, D)
        function: the pseudo-values of that correlation.

    Returns:
        Numbers whose mean is the correlation. (N,)
    """
    return function(labels, compare_pairs(embeddings))


def correlate_similarities(teacher: Array, student: Array) -> float:
    """Correlate the similarities of two models: of the texts of each pair, or of every text with every other one.

    Args:
        teacher: embeddings of the teacher. (N, W, D)
        student: embeddings of the student. (N, W, D')

    Returns:
        Pearson's correlation; 0 where either model finds all texts equally similar.
    """
    return float(compute_similarity_pseudo_values(teacher, student).mean())


def compute_similarity_pseudo_values(teacher: Array, student: Array) -> Array:
    """Compute the pseudo-values of `correlate_similarities`: leaving out a pair, or a text with all pairs it is in.

    Over all pairs of N texts the correlation needs no similarity of its own. With T and S the normalised embeddings,
    the products a_ij = t_i t_j and b_ij = s_i s_j sum up to |sum t_i|^2, and a_ij b_ij to |T^T S|^2 (Frobenius). So the
    work grows with N D^2, and the memory with D^2.

    Args:
        teacher: embeddings of the teacher. (N, W, D)
        student: embeddings of the student. (N, W, D')

    Returns:
        Numbers whose mean is the correlation. (N,)
    """
    if teacher.shape[1] > 1:
        return compute_pearson_pseudo_values(compare_pairs(teacher), compare_pairs(student))
    count = len(teacher)
    sums, of_texts = _sum_products(teacher[:, 0], student[:, 0])
    whole = float(_correlate_sums(sums, np.float64(count)))
    without = _correlate_sums(sums[:, None] - of_texts, np.float64(count - 1))
    values = count * whole - (count - 1) * without
    return np.asarray(values - values.mean() + whole)


def _sum_products(teacher: Array, student: Array) -> tuple[Array, Array]:
    """Sums over all ordered pairs of different texts of a, b, aa, bb and ab (5,), and the part of each text (5, N)."""
    widths, moments = (teacher.shape[1], student.shape[1]), []
    totals = [np.zeros(width) for width in widths]
    products = [np.zeros((widths[i], widths[j])) for i, j in ((0, 0), (1, 1), (0, 1))]
    for t, s in _iterate_blocks(teacher, student):
        totals = [total + side.sum(0) for total, side in zip(totals, (t, s), strict=True)]
        for number, (one, other) in enumerate(((t, t), (s, s), (t, s))):
            products[number] += one.T @ other
    for t, s in _iterate_blocks(teacher, student):
        of_t, of_s = (t * t).sum(1), (s * s).sum(1)  # a text with itself
        linear = [t @ totals[0] - of_t, s @ totals[1] - of_s]
        sides = ((t, products[0], t, of_t * of_t), (s, products[1], s, of_s * of_s), (t, products[2], s, of_t * of_s))
        moments.append(
            np.stack([*linear, *(((one @ product) * other).sum(1) - own for one, product, other, own in sides)])
        )
    of_texts = np.concatenate(moments, axis=1)
    return of_texts.sum(1), 2 * of_texts


def _iterate_blocks(teacher: Array, student: Array) -> Iterator[tuple[Array, Array]]:
    """Normalised embeddings of both models, a few thousand texts at a time."""
    for start in range(0, len(teacher), BLOCK):
        yield normalise(teacher[start : start + BLOCK]), normalise(student[start : start + BLOCK])


def _correlate_sums(sums: Array, count: np.float64) -> Array:
    """Pearson's correlation from sums of a, b, aa, bb and ab over the pairs of `count` texts; 0 where one is flat."""
    a, b, aa, bb, ab = sums / max(1.0, count * (count - 1))
    of_a, of_b = aa - a**2, bb - b**2
    varies = (of_a > FLAT**2) & (of_b > FLAT**2)
    scale = np.sqrt(np.where(varies, of_a * of_b, 1))
    return np.asarray(np.where(varies, (ab - a * b) / scale, 0.0))
