"""Examples that are several rows of a tokenised split, one after the other.

They are long texts in windows, pairs of texts, or queries with their documents.
The column `part` says so: it numbers the rows of an example. Of types with outputs per token, the column `pieces` says
which tokens are read: those that stand for words. Shapes: N examples, W rows or W_i words or documents of example i.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from innerdistill.data.arrow import read_numbers, select_evenly
from innerdistill.data.ragged import is_ragged, make_ragged

if TYPE_CHECKING:
    from datasets import Dataset

PART = "part"  # column of a tokenised split whose examples may be several rows: number of a row of its example, from 0
PIECES = "pieces"  # column of a tokenised split: positions of the tokens whose logits are read, one for each word
QUERY = "query"  # column of a tokenised split whose examples are queries with documents: a number of the query
EXAMPLE = "example"  # column of training texts that stay together in a batch: number of the example of each row
TEXT_NUMBER = "text_number"  # column beside it: a number of the text, which equal texts have in common

Array = NDArray[Any]


def read_of_examples(dataset: Dataset, name: str) -> Array:
    """Read a column of a tokenised split, with one value for each example. Words and documents are put together.

    Args:
        dataset: tokenised split. The rows of an example stand one after the other.
        name: `labels`, or a column whose values are the same in all rows of an example.

    Returns:
        Values of the examples; of words one array for each example. (N,)
    """
    values = read_numbers(dataset, name)
    if PART not in dataset.column_names:
        return values
    return join_rows(dataset, values) if is_ragged(values) else values[_find_first_rows(dataset)]


def join_rows(dataset: Dataset, values: Array) -> Array:
    """Put what belongs to the rows of each example together.

    Args:
        dataset: tokenised split.
        values: of words, an array for each row: (words of the row, ...). Else an array of all rows: (rows, ...).

    Returns:
        Of words and of documents an array for each example: (words or documents of the example, ...). Else an array
        (N, W, ...), where all examples have W rows. The values themselves where every example is one row by its type.
    """
    if PART not in dataset.column_names:
        return values
    begins = _find_first_rows(dataset)
    bounds = list(pairwise([*begins.tolist(), len(dataset)]))
    if is_ragged(values):
        return make_ragged(
            values[begin] if end == begin + 1 else np.concatenate(list(values[begin:end])) for begin, end in bounds
        )
    if QUERY in dataset.column_names:
        return make_ragged(values[begin:end] for begin, end in bounds)
    return values.reshape(len(begins), len(dataset) // max(1, len(begins)), *values.shape[1:])


def select_examples_evenly(dataset: Dataset, count: int) -> Dataset:
    """Select some examples with all their rows, spread evenly over all of them.

    Args:
        dataset: tokenised split.
        count: number of examples, at most.

    Returns:
        The examples.
    """
    if PART not in dataset.column_names:
        return select_evenly(dataset, count)
    begins = [*_find_first_rows(dataset).tolist(), len(dataset)]
    chosen = np.linspace(0, len(begins) - 2, min(count, len(begins) - 1)).astype(int).tolist()
    return dataset.select([row for number in chosen for row in range(begins[number], begins[number + 1])])


def _find_first_rows(dataset: Dataset) -> Array:
    """Positions of the first row of each example."""
    return np.flatnonzero(read_numbers(dataset, PART) == 0)
