"""The first rows of a file of any size and format, and what its columns hold."""

import json
import os
import time

import pyarrow as pa
import pyarrow.parquet
import pytest

from innerdistill.first_recipe.sample import MOST_ROWS, Column, read_sample

ROWS = [{"text": f"some words {n}", "label": "ab"[n % 2]} for n in range(40)]


def write(path, rows):
    header = list(rows[0])
    if path.suffix == ".parquet":
        pa.parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=MOST_ROWS, use_dictionary=False)
    elif path.suffix in (".csv", ".tsv"):
        sign = {".csv": ",", ".tsv": "\t"}[path.suffix]
        path.write_text("\n".join(sign.join(map(str, line)) for line in [header, *(row.values() for row in rows)]))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "ndjson", "json", "parquet"])
def test_every_format(tmp_path, suffix):
    sample = read_sample(write(tmp_path / f"data.{suffix}", ROWS))
    assert (sample.num_rows, sample.is_whole, sample.describe_rows()) == (40, True, "40 rows")
    assert {name: list(column.values) for name, column in sample.columns.items()} == {
        name: [row[name] for row in ROWS] for name in ("text", "label")
    }


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("more", [0, 1])
def test_more_rows_than_a_recipe_is_judged_by(tmp_path, suffix, more):
    rows = [{"text": f"some words {n}", "label": n % 2} for n in range(MOST_ROWS + more)]
    sample = read_sample(write(tmp_path / f"data.{suffix}", rows))
    assert (sample.num_rows, sample.is_whole) == (MOST_ROWS, not more)
    assert sample.describe_rows() == ("the first 10,000 rows" if more else "10,000 rows")
    assert len(sample.columns["text"].values) == MOST_ROWS


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_of_a_file_of_10_gigabytes_only_the_beginning_is_read(tmp_path, suffix):
    path = tmp_path / f"data.{suffix}"
    write(path, ROWS * 600)
    os.truncate(path, 10**10)  # the rest is one line of zeros, which takes no room on the disk and is refused if read
    start = time.monotonic()
    sample = read_sample(str(path))
    assert time.monotonic() - start < 20
    assert (sample.num_rows, sample.is_whole) == (MOST_ROWS, False)


def test_of_a_parquet_file_only_the_first_row_groups_are_read(tmp_path):
    path = tmp_path / "data.parquet"
    write(path, [{"text": f"some words {n}", "label": n % 2} for n in range(4 * MOST_ROWS)])
    group = pa.parquet.ParquetFile(path).metadata.row_group(3).column(0)
    content = bytearray(path.read_bytes())
    content[group.data_page_offset : group.data_page_offset + group.total_compressed_size] = b"\xff" * (
        group.total_compressed_size
    )
    path.write_bytes(content)
    assert read_sample(str(path)).num_rows == MOST_ROWS
    with pytest.raises(OSError, match=r"."):
        pa.parquet.read_table(path)  # the last rows are damaged indeed


def test_a_sample_of_very_long_texts_has_fewer_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("innerdistill.first_recipe.sample.BLOCK_BYTES", 100_000)
    path = write(tmp_path / "data.parquet", [{"text": "word " * 1_000, "label": n % 2} for n in range(1_000)])
    sample = read_sample(path)
    assert (sample.num_rows, sample.is_whole) == (256, False)


def test_a_key_that_only_later_rows_have(tmp_path):
    path = write(tmp_path / "data.jsonl", [*ROWS, {"text": "t", "more": 1}])
    assert list(read_sample(path).columns["more"].values) == [None] * 40 + [1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "none.csv: no such file"),
        ("data.xlsx", "x", "unknown format '.xlsx'"),
        ("nothing.csv", "", "no rows"),
        ("header.csv", "text,label\n", "no rows"),
        ("none.jsonl", "\n", "no rows"),
        ("list.json", '[{"text": "a"}]', "expected one JSON object per line, got"),
        ("semi.csv", "text;label\na;b\n", "are the columns separated by semicolons? Save it with commas"),
        ("tabs.csv", "text\tlabel\na\tb\n", "are the columns separated by tabs?"),
        (
            "latin.csv",
            b"text,label\nok,a\ncaf\xe9,b\n",
            "row 2: 'text' is not UTF-8 text ('caf\\udce9'); save the file",
        ),
        ("ragged.csv", "text,label\na\n", "row 1 (line 2): expected 2 cells, got 1"),
        ("twice.csv", "text,text\na,b\n", "appears 2 times"),
        ("damaged.parquet", "PAR1", "damaged, or no Parquet file"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as error:
        read_sample(str(tmp_path / name))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_folder(tmp_path):
    with pytest.raises(ValueError, match=r"this is a folder; expected a file \(.csv, "):
        read_sample(str(tmp_path))


def test_what_a_column_holds():
    assert Column("c", ["b", "a", "b", ""]).counts == {"b": 2, "a": 1}
    assert list(Column("c", ["a", "b", "b"]).counts) == ["b", "a"]
    assert Column("c", ["1", "2.0", 3]).is_numeric and not Column("c", ["1", "2.0", 3]).has_decimals
    assert Column("c", ["1", "2.5"]).has_decimals and not Column("c", ["1", "nan"]).is_numeric
    assert Column("c", [["b", "a"], ["a"], []]).counts == {"a": 2, "b": 1} and not Column("c", [{"a": 1}]).counts
    assert not Column("c", ["a b", 1]).texts
    assert Column("c", ["two words", None, "one"]).is_prose and not Column("c", ["2024-01-01 10:00"]).is_prose
