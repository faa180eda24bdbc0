"""Windows: a text that is longer than the model is several rows of a tokenised split, one after the other.

Only types with outputs per token have windows. Their column `pieces` says which tokens are read: those that stand for
words. Shapes: N examples, W_i words of example i.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.arrow import read_numbers
from innerdistill.data.ragged import is_ragged, make_ragged

if TYPE_CHECKING:
    from datasets import Dataset

PIECES = "pieces"  # column of a tokenised split: positions of the tokens whose logits are read, one for each word

Array = NDArray[Any]


def read_of_examples(dataset: Dataset, name: str) -> Array:
    """Read a column of a tokenised split, with one value for each example. Windows of one example are put together.

    Args:
        dataset: tokenised split. Windows of an example stand one after the other.
        name: `labels`, or a column whose values are the same in all windows of an example.

    Returns:
        Values of the examples; of words one array for each example. (N,)
    """
    values = read_numbers(dataset, name)
    if PIECES not in dataset.column_names:
        return values
    return join_windows(dataset, values) if is_ragged(values) else values[_find_first_windows(dataset)]


def join_windows(dataset: Dataset, values: Array) -> Array:
    """Put what belongs to the words of each window together by example.

    Args:
        dataset: tokenised split.
        values: an array for each window: (words of the window, ...).

    Returns:
        An array for each example: (words of the example, ...). (N,)
    """
    begins = _find_first_windows(dataset)
    return make_ragged(
        values[begin] if end == begin + 1 else np.concatenate(list(values[begin:end]))
        for begin, end in pairwise([*begins.tolist(), len(dataset)])
    )


def _find_first_windows(dataset: Dataset) -> Array:
    """Positions of the first window of each example."""
    rows = read_numbers(dataset, "row")
    return np.flatnonzero(np.diff(rows, prepend=-1) != 0)
