"""`predict`: other columns of a file stay as they were, and an example without a text is refused or skipped."""

import csv
import json
import os

import pyarrow as pa
import pyarrow.parquet
import pytest

from innerdistill.cli.main import main

ROWS = [
    '{"text": "good1 word2", "id": 1, "nested": {"a": [1, 2.0, null]}, "mixed": 7, "number": 1}',
    '{"text": "bad1", "id": 123456789012345678901234567890, "nested": {"b": {"c": "é"}}, "mixed": "x", "number": 0.5}',
    '{"text": "bad2 bad3", "id": null, "mixed": [true]}',
]


@pytest.fixture
def predict(teacher_folder, tmp_path, capsys):
    """A function that predicts a file into another one; returns the exit code and what was printed."""

    def run(file, output, *options):
        code = main(["predict", str(teacher_folder), str(file), "--text", "text", "--output", str(output), *options])
        captured = capsys.readouterr()
        return code, " ".join((captured.out + captured.err).split())

    return run


def test_json_lines_keep_their_other_columns(predict, tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(ROWS))
    assert predict(tmp_path / "rows.jsonl", tmp_path / "out.jsonl")[0] == 0
    for line, given in zip((tmp_path / "out.jsonl").read_text().splitlines(), ROWS, strict=True):
        row = json.loads(line)
        assert row.pop("predicted_label") in ("neg", "pos")
        assert row.pop("probability_neg") + row.pop("probability_pos") == pytest.approx(1)
        assert json.dumps(row, ensure_ascii=False) == given


def test_a_csv_file_holds_objects_as_json(predict, tmp_path):
    row = '{"text": "good1", "nested": {"a": [1, null]}, "names": ["x", "y"], "numbers": [1, 2]}'
    (tmp_path / "rows.jsonl").write_text(row + '\n{"text": "bad1"}\n')
    assert predict(tmp_path / "rows.jsonl", tmp_path / "out.csv")[0] == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["nested"], first["names"], first["numbers"]) == ('{"a": [1, null]}', "x,y", "[1, 2]")
    assert (second["nested"], second["names"], second["numbers"]) == ("", "", "")


def test_nan_becomes_null_and_bytes_are_refused_by_name(predict, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "good1", "score": NaN, "list": [1, -Infinity]}\n')
    assert predict(tmp_path / "rows.jsonl", tmp_path / "out.jsonl")[0] == 0
    row = json.loads((tmp_path / "out.jsonl").read_text(), parse_constant=pytest.fail)
    assert row["score"] is None and row["list"] == [1, None]
    pa.parquet.write_table(pa.table({"text": ["good1"], "score": [float("nan")]}), tmp_path / "rows.parquet")
    assert predict(tmp_path / "rows.parquet", tmp_path / "out.jsonl")[0] == 0
    assert json.loads((tmp_path / "out.jsonl").read_text(), parse_constant=pytest.fail)["score"] is None
    pa.parquet.write_table(pa.table({"text": ["good1"], "picture": [b"\xff"]}), tmp_path / "rows.parquet")
    code, printed = predict(tmp_path / "rows.parquet", tmp_path / "bytes.jsonl")
    assert code == 2 and "column 'picture' holds bytes" in printed and not (tmp_path / "bytes.jsonl").exists()


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_null_text_is_refused_with_its_row_or_skipped(predict, tmp_path, ending):
    file, output = tmp_path / "rows.jsonl", tmp_path / f"out.{ending}"
    file.write_text('{"text": "good1"}\n{"text": null}\n{"text": " "}\n')
    code, printed = predict(file, output)
    assert code == 2 and "rows.jsonl: row 2 has no text in 'text'. With --skip-empty" in printed
    assert not output.exists()
    assert predict(file, output, "--skip-empty")[0] == 0
    if ending == "jsonl":
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        assert [row["text"] for row in rows] == ["good1", None, " "]
        assert [row["predicted_label"] is None for row in rows] == [False, True, True]
        assert [row["probability_neg"] is None for row in rows] == [False, True, True]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_an_empty_text_is_predicted_with_a_warning_or_skipped(predict, tmp_path, ending):
    """Training reads it too."""
    texts = ["good1", "", " \t ", "bad1"]
    lines = {"jsonl": [json.dumps({"text": text}) for text in texts], "csv": ["text", *(f'"{text}"' for text in texts)]}
    file, output = tmp_path / f"rows.{ending}", tmp_path / "out.jsonl"
    file.write_text("\n".join(lines[ending]) + "\n")
    code, printed = predict(file, output)
    assert code == 0 and "2 of 4 rows have an empty text; with --skip-empty they get no prediction" in printed
    assert all(json.loads(line)["predicted_label"] for line in output.read_text().splitlines())
    code, printed = predict(file, output, "--skip-empty")
    assert code == 0 and "empty text" not in printed
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["predicted_label"] is None for row in rows] == [False, True, True, False]


def test_the_file_that_is_read_is_never_written(predict, tmp_path, monkeypatch):
    file = tmp_path / "new.csv"
    file.write_text("text\ngood1\n")
    (tmp_path / "link.csv").symlink_to(file)
    os.link(file, tmp_path / "same.csv")
    monkeypatch.chdir(tmp_path)
    for output in (file, "new.csv", tmp_path / ".." / tmp_path.name / "new.csv", "link.csv", "same.csv"):
        code, printed = predict(file, output)
        assert code == 2 and f"--output: {output} is the file that is read, {file}, and would be lost" in printed
        assert file.read_text() == "text\ngood1\n"
    assert predict("link.csv", "new.csv")[0] == 2 and (tmp_path / "link.csv").is_symlink()


def test_half_precision_on_a_cpu_is_refused(recipe, tmp_path, capsys):
    from innerdistill import distill

    with pytest.raises(ValueError, match="trainer.fp16: training in float16 needs a GPU"):
        distill(recipe(tmp_path / "run", trainer={"fp16": True}))
