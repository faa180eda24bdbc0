"""Numbers of a tokenised split."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, concatenate_datasets

from innerdistill.data.arrow import read_numbers

PAIRS = pa.FixedSizeListArray.from_arrays(np.arange(200, dtype=np.float32), 2)


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (np.arange(100), np.int64),
        (np.arange(100, dtype=np.int32), np.int64),
        (np.arange(100, dtype=np.uint8), np.int64),
        (np.where(np.arange(100) % 3, np.linspace(0, 1, 100), np.nan), np.float32),
        (np.arange(100) % 2 == 0, np.bool_),
        (PAIRS, np.float32),
    ],
)
def test_numbers_are_those_of_the_rows_and_of_one_type(column, dtype):
    dataset = Dataset(pa.table({"x": column, "row": np.arange(100)}))
    twice = concatenate_datasets([dataset, dataset])  # a column in several parts
    for rows in (dataset, twice, dataset.select(range(10, 90)), twice.select([150, 3, 99]), dataset.select([])):
        numbers = read_numbers(rows, "x")
        assert numbers.dtype == dtype and numbers.shape[1:] == ((2,) if column is PAIRS else ())
        np.testing.assert_array_equal(numbers, np.array(list(rows["x"]), dtype).reshape(numbers.shape))


def test_no_number_becomes_a_python_object():
    """Of a million numbers, the objects would take 40 MB, and the array takes 8 MB."""
    dataset = Dataset(pa.table({"x": pa.chunked_array(np.split(np.arange(1_000_000), 100))}))
    tracemalloc.start()
    try:
        numbers = read_numbers(dataset, "x")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(numbers) == 1_000_000 and most < 10e6
