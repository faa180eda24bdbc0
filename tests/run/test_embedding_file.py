"""Embeddings in a NumPy file: the rows of all blocks, NaN where a row has none."""

import numpy as np
import pyarrow as pa
import pytest

from innerdistill.evaluation.predicted_embeddings import make_embedding_columns
from innerdistill.run.embedding_file import open_embedding_file


def make_table(embeddings, blank=()):
    columns = make_embedding_columns(embeddings)
    mask = pa.array([index in blank for index in range(len(embeddings))])
    return pa.table({name: pa.compute.if_else(mask, None, pa.array(values)) for name, values in columns.items()})


@pytest.mark.parametrize("width", [1, 2])
def test_rows_of_all_blocks_and_those_without_an_embedding(width, tmp_path):
    embeddings = np.random.default_rng(0).normal(size=(2_000, width, 3)).astype(np.float32)
    blank = [*range(5), 700, 1_999]
    path = tmp_path / "all.npy"
    parts = [(0, 5), (5, 900), (900, 1_999), (1_999, 2_000)]  # nothing is known of the first and the last block
    with open_embedding_file(path, make_table(embeddings[:1]).schema) as add:
        for start, end in parts:
            add(make_table(embeddings[start:end], [index - start for index in blank]))
    expected = embeddings.copy()
    expected[blank] = np.nan
    found = np.load(path)
    assert found.dtype == np.float32 and found.shape == ((2_000, 3) if width == 1 else (2_000, 2, 3))
    np.testing.assert_array_equal(found, expected[:, 0] if width == 1 else expected)


def test_what_has_no_embeddings_is_refused(tmp_path):
    schema, refusal = pa.schema([("predicted_label", pa.string())]), "a.npy: a .npy file holds embeddings, and this"
    with pytest.raises(ValueError, match=refusal), open_embedding_file(tmp_path / "a.npy", schema):
        pass
    table = make_table(np.ones((2, 1, 3), dtype=np.float32), [0, 1])
    opened = open_embedding_file(tmp_path / "b.npy", table.schema)
    with pytest.raises(ValueError, match="no row has a text"), opened as add:
        add(table)
