"""Ragged arrays: in NumPy, in tables, and as bytes."""

from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innerdistill.data.ragged import (
    is_ragged,
    join_ragged,
    list_bytes,
    make_ragged,
    read_lists,
    split_ragged,
    write_lists,
)

lists = st.lists(st.lists(st.integers(-3, 9), max_size=4), max_size=6)


def ragged(values):
    return make_ragged(np.array(value, dtype=np.int64) for value in values)


def as_lists(array):
    return [value.tolist() for value in array]


@given(lists)
def test_what_is_joined_is_split_again(values):
    flat, lengths = join_ragged(ragged(values))
    assert flat.tolist() == list(chain(*values)) and flat.dtype == lengths.dtype == np.int64
    assert lengths.tolist() == list(map(len, values))
    assert as_lists(split_ragged(flat, lengths)) == values


@given(lists, st.integers(0, 6), st.integers(0, 6))
def test_tables_hold_the_same(values, start, count):
    column = write_lists(ragged(values))
    assert column.to_pylist() == values
    assert as_lists(read_lists(column)) == values
    part = pa.chunked_array([column, column]).slice(start, count)
    assert as_lists(read_lists(part)) == (values + values)[start : start + count]


@pytest.mark.parametrize("values", [[], [[]], [[], []], [[1, 2], [3, 4]], [[1], [2]]])
def test_arrays_of_equal_lengths_stay_one_for_each_example(values):
    array = ragged(values)
    assert array.shape == (len(values),) and is_ragged(array) and as_lists(array) == values
    assert as_lists(array[np.ones(len(values), dtype=bool)]) == values


def test_rows_of_several_numbers_are_split_too():
    values = np.arange(12).reshape(6, 2)
    parts = split_ragged(values, np.array([1, 0, 3, 2]))
    assert [part.shape for part in parts] == [(1, 2), (0, 2), (3, 2), (2, 2)]
    assert np.array_equal(join_ragged(parts)[0], values)


def test_the_bytes_of_other_cuts_differ():
    first, second = ragged([[1, 2], [3]]), ragged([[1], [2, 3]])
    assert list_bytes(first) != list_bytes(second) and list_bytes(first) == list_bytes(ragged([[1, 2], [3]]))
    plain = np.arange(6).reshape(2, 3)
    assert list_bytes(plain[:, ::2]) == np.array([0, 2, 3, 5]).tobytes()
