"""Embeddings as one NumPy array in a file, written a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

SUFFIX = ".npy"
FIRST, SECOND = "embedding", "embedding2"  # columns of predictions


@contextmanager
def open_embedding_file(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], Any]]:
    """Open a file for embeddings.

    Args:
        path: file to write.
        schema: columns of the tables.

    Yields:
        Function that adds the embeddings of a table. The file holds float32 (N, D), of pairs (N, 2, D). A row without
        an embedding is NaN.

    Raises:
        ValueError: the tables have no embeddings, or all of them are missing.
    """
    names = [name for name in (FIRST, SECOND) if name in schema.names]
    if not names:
        raise ValueError(f"{path.name}: a {SUFFIX} file holds embeddings, and this model makes none; write .jsonl.")
    shape: tuple[int, ...] = ()  # of what is written
    blank = 0  # rows without an embedding that are not written yet
    with path.open("w+b") as file:

        def add(table: pa.Table) -> None:
            nonlocal shape, blank
            if table[FIRST].null_count == len(table):  # of how many numbers, a later row says
                blank += len(table)
                return
            sides = [_read_embeddings(table[name].combine_chunks()) for name in names]
            block = sides[0] if len(sides) == 1 else np.stack(sides, axis=1)
            if not shape:  # the header leaves room for more rows
                shape = (0, *block.shape[1:])
                _write_header(file, shape)
            write_rows(np.concatenate([np.full((blank, *shape[1:]), np.nan, dtype="<f4"), block]))
            blank = 0

        def write_rows(rows: Any) -> None:
            nonlocal shape
            file.write(rows.tobytes())
            shape = (shape[0] + len(rows), *shape[1:])

        yield add
        if not shape:
            raise ValueError(f"{path.name}: no row has a text, so there is nothing to write.")
        write_rows(np.full((blank, *shape[1:]), np.nan, dtype="<f4"))
        file.seek(0)
        _write_header(file, shape)


def _write_header(file: Any, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _read_embeddings(column: pa.Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Embeddings of some rows (N, D), NaN where there is none."""
    known = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.drop_null().flatten().to_numpy(zero_copy_only=False).astype("<f4")
    block = np.full((len(column), len(values) // int(known.sum())), np.nan, dtype="<f4")
    block[known] = values.reshape(int(known.sum()), -1)
    return block
