"""Labels that are scores: real numbers, without names.

Shapes: N examples.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from innerdistill.data.labels import number_labels
from innerdistill.support.messages import shorten_value

LARGEST_SCORE = 1e6  # its square must still be a number that float32 can add up


def encode_scores(
    labels: pa.ChunkedArray, *_: Any, where: str, rows: pa.ChunkedArray, **__: Any
) -> NDArray[np.float64]:
    """Labels of one split as real numbers.

    Args:
        labels: labels as text, null where missing. (N,)
        where: source of the labels, for messages.
        rows: number of each row in its file, for messages. (N,)

    Returns:
        Scores; NaN where there is no label. (N,)

    Raises:
        ValueError: text, NaN, an infinity or a number beyond a million where a score should be, with its row.
    """
    codes, values = number_labels(labels)
    score_of = np.full(len(values), math.nan)
    for code, label in enumerate(values):
        if label is None:
            continue
        try:
            score = float(label)
        except ValueError:
            score = math.nan
        if not abs(score) <= LARGEST_SCORE:
            row = rows[int(np.argmax(codes == code))]
            raise ValueError(
                f"{where}: row {row}: expected a number between -1e6 and 1e6 as score, got {shorten_value(label)}."
            )
        score_of[code] = score
    return score_of[codes]


def has_score(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which examples have a label.

    Args:
        scores: real numbers. (N,)

    Returns:
        True for those that have one. (N,)
    """
    return ~np.isnan(scores)


def group_scores(labels: pa.ChunkedArray) -> NDArray[np.int64]:
    """Groups for stratified splits: the fifth of the scores' range, by rank.

    Args:
        labels: labels as text, none missing. (N,)

    Returns:
        Number of the group. (N,)
    """
    codes, values = number_labels(labels)
    if len(codes) == 0:  # no quantile of nothing
        return codes
    scores = np.array([float(label or "nan") for label in values])[codes]
    return np.searchsorted(np.quantile(scores, [0.2, 0.4, 0.6, 0.8]), scores)


def find_no_names(*_: Any, **__: Any) -> None:
    """Scores have no class names, whatever the data and the model say."""


def refuse_nothing(*_: Any) -> None:
    """Scores have no names that could be refused."""


def warn_of_nothing(*_: Any) -> list[str]:
    """Nothing about scores calls for a warning.

    Returns:
        No sentence.
    """
    return []
