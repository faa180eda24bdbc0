"""The nearest neighbours of texts by the cosine of their embeddings, for two models side by side.

Only a few rows of similarities are in memory at a time. Shapes: N examples of W texts; T texts, K neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.evaluation.similarities import normalise

Array = NDArray[Any]

NEIGHBOURS = 10
MOST_TEXTS = 20_000  # texts that are compared with one another: the work grows with their square
ROWS = 512  # rows of similarities in memory


def choose_compared(examples: int, width: int) -> NDArray[np.int64]:
    """Choose the examples whose texts are compared: all, or as many as hold MOST_TEXTS, by a hash of their position.

    Args:
        examples: number of examples, N.
        width: texts of an example, W.

    Returns:
        Positions, ascending.
    """
    most = MOST_TEXTS // width
    if examples <= most:
        return np.arange(examples)
    digests = b"".join(hashlib.sha256(str(position).encode()).digest()[:8] for position in range(examples))
    return np.sort(np.argsort(np.frombuffer(digests, dtype=">u8"), kind="stable")[:most])


def iterate_neighbours(embeddings: Array, count: int = NEIGHBOURS) -> Iterator[tuple[slice, Array]]:
    """Find the most similar other texts of each text.

    Args:
        embeddings: one for each text. (T, D)
        count: neighbours of a text, K; fewer if there are not so many.

    Yields:
        Some texts, and the positions of their neighbours, the most similar first. (rows, K)
    """
    directions = normalise(embeddings).astype(np.float32)
    count = min(count, len(directions) - 1)
    for start in range(0, len(directions), ROWS):
        rows = slice(start, min(start + ROWS, len(directions)))
        similarities = directions[rows] @ directions.T
        similarities[np.arange(rows.stop - start), np.arange(start, rows.stop)] = -np.inf  # the text itself
        nearest = np.argpartition(-similarities, max(0, count - 1), axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarities, nearest, axis=1), axis=1, kind="stable")
        yield rows, np.take_along_axis(nearest, order, axis=1)


def measure_shared_neighbours(teacher: Array, student: Array) -> NDArray[np.float64]:
    """Measure the share of the ten nearest neighbours that two models have in common.

    Args:
        teacher: embeddings of the teacher. (N, W, D)
        student: embeddings of the student. (N, W, D')

    Returns:
        From 0 to 1, the mean over the texts of an example; NaN for examples that are not compared. (N,)
    """
    examples, width = teacher.shape[:2]
    shares = np.full(examples, np.nan)
    chosen = choose_compared(examples, width)
    sides = [side[chosen].reshape(len(chosen) * width, -1) for side in (teacher, student)]
    parts = []
    for (_, theirs), (_, ours) in zip(*map(iterate_neighbours, sides), strict=True):
        shared = (theirs[:, :, None] == ours[:, None, :]).any(2)
        parts.append(shared.mean(1) if shared.shape[1] else np.ones(len(shared)))  # a single text has no neighbour
    shares[chosen] = np.concatenate(parts).reshape(len(chosen), width).mean(1)
    return shares
