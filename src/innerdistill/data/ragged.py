"""Ragged arrays: one array for each example, of different lengths, such as the tags of the words of each sentence.

In NumPy they are arrays of objects (N,), so that examples are selected as from any other array. In tables they are
columns of lists. Shapes: N examples, W_i words of example i.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Array = NDArray[Any]


def make_ragged(arrays: Iterable[Array]) -> Array:
    """Put arrays of any lengths side by side.

    Args:
        arrays: one array for each example, each (W_i, ...).

    Returns:
        Array of these arrays. (N,)

    >>> make_ragged([np.array([1, 2]), np.array([3, 4])]).shape  # also where all have the same length
    (2,)
    """
    listed = list(arrays)
    ragged = np.empty(len(listed), dtype=object)
    for position, array in enumerate(listed):
        ragged[position] = array
    return ragged


def split_ragged(values: Array, lengths: Array) -> Array:
    """Take apart what stands one example after the other.

    Args:
        values: values of all examples. (sum of W_i, ...)
        lengths: how many of them each example has, W_i. (N,)

    Returns:
        One array for each example. (N,)
    """
    return make_ragged(np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else [])


def join_ragged(arrays: Array) -> tuple[Array, NDArray[np.int64]]:
    """Put the values of all examples one after the other.

    Args:
        arrays: one array for each example. (N,)

    Returns:
        All values (sum of W_i, ...), and how many each example has (N,).
    """
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    return (np.concatenate(list(arrays)) if len(arrays) else np.zeros(0, dtype=np.int64)), lengths


def is_ragged(array: Array) -> bool:
    """Tell whether an array holds one array for each example.

    Args:
        array: any array.

    Returns:
        True for a ragged one.
    """
    return array.dtype == object


def read_lists(column: pa.ChunkedArray | pa.Array) -> Array:
    """Read a column of lists of numbers.

    Args:
        column: lists, none null. (N,)

    Returns:
        One array for each example. (N,)
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    lengths = whole.value_lengths().to_numpy(zero_copy_only=False)
    return split_ragged(whole.flatten().to_numpy(zero_copy_only=False), lengths)


def write_lists(arrays: Array) -> pa.Array:
    """Write ragged numbers as a column of lists.

    Args:
        arrays: one array for each example, each (W_i,).

    Returns:
        The lists. (N,)
    """
    values, lengths = join_ragged(arrays)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def list_bytes(array: Array) -> bytes:
    """List the bytes of an array, to hash them. Of a ragged array, the lengths come first.

    Args:
        array: an array, ragged or not.

    Returns:
        Its bytes.
    """
    if not is_ragged(array):
        return np.ascontiguousarray(array).tobytes()
    values, lengths = join_ragged(array)
    return lengths.tobytes() + np.ascontiguousarray(values).tobytes()
