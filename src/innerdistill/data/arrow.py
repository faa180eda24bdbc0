"""Tables that may be larger than memory: an Arrow file without a name, memory-mapped, read one block at a time."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from innerdistill.data.ragged import read_lists
from innerdistill.support.files import OF_THE_DISK

if TYPE_CHECKING:
    from datasets import Dataset

BLOCK, BLOCK_BYTES = 10_000, 1 << 26  # in memory at a time: at most this many rows, and fewer if they are long


def find_cache() -> Path:
    """Find the folder of tables and tokens on disk, beside the cache of `datasets`.

    Returns:
        The folder; it may be missing.
    """
    from datasets import config  # noqa: PLC0415 - it takes seconds, and the header of a file is checked without it

    return Path(config.HF_DATASETS_CACHE) / "innerdistill"


def write_to_disk(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Write batches to the disk as they come, in blocks of even size, and memory-map them.

    The file has no name. The system removes it with the table or the process, however that ends. Where nothing can be
    written, the table is in memory.

    Args:
        batches: batches of any number of rows.
        schema: schema of the batches.

    Returns:
        A table that takes no memory of its own.

    Raises:
        ValueError: the disk is full.
    """
    cache = find_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=cache)  # noqa: SIM115 - closed below; the mapping stays
    except OSError:
        return pa.Table.from_batches([batch for block in regroup(batches) for batch in block.to_batches()], schema)
    try:
        with file, pa.ipc.new_stream(file, schema) as writer:
            for block in regroup(batches):
                writer.write_table(block)
            writer.close()
            file.flush()
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        raise ValueError(
            f"{cache}: the data cannot be written there ({error.strerror}); make room, or name another folder with the "
            "environment variable HF_DATASETS_CACHE."
        ) from None
    return pa.ipc.open_stream(pa.py_buffer(mapping)).read_all()


def iterate_blocks(table: pa.Table) -> Iterator[pa.Table]:
    """Read a table one block at a time.

    Args:
        table: from `write_to_disk`.

    Yields:
        Blocks of the table.
    """
    for batch in table.to_batches():
        yield pa.Table.from_batches([batch])


def select_rows(table: pa.Table, chosen: NDArray[np.bool_]) -> pa.Table:
    """Select rows of a table.

    Args:
        table: from `write_to_disk`.
        chosen: True for the rows to select. (num_rows,)

    Returns:
        A table on disk.
    """

    def filter_batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in table.to_batches():
            yield batch.filter(pa.array(chosen[start : start + batch.num_rows]))
            start += batch.num_rows

    return write_to_disk(filter_batches(), table.schema)


def read_numbers(dataset: Dataset, name: str) -> NDArray[Any]:
    """Read a column of numbers.

    Args:
        dataset: tokenised split.
        name: name of the column.

    Returns:
        Values of the column (num_rows,); of lists of a fixed length C (num_rows, C). Whole numbers are int64, others
        float32. Of lists of any length, one array for each row (num_rows,).
    """
    column = dataset.select_columns([name]).with_format("arrow")[:][name]
    if pa.types.is_list(column.type):
        return read_lists(column)
    if pa.types.is_fixed_size_list(column.type):
        return _read_array(pc.list_flatten(column)).reshape(len(column), column.type.list_size)
    return _read_array(column)


def _read_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Numbers, none null. The formatter of `datasets` would make each a Python object first: 40 bytes of memory."""
    values = column.to_numpy()
    dtype = {"i": np.int64, "u": np.int64, "f": np.float32}.get(values.dtype.kind, values.dtype)
    return values.astype(dtype, copy=False)


def select_evenly(examples: Dataset, count: int) -> Dataset:
    """Select some examples, spread evenly over all of them.

    Args:
        examples: tokenised split.
        count: number of examples, at most.

    Returns:
        The examples.
    """
    return examples.select(np.linspace(0, len(examples) - 1, min(count, len(examples))).astype(int))


def regroup(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Put rows into blocks of BLOCK rows, or of as many as hold BLOCK_BYTES of text.

    Args:
        batches: batches of any number of rows.

    Yields:
        Blocks with the same rows in the same order.
    """
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        texts = [column for column in batch.columns if pa.types.is_string(column.type)]
        lengths = np.zeros(batch.num_rows, dtype=np.int64)
        for column in texts:
            lengths += pc.fill_null(pc.binary_length(column), 0).to_numpy()
        start = 0
        while start < batch.num_rows:
            filled = size + np.cumsum(lengths[start : start + BLOCK - rows])
            count = min(len(filled), int(np.searchsorted(filled, BLOCK_BYTES, side="right")) + 1)
            waiting.append(batch.slice(start, count))
            start, rows, size = start + count, rows + count, int(filled[count - 1])
            if rows == BLOCK or size > BLOCK_BYTES:
                yield pa.Table.from_batches(waiting).combine_chunks()
                waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()
